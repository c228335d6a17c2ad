"""Live sources for decoder processes that count, and come to a bad end on request; importable by their names."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np

from pipeline.sources.base import EndReason, Frame, FrameSpec, Segment, SegmentOver, SourceError
from pipeline.sources.factory import SourceCallbacks
from pipeline.sources.files import FileSource
from pipeline.sources.isolation.host import Opening
from pipeline.sources.reconnect import Outage


def segfault() -> None:
    """Read memory at address 0, as a broken decoder would."""
    ctypes.string_at(0)


def abort() -> None:
    """End as a failed assertion of C code does."""
    os.abort()


def eat() -> None:
    """Ask for more and more memory, and touch it, as a runaway decoder would; there is an end in case of no limit."""
    held = [bytearray(b"x" * (64 << 20)) for _ in range(64)]
    raise AssertionError(f"{len(held)} pieces, and no limit")


def hang() -> None:
    """Do nothing for ever."""
    threading.Event().wait()


def leave() -> None:
    """End the process without a word."""
    os._exit(3)


def fail() -> None:
    """Have a bug."""
    raise KeyError("a bug of the source")


def refuse() -> None:
    """Find out that no retry helps."""
    raise SourceError("camera gate: there is no such thing", code="usage")


def swell() -> None:
    """Take and give back 24 MB three times, as a decoder of damaged packets may; report the kilobytes that are kept."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    before = _anonymous_kb()
    for _ in range(3):
        block = libc.malloc(24 << 20)
        ctypes.memset(block, 1, 24 << 20)
        libc.free(block)
    raise SourceError(f"{_anonymous_kb() - before}", code="usage")


def _anonymous_kb() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))


@dataclass
class CountingSource:
    """A camera whose n-th picture has the grey value n, modulo 256; PTS are n / fps.

    Args:
        ending: called after ``count`` pictures; None: the source ends.
        fps: pictures a second, at the pace of the clock; 0: as fast as they are taken.
        size: width and height of the native pictures.
    """

    camera: str
    count: int
    ending: Callable[[], None] | None
    callbacks: SourceCallbacks
    fps: float = 0.0
    size: tuple[int, int] = (320, 240)
    live: bool = True

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        segment = Segment(f"{self.camera}/{os.getpid()}/{time.monotonic_ns()}", self.camera, live=True)
        if self.callbacks.on_connected is not None:
            self.callbacks.on_connected(self.camera)
        began = time.monotonic()
        for number in range(self.count):
            if self.fps and stop.wait(max(0.0, began + number / self.fps - time.monotonic())):
                break
            if stop.is_set():
                break
            yield self._frame(segment, number, specs)
        else:
            if self.ending is not None:
                self.ending()
        yield SegmentOver(segment, EndReason.SHUTDOWN)

    def _frame(self, segment: Segment, number: int, specs: Sequence[FrameSpec]) -> Frame:
        width, height = self.size
        native = av.VideoFrame.from_ndarray(np.full((height, width, 3), number % 256, np.uint8), format="rgb24")
        native.pts, native.time_base = number, Fraction(1, 10)
        sizes = {spec.size: np.full((spec.height, spec.width, 3), number % 256, np.uint8) for spec in specs}
        now = datetime.now(UTC)
        images = {spec: sizes[spec.size] for spec in specs}
        return Frame(segment, number / (self.fps or 10.0), now, now, images, native)


def counting(
    camera: str, count: int, ending: Callable[[], None] | None, fps: float = 0.0, size: tuple[int, int] = (320, 240)
) -> Opening:
    """Return what opens a counting source in a decoder process."""
    return partial(_open, camera, count, ending, fps, size)


def _open(
    camera: str,
    count: int,
    ending: Callable[[], None] | None,
    fps: float,
    size: tuple[int, int],
    callbacks: SourceCallbacks,
) -> CountingSource:
    return CountingSource(camera, count, ending, callbacks, fps, size)


def talkative(camera: str) -> Opening:
    """Return what opens a source that makes each of its calls, and ends."""
    return partial(_talk, camera)


def _talk(camera: str, callbacks: SourceCallbacks) -> CountingSource:
    from pipeline.sources.arrival import StampFault, StampReport

    assert callbacks.on_outage
    assert callbacks.on_stamps
    assert callbacks.on_choice
    callbacks.on_outage(Outage(camera, "timeout", "no answer", 1.5))
    callbacks.on_stamps(StampReport(camera, StampFault.STRAY, "a stray"))
    callbacks.on_choice("the first of two")
    return CountingSource(camera, 1, None, callbacks)


def forging_films(camera: str) -> Opening:
    """Return what opens a source that reports a film that was never ordered, as code of an attacker might."""
    return partial(_forge, camera)


def _forge(camera: str, callbacks: SourceCallbacks) -> CountingSource:
    from pipeline.sources.filming.orders import FilmReport, FilmState

    assert callbacks.on_film
    callbacks.on_film(FilmReport(camera, 1, FilmState.DONE, lead_seconds=1.0, seconds=2.0))
    return CountingSource(camera, 1, None, callbacks)


def crash_by(signal_number: signal.Signals) -> None:
    """Send a signal to this process, and do nothing until another of its threads has it."""
    os.kill(os.getpid(), signal_number)
    hang()


class SlowToEndSource:
    """A camera that shows nothing, and that says goodbye at its end (``left``) only when it may (``may_leave``)."""

    camera, live = "gate", True
    noticed, may_leave, left = threading.Event(), threading.Event(), threading.Event()

    def frames(self, _specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        stop.wait()
        self.noticed.set()
        self.may_leave.wait()
        self.left.set()
        yield from ()


def open_slow_to_end(_callbacks: SourceCallbacks) -> SlowToEndSource:
    """Open a source that is slow to end."""
    return SlowToEndSource()


class GrowingSource:
    """A camera with two pictures of each of three sizes."""

    camera, live = "gate", True

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        for width in (64, 640, 1280):
            yield from CountingSource("gate", 2, None, SourceCallbacks(), size=(width, 48)).frames(specs, stop)


def open_growing(_callbacks: SourceCallbacks) -> GrowingSource:
    """Open a growing source."""
    return GrowingSource()


def open_film(path: Path, _callbacks: SourceCallbacks) -> FileSource:
    """Open a recording, in place of a camera."""
    return FileSource("gate", path)
