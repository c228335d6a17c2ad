"""Live streams that FFmpeg reads: one connection after the other, each under time limits, every end with its reason."""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from fractions import Fraction
from typing import NamedTuple, TypedDict, Unpack, cast

import av
import av.container
from av.codec.hwaccel import HWAccel

from pipeline.sources.arrival import StampReport
from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.credentials import redact
from pipeline.sources.decode import FramePump, received
from pipeline.sources.filming.filmer import Filmer
from pipeline.sources.filming.orders import FilmEnd, FilmOrder, FilmProblem, FilmReport, FilmState, RingLimits
from pipeline.sources.hardware import why_unusable
from pipeline.sources.reconnect import Backoff, BackoffSettings, Outage, reconnecting
from pipeline.sources.video_streams import NoVideoStream, choose_video_stream, describe_choice

#: Packets come, but none becomes a picture for so long: the longest gap between key frames that cameras offer is some
#: 20 s. Seconds.
_NO_PICTURE_SECONDS = 60.0

#: FFmpeg reports several limits that ran out as other errors; what took this share of its limit ran into it.
_RAN_OUT = 0.98

#: How long a device without a picture is left alone. Seconds.
_POLL_SECONDS = 0.005

_MILLISECONDS = Fraction(1, 1000)

#: The films of a camera that stops have so long to be written. Seconds.
FINISH_SECONDS = 1.0

#: The items of a connection; its value is why they ended, None for a stop.
Reading = Generator[Frame | SegmentOver, None, SourceError | None]


class Received(NamedTuple):
    """A packet of a camera, not decoded.

    Attributes:
        packet: with the time of its arrival, where the stream has no times.
        stream: the packet's; another one for each connection.
    """

    packet: av.Packet[av.VideoStream]
    stream: av.VideoStream


def sender_time(packet: av.Packet[av.VideoStream]) -> tuple[float, float] | None:
    """Return what the sender says of a packet: its wall-clock time, seconds since 1970, and its PTS, seconds.

    FFmpeg adds it (AVProducerReferenceTime) to the packets after the first RTCP sender report.
    """
    if packet.pts is None or packet.time_base is None or not packet.has_sidedata("prft"):
        return None
    (microseconds,) = struct.unpack_from("=q", bytes(packet.get_sidedata("prft")))
    return microseconds / 1e6, float(packet.pts * packet.time_base)


class LiveOptions(TypedDict, total=False):
    """The options of every live stream, see :class:`LiveStream`."""

    open_timeout_seconds: float
    read_timeout_seconds: float
    on_outage: Callable[[Outage], None] | None
    on_connected: Callable[[str], None] | None
    on_attempt: Callable[[str], None] | None
    on_stamps: Callable[[StampReport], None] | None
    on_choice: Callable[[str], None] | None
    on_software: Callable[[str], None] | None
    video_stream: int | None
    device: str | None
    backoff: BackoffSettings | None
    ring: RingLimits | None
    on_film: Callable[[FilmReport], None] | None


class LiveStream(ABC):
    """A camera that FFmpeg reads; it reconnects for ever, and every outage is reported with a reason code.

    Segment ids are ``CAMERA/CONNECTION/ORDINAL``, CONNECTION a random UUID: unique for ever.

    ``taken_at`` is by the camera's clock or the arrival, see :mod:`pipeline.sources.wall_time`. The decoder and the
    scaler use one thread: with many cameras the cores are shared out by camera. A stop is noticed at the next packet,
    at the latest when the limit that is running (open or read) is over: FFmpeg crashes when its connection is closed
    under it. Decoder, scaler and a WindowCutter together hold some 10 MB a camera of 768 × 576
    (``bench/results/sources.txt``).

    Args:
        place: the location as messages show it, without credentials.
        open_timeout_seconds: the limit for connecting, and again for what FFmpeg then reads to know the stream;
            default 10.
        read_timeout_seconds: the limit for the next packet; default 5.
        on_outage: called with every outage and the time of the next attempt.
        on_connected: called with the camera's id at the first picture of each connection.
        on_attempt: called with the camera's id before each attempt to connect.
        on_stamps: called with every fault of the stream's time stamps.
        on_choice: called with one line that names the stream that is watched, where there are several; again only when
            the line has changed.
        on_software: called with one line when ``device`` does not decode the stream after all.
        video_stream: the number of the stream to watch among the video streams, from 0; default the first.
        device: kind of the device that decodes (:func:`pipeline.sources.hardware.find_device`); default none. Where it
            cannot, decoding goes on in software.
        ring: limits of the packets that are kept for films; None for a camera without films.
        on_film: called with each state of each film, by any thread.

    Raises:
        SourceError: ``usage``: limits that are not above 0.
    """

    live = True

    def __init__(
        self,
        camera: str,
        place: str,
        **options: Unpack[LiveOptions],
    ) -> None:
        self.camera = camera
        self._place = place
        self._open_timeout = options.get("open_timeout_seconds", 10.0)
        self._read_timeout = options.get("read_timeout_seconds", 5.0)
        self._on_outage = options.get("on_outage")
        self._on_connected = options.get("on_connected")
        self._on_attempt = options.get("on_attempt")
        self._on_stamps = options.get("on_stamps")
        self._on_choice = options.get("on_choice")
        self._chosen: str | None = None  # the latest line for on_choice
        self._on_software = options.get("on_software")
        self._video_stream = options.get("video_stream")
        self._device = options.get("device")  # None also once it has failed
        self._backoff = options.get("backoff") or BackoffSettings()
        ring, self._on_film = options.get("ring"), options.get("on_film") or (lambda _report: None)
        self._filmer = None if ring is None else Filmer(camera, ring, self._on_film)
        if not (self._open_timeout > 0 and self._read_timeout > 0):
            # FFmpeg takes a limit below 0 for none at all.
            limits = f"{self._open_timeout} (open), {self._read_timeout} (read)"
            raise self._error(f"limits must be above 0 seconds, got {limits}", "usage")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.camera!r}, {self._place!r})"

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`; it ends by ``stop`` alone."""
        try:
            yield from reconnecting(
                self.camera,
                lambda: self._connection(specs, stop),
                stop=stop,
                backoff=Backoff(self._backoff),
                on_outage=self._on_outage,
                on_connected=self._on_connected,
                on_attempt=self._on_attempt,
            )
        finally:
            if self._filmer is not None:
                self._filmer.finish(FINISH_SECONDS)

    def begin_film(self, order: FilmOrder, descriptor: int) -> None:
        """See :class:`pipeline.sources.filming.orders.FilmingSource`."""
        if self._filmer is None:
            report = FilmReport(self.camera, order.number, FilmState.FAILED, problem=FilmProblem.STOPPED)
            self._on_film(report)
        else:
            self._filmer.begin(order, os.dup(descriptor))

    def end_film(self, end: FilmEnd) -> None:
        """See :class:`pipeline.sources.filming.orders.FilmingSource`."""
        if self._filmer is not None:
            self._filmer.end(end)

    def packets(self, stop: threading.Event) -> Iterator[Received]:
        """Yield the packets of the video as they come, without decoding them; it ends by ``stop`` alone.

        Raises:
            SourceError: ``usage``: what no retry can mend.
        """
        return reconnecting(
            self.camera,
            lambda: self._packets(stop),
            stop=stop,
            backoff=Backoff(self._backoff),
            on_outage=self._on_outage,
            on_connected=self._on_connected,
            on_attempt=self._on_attempt,
        )

    def _packets(self, stop: threading.Event) -> Iterator[Received]:
        """Yield the packets of one connection, from opening to its end. Raises SourceError for why it ended."""
        with closing(self._open()) as container:
            stream = self._choose(container)
            arriving = self._arriving(container, stream, stop)
            since = None if self._has_times(container) else time.monotonic()
            while True:
                try:
                    packet = next(arriving)
                except StopIteration as end:
                    failure: SourceError | None = end.value
                    break
                if since is not None:
                    packet.time_base = _MILLISECONDS
                    packet.pts = packet.dts = round((time.monotonic() - since) / _MILLISECONDS)
                yield Received(packet, stream)
        if failure is not None:
            raise failure

    @abstractmethod
    def _open(self) -> av.container.InputContainer:
        """Open the stream, by :meth:`_open_with_ffmpeg`. Raises SourceError."""

    def _open_with_ffmpeg(
        self, url: str, options: Mapping[str, str], *, form: str | None = None
    ) -> av.container.InputContainer:
        """Open a URL, which may hold credentials, under the limits.

        Args:
            form: FFmpeg's name of the demuxer or device; None lets it find out.

        Raises:
            SourceError: with the reason.
        """
        started = time.monotonic()
        limits = (self._open_timeout, self._read_timeout)
        try:
            container = av.open(url, format=form, options=dict(options), timeout=limits, hwaccel=self._accelerator())
        except av.FFmpegError as error:
            took = time.monotonic() - started
            in_time = took < self._open_timeout * _RAN_OUT
            own = self._failure_to_open(error) if in_time else None
            failure = own or self._failure(error, took, self._open_timeout)
        else:
            self._opened()
            return container
        # Raised out here, it does not carry FFmpeg's exception, whose text holds the password.
        raise failure

    def _accelerator(self) -> HWAccel | None:
        """Return the device that is to decode; one that is gone by now is given up, not the camera."""
        if self._device is None:
            return None
        if (problem := why_unusable(self._device)) is not None:
            self._give_up_device(problem)
            return None
        return HWAccel(self._device, allow_software_fallback=True)

    def _give_up_device(self, problem: str) -> None:
        """Decode in software from the next connection on, and report it."""
        if self._on_software is not None:
            self._on_software(f"camera {self.camera}: {self._place}: decoding in software; {self._device}: {problem}")
        self._device = None

    def _opened(self) -> None:  # noqa: B027  (a hook)
        """Called with each stream that could be opened."""

    def _failure_to_open(self, error: av.FFmpegError) -> SourceError | None:
        """Return the failure as this kind of source names it; None: as every kind does."""
        return None

    def _clock(
        self, container: av.container.InputContainer, stop: threading.Event
    ) -> Callable[[av.VideoFrame], float | None]:
        """Return the clock of a connection: the time of each picture, seconds; it may wait for that time."""
        return lambda picture: picture.time

    def _has_times(self, container: av.container.InputContainer) -> bool:
        """Return whether the packets of a connection have times of the stream; FFmpeg makes up others."""
        return True

    def _connection(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """One connection, from opening to its end; see :data:`pipeline.sources.reconnect.Connection`."""
        with closing(self._open()) as container:
            stream = self._choose(container)
            if self._device is not None and not stream.codec_context.is_hwaccel:
                self._give_up_device(f"does not decode {stream.codec_context.name}")
            stream.codec_context.thread_count = 1
            rate = stream.average_rate
            pump = self._pump(specs, float(rate) if rate else None, stream.sample_aspect_ratio)
            if self._filmer is not None:
                self._filmer.opened(stream, has_times=self._has_times(container))
            try:
                yield from self._to_its_end(pump, self._read(container, stream, pump, stop), stop)
            except SourceError:  # at a stop, finish() ends the films, with another reason
                if self._filmer is not None:
                    self._filmer.closed()
                raise

    def _choose(self, container: av.container.InputContainer) -> av.VideoStream:
        """Return the stream to watch; FFmpeg need not fetch the other video streams."""
        problem = None
        try:
            stream = choose_video_stream(container, self._video_stream)
        except NoVideoStream as error:
            problem = str(error)
        if problem is not None:
            raise self._error(problem, "no_video_stream")
        for other in container.streams.video:
            if other.index != stream.index:
                other.discard = av.stream.Discard.all
        choice = describe_choice(container, stream)
        if choice is not None and choice != self._chosen and self._on_choice is not None:
            self._on_choice(f"camera {self.camera}: {self._place}: {choice}")
        self._chosen = choice
        return stream

    def _pump(self, specs: Sequence[FrameSpec], nominal_fps: float | None, pixel_aspect: Fraction | None) -> FramePump:
        connection = uuid.uuid4().hex
        return FramePump(
            self.camera,
            live=True,
            specs=specs,
            segment_id=lambda ordinal: f"{self.camera}/{connection}/{ordinal}",
            wall_clock=received,
            nominal_fps=nominal_fps,
            pixel_aspect=pixel_aspect,
            on_stamps=self._on_stamps,
            has_sender_clock=True,
        )

    def _to_its_end(
        self, pump: FramePump, reading: Reading, stop: threading.Event
    ) -> Generator[Frame | SegmentOver, None, None]:
        """Yield what is read, and the end of its segment. Raises SourceError for why the reading ended."""
        failure = yield from reading
        if failure is None or stop.is_set():
            yield from pump.end(EndReason.SHUTDOWN)
            return
        yield from pump.end(EndReason.ERROR if failure.code == "decode" else EndReason.DISCONNECTED)
        raise failure

    def _read(
        self,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        pump: FramePump,
        stop: threading.Event,
    ) -> Reading:
        """Yield what the packets hold; returns why that ended, None for ``stop``."""
        clock = self._clock(container, stop)
        arriving = self._arriving(container, stream, stop)
        last_picture = time.monotonic()
        delivered = 0
        while True:
            try:
                packet = next(arriving)
            except StopIteration as end:
                failure: SourceError | None = end.value
                return failure
            now = time.monotonic()
            if (sender := sender_time(packet)) is not None:
                pump.sender_time(*sender)
            if self._filmer is not None:
                self._filmer.take(packet, now)
            try:
                for picture in packet.decode():
                    assert isinstance(picture, av.VideoFrame)
                    yield from self._noted(pump.push(picture, clock(picture)))
            except av.FFmpegError:
                pass  # a damaged packet: the pictures after the next key frame are good again
            if pump.delivered > delivered:
                delivered, last_picture = pump.delivered, now
            elif now - last_picture > _NO_PICTURE_SECONDS:
                if self._device is not None:
                    self._give_up_device("it decodes nothing")
                return self._error(f"no picture could be decoded for {_NO_PICTURE_SECONDS:.0f} s", "decode")

    def _noted(self, items: Iterator[Frame | SegmentOver]) -> Iterator[Frame | SegmentOver]:
        """Yield the items; films find their pictures by the times of the frames."""
        for item in items:
            if self._filmer is not None and isinstance(item, Frame):
                self._filmer.saw(item)
            yield item

    def _arriving(
        self, container: av.container.InputContainer, stream: av.VideoStream, stop: threading.Event
    ) -> Generator[av.Packet[av.VideoStream], None, SourceError | None]:
        """Yield the packets of the video; returns why they ended, None for ``stop``.

        It reads the packets of all streams: waiting for the video's alone, FFmpeg's limit would never run out on a
        camera whose other streams keep sending.
        """
        packets = container.demux()
        last_packet = time.monotonic()
        while not stop.is_set():
            try:
                packet = next(packets, None)
            except av.BlockingIOError:  # a device that has no picture yet
                if time.monotonic() - last_packet >= self._read_timeout:
                    return self._silent()
                stop.wait(_POLL_SECONDS)
                packets = container.demux()
                continue
            except av.FFmpegError as error:
                return self._failure(error, time.monotonic() - last_packet, self._read_timeout, reading=True)
            now = time.monotonic()
            # When its limit runs out, FFmpeg first hands out what it has of the next picture, and only the next
            # read, another limit later, fails.
            if now - last_packet >= self._read_timeout * _RAN_OUT:
                return self._silent()
            if packet is None:
                return self._error("the camera ended the stream", "stream_end")
            if packet.stream_index != stream.index:
                continue
            last_packet = now
            yield cast("av.Packet[av.VideoStream]", packet)
            last_packet = time.monotonic()  # what the consumer took its time for is not the camera's silence
        return None

    def _failure(
        self, error: av.FFmpegError, took_seconds: float, limit_seconds: float, *, reading: bool = False
    ) -> SourceError:
        """FFmpeg's error as one line for an operator, and a reason code.

        Args:
            reading: it came after the stream had been opened.
        """
        if took_seconds >= limit_seconds * _RAN_OUT:
            return self._silent()
        for kinds, code, text in _FAILURES:
            if isinstance(error, kinds):
                return self._error(text, code)
        if reading and error.errno == errno.EIO:
            return self._error("the camera broke the connection off", "stream_end")
        if error.errno in _UNREACHABLE:
            return self._error("cannot be reached: unknown host or no network route", "unreachable")
        return self._error(f"not understood: {redact(error.strerror or type(error).__name__)}", "protocol")

    def _silent(self) -> SourceError:
        return self._error("no answer within the time limit; is the camera on, is the network there?", "timeout")

    def _error(self, what: str, code: str) -> SourceError:
        return SourceError(f"camera {self.camera}: {self._place}: {what}", code=code)


#: FFmpeg's exceptions, the reason code, and what an operator can do about it.
_FAILURES: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError),
        "unauthorized",
        "user name or password refused",
    ),
    ((av.error.HTTPNotFoundError,), "not_found", "the camera has no such stream; check the path"),
    (
        (av.error.ConnectionRefusedError,),
        "refused",
        "connection refused: nothing listens there; is the camera on, is the port right?",
    ),
    (
        (av.error.TimeoutError, av.error.ExitError),
        "timeout",
        "no answer within the time limit; is the camera on, is the network there?",
    ),
    (
        (av.error.ConnectionResetError, av.error.ConnectionAbortedError, av.error.BrokenPipeError),
        "stream_end",
        "the camera broke the connection off",
    ),
    (
        (av.error.ProtocolNotFoundError, av.error.DemuxerNotFoundError),
        "usage",
        "this FFmpeg cannot speak that protocol",
    ),
)

#: FFmpeg turns a failed look-up of a host's name into EIO.
_UNREACHABLE = frozenset({errno.EIO, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
