"""Scores and truth of each video, in the three columns of every judgement.

A judged video comes from a run of our own (:mod:`pipeline.evaluation.judged_run`) or from files of other programs
(:mod:`pipeline.evaluation.foreign_scores`). From here on both are treated alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from operators.chain import ChainSettings
from operators.figures.events import ScoreSheet, Span, score
from operators.figures.videos import ScoredVideo
from operators.smoothing import causal, centred
from pipeline.errors import UsageError

Floats = npt.NDArray[np.float64]

RAW, CAUSAL, CENTRED = "raw", "causal", "centred"

#: The columns of every judgement and their meanings.
COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        RAW: "each clip's own score",
        CAUSAL: "the average with the clips before it, which raises alerts live",
        CENTRED: "the average with the clips around it, as in papers; it looks into the future",
    }
)

#: How a video's own score is made from its clips'.
VideoScore = Literal["mean", "max"]


class FootageError(UsageError):
    """Two sides of a comparison are not of the same footage. One line that names the video."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A video that is not in the figures, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedVideo:
    """One video.

    Times are on one axis that never falls: seconds of the recording's clock (its segments in sequence if the clock
    jumps), or frame numbers if the frame rate is unknown.

    Attributes:
        columns: by column, the video with its frames' scores and labels.
        clip_scores: by column, (n,), of its clips.
        start, end: (n,), of its clips.
        first_frame, end_frame: (n,), of its clips, half open.
        breaks: ordinals of the first clips of segments, including 0.
        watched: the time span of the video.
        incidents: time spans of the incidents; None if they are unknown.
        truth: the same in frames, half open, rising, including frames after the last clip, which are not judged.
        chain: settings of the operators, and so of the alerts; None without alerts.
        alerts: by column, opening and end of each alert; empty without ``chain``.
        unit: of the axis.
        damaged: not all of it could be decoded or scored.
        content_hash: of the recording; None if unknown.
        gated: (n,), its clips that were not scored, and whose score is held; None: none.
    """

    columns: Mapping[str, ScoredVideo]
    clip_scores: Mapping[str, Floats]
    start: Floats
    end: Floats
    first_frame: npt.NDArray[np.int64]
    end_frame: npt.NDArray[np.int64]
    breaks: tuple[int, ...]
    watched: Span
    incidents: tuple[Span, ...] | None
    truth: tuple[tuple[int, int], ...] | None = None
    chain: ChainSettings | None = None
    alerts: Mapping[str, tuple[Span, ...]]
    unit: Literal["seconds", "frames"] = "seconds"
    damaged: bool = False
    content_hash: str | None = None
    gated: npt.NDArray[np.bool_] | None = None

    @property
    def name(self) -> str:
        return self.columns[RAW].name

    @property
    def label(self) -> int:
        return self.columns[RAW].label

    @property
    def frames(self) -> int:
        """Number of judged frames."""
        scores = self.columns[RAW].frame_scores
        return 0 if scores is None else len(scores)

    def sheet(self, column: str) -> ScoreSheet | None:
        """Return the score sheet of the alerts by this column; None if no alerts could be raised.

        If the times of an abnormal video's incidents are unknown, the whole video is one incident: the first alert
        found it, and further alerts are not judged.
        """
        return None if self.chain is None else self.sheet_of(self.alerts[column])

    def sheet_of(self, alerts: Sequence[Span]) -> ScoreSheet:
        """Return the score sheet of other alerts, see :meth:`sheet`."""
        if self.incidents is not None:
            return score(self.incidents, alerts, self.watched)
        return score([self.watched], alerts[:1], self.watched, tolerance=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A judged set of videos.

    Attributes:
        no_alerts: why figures of alerts are missing; "" if they exist.
        only_scores, only_labels: names of the videos with only scores or only labels.
    """

    videos: tuple[JudgedVideo, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    no_alerts: str = ""
    only_scores: tuple[str, ...] = ()
    only_labels: tuple[str, ...] = ()

    def column(self, name: str) -> list[ScoredVideo]:
        return [video.columns[name] for video in self.videos]

    def sheets(self, column: str) -> list[ScoreSheet]:
        """Return one sheet a video; empty if no alerts could be raised (``no_alerts`` has the reason)."""
        return [sheet for video in self.videos if (sheet := video.sheet(column)) is not None]

    @property
    def frames(self) -> int:
        """Number of judged frames."""
        return sum(video.frames for video in self.videos)


def require_same_footage(first: Sequence[JudgedVideo], second: Sequence[JudgedVideo]) -> None:
    """Check that videos of one name are the same recording with the same truth.

    Raises:
        FootageError: one line that names the first such video of ``first`` and what differs.
    """
    others = {video.name: video for video in second}
    for one in first:
        if (other := others.get(one.name)) is None:
            continue
        hashes = one.content_hash, other.content_hash
        if None not in hashes and hashes[0] != hashes[1]:
            raise FootageError(
                f"{one.name} is another recording in the second: its content is {hashes[1]}, not {hashes[0]}; compare "
                "runs of the same files"
            )
        for describe in (_describe_label, _describe_truth, _describe_group):
            ours, theirs = describe(one), describe(other)
            if ours != theirs:
                raise FootageError(
                    f"{one.name} is {ours} in the first, {theirs} in the second: compare runs of one manifest"
                )


def _describe_label(video: JudgedVideo) -> str:
    return "abnormal" if video.label else "normal"


def _describe_truth(video: JudgedVideo) -> str:
    if video.truth is None:
        return "abnormal in unknown frames"
    return f"abnormal in frames {', '.join(f'[{first}, {end})' for first, end in video.truth) or 'none'}"


def _describe_group(video: JudgedVideo) -> str:
    return f"of group {video.columns[RAW].group}" if video.columns[RAW].group else "without a group"


def smoothed_columns(scores: npt.ArrayLike, kernel: int, breaks: Sequence[int] = (0,)) -> dict[str, Floats]:
    """Return the three columns of a video's clip scores; averages do not cross segments.

    Args:
        scores: (n,), n ≥ 1, any finite numbers.
        kernel: clips of the averages. The centred average takes one clip more if this is even.
        breaks: see :class:`JudgedVideo`.

    Raises:
        ValueError: as :func:`operators.smoothing.causal`.
    """
    row = np.asarray(scores, np.float64)
    segments = np.split(row, [first for first in breaks if first > 0])
    return {
        RAW: row,
        CAUSAL: np.concatenate([causal(one, kernel) for one in segments]),
        CENTRED: np.concatenate([centred(one, centred_kernel(kernel)) for one in segments]),
    }


def centred_kernel(kernel: int) -> int:
    """Return the clips of the centred average beside a causal one of ``kernel``: odd, because it has a middle."""
    return kernel + 1 - kernel % 2


def video_score(clip_scores: Floats, how: VideoScore) -> float:
    """Return a video's own score: the mean of its clips' scores, or the highest."""
    return float(clip_scores.max() if how == "max" else clip_scores.mean())
