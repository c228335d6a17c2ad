"""A destination of events: two methods, and one answer for each event.

A sink knows its protocol and nothing else. Order, retries, stopping and the messages to the operator belong to
:class:`pipeline.sinks.relay.Relay`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from pipeline.alerts.reading import Event
from pipeline.errors import MistwatchError


class SinkUnavailableError(MistwatchError):
    """A sink cannot be used now; trying again may help. One line that names the sink.

    Attributes:
        wait_seconds: the least time until the sink wants to be asked again.
    """

    def __init__(self, message: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class Verdict(StrEnum):
    """The three answers of a sink to an event."""

    ACKNOWLEDGED = "acknowledged"  #: the sink has the event for good
    RETRY = "retry"  #: no answer, or one that may change
    NEVER = "never"  #: refused, and the same answer would come again


@dataclass(frozen=True, slots=True)
class Delivery:
    """A sink's answer to one event.

    Attributes:
        reason: one line without the sink's name; empty for an acknowledged event.
        monotonic: time of the answer, seconds of the monotonic clock.
        wait_seconds: for ``RETRY``: the least time until the sink wants to be asked again.
    """

    verdict: Verdict
    reason: str = ""
    monotonic: float = field(default_factory=time.monotonic)
    wait_seconds: float = 0.0


#: Called by a sink a few times a second while it waits for an answer, with a function that explains the silence in one
#: line that names the sink. When it returns False the sink gives up waiting and answers ``RETRY``.
KeepWaiting = Callable[[Callable[[], str]], bool]


class Sink(Protocol):
    """A destination of events. ``str(sink)`` is its name in messages, for example ``Kafka 127.0.0.1:9092``.

    Both methods are called on one thread, the relay's.
    """

    def connect(self) -> AbstractContextManager[None]:
        """Connect for the length of a ``with`` block. :meth:`send` is called inside the block.

        The relay leaves the block after a ``RETRY`` and enters a new one: a connection that failed is not used again.

        Raises:
            SinkUnavailableError: it cannot be reached now.
        """

    def send(self, events: Sequence[Event], keep_waiting: KeepWaiting) -> list[Delivery]:
        """Send events, at most one of each camera, and return one answer for each, in their order.

        Args:
            keep_waiting: see :data:`KeepWaiting`.

        Raises:
            SinkUnavailableError: the sink has none of the events; the same as ``RETRY`` for all of them.
        """


@runtime_checkable
class KnowsSite(Protocol):
    """A sink that needs the names of the site and its cameras, and hears of cameras that come and go."""

    def introduce(self, site: str, cameras: Sequence[str], worker: str | None = None) -> None:
        """Take the names before the first connection. Events of further cameras may follow.

        Args:
            worker: names this worker where it shares the site's cameras with others; None: it has them alone.
        """

    def watch(self, camera: str) -> None:
        """This worker watches a camera from now on. Called on any thread; it must return quickly."""

    def forget(self, camera: str) -> None:
        """This worker watches a camera no longer: another one may have it. Called as :meth:`watch`."""
