"""A TCP proxy that forgets its flows, as a NAT or a load balancer does: nothing is closed, and new connections work."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self


class _Flow:
    """A connection of a client, and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket, rewrite: Callable[[bytes], bytes]) -> None:
        self._rewrite = rewrite
        self.forgets_requests = self.forgets_answers = False
        self._ends = client, server
        for source, sink, is_answer in ((client, server, False), (server, client, True)):
            threading.Thread(target=self._pump, args=(source, sink, is_answer), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                # Forgotten data is read all the same: TCP acknowledges it, so that its sender notices nothing.
                if not (self.forgets_answers if is_answer else self.forgets_requests):
                    sink.sendall(self._rewrite(data) if is_answer else data)
        if not self.forgets_answers:  # the end of a forgotten flow does not reach the other side either
            self.close()

    def close(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class ForgetfulProxy:
    """Listens on a port of 127.0.0.1 and forwards every connection to ``target`` (HOST:PORT).

    Args:
        rewrite: applied to each piece of the answers, in which the server may name its own address.
    """

    def __init__(self, target: str, *, rewrite: Callable[[bytes], bytes] = bytes) -> None:
        self._rewrite = rewrite
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._flows: list[_Flow] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for flow in self._flows:
            flow.close()

    @property
    def connections(self) -> int:
        """Connections made so far."""
        return len(self._flows)

    def forget(self, *, answers_only: bool = False) -> None:
        """Forward nothing more on the connections that there are; or requests alone, whose answers get lost."""
        assert self._flows, "there is no connection to forget"
        for flow in self._flows:
            flow.forgets_requests = not answers_only
            flow.forgets_answers = True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                try:
                    self._flows.append(_Flow(client, socket.create_connection(self._target), self._rewrite))
                except OSError:
                    client.close()
