"""The timeline of one video: drawn scores, threshold, truth and alerts; thumbnails; the table of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.report.album import Thumbnail
from pipeline.evaluation.report.data import Timeline
from pipeline.evaluation.report.drawing import Axis, Tick, clock_ticks, even_ticks, path, steps
from pipeline.evaluation.report.moments import REPEATED, Judged, incidents, repeats
from pipeline.evaluation.report.writing import between, clock, counted, number

#: Size of the drawing. It is stretched to the page's width; its height is in CSS pixels.
WIDTH, HEIGHT = 1000, 132
_PLOT, _TRUTH, _ALERTS, _LANE = 104, 109, 121, 9
#: Largest number of points. With more clips each point is the highest of several, so peaks are kept.
MOST_POINTS = 240
#: Thumbnails in a row under a timeline's name; a phone shows every second one.
THUMBNAILS = 8
_TICKS = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar on the axis: an incident or an alert."""

    x: float
    width: float
    kind: str  #: truth, useful, false or open (unknown whether it was right)
    words: str


@dataclass(frozen=True, slots=True)
class DrawnTimeline:
    """A timeline, drawn within ``WIDTH`` × ``HEIGHT``."""

    id: str
    name: str
    tags: list[str]
    verdict: list[tuple[str, str]]  #: words and their style: good, bad or plain
    note: str
    thumbnails: list[Thumbnail]
    score: str
    smoothed: str
    threshold: float | None
    close: float | None
    threshold_words: str
    bars: list[Bar]
    truth_known: bool
    has_alerts: bool
    x_ticks: list[Tick]
    x_unit: str  #: "" for a clock
    rows: list[tuple[str, ...]]
    bin: int
    summary: str  #: of the drawing, for screen readers
    width: int = WIDTH
    height: int = HEIGHT
    plot: int = _PLOT
    truth_lane: int = _TRUTH
    alert_lane: int = _ALERTS
    lane: int = _LANE


def thumbnail_clips(video: Timeline) -> list[int]:
    """Return the clips whose pictures are above the timeline, each above its part of the axis."""
    if video.middle_frame is None or not np.size(video.start):
        return []
    low, high = _range(video)
    middles = (np.asarray(video.start, np.float64) + np.asarray(video.end, np.float64)) / 2
    places = low + (np.arange(THUMBNAILS) + 0.5) / THUMBNAILS * (high - low)
    return [int(np.argmin(np.abs(middles - place))) for place in places]


def drawn(
    video: Timeline, verdict: Judged, *, id: str, thumbnail: Callable[[int], Thumbnail], note: str = ""
) -> DrawnTimeline:
    """Draw the timeline of one video.

    Args:
        verdict: its alerts and incidents, paired.
    """
    low, high = _range(video)
    x = Axis(low, high, 0, WIDTH)
    y = Axis(0, 1, _PLOT, 0)
    bins = _Bins.from_timeline(video)
    smoothed = "" if bins.smoothed is None else path(x(bins.end), y(bins.smoothed))
    ticks = clock_ticks(high, _TICKS, low=low) if video.unit == "seconds" else even_ticks(high, _TICKS, low=low)
    threshold = video.open_threshold
    return DrawnTimeline(
        id=id,
        name=video.name,
        tags=_tags(video),
        verdict=_verdict(video, verdict),
        note="; ".join(part for part in (video.note, note) if part),
        thumbnails=_thumbnails(video, thumbnail),
        score=steps(x(bins.start), x(bins.end), y(bins.score)) if len(bins.start) else "",
        smoothed=smoothed if len(bins.start) else "",
        threshold=None if threshold is None else float(y([threshold])[0]),
        close=None if video.close_threshold is None else float(y([video.close_threshold])[0]),
        threshold_words="" if threshold is None else number(threshold),
        bars=_bars(video, verdict, x),
        truth_known=incidents(video) is not None,
        has_alerts=video.alerts is not None,
        x_ticks=x.ticks(ticks, clock if video.unit == "seconds" else lambda value: f"{value:,.0f}"),
        x_unit="" if video.unit == "seconds" else "frame",
        rows=bins.rows(video),
        bin=bins.size,
        summary=_summary(video, bins),
    )


@dataclass(frozen=True, slots=True)
class _Bins:
    """Clips merged into at most :data:`MOST_POINTS` points, each with its time span and the highest scores."""

    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    smoothed: npt.NDArray[np.float64] | None
    size: int

    @classmethod
    def from_timeline(cls, video: Timeline) -> _Bins:
        start, end, score = (np.asarray(line, np.float64) for line in (video.start, video.end, video.score))
        smoothed = None if video.smoothed is None else np.asarray(video.smoothed, np.float64)
        size = max(1, -(-len(start) // MOST_POINTS))
        if size == 1:
            return cls(start, end, score, smoothed, 1)
        first = np.arange(0, len(start), size)
        return cls(
            start[first],
            np.maximum.reduceat(end, first),
            np.maximum.reduceat(score, first),
            None if smoothed is None else np.maximum.reduceat(smoothed, first),
            size,
        )

    def rows(self, video: Timeline) -> list[tuple[str, ...]]:
        """Return start, end, score, smoothed score and truth of each point as text."""
        happened = incidents(video)
        lines: list[tuple[str, ...]] = []
        for i in range(len(self.start)):
            begin, end = float(self.start[i]), float(self.end[i])
            truth = "?" if happened is None else "yes" if any(a.start < end and a.end > begin for a in happened) else ""
            smoothed = "" if self.smoothed is None else f"{self.smoothed[i]:.3f}"
            if video.unit == "seconds":
                lines.append((f"{begin:.2f}", f"{end:.2f}", f"{self.score[i]:.3f}", smoothed, truth))
            else:
                lines.append((f"{begin:.0f}", f"{end:.0f}", f"{self.score[i]:.3f}", smoothed, truth))
        return lines


def _range(video: Timeline) -> tuple[float, float]:
    """Return the ends of the axis: the whole video, from 0 unless its clock starts far from 0."""
    start, end = np.asarray(video.start, np.float64), np.asarray(video.end, np.float64)
    high = float(video.length or 0.0)
    if not len(start):
        return 0.0, high or 1.0
    high = max(high, float(end.max()))
    low = float(start[0])
    return (0.0 if 0 <= low < 0.5 * high else low), high


def _tags(video: Timeline) -> list[str]:
    known = {1: "abnormal", 0: "normal"}.get(-1 if video.label is None else video.label, "")
    return [tag for tag in (known, video.group) if tag]


def _verdict(video: Timeline, verdict: Judged) -> list[tuple[str, str]]:
    happened = incidents(video)
    words: list[tuple[str, str]] = []
    if not np.size(video.start):
        words.append(("nothing scored", "bad"))
    if happened is None:
        words.append(("times unknown" if video.label else "not labelled", "plain"))
    if video.alerts is None:
        return words
    if happened is None:
        return [*words, (counted(len(video.alerts), "alert"), "plain")]
    if happened:
        found = f"{len(verdict.found)} of {counted(len(happened), 'incident')} found"
        words.append((found, "bad" if verdict.missed else "good"))
    if verdict.false:
        words.append((counted(len(verdict.false), "false alarm"), "bad"))
    elif not happened:
        words.append(("no alert", "good"))
    return words


def _bars(video: Timeline, verdict: Judged, x: Axis) -> list[Bar]:
    spans = [
        (one.start, one.end, "truth", f"{one.kind or 'incident'}, {between(one.start, one.end, video.unit)}")
        for one in incidents(video) or ()
    ]
    useful, false = set(map(id, verdict.useful)), set(map(id, verdict.false))
    for one in video.alerts or ():
        kind = "useful" if id(one) in useful else "false" if id(one) in false else "open"
        words = "alert" if kind != "false" else f"false alarm{f' ({REPEATED})' if repeats(verdict, one) else ''}"
        spans.append(
            (one.opened, one.ended, kind, f"{words}, {between(one.opened, one.ended, video.unit)}, peak {one.peak:.3f}")
        )
    bars = []
    for start, end, kind, words in spans:
        left, right = x([start, end]).tolist()
        bars.append(Bar(left, max(right - left, 2.0), kind, words))
    return bars


def _thumbnails(video: Timeline, thumbnail: Callable[[int], Thumbnail]) -> list[Thumbnail]:
    found = [thumbnail(clip) for clip in thumbnail_clips(video)]
    return found if any(one.uri for one in found) else []


def _summary(video: Timeline, bins: _Bins) -> str:
    if not len(bins.start):
        return f"{video.name}: nothing was scored"
    highest = float((bins.score if bins.smoothed is None else bins.smoothed).max())
    parts = [counted(np.size(video.start), "clip"), f"highest score {highest:.3f}"]
    if video.open_threshold is not None:
        parts.append(f"threshold {number(video.open_threshold)}")
    return f"{video.name}: {', '.join(parts)}"
