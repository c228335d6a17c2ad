"""The core that every source shares: decoded pictures in, frames and segments out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial

import av
import numpy as np
import numpy.typing as npt

from pipeline.sources.arrival import StampFault, StampReport, StampWatch
from pipeline.sources.base import EndReason, Frame, FrameSpec, PictureSize, Segment, SegmentOver, TimeSource
from pipeline.sources.frame_index import FrameLog
from pipeline.sources.resample import RuleFor, resampler
from pipeline.sources.scale import Scaler
from pipeline.sources.timeline import Timeline, Verdict
from pipeline.sources.wall_time import StreamTime, WallTime

#: When a picture was taken: from its PTS (seconds) and the moment this process had it; None where it is unknown.
WallClock = Callable[[float, datetime], datetime | None]


def received(_pts_seconds: float, received_at: datetime) -> datetime:
    """The wall clock of a live stream: a picture was taken when it was received."""
    return received_at


@dataclass(slots=True)
class _Picture:
    """A decoded picture, or (``native`` None) one that could not be decoded, on its way through the timeline."""

    native: av.VideoFrame | None
    pts_seconds: float | None
    received_at: datetime
    arrived_at: float  #: the same on a clock that does not jump, seconds


class FramePump:
    """Cuts one connection's (or recording's) pictures into segments, resamples them and scales those it keeps.

    Consumers that ask for different rates are resampled apart; those that ask for one size share the scaled picture.

    Where the time stamps of a live stream cannot be used (:class:`pipeline.sources.arrival.StampWatch`), another
    segment begins, and from there on a picture's PTS is its time of arrival, until the connection ends.

    Args:
        segment_id: names the n-th segment of this connection or recording, from 0.
        wall_clock: gives the time at which a picture was taken.
        nominal_fps: the rate that the stream states, if it does.
        pixel_aspect: width over height of one pixel; None means square.
        log: where every picture's time is written down, if anywhere; a live camera's would grow for ever.
        rule: makes the rule of resampling to so many frames a second, at the start of each segment.
        on_stamps: called with every fault of a live stream's time stamps and of its wall clock.
        has_sender_clock: ``wall_clock`` gives way to :class:`pipeline.sources.wall_time.StreamTime`, which is given
            the sender's reports by :meth:`sender_time`.
        clock: seconds of a clock that does not jump.
    """

    def __init__(
        self,
        camera: str,
        *,
        live: bool,
        specs: Sequence[FrameSpec],
        segment_id: Callable[[int], str],
        wall_clock: WallClock,
        nominal_fps: float | None = None,
        pixel_aspect: Fraction | None = None,
        threads: int = 1,
        log: FrameLog | None = None,
        rule: RuleFor = resampler,
        on_stamps: Callable[[StampReport], None] | None = None,
        has_sender_clock: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pictures = 0  #: decoded so far
        self.delivered = 0  #: of them, pictures with a place in time, whether a consumer keeps them or not
        self.scaled = 0  #: pictures made of them by the scaler
        self.dropped = 0  #: pictures without a PTS, or with one that does not advance
        self.strays = 0  #: pictures with a PTS of no clock of the stream
        self.jumps = 0  #: of the stream's clock
        self.last_pts_seconds: float | None = None
        self._camera = camera
        self._live = live
        self._specs = tuple(dict.fromkeys(specs))
        self._segment_id = segment_id
        self._wall_clock = wall_clock
        self._nominal_fps = nominal_fps
        self._timeline: Timeline[_Picture] = Timeline(nominal_fps)
        self._decided: deque[tuple[_Picture, Verdict]] = deque()
        self._scalers = {spec.size: Scaler(spec, pixel_aspect, threads) for spec in self._specs}
        self._log = log
        self._rule = rule
        # Not a method: a circle of pump and clock would hold the scaler's memory until Python looks for circles, which
        # a decoder process rarely does.
        self._report = partial(_report_stamps, camera, on_stamps)
        self._clock = clock
        self._stream_time = StreamTime(self._report) if has_sender_clock else None
        self._stamps = StampWatch() if live else None  # None also once the time of arrival has taken over
        self._arrivals_since: float | None = None  # when it did, on the clock
        self._segment: Segment | None = None
        self._segments = 0
        self._size: tuple[int, int] | None = None

    def push(self, picture: av.VideoFrame, pts_seconds: float | None) -> Iterator[Frame | SegmentOver]:
        """Take the next decoded picture.

        Yields what is decided by it: mostly one frame; nothing while the picture may turn out to be a stray, and then
        those that were held back.

        Raises:
            av.FFmpegError: a picture that FFmpeg cannot convert; the next call goes on behind it.
        """
        self.pictures += 1
        arrived_at = self._clock()
        if self._arrivals_since is not None:
            pts_seconds = arrived_at - self._arrivals_since
        self._take(_Picture(picture, pts_seconds, datetime.now(UTC), arrived_at))
        yield from self._deliver()

    def sender_time(self, unix_seconds: float, pts_seconds: float) -> None:
        """Take the camera's word for the wall-clock time of a PTS."""
        if self._stream_time is not None and self._arrivals_since is None:
            self._stream_time.report(unix_seconds, pts_seconds)

    def lost(self, times: Sequence[float | None]) -> None:
        """Take note of pictures of a recording that could not be decoded, in their place among the others."""
        for pts_seconds in times:
            self._take(_Picture(None, pts_seconds, datetime.now(UTC), self._clock()))

    def flush(self) -> Iterator[Frame | SegmentOver]:
        """Yield the pictures that are still held back: the stream has ended, and nothing speaks against them."""
        self._decided.extend(self._timeline.rest())
        while self._decided:
            with suppress(av.FFmpegError):  # those behind one that cannot be converted
                yield from self._deliver()

    def end(self, reason: EndReason) -> Iterator[Frame | SegmentOver]:
        """Yield the pictures that are still held back, and close the open segment, if there is one."""
        yield from self.flush()
        yield from self._close(reason)

    def _take(self, one: _Picture) -> None:
        pts_seconds = None if one.native is None else one.pts_seconds
        self._decided.extend(self._timeline.take(one, pts_seconds, one.arrived_at if self._live else None))

    def _deliver(self) -> Iterator[Frame | SegmentOver]:
        """Yield what becomes of the pictures that are decided."""
        while self._decided:
            one, verdict = self._decided.popleft()
            if one.native is None:
                self._log_picture(one.pts_seconds)
                continue
            # Before the picture's frame, whose consumer may take its time.
            problem = self._stamps and self._stamps.problem(verdict, one.pts_seconds, one.arrived_at)
            if verdict in (Verdict.DROP, Verdict.STRAY):
                self._leave_out(one, verdict)
            else:
                yield from self._place(one, one.native, verdict)
            if problem:
                yield from self._give_up_stamps(problem)

    def _place(self, one: _Picture, native: av.VideoFrame, verdict: Verdict) -> Iterator[Frame | SegmentOver]:
        """Yield at most the end of the old segment and the picture's frame."""
        pts_seconds = one.pts_seconds
        assert pts_seconds is not None
        self.delivered += 1
        self.last_pts_seconds = pts_seconds
        size = (native.width, native.height)
        if verdict is not Verdict.GO_ON:
            self.jumps += 1
            if self._stream_time is not None:
                self._stream_time.restart()
            yield from self._close(EndReason.CLOCK_JUMP)
        elif size != self._size:
            yield from self._close(EndReason.SIZE_CHANGED)  # nothing before the first picture
        self._size = size
        first = self._segment is None
        if self._segment is None:
            self._segment = Segment(self._segment_id(self._segments), self._camera, self._live)
            self._segments += 1
            self._resamplers = {fps: self._rule(fps) for fps in {spec.fps for spec in self._specs}}
        self._log_picture(pts_seconds, first=first)
        taken = self._time_of(pts_seconds, one)
        kept = {fps for fps, rule in self._resamplers.items() if rule.keep(pts_seconds)}
        if not kept:
            return
        yield Frame(
            segment=self._segment,
            pts_seconds=pts_seconds,
            taken_at=None if taken is None else taken.at,
            received_at=one.received_at,
            images=self._scaled([spec for spec in self._specs if spec.fps in kept], native),
            native=native,
            arrived_at=one.arrived_at,
            time_source=None if taken is None else taken.source,
            time_error_seconds=None if taken is None else taken.error_seconds,
            is_corrupt=native.is_corrupt,
        )

    def _time_of(self, pts_seconds: float, one: _Picture) -> WallTime | None:
        """Return the wall-clock time of a picture, kept or not: each one tells of the delays."""
        if self._stream_time is not None:
            return self._stream_time.time_of(pts_seconds, one.received_at, one.arrived_at)
        at = self._wall_clock(pts_seconds, one.received_at)
        return None if at is None else WallTime(at, TimeSource.ARRIVAL if self._live else TimeSource.FILE, None)

    def _leave_out(self, one: _Picture, verdict: Verdict) -> None:
        self._log_picture(None)
        if verdict is Verdict.STRAY:
            self.strays += 1
            stamp = f"{one.pts_seconds:.1f} s, after {self.last_pts_seconds or 0:.1f} s"
            self._report(StampFault.STRAY, f"picture left out: its time stamp is a stray ({stamp})")
            return
        self.dropped += 1
        if one.pts_seconds is None:
            self._report(StampFault.MISSING, "picture left out: it has no time stamp")
        else:
            self._report(StampFault.REPEATED, "picture left out: its time stamp does not advance")

    def _give_up_stamps(self, problem: str) -> Iterator[SegmentOver]:
        """Let the time of arrival take over, in another segment."""
        self._stamps = None
        if self._stream_time is not None:
            self._stream_time = StreamTime(self._report)  # without the sender's word, which is of its stamps
        self.dropped += sum(one.native is not None for one, _ in (*self._decided, *self._timeline.rest()))
        self._decided.clear()
        self._timeline = Timeline(self._nominal_fps)
        self._arrivals_since = self._clock()
        self.jumps += 1
        yield from self._close(EndReason.CLOCK_JUMP)
        self._report(
            StampFault.UNUSABLE,
            f"its time stamps cannot be used ({problem}): the time of arrival takes their place until the next "
            "connection; mend the camera's clock",
        )

    def _close(self, reason: EndReason) -> Iterator[SegmentOver]:
        if self._segment is not None:
            segment, self._segment = self._segment, None
            yield SegmentOver(segment, reason)

    def _scaled(self, specs: Sequence[FrameSpec], picture: av.VideoFrame) -> dict[FrameSpec, npt.NDArray[np.uint8]]:
        """The picture for each of the specs, scaled once for each distinct size."""
        images: dict[PictureSize, npt.NDArray[np.uint8]] = {}
        for spec in specs:
            if spec.size not in images:
                images[spec.size] = self._scalers[spec.size](picture)
                self.scaled += 1
        return {spec: images[spec.size] for spec in specs}

    def _log_picture(self, pts_seconds: float | None, *, first: bool = False) -> None:
        if self._log is not None:
            self._log.picture(pts_seconds, first=first)


def _report_stamps(
    camera: str, on_stamps: Callable[[StampReport], None] | None, fault: StampFault, message: str
) -> None:
    if on_stamps is not None:
        on_stamps(StampReport(camera, fault, f"camera {camera}: {message}"))
