"""The alerts that another threshold would have raised, by the same operators that raise the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from operators.alerting import AlertMachine, AlertSettings, AlertState, AlertTransition
from operators.scores import ClipScore, ClipTimes, SegmentEnd, SmoothedScore
from pipeline.console.scores import Rows
from pipeline.errors import UsageError
from pipeline.live.recent_scores import JudgedBy

#: A close threshold is this share of the open one where the dragged threshold falls below the close threshold.
_LEAST_THRESHOLD = 1e-6


@dataclass(frozen=True, slots=True)
class WouldBe:
    """An alert that would have been raised.

    Attributes:
        started_at, ended_at: seconds of the epoch of its first and its last clip; the last one so far where it is open.
        peak: the highest smoothed score.
    """

    started_at: float
    ended_at: float
    peak: float
    is_open: bool


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The outcome for one threshold.

    Attributes:
        hours: length of the watched time: the sum of the clips' own durations without overlaps.
        gaps: places at which scores are missing from the history.
    """

    open_threshold: float
    close_threshold: float
    alerts: tuple[WouldBe, ...]
    hours: float
    clips: int
    gaps: int

    @property
    def per_hour(self) -> float | None:
        """Alerts an hour; None where less than a minute was watched."""
        return len(self.alerts) / self.hours if self.hours >= 1 / 60 else None


def settings_with(judged_by: JudgedBy, open_threshold: float) -> AlertSettings:
    """Return a camera's alert settings with another open threshold.

    The close threshold keeps its share of the open one, as a drag moves both.

    Raises:
        UsageError: a threshold outside (0, 1].
    """
    if not 0.0 < open_threshold <= 1.0:
        raise UsageError(f"threshold: must be above 0 and at most 1 (got {open_threshold:g}); drag it into the chart")
    share = judged_by.close_threshold / judged_by.open_threshold if judged_by.open_threshold else 1.0
    if open_threshold == judged_by.open_threshold:
        close = judged_by.close_threshold
    else:
        close = min(open_threshold, max(open_threshold * share, _LEAST_THRESHOLD))
    return AlertSettings(
        open_threshold=open_threshold,
        close_threshold=close,
        min_clips=judged_by.min_clips,
        update_every_seconds=judged_by.update_every_seconds,
        cooldown_seconds=judged_by.cooldown_seconds,
        max_duration_seconds=judged_by.max_duration_seconds,
    )


def what_if(rows: Rows, settings: AlertSettings, *, max_hole: int, camera: str = "camera") -> WhatIf:
    """Return the alerts that these settings would have raised over a history.

    A new segment ends an alert, also where another worker had in truth continued it.

    Args:
        rows: of :class:`pipeline.console.scores.ScoreHistory`, oldest first.
        max_hole: clips without a score that do not end an alert.
    """
    machine = AlertMachine(camera, settings, max_hole=max_hole)
    found: list[WouldBe] = []
    opened: AlertTransition | None = None
    seconds, last_at = 0.0, 0.0
    # A quiet machine takes note of nothing but a clip at or above the threshold that is not gated, and of a segment's
    # end: the clips in between are passed over, which makes hours of calm quick.
    rising = (rows["smoothed"] >= settings.open_threshold) & ~rows["gated"]
    changes = np.flatnonzero(np.diff(rows["segment"])) + 1
    bounds = [0, *changes.tolist(), len(rows)] if len(rows) else []
    for begin, end in pairwise(bounds):
        part = rows[begin:end]
        segment, last_at = str(part["segment"][0]), float(part["at"][-1])
        seconds += _watched(part)
        hot = np.flatnonzero(rising[begin:end])
        place = 0
        transitions: list[AlertTransition] = []
        while place < len(part):
            if not machine.retained:
                following = int(np.searchsorted(hot, place))
                if following == len(hot):
                    break
                place = int(hot[following])
            transitions += machine.push(_score(part[place], camera, segment))
            place += 1
        if end < len(rows):
            transitions += machine.push(SegmentEnd(camera, segment, 0, "stream_end"))
        for step in transitions:
            if step.state is AlertState.BEGIN:
                opened = step
            elif step.state is AlertState.END:
                found.append(WouldBe(_moment(step.first), _moment(step.last), step.peak.value, False))
                opened = None
    if opened is not None:
        peak = machine.row.peak_value if machine.row is not None else opened.peak.value
        found.append(WouldBe(_moment(opened.first), last_at, peak, True))
    gaps = int(rows["gap"].sum())
    hours = seconds / 3600
    return WhatIf(settings.open_threshold, settings.close_threshold, tuple(found), hours, len(rows), gaps)


def _score(row: np.void, camera: str, segment: str) -> SmoothedScore:
    at, smoothed, start, end, index, _, model, gated, _ = row.item()
    # The operators do not compute with times: one of them carries the clip's moment.
    times = ClipTimes(captured_monotonic=at)
    clip = ClipScore(camera, segment, index, start, end, smoothed, str(model), "", times, bool(gated))
    return SmoothedScore(clip, smoothed)


def _watched(part: Rows) -> float:
    """Return the seconds that the clips of one segment show, overlaps counted once."""
    covered = np.concatenate([[-np.inf], np.maximum.accumulate(part["end"])[:-1]])
    return float(np.maximum(0.0, part["end"] - np.maximum(part["start"], covered)).sum())


def _moment(clip: ClipScore) -> float:
    """Return the time of a clip's last frame, seconds of the epoch."""
    assert clip.times.captured_monotonic is not None
    return clip.times.captured_monotonic
