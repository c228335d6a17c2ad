"""The tunnel to a camera with TLS: what passes through it, and what it survives."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority, Certificate, self_signed
from tls_front import TlsFront

from pipeline.sources.certificates import CameraTls
from pipeline.sources.credentials import split
from pipeline.sources.factory import SourceCallbacks, SourceOptions, open_source
from pipeline.sources.reconnect import Outage
from pipeline.sources.tunnel import Tunnel

PATIENCE = 60.0


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("own"), "camera", "IP:127.0.0.1")


class Echo:
    """A TLS server that sends back what comes, each connection on one thread."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with plain, suppress(OSError), self._context.wrap_socket(plain, server_side=True) as client:
            while data := client.recv(1 << 16):
                client.sendall(data)


@pytest.fixture
def echo(own: Certificate) -> Iterator[Echo]:
    with closing(Echo(own.server_context())) as server:
        yield server


def tunnel_to(port: int, own: Certificate) -> Tunnel:
    return Tunnel(split(f"https://127.0.0.1:{port}/"), CameraTls(ca=own.certificate), timeout_seconds=PATIENCE)


def through(tunnel: Tunnel) -> socket.socket:
    host, _, port = tunnel.authority.partition(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def ask(tunnel: Tunnel, data: bytes) -> bytes:
    """Return what comes back for ``data``, which is sent at the same time."""
    found = bytearray()
    with through(tunnel) as near:
        sender = threading.Thread(target=near.sendall, args=(data,), daemon=True)
        sender.start()
        while len(found) < len(data) and (part := near.recv(1 << 16)):
            found += part
        sender.join(PATIENCE)
    return bytes(found)


def test_each_connection_is_used_by_one_thread(echo: Echo, own: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways at once and much of it. OpenSSL allows no two threads in one connection."""
    users: dict[int, set[int]] = {}

    class Watched(ssl.SSLSocket):
        def recv(self, *arguments: Any) -> bytes:
            self._note()
            return super().recv(*arguments)

        def send(self, *arguments: Any) -> int:
            self._note()
            return super().send(*arguments)

        def sendall(self, *arguments: Any) -> None:
            self._note()
            super().sendall(*arguments)

        def _note(self) -> None:
            if not self.server_side:
                users.setdefault(id(self), set()).add(threading.get_ident())

    monkeypatch.setattr(ssl.SSLContext, "sslsocket_class", Watched)
    data = bytes(range(256)) * (1 << 14)
    with closing(tunnel_to(echo.port, own)) as tunnel:
        assert ask(tunnel, data) == data
    assert [len(threads) for threads in users.values()] == [1]


def test_it_goes_on_after_a_connection_that_could_not_be_taken(
    echo: Echo, own: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = socket.socket.accept
    problems = [errno.ECONNABORTED, errno.EMFILE]

    def failing(listener: socket.socket) -> Any:
        if threading.current_thread().name.startswith("tunnel-") and problems:
            raise OSError(problems.pop(), "of the test")
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", failing)
    with closing(tunnel_to(echo.port, own)) as tunnel:
        assert ask(tunnel, b"one") == b"one"
        assert ask(tunnel, b"two") == b"two"
    assert not problems


def test_its_end_is_the_end_of_its_connections_and_threads(echo: Echo, own: Certificate) -> None:
    tunnel = tunnel_to(echo.port, own)
    name = f"tunnel-{tunnel.authority.partition(':')[2]}"
    with through(tunnel) as near:
        near.sendall(b"x")
        assert near.recv(1) == b"x"
        tunnel.close()
        assert near.recv(1) == b""
    deadline = time.monotonic() + PATIENCE
    while any(thread.name == name for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_camera_that_is_not_trusted_gets_nothing(own: Certificate, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other").sign("other", "IP:127.0.0.1")
    with TlsFront(other.server_context(), 9) as front, closing(tunnel_to(front.port, own)) as tunnel:
        with through(tunnel) as near, suppress(ConnectionError):
            near.sendall(b"secret")
            assert near.recv(1) == b""
        assert front.received == b""


def test_a_tunnel_that_cannot_be_opened_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_server(*_arguments: Any, **_options: Any) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "create_server", create_server)
    outages: list[Outage] = []
    stop = threading.Event()

    def out(outage: Outage) -> None:
        outages.append(outage)
        stop.set()

    options = SourceOptions(tls=CameraTls(fingerprint="ab" * 32))
    source = open_source("gate", "https://127.0.0.1:9/film.ts", options, SourceCallbacks(on_outage=out))
    assert list(source.frames([], stop)) == []
    assert "Too many open files" in outages[0].message
