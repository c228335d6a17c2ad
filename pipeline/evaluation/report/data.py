"""What a report shows. Whoever judges a run fills it in; nothing here computes a figure of the run.

>>> incident = Incident(start=2.0, end=3.0)
>>> film = Timeline("Test001", start=[0.0, 1.6], end=[1.6, 3.2], score=[0.1, 0.9], incidents=[incident])
>>> data = ReportData(title="ped2", videos=[film])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from operators.figures.bootstrap import Estimate
from operators.figures.events import TOLERANCE_SECONDS, Span
from pipeline.heat import HeatKind
from pipeline.sources.base import FrameSpec

#: How a figure is written: 0.8697, 17.0 %, 2.25 s, 0.4 /h, 12.
Unit = Literal["score", "percent", "seconds", "per_hour", "count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """One figure in all columns.

    Attributes:
        name: as in ``metrics.json``.
        label: what people call it.
        values: by the column's name; a column that is left out does not have the figure.
        unit: how it is written; a share is one of ``score`` and ``percent``.
        meaning: one sentence for who does not know it.
        headline: the column whose value stands at the head of the report; "" keeps it to the table.
    """

    name: str
    label: str
    values: Mapping[str, Estimate]
    unit: Unit = "score"
    meaning: str = ""
    headline: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line of a chart, by rising or falling threshold.

    Attributes:
        name: of its column.
        x, y: float (n,), n ≥ 1, finite.
        thresholds: float (n,), at which its points lie; inf where nothing reaches it. None where not known.
        at: number of the point at which the run itself worked; None: none.

    Raises:
        ValueError: no point, lengths that differ, or values that are no numbers.
    """

    name: str
    x: npt.ArrayLike
    y: npt.ArrayLike
    thresholds: npt.ArrayLike | None = None
    at: int | None = None

    def __post_init__(self) -> None:
        lengths = {np.shape(line) for line in (self.x, self.y, self.thresholds) if line is not None}
        if len(lengths) != 1 or len(next(iter(lengths))) != 1 or not np.size(self.x):
            raise ValueError(f"curve {self.name}: expected as many x, y and thresholds, one at least; got {lengths}")
        if not (np.isfinite(self.x).all() and np.isfinite(self.y).all()):
            raise ValueError(f"curve {self.name}: its points must be finite numbers")
        if self.at is not None and not 0 <= self.at < np.size(self.x):
            raise ValueError(f"curve {self.name}: has no point {self.at}, only {np.size(self.x)}")


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves of one kind, or why there are none."""

    curves: Sequence[Curve] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a video, on its time axis.

    Attributes:
        opened: when it was raised (the end of the clip that crossed the threshold;
            see :mod:`operators.figures.events`).
        ended: when it was over.
        peak: its highest smoothed score.
        started: when its first clip begins; ``opened`` if None.
    """

    opened: float
    ended: float
    peak: float
    started: float | None = None

    @property
    def span(self) -> Span:
        """As the score sheet takes it."""
        return Span(self.opened, max(self.opened, self.ended))


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What really happened, on the video's time axis. ``kind``: what it was, "" where nobody said."""

    start: float
    end: float
    kind: str = ""

    @property
    def span(self) -> Span:
        """As the score sheet takes it."""
        return Span(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Look:
    """Where the model looked in a clip.

    Attributes:
        attention: float32 (h, w), as :class:`pipeline.heat.Heat` has it.
        seen: the frames that the clip was made of; they may not show all of a picture.
        kind: the meaning of the values.
    """

    attention: npt.NDArray[np.float32]
    seen: FrameSpec
    kind: HeatKind = HeatKind.ATTENTION


@dataclass(frozen=True, slots=True)
class Timeline:
    """One video: its scores over time, what was alerted and what was true.

    All its times are on one axis that never falls: seconds of the recording's clock, or of its frames counted at their
    rate where the clock jumps, or frame numbers where nothing is known of seconds.

    Attributes:
        name: tells it from the others.
        start, end: float (n,), of its clips; starts never fall. n may be 0 (nothing could be scored).
        score: float (n,), raw, in [0, 1].
        smoothed: float (n,), what the threshold is held against; None where nothing was smoothed.
        unit: of the axis.
        length: of the video; the end of the last clip if None.
        middle_frame: int (n,), a picture of each clip, counted in the order in which they are decoded; needed for
            thumbnails.
        path: of the film or folder that thumbnails are taken from; None: none are.
        fps: rate of a folder of pictures.
        content_hash: that the recording there must have, or nothing is taken from it; None: whatever it has.
        look: tells where the model looked in the clip of this number, or None; it is drawn into thumbnails of what was
            alerted or happened. None where the model does not tell at all.
        label: 1 abnormal, 0 normal, None not known.
        incidents: what happened; None where it is not known when (or whether) something did.
        alerts: what was reported; None where no alerts were raised at all (scores of a foreign model).
        open_threshold, close_threshold: that alerts began and ended at; None where there are none.
        group: what it shares with others (a camera, a source film).
        note: what is to be said of it: damage.

    Raises:
        ValueError: arrays of different lengths, times that fall, or scores that are no numbers.
    """

    name: str
    start: npt.ArrayLike
    end: npt.ArrayLike
    score: npt.ArrayLike
    smoothed: npt.ArrayLike | None = None
    unit: Literal["seconds", "frames"] = "seconds"
    length: float | None = None
    middle_frame: npt.ArrayLike | None = None
    path: Path | None = None
    fps: float | None = None
    content_hash: str | None = None
    look: Callable[[int], Look | None] | None = None
    label: int | None = None
    incidents: Sequence[Incident] | None = None
    alerts: Sequence[Alert] | None = None
    open_threshold: float | None = None
    close_threshold: float | None = None
    group: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        arrays = {"start": self.start, "end": self.end, "score": self.score}
        arrays |= {} if self.smoothed is None else {"smoothed": self.smoothed}
        arrays |= {} if self.middle_frame is None else {"middle_frame": self.middle_frame}
        shapes = {name: np.shape(array) for name, array in arrays.items()}
        if len(set(shapes.values())) > 1 or len(shapes["start"]) != 1:
            raise ValueError(f"{self.name}: expected one of each for every clip, got {shapes}")
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{self.name}: {name} must be finite numbers")
        if (np.diff(np.asarray(self.start, np.float64)) < 0).any():
            raise ValueError(f"{self.name}: its clips must be in order of time")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A video that no figure counts, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """A judged run.

    Attributes:
        title: what was judged: the manifest's name.
        summary: paragraphs for the head; the first, in large, says how much was judged. Text, not HTML.
        resampled: what the intervals' bootstrap draws.
        columns: names of the figures' columns in order, with what each means: ``{"raw": "scores as served", …}``.
        figures: title of a table (``frames``, ``videos``, ``alerts``) to its rows.
        roc: share of the normal frames (x) and of the abnormal frames (y) that are flagged.
        precision_recall: recall (x) and precision (y).
        alarms: false alarms a camera-hour (x) and event recall (y) over all thresholds.
        watched_hours: footage that the alarms were counted over.
        videos: in the order of the manifest.
        tolerance: of the score sheet, seconds: see :func:`operators.figures.events.match`.
        left_out: videos without a part in the figures.
        settings: title of a section (``model``, ``clips``, ``operators``, ``manifest``) to keys and values: settings
            and hashes, as in ``run.json``.
    """

    title: str
    summary: Sequence[str] = ()
    resampled: str = "videos"
    columns: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Sequence[FigureRow]] = field(default_factory=dict)
    roc: Chart = Chart()
    precision_recall: Chart = Chart()
    alarms: Chart = Chart()
    watched_hours: float | None = None
    videos: Sequence[Timeline] = ()
    tolerance: float = TOLERANCE_SECONDS
    left_out: Sequence[LeftOut] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
