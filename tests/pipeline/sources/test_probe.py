"""The question after a refusal: it ends in time, whatever the camera does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from pipeline.sources.credentials import split
from pipeline.sources.probe import Answer, ask, listens

LIMIT = 1.0


@contextmanager
def served(serve: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Give the address of a server that does this with its first client; the event is set when it is to end."""
    ended = threading.Event()

    def run() -> None:
        client, _ = server.accept()
        with client, suppress(OSError):  # the client has gone
            serve(client, ended)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}/x"
        ended.set()
        thread.join(10)
    assert not thread.is_alive()


def byte_by_byte(client: socket.socket, ended: threading.Event) -> None:
    client.recv(4096)
    for byte in b"RTSP/1.0 453 Not Enough Bandwidth\r\nX-Padding: " + b"x" * 10_000:
        if ended.wait(0.05):
            return
        client.sendall(bytes([byte]))


def mute(_client: socket.socket, ended: threading.Event) -> None:
    ended.wait(60)


@pytest.mark.parametrize(("serve", "scheme"), [(byte_by_byte, "rtsp"), (mute, "rtsp"), (mute, "rtsps")])
def test_a_slow_answer_is_waited_for_until_the_limit_and_no_longer(serve, scheme):
    """Each part of it comes in time; a limit for each would never run out."""
    with served(serve) as address:
        started = time.monotonic()
        assert ask(split(f"{scheme}://{address}"), until=started + LIMIT) is None
        assert LIMIT <= time.monotonic() - started < LIMIT + 5


def test_a_limit_that_is_over_leaves_no_time_to_ask():
    with served(lambda client, _: client.close()) as address:
        location = split(f"rtsp://{address}")
        assert ask(location, until=time.monotonic() - 1) is None
        assert not listens(location, until=time.monotonic() - 1)
        assert listens(location, until=time.monotonic() + 30)


def test_the_head_of_an_answer():
    def serve(client: socket.socket, _ended: threading.Event) -> None:
        assert client.recv(4096).startswith(b"DESCRIBE rtsp://127.0.0.1")
        client.sendall(b"RTSP/1.0 453 Not Enough Bandwidth\r\nCSeq: 1\r\nX-A: one\r\nx-a: two\r\n\r\nbody")

    with served(serve) as address:
        answer = ask(split(f"rtsp://u:s3cr3t@{address}"), until=time.monotonic() + 30)
    headers = (("cseq", "1"), ("x-a", "one"), ("x-a", "two"))
    assert answer == Answer("RTSP", 453, "Not Enough Bandwidth", headers)
