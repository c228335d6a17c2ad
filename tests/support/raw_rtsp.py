"""An RTSP client that is written out, so that it can do what none should."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass

from deploy.camera.server import CameraServer

PATIENCE = 30.0  # seconds for what takes one on a quiet machine


@dataclass
class Packet:
    """One RTP packet."""

    sequence: int
    timestamp: int
    marker: bool
    payload: bytes


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str


class Client:
    """One connection to a camera server; it looks at what comes, and sends whatever it is told to."""

    def __init__(self, server: CameraServer, receive_buffer: int = 0) -> None:
        self.base = server.url("yard").removesuffix("yard")
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", server.port))
        self._stream = self.socket.makefile("rb")
        self._sequence = 0
        self.session = ""
        self.packets: list[Packet] = []
        self.reports: list[bytes] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.socket.close()

    def raw(self, data: bytes) -> Answer:
        self.socket.sendall(data)
        return self.answer()

    def ask(self, method: str, path: str, **headers: str) -> Answer:
        self._sequence += 1
        lines = [f"{method} {self.base}{path} RTSP/1.0", f"CSeq: {self._sequence}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        answer = self.raw("\r\n".join([*lines, "", ""]).encode())
        assert answer.headers["cseq"] == str(self._sequence)
        return answer

    def play(self, camera: str) -> Answer:
        answer = self.ask("SETUP", f"{camera}/trackID=0", Transport="RTP/AVP/TCP;unicast;interleaved=4-5")
        assert answer.status == 200
        self.session = answer.headers["session"].split(";")[0]
        answer = self.ask("PLAY", f"{camera}/", Session=self.session, Range="npt=0.000-")
        assert answer.status == 200
        return answer

    def answer(self) -> Answer:
        """The next answer; what comes before it of the stream is kept."""
        while (first := self._read(1)) == b"$":
            self._interleaved()
        head = first
        while not head.endswith(b"\r\n\r\n"):
            head += self._read(1)
        status, *lines = head.decode().strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(int(status.split()[1]), headers, self._read(int(headers.get("content-length", 0))).decode())

    def picture(self) -> list[Packet]:
        """The packets of the next whole picture."""
        while not any(packet.marker for packet in self.packets):
            assert self._read(1) == b"$"
            self._interleaved()
        end = next(at for at, packet in enumerate(self.packets) if packet.marker) + 1
        picture, self.packets = self.packets[:end], self.packets[end:]
        return picture

    def closed(self) -> bool:
        """Whether the server has hung up; waits for it."""
        with contextlib.suppress(ConnectionError):
            return self._stream.read(1) == b""
        return True

    def _interleaved(self) -> None:
        channel, size = struct.unpack(">BH", self._read(3))
        data = self._read(size)
        assert channel in (4, 5)
        if channel == 5:
            self.reports.append(data)
            return
        flags, kind, sequence, timestamp, _ = struct.unpack(">BBHII", data[:12])
        assert (flags, kind & 0x7F) == (0x80, 96)
        self.packets.append(Packet(sequence, timestamp, bool(kind & 0x80), data[12:]))

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise EOFError("the server has hung up")
        return data


def units(picture: list[Packet]) -> list[bytes]:
    """The NAL units of a picture, fragments joined as RFC 6184 (5.8) has it; fails where one is missing."""
    found: list[bytes] = []
    open_unit = b""
    for payload in (packet.payload for packet in picture):
        if payload[0] & 0x1F != 28:
            assert not open_unit
            found.append(payload)
            continue
        start, end = payload[1] & 0x80, payload[1] & 0x40
        assert bool(start) == (not open_unit)
        if start:
            open_unit = bytes([payload[0] & 0xE0 | payload[1] & 0x1F])
        open_unit += payload[2:]
        if end:
            found.append(open_unit)
            open_unit = b""
    assert not open_unit
    return found


def kinds(picture: list[Packet]) -> list[int]:
    return [unit[0] & 0x1F for unit in units(picture)]
