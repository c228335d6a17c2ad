"""The alert state machine: smoothed scores in, the begin, updates and end of alerts out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from operators.chain_state import ChainState, ClipState, RowState
from operators.checks import seconds, threshold, whole_number
from operators.scores import ClipKey, ClipScore, Hole, HoleCount, SegmentEnd, SmoothedScore, is_other_model

# Reasons for which the machine itself ends an alert. A segment's end has its own reason.
BELOW_THRESHOLD = "below_threshold"
MAX_DURATION = "max_duration"
GAP = "gap"
MODEL_CHANGED = "model_changed"

# Sums of frame times carry rounding: ten clips of 0.64 s last 6.3999999 s or 6.4000001 s. A tenth of the finest clock
# in use (90 kHz: 11 µs) is less than any real difference.
_TOLERANCE_SECONDS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """Settings of begin, reports and end of alerts. All scores here are smoothed scores.

    Tune in this order:

    * Too many alerts on ordinary scenes: raise ``open_threshold``. Incidents missed: lower it. Start from the value
      that the model's card suggests; a threshold belongs to one model version.
    * Alerts on single flickers: raise the smoothing's kernel, or ``min_clips``. Each additional clip adds one stride
      of delay (0.64 s at 16 frames and 25 fps). The threshold of a model's card assumes the card's kernel and
      ``min_clips`` 1: the smoothing already suppresses single flickers.
    * One incident reported as several alerts: lower ``close_threshold`` (about four fifths of ``open_threshold`` is a
      good start), then raise ``cooldown_seconds``.
    * Alerts that hang on after the incident is over: raise ``close_threshold`` towards ``open_threshold``.
    * A scene that stays abnormal for hours: ``max_duration_seconds`` cuts it into alerts of that length, with
      ``cooldown_seconds`` between them; a long cooldown means fewer reminders.

    Seconds are seconds of the stream's own clock, not wall-clock time.

    Attributes:
        open_threshold: an alert begins at scores at or above it; above 0, at most 1.
        close_threshold: an open alert ends at the first score below it; above 0, at most ``open_threshold``.
        min_clips: number of consecutive clips that must reach ``open_threshold``. Clips without a score do not break
            the row unless the hole is longer than ``max_hole``.
        update_every_seconds: an open alert is reported again with the first clip that ends this long after the last
            report.
        cooldown_seconds: least time in the same segment from the end of an alert to the start of the first clip of the
            next one; 0 lets the very next clip begin one. A new segment starts without a cooldown, because its clock
            is a different one and a second alert costs less than a missed incident.
        max_duration_seconds: an alert ends with the first clip with which it lasts this long. While the score stays
            high a new alert, with a new id, begins after the cooldown.

    Raises:
        ValueError: invalid value; the message names the setting, the value and what is allowed.
    """

    open_threshold: float
    close_threshold: float
    min_clips: int = 1
    update_every_seconds: float = 10.0
    cooldown_seconds: float = 10.0
    max_duration_seconds: float = 600.0

    def __post_init__(self) -> None:
        threshold("open_threshold", self.open_threshold)
        threshold(
            "close_threshold",
            self.close_threshold,
            most=self.open_threshold,
            most_name=f"open_threshold ({self.open_threshold!r})",
        )
        whole_number("min_clips", self.min_clips, least=1)
        seconds("update_every_seconds", self.update_every_seconds)
        seconds("cooldown_seconds", self.cooldown_seconds, zero_allowed=True)
        seconds("max_duration_seconds", self.max_duration_seconds)


class AlertState(StrEnum):
    """Kind of an alert's transition."""

    BEGIN = "begin"
    UPDATE = "update"
    END = "end"


@dataclass(frozen=True, slots=True)
class AlertTransition:
    """One event of one alert. An alert is a begin, any number of updates, and one end.

    Attributes:
        segment: id of the segment in which the alert began. An alert leaves its segment only where another process
            continues it (:meth:`AlertMachine.resume`).
        sequence: 0 for the begin, then counted up without a gap.
        first: the alert's first clip; (segment, first clip) identifies the alert and is never used again.
        last: the newest clip of the alert. For ``below_threshold`` it is the clip whose smoothed score
            fell below, for ``max_duration`` the one that reached it; otherwise the last that had a score. The alert
            lasts from ``first.start`` to ``last.end``, where both are of one segment.
        peak: the clip of the highest smoothed score since ``first``, the earliest of equal ones.
        threshold: the ``open_threshold`` at which it was raised.
        scores: the smoothed scores since the alert's last transition (since ``first`` for the begin). All transitions
            together hold every score from ``first`` to ``last`` exactly once, except those that another process has
            seen since its last transition. Empty for an end that follows a report with no score in between.
        end_reason: reason of the end: ``below_threshold``, ``max_duration``, ``gap`` (more than ``max_hole`` clips
            without a score), ``model_changed``, or the reason of the segment's end. None unless ``state`` is end.
    """

    state: AlertState
    camera: str
    segment: str
    sequence: int
    first: ClipScore
    last: ClipScore
    peak: SmoothedScore
    threshold: float
    scores: tuple[SmoothedScore, ...]
    end_reason: str | None = None


@dataclass(slots=True)
class _Row:
    """Clips in a row: rising until there are ``min_clips`` of them, from then on an open alert."""

    first: ClipScore
    peak: SmoothedScore
    threshold: float
    last: ClipScore = field(init=False)
    start: float = field(init=False)  #: of the first clip, seconds on the clock of the present segment
    until: float = field(init=False)  #: end of the last clip, on that clock
    unreported: list[SmoothedScore] = field(default_factory=list)
    clips: int = 0  #: added since the last transition, also by another process
    sequence: int = 0  #: of the next transition; above 0 once the alert is open
    reported_until: float = math.nan  #: seconds on that clock; set by the begin

    def __post_init__(self) -> None:
        self.last = self.first
        self.start, self.until = self.first.start, self.first.end

    @property
    def is_open(self) -> bool:
        return self.sequence > 0

    @property
    def duration(self) -> float:
        return self.until - self.start

    def add(self, score: SmoothedScore) -> None:
        self.last, self.until = score.clip, score.clip.end
        self.unreported.append(score)
        self.clips += 1
        if score.value > self.peak.value and not score.clip.gated:
            self.peak = score


class AlertMachine:
    """A state machine that raises one camera's alerts. Its states are quiet, rising and open:

    ======= ===================================================== ======= ==========================
    state   input                                                 becomes transition
    ======= ===================================================== ======= ==========================
    quiet   score ≥ open_threshold, not in the cooldown           rising  (open if min_clips is 1)
    rising  score ≥ open_threshold, the min_clips-th in a row     open    begin
    rising  score < open_threshold                                quiet
    open    score < close_threshold                               quiet   end below_threshold
    open    the alert now lasts max_duration_seconds              quiet   end max_duration
    open    update_every_seconds since the last transition        open    update
    any     more than max_hole clips without a score              quiet   end gap, if open
    any     score of another model or version                     quiet   end model_changed, if open
    any     the segment's end                                     quiet   end with its reason, if open
    ======= ===================================================== ======= ==========================

    A gated clip has a held score, which decides nothing: it neither begins an alert nor ends one ``below_threshold``;
    the next real clip does. It belongs to an open alert, which it may update, and is never the peak. An alert that
    lasts too long ends on it as on any other. It neither adds to a row of rising clips nor breaks it; clips without a
    score are counted over it.

    One score causes one transition, with two exceptions: an alert whose first ``min_clips`` clips already last
    ``max_duration_seconds`` begins and ends immediately, and a score of another model first ends the old alert and is
    then judged by itself. If two ends coincide in one clip, the reason is ``below_threshold``. The cooldown follows
    every end except a segment's end, which resets the whole state of the machine.

    Memory: the scores since the last transition, and one clip's key in :attr:`retained`.

    Pure and not thread-safe.
    """

    def __init__(self, camera: str, settings: AlertSettings, *, max_hole: int) -> None:
        """Raise ValueError unless ``max_hole`` (clips; the same as for smoothing) is a whole number of at least 0."""
        whole_number("max_hole", max_hole, least=0)
        self._camera = camera
        self._settings = settings
        self._max_hole = max_hole
        self._row: _Row | None = None
        self._newest: ClipScore | None = None  # of this segment
        self._holes = HoleCount()
        self._cool_until = -math.inf  # seconds of this segment's clock

    def push(self, item: SmoothedScore | Hole | SegmentEnd) -> list[AlertTransition]:
        """Take the next item in order; return the transitions it causes, in order.

        Fetch a stored picture of ``peak`` before the next look at :attr:`retained`.

        Raises:
            ValueError: an item of another camera; a score of another segment before the SegmentEnd of this one; a clip
                that does not come after the one before it.
        """
        camera = item.clip.camera if isinstance(item, SmoothedScore) else item.camera
        if camera != self._camera:
            raise ValueError(f"camera {self._camera}: got an item of camera {camera}")
        if isinstance(item, SegmentEnd):
            return self._end_segment(item)
        if isinstance(item, Hole):
            return self._break_at_gap(item.index + item.count)
        return self._take(item)

    def retune(self, settings: AlertSettings) -> list[AlertTransition]:
        """Apply another model's settings to the following scores, and end an alert of the scores before.

        A running cooldown continues, so that the next model does not report the same incident again.
        """
        transitions = self._break(MODEL_CHANGED)
        self._settings = settings
        return transitions

    def change(self, settings: AlertSettings) -> None:
        """Apply other settings of the same model to the following scores; nothing ends by that.

        An open alert stays open. It is closed, updated and limited by the new settings from its next clip on, and keeps
        the threshold at which it began in its events. A row that is still rising is forgotten, and may rise again. A
        running cooldown continues as long as it was to last.
        """
        self._settings = settings
        if self._row is not None and not self._row.is_open:
            self._row = None

    @property
    def retained(self) -> frozenset[ClipKey]:
        """Return the clips seen so far that a later transition may still name as its peak: none or one.

        A clip that a later one has overtaken can never be the peak again, so only the highest of the rising or open row
        is kept.
        """
        return frozenset() if self._row is None else frozenset({self._row.peak.clip.key})

    @property
    def row(self) -> RowState | None:
        """Return the open or rising alert as another process continues it; None when quiet."""
        if (row := self._row) is None:
            return None
        return RowState(
            first=ClipState.of(row.first),
            last=ClipState.of(row.last),
            peak=ClipState.of(row.peak.clip),
            peak_value=row.peak.value,
            start=row.start,
            until=row.until,
            clips=row.clips,
            sequence=row.sequence,
            reported_until=row.reported_until if row.is_open else None,
            threshold=row.threshold,
        )

    @property
    def cool_until(self) -> float | None:
        """Return the end of the cooldown, seconds of the segment's clock; None where there is none, or it is past."""
        if math.isinf(self._cool_until):
            return None
        if self._newest is not None and not self._is_cooling(self._newest):
            return None
        return self._cool_until

    def resume(self, state: ChainState, index: int, shift: float) -> None:
        """Continue from the state of another machine, with the clip of ordinal ``index`` of a new segment.

        An open alert stays open, a rising one goes on rising and a cooldown goes on, by the new segment's clock. The
        clips lost in between do not count as a gap: the caller breaks off an alert after too long a hand-over.

        Args:
            shift: seconds to add to times of the state to have them on the new segment's clock.
        """
        self._row = None if state.row is None else self._resumed_row(state.row, state, shift)
        self._newest, self._holes = None, HoleCount(index)
        self._cool_until = -math.inf if state.cool_until is None else state.cool_until + shift

    def break_off(self, reason: str) -> list[AlertTransition]:
        """Discard a rising row, or end an open alert, and start the cooldown."""
        return self._break(reason)

    def _resumed_row(self, row: RowState, state: ChainState, shift: float) -> _Row:
        first, last, peak = (
            clip.clip(self._camera, state.model, state.model_version) for clip in (row.first, row.last, row.peak)
        )
        resumed = _Row(first, SmoothedScore(peak, row.peak_value), row.threshold)
        resumed.last, resumed.start, resumed.until = last, row.start + shift, row.until + shift
        resumed.clips, resumed.sequence = row.clips, row.sequence
        resumed.reported_until = math.nan if row.reported_until is None else row.reported_until + shift
        return resumed

    def _end_segment(self, over: SegmentEnd) -> list[AlertTransition]:
        transitions = self._break(over.reason)
        self._newest, self._holes = None, HoleCount()
        self._cool_until = -math.inf
        return transitions

    def _take(self, score: SmoothedScore) -> list[AlertTransition]:
        clip = score.clip
        transitions: list[AlertTransition] = []
        if self._newest is not None:
            self._check_order(self._newest, clip)
            transitions += self._break_at_gap(clip.index)
            if is_other_model(self._newest, clip):
                transitions += self._break(MODEL_CHANGED)
        self._newest = clip
        self._holes.take(clip)
        if self._row is not None and self._row.is_open:
            transitions += self._continue_alert(self._row, score)
        else:
            transitions += self._rise(score)
        return transitions

    def _rise(self, score: SmoothedScore) -> list[AlertTransition]:
        """Handle a score in the states quiet and rising."""
        if score.clip.gated:
            return []
        if score.value < self._settings.open_threshold or self._is_cooling(score.clip):
            self._row = None
            return []
        if self._row is None:
            self._row = _Row(score.clip, score, self._settings.open_threshold)
        row = self._row
        row.add(score)
        if row.clips < self._settings.min_clips:
            return []
        begin = self._report(row, AlertState.BEGIN)
        return [begin, *self._end_if_long(row)]

    def _is_cooling(self, clip: ClipScore) -> bool:
        return clip.start < self._cool_until - _TOLERANCE_SECONDS

    def _continue_alert(self, row: _Row, score: SmoothedScore) -> list[AlertTransition]:
        """Handle a score in the state open."""
        row.add(score)
        if score.value < self._settings.close_threshold and not score.clip.gated:
            return self._break(BELOW_THRESHOLD)
        if ended := self._end_if_long(row):
            return ended
        if row.until - row.reported_until >= self._settings.update_every_seconds - _TOLERANCE_SECONDS:
            return [self._report(row, AlertState.UPDATE)]
        return []

    def _end_if_long(self, row: _Row) -> list[AlertTransition]:
        if row.duration >= self._settings.max_duration_seconds - _TOLERANCE_SECONDS:
            return self._break(MAX_DURATION)
        return []

    def _break_at_gap(self, next_index: int) -> list[AlertTransition]:
        if self._newest is None or self._holes.before(next_index) <= self._max_hole:
            return []
        return self._break(GAP)

    def _break(self, reason: str) -> list[AlertTransition]:
        """Discard the row; if it is an open alert, end it and start the cooldown."""
        row, self._row = self._row, None
        if row is None or not row.is_open:
            return []
        cooldown = self._settings.cooldown_seconds
        self._cool_until = row.until + cooldown if cooldown > 0 else -math.inf
        return [self._report(row, AlertState.END, reason)]

    def _report(self, row: _Row, state: AlertState, reason: str | None = None) -> AlertTransition:
        transition = AlertTransition(
            state=state,
            camera=self._camera,
            segment=row.first.segment,
            sequence=row.sequence,
            first=row.first,
            last=row.last,
            peak=row.peak,
            threshold=row.threshold,
            scores=tuple(row.unreported),
            end_reason=reason,
        )
        row.sequence += 1
        row.reported_until = row.until
        row.unreported.clear()
        row.clips = 0
        return transition

    def _check_order(self, newest: ClipScore, clip: ClipScore) -> None:
        if clip.segment != newest.segment:
            raise ValueError(
                f"camera {self._camera}: a clip of segment {clip.segment} came before the end of {newest.segment}"
            )
        if clip.index <= newest.index:
            raise ValueError(
                f"camera {self._camera}: clip {clip.index} of segment {clip.segment} came after clip {newest.index}"
            )
