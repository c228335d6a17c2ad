"""A transport that replaces its connection when that has died without a sign.

A NAT, a load balancer or an overlay network may forget a flow: nothing is forwarded on it any more and nothing is
closed. TCP notices that after a quarter of an hour at best, and not at all where a proxy acknowledges what it discards.
HTTP/2 keepalive does not help: Triton closes a connection that is pinged more often than every five minutes.

So a silent connection is asked for a sign of life, which a server that is merely slow answers at once. Where the
deadline for that is missed twice in a row, the same question goes over a new connection. An answer there, and none to a
last question over the old connection, prove that the latter is dead: it is closed, the new one takes its place, and
calls under way are cut off, for the caller to send again. Where the new connection is not answered either, the server
itself is away; the old connection stays, and is tested again later.

On a slow link a question waits behind the pixels of clips, and a connection at work looks like a dead one. Replaced
again and again, it would hardly send a whole clip. So where a connection is replaced that has answered few clips, the
next one may be silent for twice as long before it is tested; where it has answered many, for half as long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.scoring.served_model import ClipMismatch, ScorerUnavailable, ServedModel, Trouble
from pipeline.scoring.target import Target
from pipeline.scoring.transport import Answer, Failure, Transport

T = TypeVar("T")

#: A connection with calls under way is tested after this long without an answer.
QUIET_SECONDS = 2.0
#: Limit for a sign of life, which costs a healthy server milliseconds. A dead connection is replaced after
#: 2 + (2 + 1) × 2 = 8 s, before the default deadline of a clip (10 s).
SIGN_OF_LIFE_SECONDS = 2.0
#: Deadlines for a sign of life that are missed in a row before a new connection is tried.
MISSES_IN_A_ROW = 2
#: A connection on which at least this many clips were answered has worked.
WORKING_CLIPS = 3
#: The silence before a test is at most this many times ``QUIET_SECONDS``.
MOST_PATIENCE = 16
#: A new connection that is refused is tried again after this long, within the limit for a sign of life.
_RETRY_SECONDS = 0.2
#: Limit for the end of the thread that watches the connection, whose calls end when their connections are closed.
_END_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class _Line:
    """One connection, and how long it has been silent. Its user holds a lock.

    Attributes:
        calls: calls under way; a clip's with the function to call with its outcome.
        heard: number of answers so far.
        clips: number of clips answered, whatever the answer.
        has_missed: a sign of life was asked for since, and did not come in time.
        silent_since: monotonic time since when calls wait without any answer; None while no call waits. A call that
            has missed its deadline counts as one that waits.
    """

    transport: Transport
    calls: dict[int, Callable[[Answer | Failure], None] | None] = field(default_factory=dict)
    heard: int = 0
    clips: int = 0
    has_missed: bool = False
    silent_since: float | None = None

    def begin(self, number: int, on_answer: Callable[[Answer | Failure], None] | None, *, now: float) -> None:
        """Record a call that is made now."""
        self.calls[number] = on_answer
        if self.silent_since is None:
            self.silent_since = now

    def end(self, number: int, *, trouble: Trouble | None, now: float) -> bool:
        """Record the end of a call; return False where it had been cut off.

        A missed deadline leaves the silence as it is. Any other end, a failure too, is a sign of life.
        """
        known = number in self.calls
        is_clip = self.calls.pop(number, None) is not None
        self.clips += is_clip and trouble not in (Trouble.SILENT, Trouble.UNREACHABLE)
        if trouble is not Trouble.SILENT:
            self.hear(now=now)
        return known

    def hear(self, *, now: float) -> None:
        """Record a sign of life."""
        self.heard += 1
        self.has_missed = False
        self.silent_since = now if self.calls else None


class RenewingTransport:
    """A :class:`~pipeline.scoring.transport.Transport` over one connection at a time.

    Args:
        connect: makes a new transport with a connection of its own, which is not opened yet.
        on_renewed: called after a dead connection was replaced, on a thread of its own. It must be quick.
        quiet_seconds, sign_of_life_seconds: see ``QUIET_SECONDS`` and ``SIGN_OF_LIFE_SECONDS``.
    """

    def __init__(
        self,
        connect: Callable[[], Transport],
        *,
        on_renewed: Callable[[], None] = lambda: None,
        quiet_seconds: float = QUIET_SECONDS,
        sign_of_life_seconds: float = SIGN_OF_LIFE_SECONDS,
    ) -> None:
        self._connect = connect
        self._on_renewed = on_renewed
        self._quiet_seconds = quiet_seconds
        self._sign_of_life_seconds = sign_of_life_seconds
        self._numbers = count()
        self._changed = threading.Condition()  # guards the lines
        self._line = _Line(connect())
        self._candidate: Transport | None = None
        self._patience = 1  # times the silence before a test
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="connection-watch", daemon=True)
        self._thread.start()

    @property
    def is_silent(self) -> bool:
        """Return whether the server is not heard at present: it owes a sign of life."""
        return self._line.has_missed

    # -- the calls ---------------------------------------------------------------------------------------------

    def is_live(self, *, timeout_seconds: float) -> None:
        """See :meth:`Transport.is_live`."""
        self._ask(lambda transport: transport.is_live(timeout_seconds=timeout_seconds))

    def describe(self, target: Target, *, version: str = "", timeout_seconds: float) -> ServedModel:
        """See :meth:`Transport.describe`."""
        return self._ask(lambda transport: transport.describe(target, version=version, timeout_seconds=timeout_seconds))

    def load(self, model: str) -> None:
        """See :meth:`Transport.load`."""
        self._ask(lambda transport: transport.load(model))

    def unload(self, model: str) -> None:
        """See :meth:`Transport.unload`."""
        self._ask(lambda transport: transport.unload(model))

    def infer(
        self,
        target: Target,
        pixels: npt.NDArray[np.uint8],
        *,
        scene: npt.NDArray[np.uint8] | None,
        mask: npt.NDArray[np.uint8] | None,
        heat: bool,
        features: bool,
        timeout_seconds: float,
        on_answer: Callable[[Answer | Failure], None],
    ) -> None:
        """See :meth:`Transport.infer`; a clip whose connection is replaced fails with ``CUT_OFF``."""
        line, number = self._begin(on_answer)

        def conclude(answer: Answer | Failure) -> None:
            trouble = answer.trouble if isinstance(answer, Failure) else None
            if self._end(line, number, trouble):
                on_answer(answer)

        line.transport.infer(
            target,
            pixels,
            scene=scene,
            mask=mask,
            heat=heat,
            features=features,
            timeout_seconds=timeout_seconds,
            on_answer=conclude,
        )

    def close(self) -> None:
        """See :meth:`Transport.close`."""
        with self._changed:
            self._closed.set()
            transports = [self._line.transport, *([self._candidate] if self._candidate is not None else [])]
            self._changed.notify_all()
        for transport in transports:
            transport.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(_END_SECONDS)

    def _ask(self, question: Callable[[Transport], T]) -> T:
        """Ask a question; where its connection is replaced meanwhile, ask again over the new one."""
        while True:
            line, number = self._begin(None)
            try:
                answer = question(line.transport)
            except ScorerUnavailable as error:
                self._end(line, number, error.trouble)
                with self._changed:
                    if line is self._line or self._closed.is_set():
                        raise
            except ClipMismatch:  # an answer, too
                self._end(line, number, None)
                raise
            else:
                self._end(line, number, None)
                return answer

    def _begin(self, on_answer: Callable[[Answer | Failure], None] | None) -> tuple[_Line, int]:
        with self._changed:
            line, number = self._line, next(self._numbers)
            line.begin(number, on_answer, now=time.monotonic())
            self._changed.notify_all()
        return line, number

    def _end(self, line: _Line, number: int, trouble: Trouble | None) -> bool:
        with self._changed:
            return line.end(number, trouble=trouble, now=time.monotonic())

    # -- the thread that watches the connection ----------------------------------------------------------------

    def _watch(self) -> None:
        while (line := self._next_silent_line()) is not None:
            if self._misses(line, MISSES_IN_A_ROW):
                self._try_new_connection(line)

    def _next_silent_line(self) -> _Line | None:
        """Wait until the connection has been silent for long enough to be tested; None at the end."""
        with self._changed:
            while not self._closed.is_set():
                since = self._line.silent_since
                left = None if since is None else since + self._patience * self._quiet_seconds - time.monotonic()
                if left is not None and left <= 0:
                    return self._line
                self._changed.wait(left)
        return None

    def _misses(self, line: _Line, times: int) -> bool:
        """Return whether a connection misses so many deadlines for a sign of life, and nothing else arrives on it."""
        heard = line.heard
        for _ in range(times):
            missed = False
            try:
                line.transport.is_live(timeout_seconds=self._sign_of_life_seconds)
            except ScorerUnavailable as error:
                missed = error.trouble is Trouble.SILENT
            with self._changed:
                if not missed:
                    line.hear(now=time.monotonic())
                if line.heard != heard or self._closed.is_set():
                    return False
                line.has_missed = True
        return True

    def _try_new_connection(self, line: _Line) -> None:
        """Replace a silent connection by a new one, if that is answered."""
        with self._changed:
            if self._closed.is_set():
                return
            try:
                self._candidate = fresh = self._connect()
            except ScorerUnavailable:  # a file of its TLS is gone; tested again when it has been silent as long again
                if line.silent_since is not None:
                    line.silent_since = time.monotonic()
                return
        # A server that was frozen answers both: the last question is for the old connection.
        replaces = self._is_answered(fresh) and self._misses(line, 1)
        with self._changed:
            self._candidate = None
            replaces = replaces and not self._closed.is_set()
            if replaces:
                self._line = _Line(fresh)
                worked = line.clips >= WORKING_CLIPS
                self._patience = max(self._patience // 2, 1) if worked else min(2 * self._patience, MOST_PATIENCE)
                cut_off = [on_answer for on_answer in line.calls.values() if on_answer is not None]
                line.calls.clear()
            elif line.silent_since is not None:
                line.silent_since = time.monotonic()  # tested again when it has been silent as long again
        if not replaces:
            fresh.close()
            return
        line.transport.close()  # a question under way ends with it, and is asked again
        self._on_renewed()
        for on_answer in cut_off:
            on_answer(Failure(Trouble.CUT_OFF, "the connection to Triton was replaced"))

    def _is_answered(self, fresh: Transport) -> bool:
        """Return whether a new connection can be made and is answered within the limit for a sign of life."""
        limit = time.monotonic() + self._sign_of_life_seconds
        while (left := limit - time.monotonic()) > 0:
            try:
                fresh.is_live(timeout_seconds=left)
            except ScorerUnavailable:
                if self._closed.wait(_RETRY_SECONDS):
                    return False
            else:
                return True
        return False
