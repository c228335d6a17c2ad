"""Scores and labels of other programs, judged.

:mod:`pipeline.evaluation.score_files` reads them, and :mod:`pipeline.evaluation.pairing` matches their names. A score
stands for a fixed number of frames, one score after the other from the video's first frame on. The last score may stand
for fewer frames. Labels after the last score are left out if they are fewer than the frames of a score: with 16 frames
a score, 265 labels match 16 or 17 scores.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from operators.alerting import AlertSettings
from operators.chain import ChainSettings
from operators.checks import whole_number
from operators.figures.events import Span
from operators.figures.videos import FrameLabels, ScoredVideo, repeated
from pipeline.evaluation.alarms import alert_spans
from pipeline.evaluation.judged import Floats, Judged, JudgedVideo, LeftOut, VideoScore, smoothed_columns
from pipeline.evaluation.judged import video_score as score_of_video
from pipeline.evaluation.pairing import pair
from pipeline.evaluation.score_files import ForeignScoresError
from pipeline.manifests.manifest import intervals_of

#: Frames that a score stands for, of a clip-based model.
FRAMES_PER_SCORE = 16

#: Default number of scores in the averages: the operators' default, see operators/chain.py.
KERNEL = 5


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
    """Judge the videos that have both scores and labels, by their names in the labels.

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
    pairs = pair(scores, labels)
    lengths = {name: (len(scores[name]), len(labels[label])) for name, label in pairs.names.items()}
    videos, left_out = [], []
    notes = _EndCounts(frames_per_score)
    for name, label in pairs.names.items():
        judged_frames = _frames(name, lengths, frames_per_score)
        if not judged_frames:
            left_out.append(LeftOut(label, "it has no score"))
            continue
        notes.count(*lengths[name])
        videos.append(
            _judged(
                label,
                scores[name],
                labels[label][:judged_frames],
                intervals_of(labels[label]),
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
        notes=(*pairs.notes, *notes.sentences),
        no_alerts="" if alerts is not None else "no thresholds are known; name one with --threshold, and --fps",
        only_scores=tuple(name for name in scores if name not in pairs.names),
        only_labels=tuple(name for name in labels if name not in set(pairs.names.values())),
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


def _frames(name: str, lengths: Mapping[str, tuple[int, int]], frames_per_score: int) -> int:
    """Return the number of judged frames of a video.

    Args:
        lengths: by video, the numbers of scores and of labels.

    Raises:
        ForeignScoresError: the numbers differ by the frames of a score, or more.
    """
    scores, labels = lengths[name]
    if not _matches(scores, labels, frames_per_score):
        raise ForeignScoresError(
            f"{name}: {scores} scores of {frames_per_score} frames are {scores * frames_per_score} frames, and "
            f"{labels} have a label: expected a difference below {frames_per_score} frames; "
            f"{_step(lengths.values(), frames_per_score)}"
        )
    return min(labels, scores * frames_per_score)


def _matches(scores: int, labels: int, frames_per_score: int) -> bool:
    return abs(labels - scores * frames_per_score) < frames_per_score


def _step(lengths: Collection[tuple[int, int]], frames_per_score: int) -> str:
    """Return the step that makes the numbers of scores and labels of all videos match, as far as they show it."""
    numbers, frames = ({each[side] for each in lengths} for side in (0, 1))
    if all(_matches(scores, labels, 1) for scores, labels in lengths):
        return "every video has a score a frame: --frames-per-score 1"
    if len(numbers) == 1 < len(frames) and (count := next(iter(numbers))):
        return (
            f"every video has {count} scores, whatever its length: where they are segments of equal shares, store one "
            f"score a frame, scores[np.arange(frames) * {count} // frames], and use --frames-per-score 1"
        )
    beyond = {scores - -(-labels // frames_per_score) for scores, labels in lengths}
    if len(beyond) == 1 and (count := next(iter(beyond))) > 0:
        last = "last score is" if count == 1 else f"last {count} scores are"
        return f"every video has more: where its {last} of padding at the end, store scores[:-{count}]"
    return "--frames-per-score sets the frames of a score"


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
