"""The subject of an evaluation: a replay's run folder, or files of scores and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.alerting import AlertSettings
from operators.figures.pixels import LEVELS, PixelCounts, PixelSample, error_bounds
from operators.figures.ranked import Undefined
from operators.figures.videos import FrameLabels
from operators.heat_kind import HeatKind
from pipeline.errors import UsageError
from pipeline.evaluation.end_to_end import divided_labels, divided_scores, read_lengths
from pipeline.evaluation.foreign_scores import judge_scores
from pipeline.evaluation.judged import COLUMNS, RAW, Floats, Judged, JudgedVideo, LeftOut, VideoScore, centred_kernel
from pipeline.evaluation.judged_run import judge_run
from pipeline.evaluation.pixel_maps import MapsError, judge_maps, read_maps
from pipeline.evaluation.reported import settings_of, title_of
from pipeline.evaluation.score_files import ForeignScoresError, is_one_array, read_labels, read_scores
from pipeline.manifests.manifest import listed
from pipeline.manifests.masks import Masks, MasksError, masked_name, masks_of, read_masks, size_problem
from pipeline.printable import located
from pipeline.runs.folder import Run, VideoRow
from pipeline.runs.recordings import recording_of
from pipeline.sources.base import SourceError

#: Sections of settings by their title, as the document and the report show them.
Sections = Mapping[str, Mapping[str, Any]]

#: A possible error of pixel figures that is reported: it can change the fourth digit, the last that tables show.
_SHOWN_ERROR = 5e-5


@dataclass(frozen=True, slots=True)
class Subject:
    """Judged scores and their origin.

    Attributes:
        run: the run folder; None for files of scores.
    """

    judged: Judged
    settings: Sections
    title: str
    run: Run | None = None

    def with_notes(self, notes: Sequence[str]) -> Subject:
        """Return the subject with further notes on how it was judged."""
        return replace(self, judged=replace(self.judged, notes=(*self.judged.notes, *notes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFiles:
    """Scores and labels in files, and the settings of their judgement.

    Attributes:
        videos: a list of the videos that one array holds end to end, with their lengths; None: one array a video.
        video_score: how a video's own score is made from its clips'.
        threshold: smoothed score at which an alert opens; None: no alerts.
        close_threshold: smoothed score below which it closes.
        fps: frames a second; required for alerts.
    """

    scores: Path
    labels: Path
    frames_per_score: int
    kernel: int
    video_score: VideoScore
    videos: Path | None = None
    threshold: float | None = None
    close_threshold: float | None = None
    fps: float | None = None

    def judged(self) -> Judged:
        """Read and judge the scores.

        Raises:
            ForeignScoresError: a file cannot be read, or scores and labels do not match.
            UsageError: invalid thresholds or frame rate.
        """
        scores, labels = self._read()
        return judge_scores(
            scores,
            labels,
            frames_per_score=self.frames_per_score,
            kernel=self.kernel,
            video_score=self.video_score,
            alerts=self._alerts(),
            fps=self.fps,
        )

    def subject(self) -> Subject:
        """Read and judge the scores; raises as :meth:`judged`."""
        return Subject(self.judged(), self._settings(), f"{self.scores.name} by {self.labels.name}")

    def _read(self) -> tuple[dict[str, Floats], dict[str, FrameLabels]]:
        """Read both files, and divide what they hold end to end."""
        scores, labels = read_scores(self.scores), read_labels(self.labels)
        if self.videos is None:
            return scores, labels
        divide_scores, divide_labels = is_one_array(scores), is_one_array(labels)
        if not (divide_scores or divide_labels):
            raise UsageError(f"--videos is for one array of all videos: {self.scores} has one array a video already")
        lengths = read_lengths(self.videos)
        file = self.scores
        try:
            if divide_scores:
                scores = divided_scores(next(iter(scores.values())), lengths, self.frames_per_score)
            file = self.labels
            if divide_labels:
                labels = divided_labels(next(iter(labels.values())), lengths, self.frames_per_score)
        except ForeignScoresError as error:
            raise ForeignScoresError(f"{file}: {error}; the list is {self.videos}") from None
        return scores, labels

    def _alerts(self) -> AlertSettings | None:
        if self.threshold is not None and self.fps is None:
            raise UsageError("--threshold needs --fps: alerts are judged by the clock")
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise UsageError(f"--fps {self.fps:g}: expected frames a second, above 0")
        if self.threshold is None or self.close_threshold is None:
            return None
        try:
            return AlertSettings(open_threshold=self.threshold, close_threshold=self.close_threshold)
        except ValueError as error:
            raise UsageError(f"--threshold {self.threshold:g}: {error}") from error

    def _settings(self) -> Sections:
        return {
            "files": {
                "scores": self.scores.name,
                "scores_sha256": _sha256(self.scores),
                "labels": self.labels.name,
                "labels_sha256": _sha256(self.labels),
                **({} if self.videos is None else {"videos": self.videos.name, "videos_sha256": _sha256(self.videos)}),
            },
            "judgement": {
                "frames_per_score": self.frames_per_score,
                "kernel": self.kernel,
                "centred_kernel": centred_kernel(self.kernel),
                "video_score": self.video_score,
                "open_threshold": self.threshold,
                "fps": self.fps,
            },
        }


def subject_of_run(run: Run, *, video_score: VideoScore, split: str | None) -> Subject:
    """Judge a replay. Raises RunError: the run has no labelled video, or none in ``split``."""
    judgement = {
        "centred_kernel": centred_kernel(run.settings.chain.kernel),
        "video_score": video_score,
        "split": split,
    }
    judged = judge_run(run, video_scores=video_score, split=split)
    return Subject(judged, settings_of(run) | {"judgement": judgement}, title_of(run, split), run)


def count_pixels_of(
    subject: Subject, maps: Path | None, masks: Path | None
) -> tuple[Subject, Mapping[str, Sequence[PixelCounts]]]:
    """Count pixels of anomaly maps against masks, by column of scores.

    Args:
        maps: maps from a file, judged unchanged; None: the run's heat maps. Anomaly maps are judged unchanged,
            attention maps times the clips' scores.
        masks: an archive of masks; None: those that the run's manifest names. Those are used for maps of anomaly only,
            because attention shows only where a model looks; return no counts where there are none.

    Returns:
        The subject with notes on the accuracy of the counts and on videos that could not be counted, and the counts.

    Raises:
        MapsError: a file cannot be read, or maps and masks do not match.
        MasksError: masks cannot be used.
        UsageError: neither maps nor heat maps exist, or maps and no masks.
    """
    given = read_maps(maps) if maps is not None else None
    known = _masks_of_file(subject, masks) if masks is not None else _masks_of_run(subject, given)
    if not known:
        return subject, {}
    left_out: list[LeftOut] = []
    counts: Mapping[str, Sequence[PixelCounts]]
    notes = []
    if maps is not None and given is not None:
        counts = {RAW: judge_maps(subject.judged.videos, given, known, left_out=left_out)}
        notes.append(f"{maps.name} is judged unsmoothed, in the raw column only.")
    else:
        counts = _heat_counts(subject, known, left_out)
        if list(counts) == [RAW]:
            notes.append("The model's anomaly maps are judged unsmoothed, in the raw column only.")
    notes += _accuracy(counts)
    return subject.with_notes([*notes, *_by_reason(left_out)]), counts


def count_comparable_pixels(subject: Subject) -> tuple[Subject, Mapping[str, Sequence[PixelCounts]]]:
    """Count pixels of the run's anomaly maps against the masks that its manifest names, by column of scores.

    Returns:
        As :func:`count_pixels_of`. If masks cannot be used, or do not match the maps: no counts, and a note.
    """
    try:
        return count_pixels_of(subject, None, None)
    except (MasksError, MapsError) as error:
        reason = "; ".join(str(error).splitlines())
        return subject.with_notes([f"maps are not compared, because their masks cannot be used: {reason}"]), {}


def _masks_of_run(subject: Subject, given: Container[str] | None) -> Mapping[str, Masks]:
    """Return the masks that the run's manifest names, of videos with maps; none if no maps can be judged by them.

    Args:
        given: names of the videos with maps; None: the run's anomaly maps.

    Raises:
        MasksError: a line for each video whose masks cannot be used, the first ten.
        UsageError: maps and no masks.
    """
    run = subject.run
    if run is None or (given is None and run.settings.model.heat is not HeatKind.ANOMALY):
        return {}
    mapped = given if given is not None else [video.name for video in _with_heat(subject, run)]
    judged = {video.name for video in subject.judged.videos}
    masked = {row.name: row for row in run.videos if row.masks and row.name in judged and row.name in mapped}
    if given is not None and not masked:
        raise UsageError("--maps FILE needs --masks FILE: the manifest names no masks")
    found, problems = {}, []
    for name, row in masked.items():
        try:
            found[name] = masks = masks_of(located(row.masks or ""), name)
            reason = _size_problem(masks, row, row.masks)
        except MasksError as error:
            reason = str(error)
        if reason is not None:
            problems.append(f"{name}: {reason}")
    if problems:
        raise MasksError(listed(problems, "{} more videos have masks that cannot be used"))
    return found


def _masks_of_file(subject: Subject, file: Path) -> Mapping[str, Masks]:
    """Return the masks in a file. Raises MasksError, as :func:`_masks_of_run`."""
    found, problems = read_masks(file), []
    for row in subject.run.videos if subject.run is not None else ():
        name = masked_name(row.name, found)
        if name is not None and (reason := _size_problem(found[name], row, file)) is not None:
            problems.append(f"{row.name}: {reason}")
    if problems:
        raise MasksError(listed(problems, "{} more videos have masks that cannot be used"))
    return found


def _size_problem(masks: Masks, row: VideoRow, place: object) -> str | None:
    """Return why masks are not of the recording's pictures; None also if the recording is not there any more.

    Args:
        place: of the masks.
    """
    try:
        reason = size_problem(masks, recording_of(row))
    except SourceError:
        return None
    return None if reason is None else f"{reason}; the masks are {place}"


def _by_reason(left_out: Sequence[LeftOut]) -> list[str]:
    """Return a sentence for each reason, with the number of its videos if there are several."""
    videos: dict[str, list[str]] = {}
    for one in left_out:
        videos.setdefault(one.reason, []).append(one.name)
    return [
        f"{names[0] if len(names) == 1 else f'{len(names)} videos ({names[0]} among them)'}: {reason}"
        for reason, names in videos.items()
    ]


def _accuracy(counts: Mapping[str, Sequence[PixelCounts]]) -> list[str]:
    """Return a sentence on the accuracy of the figures where it can change their fourth digit."""
    bounds: dict[str, float] = {}
    for of_column in counts.values():
        try:
            found = error_bounds(PixelSample(of_column).drawn()) if of_column else {}
        except Undefined:
            continue
        bounds |= {name: max(bound, bounds.get(name, 0.0)) for name, bound in found.items()}
    if max(bounds.values(), default=0.0) < _SHOWN_ERROR:
        return []
    within = " and ".join(f"{name} within {bound:.1g}" for name, bound in bounds.items())
    return [f"Pixels are counted at {LEVELS} levels: {within} of the exact figure."]


def _with_heat(subject: Subject, run: Run) -> list[JudgedVideo]:
    """Return the judged videos with heat maps. Raises RunError."""
    rows = {row.name: row for row in run.videos}
    return [video for video in subject.judged.videos if run.attention(rows[video.name]) is not None]


def _heat_counts(
    subject: Subject, masks: Mapping[str, Masks], left_out: list[LeftOut]
) -> Mapping[str, Sequence[PixelCounts]]:
    run = subject.run
    assert run is not None, "files of scores have no heat maps; the command asks for maps"
    rows = {row.name: row for row in run.videos}
    videos = _with_heat(subject, run)
    if not videos:
        raise UsageError(f"{run.folder}: the run has no heat maps; name --maps FILE")
    shown = {one.name: run.settings.clip_of(rows[one.name]).spec.frame_spec for one in videos}
    judge = partial(judge_maps, subject.judged.videos, masks=masks, shown=shown)
    if run.settings.model.heat is HeatKind.ANOMALY:
        heat = {one.name: partial(_heat, run, rows[one.name]) for one in videos}
        return {RAW: judge(heat, left_out=left_out)}
    counts = {}
    for column in COLUMNS:
        heat = {one.name: partial(_abnormal, run, rows[one.name], one.clip_scores[column]) for one in videos}
        counts[column] = judge(heat, left_out=left_out if column == RAW else None)
    return counts


def _heat(run: Run, row: VideoRow) -> npt.NDArray[np.float32]:
    """Return the heat of each clip, (clips, h, w). Raises RunError."""
    heat = run.attention(row)  # opened for each call: a process cannot keep the files of a thousand videos open
    assert heat is not None
    return heat


def _abnormal(run: Run, row: VideoRow, scores: Floats) -> npt.NDArray[np.float32]:
    """Return the attention of each clip times its score, (clips, h, w). Raises RunError."""
    maps: npt.NDArray[np.float32] = _heat(run, row) * scores.astype("float32")[:, None, None]
    return maps


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
