"""A tunnel of our own to a camera with TLS, for what FFmpeg cannot verify: pinned certificates and playlists.

FFmpeg connects in clear to a port of loopback; each connection is passed on over TLS, verified here. Nothing is
added to it, so another user of this machine who finds the port gains no more than a connection to the camera.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from pipeline.sources.certificates import CameraTls, address_of
from pipeline.sources.credentials import Location
from pipeline.tls import TlsFileError

_CHUNK_BYTES = 1 << 16

#: Chunks of one direction before the other has its turn.
_TURN_CHUNKS = 16

#: After a connection that could not be taken: descriptors or threads may have run out. Seconds.
_PAUSE_SECONDS = 0.2

_Done = TypeVar("_Done")


class Tunnel:
    """Listens on a port of loopback, and passes each connection on to the camera over verified TLS.

    Args:
        timeout_seconds: limit for connecting and for the handshake.

    Raises:
        OSError: it cannot listen.
    """

    def __init__(self, location: Location, tls: CameraTls, *, timeout_seconds: float) -> None:
        self._address = address_of(location)
        self._tls = tls
        self._timeout = timeout_seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._closed = threading.Event()
        self._start(self._accept)

    @property
    def authority(self) -> str:
        """``HOST:PORT`` of this end."""
        return f"127.0.0.1:{self._port}"

    def close(self) -> None:
        """End every connection and listen no longer."""
        self._closed.set()
        with self._lock:
            for each in self._sockets:
                _end(each)  # its thread notices, and closes it
        _end(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        """Take connections until the tunnel is closed, whatever goes wrong with one of them."""
        while not self._closed.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                self._closed.wait(_PAUSE_SECONDS)
                continue
            try:
                self._start(self._serve, near)
            except RuntimeError:  # no thread can be started
                near.close()
                self._closed.wait(_PAUSE_SECONDS)

    def _serve(self, near: socket.socket) -> None:
        """Pass one connection on until either side ends it."""
        with near, self._known(near):
            try:
                far = self._connect()
            except (OSError, ValueError, TlsFileError):
                return  # FFmpeg reports an end; the source then finds out why
            with far, self._known(far):
                if not self._closed.is_set():
                    _Relay(near, far).run()

    def _connect(self) -> ssl.SSLSocket:
        """Return a verified connection to the camera. Raises OSError, ValueError, TlsFileError."""
        plain = socket.create_connection(self._address, self._timeout)
        try:
            return self._tls.wrap(plain, self._address[0])
        except BaseException:
            plain.close()
            raise

    @contextlib.contextmanager
    def _known(self, connection: socket.socket) -> Iterator[None]:
        """Have :meth:`close` end a connection in the block; it is closed only after that."""
        with self._lock:
            self._sockets.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._sockets.discard(connection)

    def _start(self, run: Callable[..., None], *arguments: socket.socket) -> None:
        threading.Thread(target=run, args=arguments, name=f"tunnel-{self._port}", daemon=True).start()


class _Relay:
    """Passes bytes between two connections, both ways on one thread: two must not use one SSLSocket."""

    def __init__(self, near: socket.socket, far: ssl.SSLSocket) -> None:
        self._near, self._far = near, far
        self._to_near, self._to_far = bytearray(), bytearray()
        self._awaited: dict[socket.socket, int] = {}  # events of poll
        self._is_ready = False  # there may be more to do at once
        near.setblocking(False)
        far.setblocking(False)

    def run(self) -> None:
        """Pass on until one side ends or breaks."""
        with contextlib.suppress(OSError, ValueError):
            while self._pass_on():
                self._wait()

    def _pass_on(self) -> bool:
        """Do what can be done at once; returns whether both sides go on."""
        self._awaited, self._is_ready = {self._near: 0, self._far: 0}, False
        return self._one_way(self._far, self._near, self._to_near) and self._one_way(
            self._near, self._far, self._to_far
        )

    def _one_way(self, source: socket.socket, target: socket.socket, held: bytearray) -> bool:
        """Pass on what ``source`` has; returns whether it goes on."""
        for _ in range(_TURN_CHUNKS):
            if not held:
                data = self._try(source, select.POLLIN, partial(source.recv, _CHUNK_BYTES))
                if data is None:
                    return True
                if not data:
                    return False
                held.extend(data)
            sent = self._try(target, select.POLLOUT, partial(target.send, held))
            if sent is None:
                return True
            del held[:sent]
        self._is_ready = True
        return True

    def _try(self, side: socket.socket, event: int, act: Callable[[], _Done]) -> _Done | None:
        """Return what ``act`` does; None where it must wait for an event of a side. Raises OSError."""
        try:
            return act()
        except ssl.SSLWantReadError:
            event = select.POLLIN
        except ssl.SSLWantWriteError:
            event = select.POLLOUT
        except BlockingIOError:
            pass
        self._awaited[side] |= event
        return None

    def _wait(self) -> None:
        waiting = select.poll()  # select() takes no descriptor above 1023
        for side, events in self._awaited.items():
            if events:  # poll reports an end unasked, again and again
                waiting.register(side, events)
        waiting.poll(0 if self._is_ready else None)


def _end(connection: socket.socket) -> None:
    """End a connection that another thread uses: below TLS, whose state is that thread's."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
