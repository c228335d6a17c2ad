"""A live source at work in a test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from pipeline.sources.base import Frame, FrameSpec, SegmentOver
from pipeline.sources.connection import LiveStream
from pipeline.sources.reconnect import BackoffSettings, Outage
from pipeline.sources.rtsp import RtspSource

SPEC = FrameSpec(120, 160)
#: The limits of a source where no camera falls silent, and none may seem to.
GENEROUS_SECONDS = 30.0
QUICK = BackoffSettings(first=0.1, longest=0.4)


class Watched:
    """A camera whose items and outages are collected by a thread of its own, as a worker would.

    Args:
        kind: the class of the source.
        limit: for opening and for reading, seconds.
        options: of the source.
    """

    def __init__(
        self,
        location: str,
        spec: FrameSpec = SPEC,
        *,
        kind: Callable[..., LiveStream] = RtspSource,
        backoff: BackoffSettings = QUICK,
        limit: float = GENEROUS_SECONDS,
        **options: Any,
    ) -> None:
        self.outages: list[Outage] = []
        self.connected = 0
        self.items: list[Frame | SegmentOver] = []
        self.problem: BaseException | None = None
        self.stop = threading.Event()
        self.source = kind(
            "gate",
            location,
            open_timeout_seconds=limit,
            read_timeout_seconds=limit,
            on_outage=self.outages.append,
            on_connected=self._count,
            backoff=backoff,
            **options,
        )
        self._spec = spec
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _count(self, camera: str) -> None:
        assert camera == "gate"
        self.connected += 1

    def _run(self) -> None:
        try:
            for item in self.source.frames([self._spec], self.stop):
                self.items.append(item)
        except BaseException as error:
            self.problem = error

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> float:
        """Stop it; gives how long that took, seconds."""
        started = time.monotonic()
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the source did not stop"
        if self.problem is not None:
            raise self.problem
        return time.monotonic() - started

    @property
    def frames(self) -> list[Frame]:
        return [item for item in list(self.items) if isinstance(item, Frame)]

    @property
    def ends(self) -> list[SegmentOver]:
        return [item for item in list(self.items) if isinstance(item, SegmentOver)]

    @property
    def codes(self) -> list[str]:
        return [outage.code for outage in list(self.outages)]

    def until(self, what: Callable[[], object], seconds: float = 90.0) -> None:
        """Wait until ``what()`` holds."""
        limit = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < limit, f"not within {seconds} s; outages: {self.codes}, {len(self.items)} items"
            time.sleep(0.02)
