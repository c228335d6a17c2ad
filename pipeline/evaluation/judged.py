"""What was scored beside what is true, video by video, in the three columns of every judgement.

A judged video comes from a run of ours (:mod:`pipeline.evaluation.judged_run`) or from anybody's files
(:mod:`pipeline.evaluation.foreign_scores`). From here on it makes no difference.
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

Floats = npt.NDArray[np.float64]

RAW, CAUSAL, CENTRED = "raw", "causal", "centred"

#: The columns of every judgement, and what each means.
COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        RAW: "each clip's score as it was given",
        CAUSAL: "the average with the clips before it: what alerts are raised by, live",
        CENTRED: "the average with the clips around it, as papers smooth: it looks into the future",
    }
)

#: How a video's own score comes from its clips'.
VideoScore = Literal["mean", "max"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A video that no figure counts, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedVideo:
    """One video.

    Times are on one axis that never falls: seconds of the recording's clock (those of its segments one after the other
    where the clock jumps), or frame numbers where nothing is known of seconds.

    Attributes:
        columns: by column, the video with its frames' scores and labels.
        clip_scores: by column, (n,), of its clips.
        start, end: (n,), of its clips.
        first_frame, end_frame: (n,), of its clips, half open.
        breaks: ordinals of the clips with which segments begin, 0 among them.
        watched: all of the video.
        incidents: when something abnormal happened; None where that is not known.
        truth: the same in frames, half open, by rising number, with what lies behind the last clip and is not judged.
        chain: settings of the operators, and so of the alerts; None where there are none.
        alerts: by column, when each alert opened and ended; empty without ``chain``.
        unit: of the axis.
        damaged: not all of it could be decoded or scored.
        content_hash: of the recording; None where it is not known.
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

    @property
    def name(self) -> str:
        return self.columns[RAW].name

    @property
    def label(self) -> int:
        return self.columns[RAW].label

    @property
    def frames(self) -> int:
        """How many frames are judged."""
        scores = self.columns[RAW].frame_scores
        return 0 if scores is None else len(scores)

    def sheet(self, column: str) -> ScoreSheet | None:
        """What its alerts are worth by this column; None where none could be raised.

        Where it is not known when in an abnormal video something happened, the whole of it is one incident: the first
        alert found it, and no other one is judged.
        """
        return None if self.chain is None else self.sheet_of(self.alerts[column])

    def sheet_of(self, alerts: Sequence[Span]) -> ScoreSheet:
        """:meth:`sheet` of other alerts."""
        if self.incidents is not None:
            return score(self.incidents, alerts, self.watched)
        return score([self.watched], alerts[:1], self.watched, tolerance=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What can be judged of a set of videos.

    Attributes:
        videos: at least one.
        left_out: videos that are not among them.
        notes: sentences on what else is to be known of the figures.
        no_alerts: why there are no figures of alerts; "" where there are.
        only_scores, only_labels: names of the videos that one side alone has.
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
        """One a video; none at all where no alerts could be raised (``no_alerts`` says why)."""
        return [sheet for video in self.videos if (sheet := video.sheet(column)) is not None]

    @property
    def frames(self) -> int:
        """How many frames are judged."""
        return sum(video.frames for video in self.videos)


def require_same_footage(first: Sequence[JudgedVideo], second: Sequence[JudgedVideo]) -> None:
    """Refuse to set videos of one name against each other that are not one recording with one truth.

    Raises:
        ValueError: one line that names the first such video of ``first`` and what differs.
    """
    others = {video.name: video for video in second}
    for one in first:
        if (other := others.get(one.name)) is None:
            continue
        hashes = one.content_hash, other.content_hash
        if None not in hashes and hashes[0] != hashes[1]:
            raise ValueError(
                f"{one.name} is another recording in the second: its content is {hashes[1]}, not {hashes[0]}; compare "
                "runs of the same files"
            )
        for what in (_said_label, _said_truth, _said_group):
            said, theirs = what(one), what(other)
            if said != theirs:
                raise ValueError(
                    f"{one.name} is {said} in the first, {theirs} in the second: compare runs of one manifest"
                )


def _said_label(video: JudgedVideo) -> str:
    return "abnormal" if video.label else "normal"


def _said_truth(video: JudgedVideo) -> str:
    if video.truth is None:
        return "abnormal in frames that nobody names"
    return f"abnormal in frames {', '.join(f'[{first}, {end})' for first, end in video.truth) or 'none'}"


def _said_group(video: JudgedVideo) -> str:
    return f"of group {video.columns[RAW].group}" if video.columns[RAW].group else "of no group"


def smoothed_columns(scores: npt.ArrayLike, kernel: int, breaks: Sequence[int] = (0,)) -> dict[str, Floats]:
    """The three columns of a video's clip scores; no average spans two segments.

    Args:
        scores: (n,), n ≥ 1, any finite numbers.
        kernel: clips of the averages. The centred one is of an odd number: of one more where this is even.
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
    """Clips of the centred average beside a causal one of ``kernel``: odd, as it has a middle."""
    return kernel + 1 - kernel % 2


def video_score(clip_scores: Floats, how: VideoScore) -> float:
    """A video's own score: the mean of its clips', or the highest."""
    return float(clip_scores.max() if how == "max" else clip_scores.mean())
