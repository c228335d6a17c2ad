"""Plot one camera's minute: scores, thresholds, true incidents, and the resulting alerts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch

from operators.figures.events import Span

Picture = npt.NDArray[np.uint8]  #: (height, width, 3) RGB

#: Okabe and Ito's colours, which colour-blind readers can distinguish too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_KINDS = ("bicycle", "cart", "fall", "runner", "scatter", "scuffle")
_INK, _FAINT, _ALARM = "#22313f", "#8a97a5", "#c0392b"
#: For the pictures above the plot: aspect ratio of the scene, and size of the crop relative to the incident.
_ASPECT, _AROUND = 16 / 9, 2.0
_LEAST_WIDTH = 240  # pixels of the scene


@dataclass(frozen=True)
class Minute:
    """The data of the plot.

    Attributes:
        camera: its name.
        span: start and end, in seconds of the footage, like all times here.
        scores: (end of the clip, score, smoothed score) in order.
        open_threshold, close_threshold: on the smoothed score.
        incidents: kind and span of each.
        alerts: span of each, from opening to end.
        picture: returns the camera's picture at a second.
        box: returns left, top, right, bottom of the incident in it, None if none is visible.
    """

    camera: str
    span: Span
    scores: list[tuple[float, float, float]]
    open_threshold: float
    close_threshold: float
    incidents: list[tuple[str, Span]]
    alerts: list[Span]
    picture: Callable[[float], Picture]
    box: Callable[[float], tuple[int, int, int, int] | None]


def draw(minute: Minute, path: Path) -> list[Path]:
    """Draw to ``path`` plus .png and plus .svg; return both files."""
    style: Any = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _FAINT,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "svg.hashsalt": "mistwatch",  # the same picture gives the same file
    }
    shown = [(kind, span) for kind, span in minute.incidents if _overlap(span, minute.span)]
    with mpl.rc_context(style):
        figure = Figure(figsize=(11, 5.2), facecolor="white")
        grid = figure.add_gridspec(
            3, 1, height_ratios=(1.25, 3.2, 0.42), hspace=0.1, left=0.06, right=0.985, top=0.93, bottom=0.095
        )
        above = figure.add_subplot(grid[0])
        scores = figure.add_subplot(grid[1])
        lane = figure.add_subplot(grid[2], sharex=scores)
        _draw_scores(scores, minute, shown)
        figure.legend(loc="upper right", ncols=4, frameon=False, bbox_to_anchor=(0.99, 0.998), fontsize=8.5)
        _draw_alerts(lane, minute, shown)
        _draw_pictures(figure, above, scores, minute, shown)
        figure.text(0.06, 0.955, f"One camera's minute ({minute.camera})", fontsize=11, fontweight="bold")
        path.parent.mkdir(parents=True, exist_ok=True)
        files = [path.with_name(path.name + ending) for ending in (".png", ".svg")]
        figure.savefig(files[0], dpi=150, metadata={"Software": None})
        figure.savefig(files[1], metadata={"Date": None})
    return files


def _draw_scores(axes: Axes, minute: Minute, shown: list[tuple[str, Span]]) -> None:
    for kind, span in shown:
        axes.axvspan(span.start, span.end, color=_colour(kind), alpha=0.22, lw=0)
    times, raw, smoothed = np.array(minute.scores).T
    axes.plot(times, raw, color=_FAINT, lw=0.9, marker="o", ms=2.4, mew=0, label="score of a clip", zorder=2)
    axes.plot(times, smoothed, color=_INK, lw=2.0, label="smoothed score", zorder=3)
    thresholds = (
        ("opens an alert", minute.open_threshold, _ALARM, "-"),
        ("closes it", minute.close_threshold, _ALARM, (0, (4, 3))),
    )
    for label, value, colour, dashes in thresholds:
        axes.axhline(value, color=colour, lw=1.1, ls=dashes, label=f"{label} ({value:g})", zorder=1)
    for alert in minute.alerts:
        if minute.span.start <= alert.start <= minute.span.end:
            height = float(np.interp(alert.start, times, smoothed))
            axes.plot([alert.start], [height], "o", color=_ALARM, ms=6, mec="white", mew=1.0, zorder=4)
    axes.set_xlim(minute.span.start, minute.span.end)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("score")
    axes.tick_params(labelbottom=False, bottom=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=_FAINT, alpha=0.25, lw=0.6)


def _draw_alerts(axes: Axes, minute: Minute, shown: list[tuple[str, Span]]) -> None:
    for kind, span in shown:
        axes.axvspan(span.start, span.end, color=_colour(kind), alpha=0.22, lw=0)
    for alert in minute.alerts:
        if _overlap(alert, minute.span):
            begin, end = max(alert.start, minute.span.start), min(alert.end, minute.span.end)
            axes.barh(0, end - begin, left=begin, height=0.6, color=_ALARM, lw=0)
    axes.set_ylim(-0.55, 0.55)
    axes.set_yticks([0], ["alert"])
    axes.tick_params(left=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xticks(np.arange(minute.span.start, minute.span.end + 0.1, 5))
    axes.set_xlabel("seconds of footage (each score is at the end of its clip)")


def _draw_pictures(figure: Figure, axes: Axes, scores: Axes, minute: Minute, shown: list[tuple[str, Span]]) -> None:
    """Draw a picture of each incident above its band."""
    axes.set_xlim(minute.span.start, minute.span.end)
    axes.set_ylim(0, 1)
    axes.axis("off")
    if not shown:
        return
    place = axes.get_position()
    inches_wide, inches_high = (figure.get_size_inches() * (place.width, place.height)).tolist()
    caption = 0.17  # of the height
    seconds_an_inch = minute.span.seconds / inches_wide
    wide = min(
        inches_high * (1 - caption) * _ASPECT * seconds_an_inch, 0.96 * minute.span.seconds / len(shown)
    )  # seconds
    high = wide / seconds_an_inch / _ASPECT / inches_high
    for (kind, span), centre in zip(
        shown, _apart([_middle(s, minute.span) for _, s in shown], wide, minute), strict=True
    ):
        left, bottom = centre - wide / 2, 1 - caption - high
        axes.imshow(
            _crop(minute, span),
            extent=(left, left + wide, bottom, bottom + high),
            aspect="auto",
            interpolation="antialiased",
        )
        axes.add_patch(
            mpl.patches.Rectangle((left, bottom), wide, high, fill=False, ec=_colour(kind), lw=2, clip_on=False)
        )
        axes.text(centre, 1 - caption * 0.75, kind, ha="center", va="bottom", color=_INK, fontweight="bold")
        middle = _middle(span, minute.span)
        line = ConnectionPatch((centre, bottom), (middle, 1.02), "data", "data", axesA=axes, axesB=scores)
        line.set(color=_colour(kind), linewidth=1.5)
        figure.add_artist(line)
    axes.set_xlim(minute.span.start, minute.span.end)
    axes.set_ylim(0, 1)


def _apart(middles: list[float], wide: float, minute: Minute) -> list[float]:
    """Return centres as near to ``middles`` as possible, in their order, at least ``wide`` apart."""
    step = wide * 1.04
    centres: list[float] = []
    for middle in middles:
        centres.append(max(middle, minute.span.start + wide / 2, centres[-1] + step if centres else -np.inf))
    limit = minute.span.end - wide / 2
    for number in reversed(range(len(centres))):
        centres[number] = min(centres[number], limit)
        limit = centres[number] - step
    return centres


def _crop(minute: Minute, span: Span) -> Picture:
    """Crop the picture at the middle of the incident, with some of the scene around it."""
    seconds = _middle(span, minute.span)
    picture, box = minute.picture(seconds), minute.box(seconds)
    height, width = picture.shape[:2]
    if box is None:
        return picture
    left, top, right, bottom = box
    wide = min(width, max(_LEAST_WIDTH, _AROUND * (right - left), _AROUND * (bottom - top) * _ASPECT))
    high = min(height, wide / _ASPECT)
    x = min(max((left + right - wide) / 2, 0), width - wide)
    y = min(max((top + bottom - high) / 2, 0), height - high)
    return picture[round(y) : round(y + high), round(x) : round(x + wide)]


def _middle(span: Span, within: Span) -> float:
    return (max(span.start, within.start) + min(span.end, within.end)) / 2


def _overlap(span: Span, other: Span) -> bool:
    return span.start < other.end and span.end > other.start


def _colour(kind: str) -> str:
    return _COLOURS[_KINDS.index(kind) % len(_COLOURS)] if kind in _KINDS else _FAINT
