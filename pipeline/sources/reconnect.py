"""Live sources end only by a stop: every other end is an outage, which is reported, waited out and tried again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from pipeline.sources.base import SourceError

#: Reasons that last until a person does something.
_BY_A_PERSON = frozenset({"unauthorized", "certificate"})

#: Item of a connection: a frame or the end of a segment, or a packet.
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Outage:
    """A live source could not be opened, or its stream ended.

    Attributes:
        code: the reason, one of the codes of :class:`pipeline.sources.base.SourceError`.
        message: one line for an operator, without credentials.
        retry_in_seconds: when the next attempt is made.
    """

    camera: str
    code: str
    message: str
    retry_in_seconds: float


@dataclass(frozen=True, slots=True)
class BackoffSettings:
    """Waits before the next attempt, seconds.

    The wait doubles from ``first`` to ``longest`` and is drawn between its half and its whole, so that a switch that
    comes back does not meet all its cameras at once. A connection that gave pictures for ``healthy`` seconds starts it
    afresh. Wrong credentials wait for ``longest`` at once: cameras lock an account after a few attempts. So does a
    certificate that is not trusted: only a person mends it.
    """

    first: float = 1.0
    longest: float = 30.0
    healthy: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.longest:
            raise ValueError(f"backoff needs 0 < first <= longest, got first={self.first}, longest={self.longest}")
        if not self.healthy >= 0:
            raise ValueError(f"backoff healthy must be at least 0 seconds, got {self.healthy}")


class Backoff:
    """The waits of one camera."""

    def __init__(self, settings: BackoffSettings, draw: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._draw = draw  # uniform in [0, 1)
        self._failures = 0

    def wait_after(self, code: str, up_seconds: float) -> float:
        """Seconds to wait after an outage, given its reason and for how long there had been pictures."""
        if up_seconds >= self._settings.healthy:
            self._failures = 0
        # The exponent is bounded: 2.0 ** 1024 is an error, and a camera may be away for months.
        longest = self._settings.longest
        wait = longest if code in _BY_A_PERSON else min(longest, self._settings.first * 2.0 ** min(self._failures, 60))
        self._failures += 1
        return wait * (0.5 + 0.5 * self._draw())


def reconnecting(
    camera: str,
    connect: Callable[[], Iterator[Item]],
    *,
    stop: threading.Event,
    backoff: Backoff,
    on_outage: Callable[[Outage], None] | None = None,
    on_connected: Callable[[str], None] | None = None,
    on_attempt: Callable[[str], None] | None = None,
) -> Iterator[Item]:
    """The items of one connection after the other, until ``stop``, which also cuts the waits short.

    ``on_attempt`` is called with the camera's id before each connection, ``on_connected`` at the first item of each,
    ``on_outage`` after each.

    Args:
        connect: opens a connection and yields its items. It raises SourceError for why it ended, and returns only when
            it was stopped.

    Raises:
        SourceError: ``usage``: what no retry can mend.
    """
    while not stop.is_set():
        connected_at: float | None = None
        if on_attempt is not None:
            on_attempt(camera)
        code, message = "stream_end", f"camera {camera}: the stream ended"
        try:
            with closing(connect()) as items:  # type: ignore[type-var]  # a generator, which Iterator does not say
                for item in items:
                    if connected_at is None:
                        connected_at = time.monotonic()
                        if on_connected is not None:
                            on_connected(camera)
                    yield item
        except SourceError as error:
            if error.code == "usage":
                raise
            code, message = error.code, str(error)
            # Its traceback leads to frames that hold the error: a circle, which would keep the connection's decoder and
            # scaler until Python looks for circles. In a decoder process that is rare, and they are megabytes.
            error.__traceback__ = None
        if stop.is_set():
            return
        up_seconds = time.monotonic() - connected_at if connected_at is not None else 0.0
        wait = backoff.wait_after(code, up_seconds)
        if on_outage is not None:
            on_outage(Outage(camera, code, message, wait))
        stop.wait(wait)
