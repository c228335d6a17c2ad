"""A tunnel of our own to a camera with TLS, for what FFmpeg cannot verify: pinned certificates and playlists.

FFmpeg connects in clear to a port of loopback; each connection is passed on over TLS, verified here. Nothing is
added to it, so another user of this machine who finds the port gains no more than a connection to the camera.
"""

from __future__ import annotations

import contextlib
import socket
import threading

from pipeline.sources.certificates import CameraTls, address_of
from pipeline.sources.credentials import Location
from pipeline.tls import TlsFileError

_CHUNK_BYTES = 1 << 16


class Tunnel:
    """Listens on a port of loopback, and passes each connection on to the camera over verified TLS.

    Args:
        timeout_seconds: limit for connecting and for the handshake.
    """

    def __init__(self, location: Location, tls: CameraTls, *, timeout_seconds: float) -> None:
        self._address = address_of(location)
        self._tls = tls
        self._timeout = timeout_seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._closed = False
        self._start(self._accept)

    @property
    def authority(self) -> str:
        """``HOST:PORT`` of this end."""
        return f"127.0.0.1:{self._port}"

    def close(self) -> None:
        """End every connection and listen no longer."""
        with self._lock:
            self._closed = True
            sockets = [self._listener, *self._sockets]
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, near)

    def _serve(self, near: socket.socket) -> None:
        far: socket.socket | None = None
        try:
            plain = socket.create_connection(self._address, self._timeout)
            try:
                far = self._tls.wrap(plain, self._address[0])
            except BaseException:
                plain.close()
                raise
            far.settimeout(None)
        except (OSError, ValueError, TlsFileError):
            near.close()  # FFmpeg reports an end; the source then finds out why
            return
        with self._lock:
            if not self._closed:
                self._sockets |= {near, far}
        if self._closed:
            near.close()
            far.close()
            return
        self._start(self._pass, near, far)
        self._pass(far, near)
        with self._lock:
            self._sockets -= {near, far}
        near.close()
        far.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := source.recv(_CHUNK_BYTES):
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _start(self, run: object, *arguments: socket.socket) -> None:
        threading.Thread(target=run, args=arguments, name=f"tunnel-{self._port}", daemon=True).start()  # type: ignore[arg-type]
