"""A live camera, whose time runs with or without clients, and its clients."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sys
import time
from bisect import bisect_left
from datetime import UTC, datetime

from deploy.camera import record
from deploy.camera.film import CLOCK, Film
from deploy.camera.rtp import RtpStream, payloads

#: Interval between two sender reports.
_REPORT_SECONDS = 5.0


class Viewer:
    """A client's stream of a camera. While its connection is full, pictures are dropped up to the next key picture."""

    def __init__(self, transport: asyncio.WriteTransport, stream: RtpStream, client: str) -> None:
        self.stream = stream
        self.client = client
        self.sent = self.lost = 0  # pictures
        self._transport = transport
        self._in_step = False  # False: the client can decode only from the next key picture on
        self._next_report = 0.0

    def show(self, parts: list[bytes], key: bool, timestamp: int, clock: int, unix_seconds: float) -> None:
        """Send one picture, if the connection has room.

        Args:
            timestamp: of the picture, RTP clock.
            clock: the RTP clock now, at ``unix_seconds``.
        """
        if self._transport.is_closing():
            return
        # Remaining bytes did not fit into the system's buffer, which has about a second of pictures already.
        room = self._transport.get_write_buffer_size() == 0
        if not room or not (key or self._in_step):
            if self.sent:
                self.lost += 1
            self._in_step = False
            return
        self._in_step = True
        report = b""
        if unix_seconds >= self._next_report:
            self._next_report = unix_seconds + _REPORT_SECONDS
            report = self.stream.report(unix_seconds, clock)
        self._transport.write(report + self.stream.frame(parts, timestamp))
        self.sent += 1


class Camera:
    """One film as a live camera, in a loop."""

    def __init__(self, name: str, film: Film, number: int, record_file: int) -> None:
        self.name = name
        self.film = film
        self._number = number
        self._record = record_file
        self._viewers: set[Viewer] = set()
        self._first_timestamp = secrets.randbits(32)
        self._keys = [index for index, picture in enumerate(film.pictures) if picture.key]
        self._next = (0, 0)  # pass and frame

    def next_key_timestamp(self) -> int:
        """Return the RTP time stamp of the first picture of a viewer that joins now."""
        pass_, frame = self._next
        at = bisect_left(self._keys, frame)
        if at == len(self._keys):
            pass_, at = pass_ + 1, 0
        ticks = pass_ * self.film.ticks + self.film.pictures[self._keys[at]].ticks
        return (self._first_timestamp + ticks) & 0xFFFF_FFFF

    def join(self, viewer: Viewer) -> None:
        """Send every picture from the next key picture on to the viewer."""
        self._viewers.add(viewer)
        _log(f"camera {self.name}: {viewer.client} plays")

    def leave(self, viewer: Viewer) -> None:
        """Stop sending to the viewer. Harmless if it never joined."""
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            counts = f"{viewer.sent} pictures sent, {viewer.lost} lost"
            _log(f"camera {self.name}: {viewer.client} has left: {counts}")

    async def run(self) -> None:
        """Send every picture when it is due, for ever; late pictures are sent immediately."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        for pass_ in itertools.count():
            for frame, picture in enumerate(self.film.pictures):
                self._next = (pass_, frame)
                ticks = pass_ * self.film.ticks + picture.ticks
                await asyncio.sleep(max(0.0, started + ticks / CLOCK - loop.time()))
                now = time.time()
                clock = self._first_timestamp + round((loop.time() - started) * CLOCK)
                record.append(self._record, self._number, pass_, frame, now)
                parts = list(payloads(picture.units)) if self._viewers else []
                for viewer in self._viewers:
                    viewer.show(parts, picture.key, self._first_timestamp + ticks, clock, now)


def _log(line: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", file=sys.stderr, flush=True)
