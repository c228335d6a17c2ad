"""The web server's connections: one that the system gives up tells the stream of updates that it served."""

from __future__ import annotations

from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.console.event_stream import STREAM_STATE


class Connection(H11Protocol):
    """A connection of the web server.

    Updates of a small site fit into the system's buffers for minutes. A browser that takes nothing then holds up no
    sending, and only the system's own limit (TCP_USER_TIMEOUT) ends its connection.
    """

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on. A TimeoutError is the system's limit."""
        if isinstance(exc, TimeoutError) and self.cycle is not None:
            stream = self.cycle.scope.get("state", {}).get(STREAM_STATE)
            if stream is not None:
                stream.given_up()
        super().connection_lost(exc)
