"""A camera with wrong time stamps: it stands between a real RTSP server and its clients, and changes nothing else."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

#: The number of a picture since its client joined, from 0, and its true stamp; returns the stamp that is sent instead.
#: Stamps are ticks of RTP's clock for video, 90 kHz.
Stamp = Callable[[int, int], int]

TICKS = 90_000  # a second
_SENDER_REPORT = 200  # the type of the packet
_SINCE_1900 = 2_208_988_800  # 1970 on NTP's clock, seconds


class StampedCamera:
    """Passes RTSP on, and the pictures inside its connection (RTP over TCP) with other time stamps.

    The server's own reports on its clock (RTCP) are left out: they would give the true time away.

    Args:
        clock: returns the wall-clock time, seconds since 1970, that a report gets in the place of its own; reports are
            then passed on.
    """

    def __init__(self, server: tuple[str, int], stamp: Stamp, clock: Callable[[float], float] | None = None) -> None:
        self._server = server
        self._clock = clock
        self._stamp = stamp
        self._listener = socket.create_server(("127.0.0.1", 0))

    def url(self, path: str) -> str:
        return f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/{path}"

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()

    def _begin(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._begin(self._requests, client, server)
                self._begin(self._answers, client, server)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        _hang_up(client, server)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        number, before = -1, None
        with contextlib.suppress(OSError), server.makefile("rb") as stream:
            while first := stream.read(1):
                if first != b"$":
                    client.sendall(first + stream.readline())
                    continue
                head = stream.read(3)
                packet = stream.read(struct.unpack(">BH", head)[1])
                if head[0] % 2:  # a report
                    if self._clock is not None:
                        client.sendall(first + head + _with_clock(packet, self._clock))
                    continue
                (true,) = struct.unpack_from(">I", packet, 4)
                if true != before:
                    number, before = number + 1, true
                stamp = struct.pack(">I", self._stamp(number, true) % (1 << 32))
                client.sendall(first + head + packet[:4] + stamp + packet[8:])
        _hang_up(client, server)


def _with_clock(packet: bytes, clock: Callable[[float], float]) -> bytes:
    """Return an RTCP packet whose sender report (RFC 3550, 6.4.1) has another wall-clock time."""
    if packet[1] != _SENDER_REPORT:
        return packet
    seconds, fraction = struct.unpack_from(">II", packet, 8)
    whole, part = divmod(clock(seconds - _SINCE_1900 + fraction / 2**32) + _SINCE_1900, 1.0)
    return packet[:8] + struct.pack(">II", int(whole) % 2**32, int(part * 2**32)) + packet[16:]


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
