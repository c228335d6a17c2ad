"""Scores and labels of other programs, from files.

| file | scores | labels |
|---|---|---|
| ``.npz`` | one array a video, named as the video: (n,) numbers in order of time | the same, (frames,) of 0 and 1 |
| ``.csv`` | header with ``video`` and ``score``; one row per score, in order of time | header with ``video`` and ``label``; one row per frame |
| ``.parquet`` | columns ``video`` and ``score``, as in CSV; a run's ``scores.parquet`` is one | columns ``video`` and ``label`` |
| ``.json`` | ``{"video": [0.1, …]}`` | ``{"video": [0, 1, …]}`` |

Other columns are ignored. A score stands for a fixed number of frames, one score after the other from the video's first
frame on. The last score may stand for fewer frames. Labels after the last score are left out if they are fewer than the
frames of a score: with 16 frames a score, 265 labels match 16 or 17 scores.
"""  # noqa: E501  (a table)

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.alerting import AlertSettings
from operators.chain import ChainSettings
from operators.checks import whole_number
from operators.figures.events import Span
from operators.figures.videos import FrameLabels, ScoredVideo, repeated
from pipeline.errors import UsageError
from pipeline.evaluation.alarms import alert_spans
from pipeline.evaluation.judged import Floats, Judged, JudgedVideo, LeftOut, VideoScore, smoothed_columns
from pipeline.evaluation.judged import video_score as score_of_video
from pipeline.evaluation.pixel_maps import some
from pipeline.manifests.manifest import intervals_of
from pipeline.plain_arrays import UNREADABLE

SUFFIXES = (".npz", ".csv", ".parquet", ".json")

#: Frames that a score stands for, of a clip-based model.
FRAMES_PER_SCORE = 16

#: Default number of scores in the averages: the operators' default, see operators/chain.py.
KERNEL = 5


class ForeignScoresError(UsageError):
    """A file cannot be used, or scores and labels do not match. One line that names file and video."""


def read_scores(file: Path) -> dict[str, Floats]:
    """Read the scores of each video, float64 (n,), in order of time; n may be 0.

    Raises:
        ForeignScoresError: the file is missing or invalid, or has a score that is not finite.
    """
    scores = {}
    for name, values in _read(file, "score").items():
        if len(bad := np.flatnonzero(~np.isfinite(values))):
            raise ForeignScoresError(
                f"{file}: {name}: score {bad[0]} is {values[bad[0]]}; expected finite numbers ({len(bad)} are not)"
            )
        scores[name] = values
    return scores


def read_labels(file: Path) -> dict[str, FrameLabels]:
    """Read the labels of each video, bool (frames,), in order of time; True is abnormal.

    Raises:
        ForeignScoresError: the file is missing or invalid, or has a label other than 0 and 1.
    """
    labels = {}
    for name, values in _read(file, "label").items():
        if len(bad := np.flatnonzero((values != 0) & (values != 1))):  # NaN is neither
            raise ForeignScoresError(f"{file}: {name}: label {bad[0]} is {values[bad[0]]:g}; expected 0 or 1")
        labels[name] = values == 1
    return labels


def judge_scores(
    scores: Mapping[str, Floats],
    labels: Mapping[str, FrameLabels],
    *,
    frames_per_score: int = FRAMES_PER_SCORE,
    kernel: int = KERNEL,
    video_score: VideoScore = "mean",
    alerts: AlertSettings | None = None,
    fps: float | None = None,
) -> Judged:
    """Judge the videos that have both scores and labels.

    Args:
        kernel: scores of the two averages, see :func:`pipeline.evaluation.judged.smoothed_columns`.
        video_score: how a video's own score is made from its scores.
        alerts: settings of alerts, which are then raised and judged as well; scores must be in [0, 1].
        fps: frames a second; required for alerts.

    Raises:
        ForeignScoresError: no common video, or numbers of scores and labels that do not match.
        ValueError: invalid settings.
    """
    whole_number("frames_per_score", frames_per_score, least=1)
    if alerts is not None and fps is None:
        raise ValueError("alerts are judged by the clock: pass fps, the frames a second")
    common = [name for name in scores if name in labels]
    if not common:
        raise ForeignScoresError(
            f"scores and labels have no video in common: {some(scores)} have scores and {some(labels)} labels"
        )
    videos, left_out = [], []
    notes = _EndCounts(frames_per_score)
    for name in common:
        judged_frames = _frames(name, len(scores[name]), len(labels[name]), frames_per_score)
        if not judged_frames:
            left_out.append(LeftOut(name, "it has no score"))
            continue
        notes.count(len(scores[name]), len(labels[name]))
        videos.append(
            _judged(
                name,
                scores[name],
                labels[name][:judged_frames],
                intervals_of(labels[name]),
                frames_per_score=frames_per_score,
                kernel=kernel,
                how=video_score,
                alerts=alerts,
                fps=fps,
            )
        )
    if not videos:
        raise ForeignScoresError(f"none of {len(left_out)} videos has a score")
    return Judged(
        videos=tuple(videos),
        left_out=tuple(left_out),
        notes=tuple(notes.sentences),
        no_alerts="" if alerts is not None else "no thresholds are known; name one with --threshold, and --fps",
        only_scores=tuple(name for name in scores if name not in labels),
        only_labels=tuple(name for name in labels if name not in scores),
    )


def _judged(
    name: str,
    scores: Floats,
    labels: FrameLabels,
    truth: tuple[tuple[int, int], ...],
    *,
    frames_per_score: int,
    kernel: int,
    how: VideoScore,
    alerts: AlertSettings | None,
    fps: float | None,
) -> JudgedVideo:
    frames = len(labels)
    columns = smoothed_columns(scores, kernel)
    first = np.arange(len(scores), dtype=np.int64) * frames_per_score
    end = np.minimum(first + frames_per_score, frames)
    rate = fps or 1.0
    chain = None
    if alerts is not None:
        if scores.min() < 0 or scores.max() > 1:
            raise ForeignScoresError(f"{name}: thresholds are for scores in [0, 1], got {scores.min()}..{scores.max()}")
        chain = ChainSettings(alert=alerts, kernel=kernel)
    return JudgedVideo(
        columns={
            column: ScoredVideo(
                name,
                int(bool(truth)),
                score_of_video(values, how),
                repeated(values, frames, starts=first, ends=end),
                labels,
            )
            for column, values in columns.items()
        },
        clip_scores=columns,
        start=first / rate,
        end=end / rate,
        first_frame=first,
        end_frame=end,
        breaks=(0,),
        watched=Span(0.0, frames / rate),
        incidents=tuple(Span(begins / rate, over / rate) for begins, over in intervals_of(labels)),
        truth=truth,
        chain=chain,
        alerts={}
        if alerts is None
        else {
            column: alert_spans(values, first / rate, end / rate, (0,), alerts) for column, values in columns.items()
        },
        unit="frames" if fps is None else "seconds",
    )


def _frames(name: str, scores: int, labels: int, frames_per_score: int) -> int:
    """Return the number of judged frames of a video.

    Raises:
        ForeignScoresError: the numbers differ by the frames of a score, or more.
    """
    if abs(labels - scores * frames_per_score) >= frames_per_score:
        raise ForeignScoresError(
            f"{name}: {scores} scores of {frames_per_score} frames are {scores * frames_per_score} frames, and "
            f"{labels} have a label: expected a difference below {frames_per_score} frames "
            "(--frames-per-score sets the frames of a score)"
        )
    return min(labels, scores * frames_per_score)


class _EndCounts:
    """Counts of frames at the ends of videos with only a score or only a label."""

    def __init__(self, frames_per_score: int) -> None:
        self._each = frames_per_score
        self._behind = self._videos_behind = self._partial = 0

    def count(self, scores: int, labels: int) -> None:
        behind = labels - scores * self._each
        self._behind += max(behind, 0)
        self._videos_behind += behind > 0
        self._partial += behind < 0

    @property
    def sentences(self) -> Sequence[str]:
        notes = []
        if self._behind:
            notes.append(
                f"{self._behind} labels after the last score of {self._videos_behind} videos were left out: fewer than "
                f"{self._each} a video."
            )
        if self._partial:
            notes.append(f"The last score of {self._partial} videos stands for fewer than {self._each} frames.")
        return notes


def _read(file: Path, column: str) -> dict[str, Floats]:
    try:
        match file.suffix.lower():
            case ".npz":
                found = _npz(file)
            case ".csv":
                found = _csv(file, column)
            case ".parquet":
                found = _parquet(file, column)
            case ".json":
                found = _json(file)
            case other:
                raise ForeignScoresError(f"{file}: expected a file {', '.join(SUFFIXES)}, got {other or 'no suffix'}")
    except FileNotFoundError:
        raise ForeignScoresError(f"{file}: no such file") from None
    except OSError as error:
        raise ForeignScoresError(f"{file}: cannot be read: {error.strerror or error}") from None
    if not found:
        raise ForeignScoresError(f"{file}: holds no video")
    return found


def _npz(file: Path) -> dict[str, Floats]:
    try:
        arrays = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ForeignScoresError(f"{file}: not an archive of plain arrays: {error}") from None
    if not isinstance(arrays, np.lib.npyio.NpzFile):
        raise ForeignScoresError(f"{file}: one array; expected an archive with one array a video")
    with arrays:
        return {name: _row(file, name, _member(file, arrays, name)) for name in arrays.files}


def _member(file: Path, arrays: np.lib.npyio.NpzFile, name: str) -> npt.NDArray[np.generic]:
    try:
        values: object = arrays[name]
    except UNREADABLE as error:
        raise ForeignScoresError(f"{file}: {name}: not a plain array: {error}") from None
    if not isinstance(values, np.ndarray):
        raise ForeignScoresError(f"{file}: {name}: not a plain array")
    return values


def _json(file: Path) -> dict[str, Floats]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ForeignScoresError(f"{file}: not JSON: {error}") from None
    except RecursionError:
        raise ForeignScoresError(f"{file}: not JSON: nested too deeply") from None
    if not isinstance(document, dict):
        raise ForeignScoresError(f"{file}: expected an object with a list of numbers for each video")
    try:
        return {name: _row(file, name, np.asarray(values)) for name, values in document.items()}
    except ValueError:
        raise ForeignScoresError(f"{file}: expected one list of numbers for each video") from None


def _csv(file: Path, column: str) -> dict[str, Floats]:
    rows: dict[str, list[float]] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text)
            header = [name.strip() for name in next(reader, [])]
            if missing := [name for name in ("video", column) if name not in header]:
                raise ForeignScoresError(f"{file}:1: no column {missing[0]}; expected video and {column} in the header")
            video, value = header.index("video"), header.index(column)
            for row in reader:
                if not row:
                    continue
                try:
                    rows.setdefault(row[video], []).append(float(row[value]))
                except (IndexError, ValueError):
                    got = row[value] if len(row) > value else "nothing"
                    raise ForeignScoresError(
                        f"{file}:{reader.line_num}: expected a {column}, a number; got {got!r}"
                    ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ForeignScoresError(f"{file}: not CSV: {error}") from None
    return {name: np.array(values, np.float64) for name, values in rows.items()}


def _parquet(file: Path, column: str) -> dict[str, Floats]:
    import pyarrow
    from pyarrow import parquet

    try:
        names = parquet.read_schema(file).names
        if missing := [name for name in ("video", column) if name not in names]:
            raise ForeignScoresError(f"{file}: no column {missing[0]}; expected video and {column}")
        table = parquet.read_table(file, columns=["video", column])
        values = table[column].cast(pyarrow.float64()).fill_null(float("nan")).to_numpy()
        videos = table["video"].cast(pyarrow.string()).combine_chunks().dictionary_encode()
    except pyarrow.ArrowException as error:
        raise ForeignScoresError(f"{file}: not a Parquet table of numbers: {' '.join(str(error).split())}") from None
    if videos.null_count:
        raise ForeignScoresError(f"{file}: a row has no video")
    if not len(videos):
        return {}
    # A video's rows need not be adjacent; their order is the order of time.
    codes = videos.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(videos.dictionary)))
    parts = np.split(np.asarray(values, np.float64)[order], ends[:-1])
    return dict(zip(videos.dictionary.to_pylist(), parts, strict=True))


def _row(file: Path, name: str, values: npt.NDArray[np.generic]) -> Floats:
    """Return the numbers as one row; a single column is accepted, too."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or not (values.size == 0 or np.issubdtype(values.dtype, np.number) or values.dtype == bool):
        raise ForeignScoresError(
            f"{file}: {name}: expected a row of numbers, got {values.dtype} of shape {values.shape}"
        )
    if np.iscomplexobj(values):
        raise ForeignScoresError(f"{file}: {name}: expected real numbers")
    return values.astype(np.float64)
