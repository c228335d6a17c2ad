"""The smoothed scores since the last record of a camera and detector, and the settings that judge them.

With both, a reader of the topic can say which alerts another threshold would have raised.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, Literal

from pydantic import Field

from operators.chain import ChainSettings
from operators.scores import SmoothedScore
from pipeline.alerts.cloud_event import DECIMALS, Document, Seconds, Share, Utc, rounded

#: Most scores of one record, the newest: a second of 30 clips twice over. Some 180 bytes each as JSON.
MOST_RECENT = 64

Count = Annotated[int, Field(ge=0)]


class RecentScore(Document):
    """One smoothed score."""

    segment: str
    index: Count = Field(description="ordinal of the clip in its segment, from 0")
    started_pts_seconds: Seconds = Field(description="PTS of the clip's first frame, on the clock of the segment")
    ended_pts_seconds: Seconds = Field(description="PTS of its last frame plus one frame period")
    ended_at: Utc | None = Field(None, description="wall-clock time of its last frame (UTC), absent when unknown")
    smoothed: Share = Field(description="the moving average that ends with this clip")
    gated: Literal[True] | None = Field(None, description="true: nothing moved, and its score is held; else absent")
    model: str = Field(description="model and its version, NAME/VERSION")


class JudgedBy(Document):
    """The settings that turn the smoothed scores into alerts; see :class:`operators.alerting.AlertSettings`."""

    open_threshold: Share
    close_threshold: Share
    min_clips: Annotated[int, Field(ge=1)]
    update_every_seconds: Seconds
    cooldown_seconds: Seconds
    max_duration_seconds: Seconds
    max_hole: Count
    kernel: Annotated[int, Field(ge=1)]

    @classmethod
    def of(cls, settings: ChainSettings) -> JudgedBy:
        """Return the settings of a chain."""
        alert = settings.alert
        return cls(
            open_threshold=alert.open_threshold,
            close_threshold=alert.close_threshold,
            min_clips=alert.min_clips,
            update_every_seconds=alert.update_every_seconds,
            cooldown_seconds=alert.cooldown_seconds,
            max_duration_seconds=alert.max_duration_seconds,
            max_hole=settings.max_hole,
            kernel=settings.kernel,
        )


class RecentScores:
    """Gathers the smoothed scores of one camera and detector between two records. Not thread-safe."""

    def __init__(self) -> None:
        self._scores: deque[SmoothedScore] = deque(maxlen=MOST_RECENT)
        self._count = 0

    def take(self, score: SmoothedScore) -> None:
        """Take the next smoothed score, in order."""
        self._scores.append(score)
        self._count += 1

    def drain(self) -> tuple[int, tuple[RecentScore, ...]]:
        """Return the scores since the last call, and the number of scores before them since the worker began."""
        before = self._count - len(self._scores)
        drained = tuple(_document(score) for score in self._scores)
        self._scores.clear()
        return before, drained


def _document(score: SmoothedScore) -> RecentScore:
    clip = score.clip
    return RecentScore(
        segment=clip.segment,
        index=clip.index,
        started_pts_seconds=round(clip.start, DECIMALS),
        ended_pts_seconds=round(clip.end, DECIMALS),
        ended_at=clip.times.ended_at,
        smoothed=rounded(score.value),
        gated=True if clip.gated else None,
        model=f"{clip.model}/{clip.model_version}",
    )
