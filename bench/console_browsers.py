"""Browsers of the console's load test: streams that note what they get, one that reads nothing, and timed pages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx

#: Cameras whose pictures a browser of a desk shows at once.
VISIBLE = 12
#: A browser's connection breaks about so often, seconds; it connects again after the pause.
_BREAK_SECONDS, _PAUSE_SECONDS = 180.0, 1.0
_PATIENCE_SECONDS = 30.0
#: A stream that goes on for so long is not ended, seconds.
_REST_SECONDS = 5.0


@dataclass
class Seen:
    """The updates that one browser has received.

    Attributes:
        first, last: number of the newest update at the begin, and of the newest that it has.
        updates: number of them.
        gaps, repeated: updates that are missing between two others, and updates that came before.
        resyncs: how often it was asked to load everything again.
        breaks: how often its connection was broken, and it has resumed.
        begun, ended: when it got the begin and the end of each alert, on the monotonic clock.
        pictures: live pictures that it has loaded.
    """

    first: int | None = None
    last: int = 0
    updates: int = 0
    gaps: int = 0
    repeated: int = 0
    resyncs: int = 0
    breaks: int = 0
    begun: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    pictures: int = 0

    def take(self, kind: str, number: int, data: str) -> None:
        """Take one event of the stream."""
        if kind in ("hello", "resync"):  # they carry the number of the newest update, and are none themselves
            self.resyncs += kind == "resync"
            if kind == "resync" or self.first is None:
                self.first, self.last = number if self.first is None else self.first, number
            return
        self.updates += 1
        self.gaps += max(0, number - self.last - 1)
        self.repeated += number <= self.last
        self.last = max(self.last, number)
        if kind == "alert":
            alert = json.loads(data)
            (self.begun if alert["is_open"] else self.ended).setdefault(alert["id"], time.monotonic())


@dataclass
class Listened:
    """The observations of all browsers over their common time.

    Attributes:
        began, finished: of their common time, on the monotonic clock.
        ended: whether the console has ended each stream of the browser that reads nothing.
        page: alerts that the page in Chromium has got, (begun, ended); None: without one.
    """

    began: float
    finished: float = 0.0
    seen: list[Seen] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)
    page: tuple[set[str], set[str]] | None = None
    problems: list[str] = field(default_factory=list)


class Browser:
    """One browser on the wall: its stream, the pictures that it shows, and connections that break now and then.

    Args:
        cameras: those that it shows.
        breaks: break the connection at random.
    """

    def __init__(self, url: str, cameras: Sequence[str], seed: int, *, breaks: bool = True) -> None:
        self.seen = Seen()
        self._cameras = frozenset(cameras)
        self._breaks = breaks
        self._draw = random.Random(seed)
        self._client = httpx.AsyncClient(base_url=url, timeout=_PATIENCE_SECONDS, trust_env=False)
        self._last_id = ""
        self._loading: asyncio.Task[None] | None = None
        self.problem = ""

    async def run(self, is_over: asyncio.Event) -> None:
        """Listen until the end."""
        async with self._client:
            while not is_over.is_set():
                try:
                    await self._listen(is_over)
                except httpx.HTTPError as error:
                    self.problem = f"{type(error).__name__}: {error}"
                await asyncio.sleep(_PAUSE_SECONDS)
            if self._loading is not None:
                await self._loading

    async def _listen(self, is_over: asyncio.Event) -> None:
        until = time.monotonic() + (self._draw.expovariate(1 / _BREAK_SECONDS) if self._breaks else float("inf"))
        headers = {"last-event-id": self._last_id} if self._last_id else {}
        async with self._client.stream("GET", "/api/stream", headers=headers) as answer:
            answer.raise_for_status()
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                if "event" in fields:
                    self._take(fields)
                fields = {}
                if is_over.is_set() or time.monotonic() > until:
                    self.seen.breaks += not is_over.is_set()
                    return

    def _take(self, fields: Mapping[str, str]) -> None:
        self._last_id = fields["id"]
        self.seen.take(fields["event"], int(self._last_id.partition("-")[2]), fields["data"])
        if fields["event"] == "tick" and (self._loading is None or self._loading.done()):
            shown = sorted(self._cameras.intersection(json.loads(fields["data"])["pictures"]))
            self._loading = asyncio.ensure_future(self._load(shown))

    async def _load(self, cameras: Sequence[str]) -> None:
        with contextlib.suppress(httpx.HTTPError):
            for name in cameras:
                answer = await self._client.get(f"/api/cameras/{name}/picture.jpg?at={time.time():.0f}")
                self.seen.pictures += answer.status_code == 200


def read_nothing(port: int, seconds: float) -> bool:
    """Open a stream, read nothing for so long, and then the rest; return whether the console has ended the stream.

    The buffer is small, so that the console notices soon.
    """
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(_PATIENCE_SECONDS)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
        time.sleep(seconds)
        until = time.monotonic() + _REST_SECONDS
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(1 << 16):
                if time.monotonic() > until:
                    return False
    return True


def timed(url: str, paths: Mapping[str, str], over: threading.Event, pause: float) -> dict[str, list[float]]:
    """Return the seconds of each answer in each round, one after the other on one connection, until it is over.

    Args:
        paths: by name; every second round asks in the opposite order.
        pause: seconds before each round.
    """
    rounds: list[dict[str, float]] = []
    with httpx.Client(base_url=url, timeout=_PATIENCE_SECONDS, trust_env=False) as client:
        client.get("/healthz")
        while not over.wait(pause):
            taken: dict[str, float] = {}
            for name in list(paths) if len(rounds) % 2 else reversed(paths):
                began = time.perf_counter()
                answer = client.get(paths[name])
                taken[name] = time.perf_counter() - began
                answer.raise_for_status()
            rounds.append(taken)
    return {name: [taken[name] for taken in rounds] for name in paths}
