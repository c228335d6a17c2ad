"""RTSP cameras."""

from __future__ import annotations

import errno
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from enum import StrEnum
from urllib.parse import urlsplit

import av
import av.container

from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.credentials import redact, split
from pipeline.sources.decode import FramePump, received
from pipeline.sources.reconnect import Backoff, BackoffSettings, Outage, reconnecting

#: Packets come, but nothing in them can be decoded for so long: the longest gap between key frames that cameras offer
#: is some 20 s. Seconds.
_NO_PICTURE_SECONDS = 60.0

#: FFmpeg reports several limits that ran out as other errors; what took this share of its limit ran into it.
_RAN_OUT = 0.98

#: FFmpeg holds "user:password", percent-encoded, in 128 bytes and cuts the rest off in silence.
_MAX_USERINFO_BYTES = 127

#: Room for the burst of a key frame's datagrams; the kernel gives less where its own limit is lower.
_UDP_BUFFER_BYTES = 1 << 20


class Transport(StrEnum):
    """The transports of RTSP."""

    TCP = "tcp"  #: inside the RTSP connection: nothing is lost
    UDP = "udp"


class RtspSource:
    """A camera over RTSP; it reconnects for ever, and every outage is reported with a reason code.

    With rtsps:// the stream is encrypted, but FFmpeg does not verify the camera's certificate.

    Segment ids are ``CAMERA/CONNECTION/ORDINAL``, CONNECTION a random UUID: unique for ever.

    ``taken_at`` is when the picture was received. The decoder and the scaler use one thread: with many cameras the
    cores are shared out by camera. A stop is noticed at the next packet, at the latest when the limit that is running
    (open or read) is over: FFmpeg crashes when its connection is closed under it. Decoder, scaler and a WindowCutter
    together hold some 10 MB a camera of 768 × 576 (``bench/results/sources.txt``).

    Args:
        location: ``rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH`` (or rtsps).
        user, password: go before those in the location.
        open_timeout_seconds: the limit for connecting, and again for what FFmpeg then reads to know the stream.
        read_timeout_seconds: the limit for the next packet.
        on_outage: called with every outage and the time of the next attempt.
        on_connected: called with the camera's id at the first picture of each connection.

    Raises:
        SourceError: ``usage``: a location or credentials that no retry can mend.
    """

    live = True

    def __init__(
        self,
        camera: str,
        location: str,
        *,
        transport: Transport | str = Transport.TCP,
        user: str | None = None,
        password: str | None = None,
        open_timeout_seconds: float = 10.0,
        read_timeout_seconds: float = 5.0,
        on_outage: Callable[[Outage], None] | None = None,
        on_connected: Callable[[str], None] | None = None,
        backoff: BackoffSettings | None = None,
    ) -> None:
        self.camera = camera
        self.location = split(location, user, password)
        self._transport = transport
        self._open_timeout = open_timeout_seconds
        self._read_timeout = read_timeout_seconds
        self._on_outage = on_outage
        self._on_connected = on_connected
        self._backoff = backoff or BackoffSettings()
        self._check()

    def __repr__(self) -> str:
        return f"RtspSource({self.camera!r}, {str(self.location)!r})"

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`; it ends by ``stop`` alone."""
        return reconnecting(
            self.camera,
            lambda: self._connection(specs, stop),
            stop=stop,
            backoff=Backoff(self._backoff),
            on_outage=self._on_outage,
            on_connected=self._on_connected,
        )

    def _connection(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """One connection, from opening to its end; see :data:`pipeline.sources.reconnect.Connection`."""
        with closing(self._open()) as container:
            stream = container.streams.video[0] if container.streams.video else None
            if stream is None or stream.codec_context is None:
                raise self._error("the camera offers no video that can be decoded", "no_video_stream")
            stream.codec_context.thread_count = 1
            connection = uuid.uuid4().hex
            rate = stream.average_rate
            pump = FramePump(
                self.camera,
                live=True,
                specs=specs,
                segment_id=lambda ordinal: f"{self.camera}/{connection}/{ordinal}",
                wall_clock=received,
                nominal_fps=float(rate) if rate else None,
                pixel_aspect=stream.sample_aspect_ratio,
            )
            failure = yield from self._read(container, stream, pump, stop)
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
    ) -> Generator[Frame | SegmentOver, None, SourceError | None]:
        """Yield what the packets hold; returns why that ended, None for ``stop``.

        It reads the packets of all streams: waiting for the video's alone, FFmpeg's limit would never run out on a
        camera whose other streams go on.
        """
        packets = container.demux()
        last_packet = last_picture = time.monotonic()
        while not stop.is_set():
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                return self._failure(error, time.monotonic() - last_packet, self._read_timeout)
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
            try:
                pictures = packet.decode()
                for picture in pictures:
                    assert isinstance(picture, av.VideoFrame)
                    yield from pump.push(picture, picture.time)
            except av.FFmpegError:
                pictures = []  # a damaged packet: the pictures after the next key frame are good again
            if pictures:
                last_picture = now
            elif now - last_picture > _NO_PICTURE_SECONDS:
                return self._error(f"no picture could be decoded for {_NO_PICTURE_SECONDS:.0f} s", "decode")
            last_packet = time.monotonic()  # what the consumer took its time for is not the camera's silence
        return None

    def _open(self) -> av.container.InputContainer:
        options = {
            "rtsp_transport": str(self._transport),
            "allowed_media_types": "video",
            "fpsprobesize": "0",  # knowing the frame rate exactly takes FFmpeg two more seconds
            "buffer_size": str(_UDP_BUFFER_BYTES),
        }
        started = time.monotonic()
        try:
            return av.open(
                self.location.for_ffmpeg(), options=options, timeout=(self._open_timeout, self._read_timeout)
            )
        except av.FFmpegError as error:
            failure = self._failure(error, time.monotonic() - started, self._open_timeout)
        # Raised out here, it does not carry FFmpeg's exception, whose text holds the password.
        raise failure

    def _failure(self, error: av.FFmpegError, took_seconds: float, limit_seconds: float) -> SourceError:
        """FFmpeg's error as one line for an operator, and a reason code."""
        if took_seconds >= limit_seconds * _RAN_OUT:
            return self._silent()
        for kinds, code, text in _FAILURES:
            if isinstance(error, kinds):
                return self._error(text, code)
        if error.errno in _UNREACHABLE:
            return self._error("cannot be reached: unknown host or no network route", "unreachable")
        if error.errno == errno.EPROTONOSUPPORT:
            return self._error(f"does not offer {self._transport}; try the other transport, tcp or udp", "protocol")
        return self._error(f"not understood: {redact(error.strerror or type(error).__name__)}", "protocol")

    def _silent(self) -> SourceError:
        return self._error("no answer within the time limit; is the camera on, is the network there?", "timeout")

    def _error(self, what: str, code: str) -> SourceError:
        return SourceError(f"camera {self.camera}: {self.location}: {what}", code=code)

    def _check(self) -> None:
        problem = None
        try:
            parts = urlsplit(self.location.bare)
            if parts.scheme.lower() not in ("rtsp", "rtsps") or not parts.hostname:
                problem = "expected rtsp://HOST[:PORT]/PATH"
            elif parts.port == 0:
                problem = "port must be 1 to 65535"
        except ValueError:
            problem = "the port is not a number from 1 to 65535 (percent-encode a / in a password, or give it apart)"
        if problem is None and not self.location.bare.isprintable():
            problem = "holds a control character"
        if problem is None and self.location.user is None and self.location.password is not None:
            problem = "a password without a user name"
        if problem is None and self.location.userinfo_length > _MAX_USERINFO_BYTES:
            problem = f"user name and password are longer than {_MAX_USERINFO_BYTES} bytes, percent-encoded"
        if problem is None and self._transport not in list(Transport):
            problem = f"transport must be {' or '.join(Transport)}, got {self._transport!r}"
        if problem is None and not (self._open_timeout > 0 and self._read_timeout > 0):
            # FFmpeg takes a limit below 0 for none at all.
            problem = f"limits must be above 0 seconds, got {self._open_timeout} (open), {self._read_timeout} (read)"
        if problem is not None:
            raise self._error(problem, "usage")


#: What FFmpeg says, how we call it, and what an operator can do about it.
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
