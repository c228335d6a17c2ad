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
unloaded and loaded anew.

:class:`Outages` combines the outage of the server with those of its models. An unreachable server is one outage that
holds up every model; any other trouble is an outage of one model, which leaves the others alone. The two never stand
side by side for one model: the one that is known last takes over the backoff of the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pipeline.scoring.served_model import Trouble

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

    def end(self) -> None:
        """End the outage, if there is one."""
        self.trouble, self.line = None, ""


class Repair:
    """Decides when a served model whose process keeps dying is unloaded and loaded anew.

    Args:
        allowed: the server is ours alone, so that its models may be loaded anew.

    Attributes:
        is_running: the model is being unloaded and loaded now.
    """

    def __init__(self, *, allowed: bool) -> None:
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
    """The outage of one model and its repair."""

    def __init__(self, *, repair: bool) -> None:
        self.outage = Outage()
        self.repair = Repair(allowed=repair)
        self.answered_at = float("-inf")


class Outages:
    """The outages of one server and of the models on it.

    Args:
        repair: a model whose process keeps dying is to be loaded anew.
    """

    def __init__(self, models: Iterable[str], *, repair: bool = False) -> None:
        self._server = Outage()
        self._models = {name: _Model(repair=repair) for name in models}

    @property
    def server_away(self) -> bool:
        """Return whether the server itself cannot be reached."""
        return self._server.is_open

    def away(self, model: str) -> bool:
        """Return whether clips for ``model`` wait for an outage to end."""
        return self._outage_of(model).is_open

    def state(self, model: str, now: float) -> State:
        """Return the state of ``model`` at the time ``now``, which is the server's where that is away."""
        return State.REPAIRING if self._models[model].repair.is_running else self._outage_of(model).state(now)

    def pause_left(self, model: str, now: float) -> float:
        """Return the seconds until ``model`` is tried again; 0 when clips may be sent now."""
        return self._outage_of(model).pause_left(now)

    def repair_of(self, model: str) -> Repair:
        """Return the repair of ``model``."""
        return self._models[model].repair

    def answered(self, model: str, now: float) -> None:
        """Record that the model has answered a clip, whatever the answer is worth."""
        self._models[model].answered_at = now

    def silent_since(self, model: str, sent_at: float) -> bool:
        """Return whether the model has not answered a single clip since ``sent_at``."""
        return self._models[model].answered_at < sent_at

    def failed(self, model: str, trouble: Trouble, line: str, *, sent_at: float, now: float) -> bool:
        """Record a failure that makes clips wait; return whether ``line`` is to be reported.

        A line is reported once an outage, again when the kind of trouble changes, and never for two models at once.
        """
        reported = {outage.line for outage in self._open()}
        own = self._models[model]
        if trouble is Trouble.STUB_DIED:
            own.repair.count_death()
        if trouble is Trouble.UNREACHABLE:
            for other in self._models.values():
                if other.outage.is_open and not self._server.is_open:
                    self._server.take_over(other.outage)
                other.outage.end()
            target = self._server
        else:  # the server has answered, or at least taken the connection
            if self._server.is_open:
                own.outage.take_over(self._server)
            target = own.outage
        return target.fail(trouble, line, sent_at=sent_at, now=now) and line not in reported

    def scored(self, model: str) -> bool:
        """Record a usable answer of ``model``; return whether the last outage ended with it."""
        was_open = bool(self._open())
        self._server.end()
        self._models[model].outage.end()
        self._models[model].repair.reset()
        return was_open and not self._open()

    def _outage_of(self, model: str) -> Outage:
        return self._server if self._server.is_open else self._models[model].outage

    def _open(self) -> list[Outage]:
        return [each for each in (self._server, *(model.outage for model in self._models.values())) if each.is_open]
