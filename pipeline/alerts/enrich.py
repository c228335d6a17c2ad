"""Additions to the alerts of one camera and detector: facts about their peaks that other models find out meanwhile.

An event is held back for what its peak lacks, at most :data:`HOLD_SECONDS`. It then goes out as it is, and when an
answer comes after all, an update follows. The order of a camera's and detector's events is kept.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from operators.alerting import AlertState
from pipeline import logs
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.recent_features import Moment

_log = logs.get("enrich")

#: A live alert is held back for its additions by at most 0.1 s. The worker looks every few milliseconds, between other
#: clips, so the hold ends before.
HOLD_SECONDS = 0.08
#: A recording's alert is held back by at most so much: nothing waits for it, and a replay gives the same each time.
REPLAY_HOLD_SECONDS = 30.0
#: A peak without an answer is asked for again after so long, while its alert is open.
_AGAIN_SECONDS = 2.0


class Outcome(StrEnum):
    """The outcome of an addition to an alert."""

    IN_TIME = "in_time"  #: the alert's begin has it
    LATE = "late"  #: a later event has it
    MISSING = "missing"  #: no event has it


Answer = TypeVar("Answer")
Value = TypeVar("Value")


class Addition(Protocol[Answer, Value]):
    """Something that alerts get beside their scores. Called on the thread of the operators.

    Attributes:
        what: names it in the log.
    """

    what: str

    def ask(self, moment: Moment, answer: Callable[[Answer | None], None], *, final: bool) -> bool:
        """Ask about a peak, and return whether it could be asked; False: not yet.

        Args:
            answer: called once, on any thread, with None if the question cannot be answered.
            final: no more clips come; take what is there.

        Raises:
            LookupError: the peak cannot be asked about, and never will.
        """
        ...

    def value(self, event: AlertEvent, answer: Answer) -> Value | None:
        """Return the addition to an event, given the answer about its peak; None where there is none now."""
        ...

    def added(self, event: AlertEvent, value: Value) -> AlertEvent:
        """Return the event with the addition."""
        ...

    def stated(self, value: Value) -> Any:
        """Return the addition of an open alert as JSON, for the next worker that watches the camera."""
        ...

    def restored(self, found: Any) -> Value:
        """Return the addition that another worker stated.

        Raises:
            ValueError: it is not one of this version.
        """
        ...

    def forget(self, moments: Iterable[Moment]) -> None:
        """Forget peaks that will not be asked about again."""
        ...

    def on_outcome(self, outcome: Outcome) -> None:
        """Take note of an alert's outcome: when its first addition is known, or will not be."""
        ...


@dataclass(slots=True)
class _Question:
    """A peak on its way to an answer."""

    asked: bool = False
    settled: bool = False  # it has its answer, or has none now
    never: bool = False  # and will have none
    again_at: float = 0.0  # on the clock
    answer: Any = None


@dataclass(slots=True)
class _Added:
    """One addition to the alert whose events go out now."""

    value: Any = None
    lacking: bool = False  # the last event went out without the answer about its peak, which may still come
    missing: bool = False  # its begin went out without the addition


@dataclass(slots=True)
class _Alert:
    """The alert whose events go out now."""

    additions: list[_Added] = field(default_factory=list)
    shift: int = 0  # updates that were added, by which the numbers of its later events are higher
    last: AlertEvent | None = None  # the last event, where it lacks something
    peaks: set[Moment] = field(default_factory=set)


class Enricher:
    """Adds to the events of one camera and detector. One thread feeds it; answers may come on any thread.

    Args:
        additions: all that the events get.
        hold_seconds: most seconds that an event waits.
        stated: additions of the open alert that another worker began, see :attr:`stated`; its next events have them
            until there are newer ones.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        additions: Sequence[Addition[Any, Any]],
        *,
        hold_seconds: float = HOLD_SECONDS,
        stated: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._additions = tuple(additions)
        self._hold_seconds = hold_seconds
        self._clock = clock
        self._held: deque[tuple[AlertEvent, float]] = deque()  # with the time since when
        self._peaks: dict[Moment, list[_Question]] = {}  # a question for each addition
        self._alert = self._no_alert()
        self._restore(stated or {})
        self._is_final = False  # no more clips come
        self._answers: SimpleQueue[tuple[Moment, int, Any]] = SimpleQueue()

    @property
    def is_holding(self) -> bool:
        """Return whether an event is held back: call :meth:`ready` within milliseconds."""
        return bool(self._held)

    @property
    def is_late(self) -> bool:
        """Return whether an event went out without an addition, and an update may follow: call :meth:`ready`."""
        return self._alert.last is not None

    @property
    def shift(self) -> int:
        """Return the number of updates that were added to the open alert, by which its events' numbers are higher."""
        return self._alert.shift

    @property
    def stated(self) -> dict[str, Any]:
        """Return the additions to the open alert, as JSON, by their names."""
        found = zip(self._additions, self._alert.additions, strict=True)
        return {addition.what: addition.stated(one.value) for addition, one in found if one.value is not None}

    def take(self, events: list[AlertEvent]) -> list[AlertEvent]:
        """Take the next events, and return those that go out now; see :meth:`ready`."""
        for event in events:
            self._held.append((event, self._clock()))
            self._peaks.setdefault(peak_of(event), [_Question() for _ in self._additions])
        return self.ready()

    def ready(self) -> list[AlertEvent]:
        """Return the events that go out now, in order."""
        self._read_answers()
        ready = []
        while self._held:
            event, since = self._held[0]
            settled = all(question.settled for question in self._peaks[peak_of(event)])
            if not settled and self._clock() - since < self._hold_seconds:
                break
            self._held.popleft()
            ready.append(self._pass(event))
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
            ready.append(self._pass(event))
        return ready

    def _restore(self, stated: Mapping[str, Any]) -> None:
        for addition, one in zip(self._additions, self._alert.additions, strict=True):
            if addition.what in stated:
                try:
                    one.value = addition.restored(stated[addition.what])
                except ValueError:  # of another version: the alert has none until its next peak
                    _log.warning(f"the {addition.what} of an open alert cannot be continued: not of this version")

    def _read_answers(self) -> None:
        for moment, questions in self._peaks.items():
            for ordinal, question in enumerate(questions):
                if not question.asked and not question.never and self._clock() >= question.again_at:
                    self._ask(moment, ordinal, question)
        while True:
            try:
                moment, ordinal, answer = self._answers.get_nowait()
            except Empty:
                return
            if (known := self._peaks.get(moment)) is not None:
                question = known[ordinal]
                question.settled, question.answer = True, answer
                if answer is None:
                    question.asked, question.again_at = False, self._clock() + _AGAIN_SECONDS

    def _ask(self, moment: Moment, ordinal: int, question: _Question) -> None:
        try:
            question.asked = self._additions[ordinal].ask(
                moment, partial(self._answer, moment, ordinal), final=self._is_final
            )
        except LookupError:
            question.settled = question.never = True

    def _answer(self, moment: Moment, ordinal: int, answer: Any) -> None:
        self._answers.put((moment, ordinal, answer))

    def _pass(self, event: AlertEvent) -> AlertEvent:
        """Return the event as it goes out."""
        begins = event.data.state is AlertState.BEGIN
        if begins:
            self._alert = self._no_alert()
        alert = self._alert
        peak = peak_of(event)
        alert.peaks.add(peak)
        went = event.numbered(event.data.sequence + alert.shift) if alert.shift else event
        for ordinal, question in enumerate(self._peaks[peak]):
            self._consider(event, ordinal, question)
            one = alert.additions[ordinal]
            one.lacking = question.answer is None and not question.never
            one.missing = one.missing or begins
            self._report(ordinal, Outcome.IN_TIME if begins else Outcome.LATE)
        went = self._with_additions(went)
        alert.last = went if any(one.lacking for one in alert.additions) else None
        if event.data.state is AlertState.END:
            self._end()
        return went

    def _late_update(self) -> AlertEvent | None:
        """Return an update of the open alert where an answer about its peak has come after its last event."""
        alert = self._alert
        if alert.last is None or self._held:
            return None
        last, changed = alert.last, False
        for ordinal, question in enumerate(self._peaks[peak_of(last)]):
            one = alert.additions[ordinal]
            if not one.lacking or not question.settled:
                continue
            one.lacking = question.answer is None and not question.never
            if self._consider(last, ordinal, question, others=False):
                changed = True
                self._report(ordinal, Outcome.LATE)
        update = None
        if changed:
            alert.shift += 1
            update = self._with_additions(last.repeated())
        alert.last = (update or last) if any(one.lacking for one in alert.additions) else None
        return update

    def _consider(self, event: AlertEvent, ordinal: int, question: _Question, *, others: bool = True) -> bool:
        """Find out the value of an addition from the answer about the event's peak; return whether there is one.

        Args:
            others: where the peak has no answer yet, and no event of the alert had one, that about an earlier peak of
                it serves.
        """
        one, answer = self._alert.additions[ordinal], question.answer
        if answer is None and one.value is None and others:
            asked = (self._peaks[moment][ordinal].answer for moment in self._alert.peaks if moment in self._peaks)
            answer = next((other for other in asked if other is not None), None)
        if answer is None:
            return False
        addition = self._additions[ordinal]
        try:
            value = addition.value(event, answer)
        except Exception:  # the alert is worth more than the addition
            line = f"an alert goes without its {addition.what}; this is a bug"
            _log.exception(line, camera=event.data.camera)
            return False
        if value is None:
            return False
        one.value = value
        return True

    def _with_additions(self, event: AlertEvent) -> AlertEvent:
        for addition, one in zip(self._additions, self._alert.additions, strict=True):
            if one.value is not None:
                event = addition.added(event, one.value)
        return event

    def _report(self, ordinal: int, outcome: Outcome) -> None:
        """Report the outcome of an addition that the alert has now for the first time."""
        one = self._alert.additions[ordinal]
        if one.missing and one.value is not None:
            one.missing = False
            self._additions[ordinal].on_outcome(outcome)

    def _end(self) -> None:
        """Forget an alert whose end goes out."""
        for addition, one in zip(self._additions, self._alert.additions, strict=True):
            if one.missing:
                addition.on_outcome(Outcome.MISSING)
        waiting = {peak_of(event) for event, _ in self._held}
        gone = self._alert.peaks - waiting
        for moment in gone:
            self._peaks.pop(moment, None)
        for addition in self._additions:
            addition.forget(gone)
        self._alert = self._no_alert()

    def _no_alert(self) -> _Alert:
        return _Alert([_Added() for _ in self._additions])


def peak_of(event: AlertEvent) -> Moment:
    """Return the moment of an event's peak."""
    peak = event.data.peak
    segment = event.data.peak_segment or event.data.segment
    return Moment(segment, peak.started_pts_seconds, peak.ended_pts_seconds)
