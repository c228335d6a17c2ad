"""A chart of scores over time, drawn into a picture: what one looks at beside the film itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.runs.folder import AlertSpan, Clips

#: What the chart shows at once, seconds, and where in it the picture is that is playing.
_SHOWN_SECONDS = 30.0
_PLAYING = 2 / 3

BACKGROUND, GRID, TEXT = (18, 20, 24), (52, 56, 64), (232, 234, 238)
SCORE, AVERAGE, THRESHOLD, ALERT = (112, 120, 132), (96, 176, 255), (255, 184, 64), (214, 48, 44)
#: An alert's share of the background: until it could be known, and from then on.
_BEFORE, _OPEN = 0.22, 0.45
_FUTURE = 0.5  #: brightness of what has not played yet

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SegmentScores:
    """The clips of one segment and what became of them; arrays (n,), n ≥ 1."""

    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    score: npt.NDArray[np.float32]
    smoothed: npt.NDArray[np.float32]
    alerts: tuple[AlertSpan, ...]
    first: int  #: of its clips, ordinal in the recording

    def at(self, times: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The latest clip that each time lies in, -1 where there is none."""
        clip = np.searchsorted(self.starts, times, side="right") - 1
        return np.where((clip >= 0) & (times < self.ends[np.maximum(clip, 0)]), clip, -1)


def by_segment(clips: Clips, alerts: tuple[AlertSpan, ...]) -> dict[str, SegmentScores]:
    """A recording's scores by the ids of its segments; one without clips has none."""
    found = {}
    names = np.array(clips.segment)
    for name in dict.fromkeys(clips.segment):
        own = np.flatnonzero(names == name)
        found[name] = SegmentScores(
            clips.start[own],
            clips.end[own],
            clips.score[own],
            clips.smoothed[own],
            tuple(alert for alert in alerts if alert.segment == name),
            int(own[0]),
        )
    return found


def draw_chart(chart: Picture, part: SegmentScores, now: float, threshold: float) -> None:
    """Draw scores over time, 0 at the bottom and 1 on top: bright is what has played.

    Args:
        chart: uint8 (h, w, 3) RGB, drawn into.
        now: time of the picture that is playing, seconds of the segment's clock.
        threshold: where alerts open.
    """
    height, width = chart.shape[:2]
    begins, ends = _window(part, now)
    times = begins + (np.arange(width) + 0.5) / width * (ends - begins)
    rows = np.arange(height)[:, None]

    def row(value: npt.ArrayLike) -> npt.NDArray[np.float64]:
        places: npt.NDArray[np.float64] = (height - 1) * (1.0 - np.asarray(value, np.float64))
        return places

    for level in (0.0, 0.5, 1.0):
        chart[round(float(row(level)))] = GRID
    clip = part.at(times)
    known = clip >= 0
    score, average = (
        np.where(known, row(values[np.maximum(clip, 0)]), np.inf) for values in (part.score, part.smoothed)
    )
    _blend(chart, (rows >= score) * 0.75, SCORE)
    for alert in part.alerts:
        for since, share in ((alert.started, _BEFORE), (alert.opened, _OPEN - _BEFORE)):
            columns = (times >= since) & (times < alert.ended)
            _blend(chart, np.broadcast_to(columns * share, (height, width)), ALERT)
    dashed = (np.arange(width) // 6) % 2 == 0
    chart[round(float(row(threshold))), dashed] = THRESHOLD
    # A step is drawn upright from one height to the next; the line fades out over a pixel on either side.
    before = np.where(np.isfinite(np.roll(average, 1)), np.roll(average, 1), average)
    before[0] = average[0]
    with np.errstate(invalid="ignore"):
        above, below = np.minimum(average, before) - rows, rows - np.maximum(average, before)
        ink = np.clip(1.5 - np.maximum(above, below), 0.0, 1.0)
    _blend(chart, np.where(known, ink, 0.0), AVERAGE)
    playing = min(width - 1, int(np.searchsorted(times, now)))
    chart[:, playing + 1 :] = (chart[:, playing + 1 :] * _FUTURE).astype(np.uint8)
    chart[:, playing] = TEXT


def _window(part: SegmentScores, now: float) -> tuple[float, float]:
    """Return the stretch that the chart shows, seconds: a short segment whole, else around the present."""
    first, last = float(part.starts[0]), float(part.ends[-1])
    if last - first <= _SHOWN_SECONDS:
        return first, last
    begins = min(max(first, now - _PLAYING * _SHOWN_SECONDS), last - _SHOWN_SECONDS)
    return begins, begins + _SHOWN_SECONDS


def _blend(picture: Picture, share: npt.NDArray[np.floating[Any]], colour: tuple[int, int, int]) -> None:
    """Mix ``colour`` into ``picture``, (h, w, 3), as much as ``share``, (h, w) in [0, 1], says."""
    mixed = picture + share[..., None] * (np.array(colour, np.float64) - picture)
    picture[...] = np.rint(mixed).astype(np.uint8)
