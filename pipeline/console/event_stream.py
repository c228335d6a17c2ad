"""One browser's stream of updates: server-sent events that resume, and that end where the browser falls behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.types import Receive, Scope, Send

from pipeline import logs
from pipeline.console.hub import Hub

_log = logs.get("console")

#: Seconds between two looks for updates.
_LOOK_SECONDS = 0.1
#: A comment is sent after this silence, so that a connection that has died is noticed.
_SILENCE_SECONDS = 10.0
#: A browser that takes nothing for so long is disconnected, seconds.
STUCK_SECONDS = 20.0
#: Browsers wait so long before they connect again, milliseconds.
_RETRY_MS = 1000
#: The name of the stream in the state of its request, by which its connection finds it.
STREAM_STATE = "event_stream"

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class BrowserStuckError(asyncio.CancelledError):
    """A browser has taken nothing for too long: the server is to close the connection, which it does with any error.

    The stream has logged it, so the server's own log leaves it out.
    """


class EventStream:
    """An ASGI response. ``resync`` asks the browser to load everything again; the stream goes on after it.

    A stream begins with ``hello`` where it resumes or is new. Where the browser was away for too long, or reads too
    slowly, it gets ``resync`` and the connection ends; it then connects again from the present. A browser that takes
    nothing at all is disconnected, and gets ``resync`` when it is back. Each of the three is one line of the log.

    Args:
        last_event_id: the id of the last update that the browser has, of its header; None: it is new.
        is_over: returns whether the server stops.
    """

    def __init__(
        self, hub: Hub, last_event_id: str | None, *, is_over: Callable[[], bool], stuck_seconds: float = STUCK_SECONDS
    ) -> None:
        self._hub = hub
        self._last_event_id = last_event_id
        self._is_over = is_over
        self._stuck_seconds = stuck_seconds
        self._address = "local"
        self._is_stuck = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send updates until the browser goes, falls behind, or the server stops."""
        gone = asyncio.ensure_future(_disconnected(receive))
        self._address = str(scope["client"][0]) if scope.get("client") else "local"
        scope.setdefault("state", {})[STREAM_STATE] = self
        try:
            await self._send(send, {"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._stream(send, gone)
            with suppress(TimeoutError):
                await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            self.given_up()
            raise BrowserStuckError from None
        finally:
            gone.cancel()

    def given_up(self) -> None:
        """Log once that the browser takes nothing. Its connection is closed, here or by the system."""
        if not self._is_stuck:
            self._is_stuck = True
            seconds = self._stuck_seconds
            _log.warning("a browser takes no updates and is disconnected", address=self._address, seconds=seconds)

    async def _stream(self, send: Send, gone: asyncio.Future[None]) -> None:
        position = self._hub.newest
        if self._last_event_id:
            resumed = self._hub.position_of(self._last_event_id)
            if resumed is None or self._hub.after(resumed) is None:
                if resumed is not None:  # else it was at another run of the console: it has not fallen behind
                    _log.info("a browser was away for too long and loads everything again", address=self._address)
                await self._event(send, "resync", '{"because":"too far behind"}', position)
            else:
                position = resumed
        await self._event(send, "hello", f'{{"retry":{_RETRY_MS}}}', position, retry=True)
        silent = 0.0
        while not gone.done() and not self._is_over():
            updates = self._hub.after(position)
            if updates is None:
                _log.warning("a browser reads too slowly and loads everything again", address=self._address)
                await self._event(send, "resync", '{"because":"too slow"}', self._hub.newest)
                return
            if updates:
                text = "".join(
                    f"id: {self._hub.id_of(one.number)}\nevent: {one.kind}\ndata: {one.data}\n\n" for one in updates
                )
                await self._body(send, text)
                position, silent = updates[-1].number, 0.0
                continue
            if silent >= _SILENCE_SECONDS:
                await self._body(send, ": here\n\n")
                silent = 0.0
            await asyncio.sleep(_LOOK_SECONDS)
            silent += _LOOK_SECONDS

    async def _event(self, send: Send, kind: str, data: str, number: int, *, retry: bool = False) -> None:
        first = f"retry: {_RETRY_MS}\n" if retry else ""
        await self._body(send, f"{first}id: {self._hub.id_of(number)}\nevent: {kind}\ndata: {data}\n\n")

    async def _body(self, send: Send, text: str) -> None:
        await self._send(send, {"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _send(self, send: Send, message: dict[str, object]) -> None:
        """Send a message. Raises TimeoutError: the browser takes nothing."""
        await asyncio.wait_for(send(message), self._stuck_seconds)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
