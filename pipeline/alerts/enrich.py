"""Likeness for the alerts of one camera and detector: the earlier ones that they resemble, and whether they are muted.

An event is held back for the embedding of its peak, at most :data:`HOLD_SECONDS`. It then goes out as it is, and when
the embedding comes after all, an update follows. The order of a camera's and detector's events is kept.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt

from operators.alerting import AlertState
from pipeline import logs
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.likeness import Likeness, MutedBecause
from pipeline.scoring.embedding import Embedded

_log = logs.get("likeness")

Floats = npt.NDArray[np.float32]

#: A live alert is held back for its likeness by at most 0.1 s. The worker looks every few milliseconds, between other
#: clips, so the hold ends before.
HOLD_SECONDS = 0.08
#: A recording's alert is held back by at most so much: nothing waits for it, and a replay gives the same each time.
REPLAY_HOLD_SECONDS = 30.0
#: Clips of a camera whose features are kept, 7 kB each with 1856 values. An alert's update comes up to
#: ``update_every_seconds`` after its peak.
_KEPT_CLIPS = 256
#: A peak without an embedding is asked for again after so long, while its alert is open.
_AGAIN_SECONDS = 2.0
#: Documents round times to microseconds.
_ROUNDING_SECONDS = 1e-5


class Moment(NamedTuple):
    """A clip's place: its segment, and the PTS of its beginning and end, seconds."""

    segment: str
    start: float
    end: float


#: Asks for the embedding of a clip's features, float32 (D,). The callback is called once, on any thread; it receives
#: None where there is no embedding.
Embed = Callable[[Floats, Callable[[Embedded | None], None]], None]


class Memory(Protocol):
    """The memory of a site's alerts; see :class:`pipeline.alerts.history.AlertHistory`."""

    @property
    def embedding_version(self) -> str: ...

    def consider(
        self, alert_id: UUID, embedding: Floats, camera: str, started_at: datetime | None
    ) -> tuple[Likeness, MutedBecause | None]: ...


class Outcome(StrEnum):
    """The outcome of an alert's likeness."""

    IN_TIME = "in_time"  #: the alert's begin has it
    LATE = "late"  #: a later event has it
    MISSING = "missing"  #: no event has it


class _Described(NamedTuple):
    moment: Moment
    features: Floats
    version: str


class RecentFeatures:
    """The features of a camera's latest clips, for the alerts of all its detectors. Not thread-safe."""

    def __init__(self, kept: int = _KEPT_CLIPS) -> None:
        self._clips: deque[_Described] = deque(maxlen=kept)
        self._left: dict[str, float] = {}  # by segment, the latest end of a clip that is not kept any more

    def add(self, moment: Moment, features: Floats, version: str = "") -> None:
        """Take the features of a clip, float32 (D,).

        Args:
            version: names the model that made them; features of two versions are never mixed.
        """
        if len(self._clips) == self._clips.maxlen:
            oldest = self._clips[0].moment
            self._left = {oldest.segment: max(self._left.get(oldest.segment, oldest.end), oldest.end)}
        self._clips.append(_Described(moment, features, version))

    def at(self, moment: Moment, *, final: bool = False) -> Floats | None:
        """Return the features that describe a moment; None where they are not there yet.

        They are those of the clip that shares most of it, averaged with those of the clip before where the two share at
        least half: the noise of a single clip then counts less. They are there once a clip of the segment ends with the
        moment or after it.

        Args:
            final: no more clips come; take what is there.

        Raises:
            LookupError: no clip shares the moment, and none will.
        """
        same = [one for one in self._clips if one.moment.segment == moment.segment]
        passed = bool(same) and max(one.moment.end for one in same) >= moment.end - _ROUNDING_SECONDS
        if not (passed or final):
            if self._left.get(moment.segment, moment.end) > moment.end:
                raise LookupError(f"no clip describes {moment}")
            return None
        best = max(same, key=lambda one: _shared(one.moment, moment), default=None)
        if best is None or not _shared(best.moment, moment) > 0:
            raise LookupError(f"no clip describes {moment}")
        clip = best.moment
        half = (clip.end - clip.start) / 2 - _ROUNDING_SECONDS
        earlier = [
            one
            for one in same
            if one.moment.start < clip.start and _shared(one.moment, clip) >= half and one.version == best.version
        ]
        if not earlier:
            return best.features
        before = max(earlier, key=lambda one: one.moment.start).features
        return np.asarray((best.features + before) / 2, np.float32)


def _shared(one: Moment, other: Moment) -> float:
    """Return the length of what two moments of a segment share, seconds; below 0 where they are apart."""
    return min(one.end, other.end) - max(one.start, other.start)


@dataclass(slots=True)
class _Peak:
    """The peak of an event on its way to an embedding."""

    asked: bool = False
    settled: bool = False  # it has its embedding, or has none now
    never: bool = False  # and will have none
    again_at: float = 0.0  # on the clock
    embedded: Embedded | None = None


@dataclass(slots=True)
class _Alert:
    """The alert whose events go out now."""

    shift: int = 0  # updates that were added, by which the numbers of its later events are higher
    likeness: tuple[Likeness, MutedBecause | None] | None = None
    last: AlertEvent | None = None  # the last event that went out without the embedding of its peak
    missing: bool = False  # its begin went out without a likeness
    peaks: set[Moment] = field(default_factory=set)


class Enricher:
    """Adds likeness to the events of one camera and detector. One thread feeds it; answers may come on any thread.

    Args:
        memory: returns the memory of the embeddings that are made now; None while there is none.
        embed: asks for an embedding.
        recent: the camera's features, which another detector may provide.
        hold_seconds: most seconds that an event waits for its likeness.
        on_outcome: called once for each alert, when its first likeness is known or will not be.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        memory: Callable[[], Memory | None],
        embed: Embed,
        recent: RecentFeatures,
        *,
        hold_seconds: float = HOLD_SECONDS,
        on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory = memory
        self._embed = embed
        self._recent = recent
        self._hold_seconds = hold_seconds
        self._on_outcome = on_outcome
        self._clock = clock
        self._held: deque[tuple[AlertEvent, float]] = deque()  # with the time since when
        self._peaks: dict[Moment, _Peak] = {}
        self._alert = _Alert()
        self._is_final = False  # no more clips come
        self._answers: SimpleQueue[tuple[Moment, Embedded | None]] = SimpleQueue()

    @property
    def is_holding(self) -> bool:
        """Return whether an event is held back: call :meth:`ready` within milliseconds."""
        return bool(self._held)

    @property
    def is_late(self) -> bool:
        """Return whether an event went out without its likeness, and an update may follow: call :meth:`ready`."""
        return self._alert.last is not None

    def take(self, events: list[AlertEvent]) -> list[AlertEvent]:
        """Take the next events, and return those that go out now; see :meth:`ready`."""
        for event in events:
            self._held.append((event, self._clock()))
            self._peaks.setdefault(_peak_of(event), _Peak())
        return self.ready()

    def ready(self) -> list[AlertEvent]:
        """Return the events that go out now, in order."""
        self._read_answers()
        ready = []
        while self._held:
            event, since = self._held[0]
            peak = self._peaks[_peak_of(event)]
            if not peak.settled and self._clock() - since < self._hold_seconds:
                break
            self._held.popleft()
            ready.append(self._pass(event, peak))
        if (update := self._late_update()) is not None:
            ready.append(update)
        return ready

    def finish(self, events: list[AlertEvent], *, at_once: bool) -> list[AlertEvent]:
        """Take the last events, and return those that go out now; call :meth:`ready` while any is held back.

        Args:
            at_once: hold nothing back: events go without what is not there.
        """
        self._is_final = True
        ready = self.take(events)
        while at_once and self._held:
            event, _ = self._held.popleft()
            ready.append(self._pass(event, self._peaks[_peak_of(event)]))
        return ready

    def _read_answers(self) -> None:
        for moment, peak in self._peaks.items():
            if not peak.asked and not peak.never and self._clock() >= peak.again_at:
                self._ask(moment, peak)
        while True:
            try:
                moment, embedded = self._answers.get_nowait()
            except Empty:
                return
            if (answered := self._peaks.get(moment)) is not None:
                answered.settled, answered.embedded = True, embedded
                if embedded is None:
                    answered.asked, answered.again_at = False, self._clock() + _AGAIN_SECONDS

    def _ask(self, moment: Moment, peak: _Peak) -> None:
        try:
            features = self._recent.at(moment, final=self._is_final)
        except LookupError:
            peak.settled = peak.never = True
            return
        if features is not None:
            peak.asked = True
            self._embed(features, partial(self._answer, moment))

    def _answer(self, moment: Moment, embedded: Embedded | None) -> None:
        self._answers.put((moment, embedded))

    def _pass(self, event: AlertEvent, peak: _Peak) -> AlertEvent:
        """Return the event as it goes out."""
        if event.data.state is AlertState.BEGIN:
            self._alert = _Alert()
        alert = self._alert
        alert.peaks.add(_peak_of(event))
        numbered = event.numbered(event.data.sequence + alert.shift) if alert.shift else event
        self._consider(event, peak)
        went = numbered if alert.likeness is None else numbered.enriched(*alert.likeness)
        alert.last = None if peak.embedded is not None or peak.never else went
        if event.data.state is AlertState.BEGIN:
            alert.missing = alert.likeness is None
            if not alert.missing:
                self._on_outcome(Outcome.IN_TIME)
        elif alert.missing and alert.likeness is not None:
            alert.missing = False
            self._on_outcome(Outcome.LATE)
        if event.data.state is AlertState.END:
            self._end()
        return went

    def _late_update(self) -> AlertEvent | None:
        """Return an update of the open alert where the embedding of its peak has come after its last event."""
        alert = self._alert
        if alert.last is None or self._held or not (peak := self._peaks[_peak_of(alert.last)]).settled:
            return None
        if peak.embedded is None:
            alert.last = None if peak.never else alert.last
            return None
        last, alert.last = alert.last, None
        if not self._consider(last, peak):
            return None
        assert alert.likeness is not None
        alert.shift += 1
        if alert.missing:
            alert.missing = False
            self._on_outcome(Outcome.LATE)
        return last.repeated().enriched(*alert.likeness)

    def _consider(self, event: AlertEvent, peak: _Peak) -> bool:
        """Ask the memory about the alert with the embedding of its peak; return whether it could be asked.

        Where the peak has none yet, and no event of the alert had one, an earlier peak of it serves.
        """
        memory = self._memory()
        embedded = peak.embedded
        if embedded is None and self._alert.likeness is None:
            others = (self._peaks[moment].embedded for moment in self._alert.peaks if moment in self._peaks)
            embedded = next((one for one in others if one is not None), None)
        if embedded is None or memory is None or memory.embedding_version != embedded.version:
            return False
        data = event.data
        try:
            self._alert.likeness = memory.consider(data.alert_id, embedded.values, data.camera, data.started_at)
        except Exception:  # the alert is worth more than its likeness
            _log.exception("an alert cannot be compared, and goes without likeness; this is a bug", camera=data.camera)
            return False
        return True

    def _end(self) -> None:
        """Forget an alert whose end goes out."""
        if self._alert.missing:
            self._on_outcome(Outcome.MISSING)
        waiting = {_peak_of(event) for event, _ in self._held}
        for moment in self._alert.peaks - waiting:
            self._peaks.pop(moment, None)
        self._alert = _Alert()


def _peak_of(event: AlertEvent) -> Moment:
    peak = event.data.peak
    return Moment(event.data.segment, peak.started_pts_seconds, peak.ended_pts_seconds)
