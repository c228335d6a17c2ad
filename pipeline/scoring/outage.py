"""Outages of a Triton server and of the models that it serves: when to try again, and what to report.

No I/O, no thread, no clock: the caller passes the time in (monotonic seconds).

An :class:`Outage` is a state machine::

            fail                    its pause is over
    UP ───────────────▶ PAUSED ────────────────────────▶ PROBING
    ▲                     ▲                                │ │
    │                     └────────────────────────────────┘ │
    │                       fail (the pause doubles)         │
    └────────────────────────────────────────────────────────┘
                            a clip is scored

A :class:`Repair` adds a fourth state, REPAIRING, which begins and ends in PROBING: a model whose process keeps dying is
unloaded and loaded again. Where it is the process of a shared backbone, the models on it have its repair in common.

:class:`Outages` combines the outage of the server with those of its models and of the parts that they host. An
unreachable server is one outage that holds up every model. Most other trouble is an outage of one model, which leaves
the others alone. A missing or unfit part is an outage of that part, which leaves the model's other parts alone. Outages
of two levels never stand side by side: the one that is known last takes over the backoff of the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from pipeline.scoring.served_model import OF_A_PART, Trouble
from pipeline.scoring.target import Target

#: The first retry follows a failure after this, seconds; each further one after twice the time, up to the longest.
#: Short, because a probe costs two small calls, and seconds count when the server is back.
FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 2.0
#: A served model whose process died this many times in a row without a score between them is loaded anew.
REPAIR_AFTER_DEATHS = 3


class State(StrEnum):
    """The state of an outage at one moment."""

    UP = "up"  #: everything works
    PAUSED = "paused"  #: nothing is sent until the pause is over
    PROBING = "probing"  #: one clip at a time is sent, to see whether the outage is over
    REPAIRING = "repairing"  #: nothing is sent while the model is unloaded and loaded anew


class News(NamedTuple):
    """Changes that a call has to report; by default none.

    Attributes:
        waiting: clips wait for the server or a model.
        recovered: the server and all models are there again.
        part_waiting: the clips of a camera wait for its part.
        part_there: they wait for it no longer.
    """

    waiting: bool = False
    recovered: bool = False
    part_waiting: bool = False
    part_there: bool = False


class Outage:
    """The outage of one thing: the server, or one of its models.

    Attributes:
        line: the text that was last reported of it.
    """

    def __init__(self) -> None:
        self.trouble: Trouble | None = None
        self.line = ""
        self._began = 0.0
        self._pause = 0.0  # seconds
        self._retry_at = 0.0

    @property
    def is_open(self) -> bool:
        """Return whether there is an outage."""
        return self.trouble is not None

    def state(self, now: float) -> State:
        """Return the state at the time ``now``."""
        if self.trouble is None:
            return State.UP
        return State.PAUSED if now < self._retry_at else State.PROBING

    def pause_left(self, now: float) -> float:
        """Return the seconds until the next retry; 0 without an outage or when a retry is due."""
        return max(0.0, self._retry_at - now) if self.is_open else 0.0

    def fail(self, trouble: Trouble, line: str = "", *, sent_at: float, now: float) -> bool:
        """Record a failed call, which was sent at ``sent_at``; return whether its kind is new and to be reported.

        A call that was sent before the outage began is not a retry: it leaves the pause as it is.
        """
        if self.trouble is None:
            self._began, self._pause = now, FIRST_RETRY_SECONDS
            self._retry_at = now + self._pause
        elif sent_at > self._began:
            self._pause = min(2 * self._pause, LONGEST_RETRY_SECONDS)
            self._retry_at = now + self._pause
        is_new = trouble is not self.trouble
        if is_new:
            self.trouble, self.line = trouble, line
        return is_new

    def take_over(self, other: Outage) -> None:
        """Continue the backoff of ``other``, which ends: the same trouble has shown itself to be this one's."""
        self._began, self._pause, self._retry_at = other._began, other._pause, other._retry_at
        self.trouble, self.line = other.trouble, other.line
        other.end()

    def is_later_than(self, sent_at: float) -> bool:
        """Return whether there is an outage that began after a call was sent."""
        return self.is_open and sent_at <= self._began

    def end(self) -> None:
        """End the outage, if there is one."""
        self.trouble, self.line = None, ""


class Repair:
    """Decides when a served model whose process keeps dying is unloaded and loaded anew.

    Args:
        model: its name: the model that clips are sent to, or the shared backbone of that.
        allowed: the server is ours alone, so that its models may be loaded anew.

    Attributes:
        is_running: the model is being unloaded and loaded now.
    """

    def __init__(self, model: str, *, allowed: bool) -> None:
        self.model = model
        self.is_running = False
        self._allowed = allowed
        self._deaths = 0
        self._unloaded = False

    @property
    def is_due(self) -> bool:
        """Return whether the model is to be unloaded and loaded before it is tried again."""
        return self._allowed and (self._unloaded or self._deaths >= REPAIR_AFTER_DEATHS)

    def count_death(self) -> None:
        """Count a death of the model's process."""
        self._deaths += 1

    def begin(self) -> None:
        """Record that the model is being unloaded and loaded."""
        self.is_running = True

    def end(self, *, unloaded: bool, loaded: bool) -> bool:
        """Record the end of a repair; return whether the model is away because of it.

        A model that was unloaded comes back by a load alone, so the repair stays due until one succeeds. A server that
        refuses to unload is probed as before: an operator may restart it.
        """
        self.is_running = False
        self._unloaded = (self._unloaded or unloaded) and not loaded
        if not self._unloaded:
            self._deaths = 0
        return self._unloaded

    def reset(self) -> None:
        """Forget deaths and an unloading: the model has answered."""
        self._deaths, self._unloaded = 0, False


class _Model:
    """The outage of one model, and the repair of the process that died last: its own or that of its backbone."""

    def __init__(self, repair: Repair) -> None:
        self.outage = Outage()
        self.repair = repair
        self.answered_at = float("-inf")


class Outages:
    """The outages of one server, of the models on it, and of the parts of those that host parts.

    Args:
        targets: every model without parts, and every part, that clips are sent to.
        repair: a model whose process keeps dying is to be loaded anew.
    """

    def __init__(self, targets: Iterable[Target], *, repair: bool = False) -> None:
        self._server = Outage()
        self._models: dict[str, _Model] = {}
        self._parts: dict[Target, Outage] = {}
        self._missing: set[Target] = set()  # parts that are reported as waited for
        self._may_repair = repair
        self._repairs: dict[str, Repair] = {}  # by the name of the model that is loaded anew
        for target in targets:
            self.add(target)

    def add(self, target: Target) -> None:
        """Take in one more model or part that clips are sent to."""
        self._models.setdefault(target.model, _Model(self._repair(target.model)))
        if target.part:
            self._parts.setdefault(target, Outage())

    @property
    def server_away(self) -> bool:
        """Return whether the server itself cannot be reached."""
        return self._server.is_open

    def away(self, target: Target) -> bool:
        """Return whether clips for ``target`` wait for an outage to end."""
        return self._outage_of(target).is_open

    def state(self, target: Target, now: float) -> State:
        """Return the state of ``target`` at the time ``now``, which is the server's or model's where that is away."""
        repairing = self._models[target.model].repair.is_running
        return State.REPAIRING if repairing else self._outage_of(target).state(now)

    def pause_left(self, target: Target, now: float) -> float:
        """Return the seconds until ``target`` is tried again; 0 when clips may be sent now."""
        return self._outage_of(target).pause_left(now)

    def repair_of(self, target: Target) -> Repair:
        """Return the repair of the model, or of the backbone that it stands on."""
        return self._models[target.model].repair

    def answered(self, target: Target, now: float) -> None:
        """Record that the model has answered a clip, whatever the answer is worth."""
        self._models[target.model].answered_at = now

    def silent_since(self, target: Target, sent_at: float) -> bool:
        """Return whether the model has not answered a single clip since ``sent_at``."""
        return self._models[target.model].answered_at < sent_at

    def failed(
        self, target: Target, trouble: Trouble, line: str, *, backbone: str = "", sent_at: float, now: float
    ) -> News:
        """Record a failure that makes clips wait; return whether ``line`` is to be reported, and as which news.

        A line is reported once an outage, again when the kind of trouble changes, and never for two models at once.

        Args:
            backbone: the shared backbone whose process has died; empty where it was the model's own.
        """
        was_away = self._scorer_is_away()
        reported = {outage.line for outage in self._open()}
        own = self._models[target.model]
        if trouble is Trouble.STUB_DIED:
            own.repair = self._repair(backbone or target.model)
            own.repair.count_death()
        if trouble is Trouble.UNREACHABLE:
            failing = self._server
            others = [outage for outage in self._all() if outage is not self._server]
        else:  # the server has answered, or at least taken the connection
            failing = self._parts.get(target, own.outage) if trouble in OF_A_PART else own.outage
            others = [outage for outage in (self._server, own.outage) if outage is not failing]
        for other in others:
            if other.is_open and not failing.is_open:
                failing.take_over(other)
            other.end()
        is_news = failing.fail(trouble, line, sent_at=sent_at, now=now) and line not in reported
        if failing is not self._parts.get(target):
            return News(waiting=is_news)
        self._missing.add(target)
        return News(part_waiting=is_news, recovered=was_away and not self._scorer_is_away())

    def scored(self, target: Target, *, sent_at: float) -> News:
        """Record a usable answer of ``target`` to a clip sent at ``sent_at``; return the outages that ended with it.

        An outage goes on where the clip was sent before it began: the failure of a later clip may overtake its answer.
        """
        if self._outage_of(target).is_later_than(sent_at):
            return News()
        was_away, was_missing = self._scorer_is_away(), target in self._missing
        self._missing.discard(target)
        self._server.end()
        self._models[target.model].outage.end()
        self._models[target.model].repair.reset()
        if target in self._parts:
            self._parts[target].end()
        return News(recovered=was_away and not self._scorer_is_away(), part_there=was_missing)

    def _scorer_is_away(self) -> bool:
        """Return whether the server or any model is away; a missing part does not count."""
        return self._server.is_open or any(model.outage.is_open for model in self._models.values())

    def _outage_of(self, target: Target) -> Outage:
        """Return the outage that holds up a model or part: the highest that is open, else its own."""
        model = self._models[target.model].outage
        levels = (self._server, model, self._parts.get(target, model))
        return next((outage for outage in levels if outage.is_open), levels[-1])

    def _repair(self, model: str) -> Repair:
        return self._repairs.setdefault(model, Repair(model, allowed=self._may_repair))

    def _all(self) -> list[Outage]:
        return [self._server, *(model.outage for model in self._models.values()), *self._parts.values()]

    def _open(self) -> list[Outage]:
        return [outage for outage in self._all() if outage.is_open]
