"""The data that a report shows. The judgement of a run fills it in; no figure is computed here.

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
from operators.heat_kind import HeatKind
from pipeline.sources.base import FrameSpec

#: Format of a figure: 0.8697, 17.0 %, 2.25 s, 0.4 /h, 12.
Unit = Literal["score", "percent", "seconds", "per_hour", "count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """One figure in all columns.

    Attributes:
        name: as in ``metrics.json``.
        label: its name for people.
        values: by the column's name; a column without the figure is left out.
        unit: its format; a share is one of ``score`` and ``percent``.
        meaning: one sentence of explanation.
        headline: the column whose value stands at the head of the report; "" shows it only in the table.
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
        x, y: float (n,), n ≥ 1, finite.
        thresholds: float (n,), threshold of each point; inf if no score reaches it. None if unknown.
        at: number of the run's operating point; None if it is not on the curve.

    Raises:
        ValueError: no point, lengths that differ, or values that are not finite.
    """

    name: str
    x: npt.ArrayLike
    y: npt.ArrayLike
    thresholds: npt.ArrayLike | None = None
    at: int | None = None

    def __post_init__(self) -> None:
        lengths = {np.shape(line) for line in (self.x, self.y, self.thresholds) if line is not None}
        if len(lengths) != 1 or len(next(iter(lengths))) != 1 or not np.size(self.x):
            raise ValueError(
                f"curve {self.name}: expected equal numbers of x, y and thresholds, at least one; got {lengths}"
            )
        if not (np.isfinite(self.x).all() and np.isfinite(self.y).all()):
            raise ValueError(f"curve {self.name}: points must be finite numbers")
        if self.at is not None and not 0 <= self.at < np.size(self.x):
            raise ValueError(f"curve {self.name}: it has no point {self.at}, only {np.size(self.x)}")


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves of one kind, or the reason why there are none."""

    curves: Sequence[Curve] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a video, on its time axis.

    Attributes:
        opened: when it was raised (the end of the clip that crossed the threshold;
            see :mod:`operators.figures.events`).
        started: when its first clip begins; ``opened`` if None.
    """

    opened: float
    ended: float
    peak: float
    started: float | None = None

    @property
    def span(self) -> Span:
        """The span for the score sheet."""
        return Span(self.opened, max(self.opened, self.ended))


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A true incident on the video's time axis. ``kind`` is "" if unknown."""

    start: float
    end: float
    kind: str = ""

    @property
    def span(self) -> Span:
        """The span for the score sheet."""
        return Span(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Look:
    """The model's attention in a clip.

    Attributes:
        attention: float32 (h, w), as in :class:`pipeline.heat.Heat`.
        seen: the frames that the clip was made of; they may not show all of a picture.
    """

    attention: npt.NDArray[np.float32]
    seen: FrameSpec
    kind: HeatKind = HeatKind.ATTENTION


@dataclass(frozen=True, slots=True)
class Timeline:
    """One video: its scores over time, its alerts and its incidents.

    All its times are on one axis that never falls: seconds of the recording's clock, or seconds by frame number and
    rate if the clock jumps, or frame numbers if the frame rate is unknown.

    Attributes:
        start, end: float (n,), of its clips; starts never fall. n may be 0 (no clip could be scored).
        score: float (n,), raw, in [0, 1].
        smoothed: float (n,), compared with the threshold; None without smoothing.
        length: length of the video; the end of the last clip if None.
        middle_frame: int (n,), number of a picture of each clip, in decoding order; required for
            thumbnails.
        path: the film or folder for thumbnails; None: no thumbnails.
        fps: rate of a folder of pictures.
        video_stream: number of the film's stream among several; None: the first.
        content_hash: required hash of the recording at ``path``, else no thumbnails are taken; None: any recording.
        look: returns the model's attention in the clip of a number, or None; it is drawn into thumbnails of alerts and
            incidents. None if the model has no such output.
        label: 1 abnormal, 0 normal, None unknown.
        incidents: the true incidents; None if they are unknown.
        alerts: the alerts; None if none could be raised (scores of another program).
        open_threshold, close_threshold: thresholds at which alerts begin and end; None without alerts.
        group: common origin with others (a camera, a source film).

    Raises:
        ValueError: arrays of different lengths, times that fall, or scores that are not finite.
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
    video_stream: int | None = None
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
            raise ValueError(f"{self.name}: expected one value of each for every clip, got {shapes}")
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{self.name}: {name} must be finite numbers")
        if (np.diff(np.asarray(self.start, np.float64)) < 0).any():
            raise ValueError(f"{self.name}: its clips must be in order of time")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A video that is not in the figures, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """A judged run.

    Attributes:
        title: name of the judged manifest.
        summary: paragraphs for the head; the first, in large type, has the extent of the judgement. Text, not HTML.
        resampled: units drawn by the bootstrap.
        columns: names of the figures' columns in order, with their meanings: ``{"raw": "scores as served", …}``.
        figures: title of a table (``frames``, ``videos``, ``alerts``) to its rows.
        roc: share of the normal frames (x) and of the abnormal frames (y) that are flagged.
        precision_recall: recall (x) and precision (y).
        alarms: false alarms a camera-hour (x) and event recall (y) over all thresholds.
        watched_hours: hours of footage in which the alarms were counted.
        videos: in the order of the manifest.
        tolerance: of the score sheet, seconds: see :func:`operators.figures.events.match`.
        left_out: videos that are not in the figures.
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
