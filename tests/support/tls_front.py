"""TLS in front of a plain server: a listener on loopback that decrypts, and passes bytes on in both directions."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from types import TracebackType
from typing import Self


class TlsFront:
    """Listens at ``port``; its clients reach the plain server at ``behind`` of 127.0.0.1.

    Attributes:
        connections: number of connections, whatever became of them.
        accepted: number of connections whose handshake succeeded.
        received: bytes that clients sent, decrypted.
    """

    def __init__(self, context: ssl.SSLContext, behind: int) -> None:
        self._context = context
        self._behind = behind
        self.connections = self.accepted = 0
        self.received = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            plain.settimeout(30)
            client = self._context.wrap_socket(plain, server_side=True)
            client.settimeout(None)
        except OSError:
            plain.close()
            return
        self.accepted += 1
        try:
            server = socket.create_connection(("127.0.0.1", self._behind))
        except OSError:
            client.close()
            return
        self._open += [client, server]
        threading.Thread(target=self._pass, args=(server, client), daemon=True).start()
        self._pass(client, server, keep=True)

    def _pass(self, source: socket.socket, target: socket.socket, *, keep: bool = False) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := source.recv(65536):
                if keep:
                    self.received += data
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
