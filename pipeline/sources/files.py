"""Recordings: any file that FFmpeg opens."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import av.container
import numpy as np
import numpy.typing as npt

from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.content_hash import content_hash
from pipeline.sources.credentials import shown
from pipeline.sources.decode import FramePump
from pipeline.sources.film_header import creation_time, measured_rate, stated_end
from pipeline.sources.frame_index import FrameIndex, FrameLog
from pipeline.sources.hidden_pictures import ShownPackets
from pipeline.sources.lost_pictures import LostPictures
from pipeline.sources.order_times import OrderTimes, is_picture, order_times
from pipeline.sources.picture_times import (
    NumberedTimes,
    PictureTimes,
    Stamps,
    StatedTimes,
    exact_seconds,
    period_of,
    seconds_of,
)
from pipeline.sources.resample import RuleFor, resampler
from pipeline.sources.timeline import BACKWARD_LIMIT_SECONDS
from pipeline.sources.video_streams import NoVideoStream, choose_video_stream, describe_choice

#: FFmpeg draws text, and anything in a file named .bin, as a film of a terminal, which is never meant.
NOT_VIDEO_FORMATS = frozenset({"tty", "bin", "xbin", "adf", "idf"})

#: The streams of cameras and disk recorders may be cut at any byte; any other file begins with a whole picture.
STREAM_FORMATS = frozenset({"h264", "hevc", "mpeg", "mpegts", "mpegvideo"})

#: A recording that ends this much before the length that its own header states was cut off. Seconds.
CUT_OFF_SECONDS = 1.0

_NO_OPTIONS: Mapping[str, str] = {}

#: For consumers that need the times of the pictures and not the pictures.
_BARELY_SCALED = FrameSpec(16, 16, fps=0.001)


class FileSource:
    """A recording; its frames come as fast as they are taken, and none is lost but those whose PTS does not advance.

    Segment ids are ``HASH/ORDINAL``, HASH the first 16 digits of the SHA-256 of the content: the same recording has
    the same ids under any name. Frames of a recording of bare pictures without time stamps (raw H.264) are placed one
    after the other by their durations, those of a container that does not state when pictures are shown (AVI) by their
    order, see :mod:`pipeline.sources.order_times`. ``taken_at`` is the origin plus the time since the first frame;
    after the stream's clock has jumped back nothing is known any more, and it is None.

    Args:
        started_at: wall-clock time of the first frame, with its UTC offset; None takes the file's own creation_time
            where it has one.
        on_damage: called with one line on the pictures that could not be decoded, while the rest could (they count
            among the frames, see :class:`pipeline.sources.lost_pictures.LostPictures`), and on those that had no time
            of their own. Where the recording ends too early its last segment also ends with reason ``error``.
        threads: of the decoder; 0 lets FFmpeg choose (one a core).
        video_stream: number of the stream to read among several video streams, from 0; None takes the first.
        on_choice: called with one line that names the stream that is read, where there are several.
        known_hash: its :attr:`content_hash`, where the caller has it already.
        rule: see :class:`pipeline.sources.decode.FramePump`.

    Raises:
        SourceError: ``not_found`` where the file is missing, ``usage`` where it is not a file or cannot be read, or
            where ``started_at`` has no UTC offset.
    """

    live = False

    def __init__(
        self,
        camera: str,
        path: Path | str,
        *,
        started_at: datetime | None = None,
        on_damage: Callable[[str], None] | None = None,
        threads: int = 0,
        video_stream: int | None = None,
        on_choice: Callable[[str], None] | None = None,
        known_hash: str | None = None,
        rule: RuleFor = resampler,
    ) -> None:
        self.camera = camera
        self.path = Path(path)
        self._video_stream = video_stream
        self._on_choice = on_choice
        self._given = started_at
        self._on_damage = on_damage
        self._threads = threads
        self._digest = known_hash
        self._rule = rule
        #: Of the latest reading: end of the last picture, seconds of the recording's clock.
        self.end_seconds = 0.0
        self._log = FrameLog()
        if started_at is not None and started_at.tzinfo is None:
            raise self._error(f"start time {started_at.isoformat()} needs its UTC offset (…Z or …+02:00)", "usage")
        if self.path.is_dir():
            raise self._error("is a folder; expected a video file", "usage")
        if not self.path.exists():
            raise self._error("no such file", "not_found")
        if not self.path.is_file():
            raise self._error("is not a regular file; expected a video file", "usage")
        try:
            self.path.open("rb").close()
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}", "usage") from None

    def __repr__(self) -> str:
        return f"FileSource({self.camera!r}, {str(self.path)!r})"

    @property
    def content_hash(self) -> str:
        """16 hexadecimal digits that name the content and the stream, whatever the file's name."""
        if self._digest is None:
            digest = content_hash(self.path)
            if self._video_stream:  # another film in the same file
                digest = hashlib.sha256(f"{digest} stream {self._video_stream}".encode()).hexdigest()[:16]
            self._digest = digest
        return self._digest

    def check(self) -> None:
        """Open the file and close it again. Raises SourceError: ``not_a_video`` or ``no_video_stream``."""
        self._open().close()

    def stated_seconds(self) -> float | None:
        """See :class:`pipeline.sources.recordings.Recording`."""
        with closing(self._open()) as container:
            return container.duration / av.time_base if container.duration and container.duration > 0 else None

    @property
    def seen(self) -> FrameIndex:
        """See :class:`pipeline.sources.recordings.Recording`."""
        return self._log.index

    def frame_index(self) -> FrameIndex:
        """See :class:`pipeline.sources.recordings.Recording`."""
        order = self._order_times()
        if order is not None:
            return FrameIndex(order.times) if order.one_packet_each and order.has_one_clock else self._decoded_index()
        with closing(self._open()) as container:
            stream = self._stream_of(container)
            shown = ShownPackets(stream.codec_context.name, stream.codec_context.extradata)
            stamps = Stamps(stream.average_rate or stream.guessed_rate)
            packets = [
                (stamps.of(packet), packet.dts, packet.is_keyframe)
                for packet in _packets(container, stream)
                if is_picture(packet) and shown.shows(packet)
            ]
        times = np.array([time for time, _, _ in packets], np.float64)  # NaN where there is none
        # Some pictures from before the first key picture are shown and others are not: the decoder decides.
        begins_within_group = bool(packets) and not (packets[0][2] and times[0] <= times.min())
        if begins_within_group or np.isnan(times).any():
            return self._decoded_index()
        decoded_at = np.array([dts for _, dts, _ in packets if dts is not None], np.float64)
        # Pictures that wait for others fall back a little in the order of their coming.
        fall = np.max(np.maximum.accumulate(times) - times, initial=0.0)
        if fall <= BACKWARD_LIMIT_SECONDS and (np.diff(decoded_at) >= 0).all():
            return FrameIndex(np.sort(times))
        return self._decoded_index()

    def pictures_bear_times(self) -> bool:
        """Return whether each picture has its time from the container, so that one can be sought by it.

        Raises:
            SourceError: it is not a recording.
        """
        if self._order_times() is not None:
            return False
        with closing(self._open()) as container:
            first = next((one for one in _packets(container, self._stream_of(container)) if one.size), None)
            return first is not None and first.pts is not None

    def open_stream(self) -> tuple[av.container.InputContainer, av.VideoStream]:
        """Open the file anew, for the packets of the stream that is read; the caller closes the container.

        Raises:
            SourceError: ``not_a_video`` or ``no_video_stream``.
        """
        container = self._open()
        return container, self._stream_of(container)

    def _decoded_index(self) -> FrameIndex:
        reader = FileSource(self.camera, self.path, threads=self._threads, video_stream=self._video_stream)
        for _ in reader.frames([_BARELY_SCALED], threading.Event()):
            pass
        return reader.seen

    def frame_times(self) -> npt.NDArray[np.float64]:
        """See :class:`pipeline.sources.recordings.Recording`."""
        return self.frame_index().times

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`.

        Raises:
            SourceError: ``not_a_video``, ``no_video_stream``, or ``decode`` where not one picture could be decoded.
        """
        with closing(self._open()) as container:
            yield from self._frames(container, specs, stop)

    def _open(self, options: Mapping[str, str] = _NO_OPTIONS) -> av.container.InputContainer:
        # No time limit: FFmpeg's is only looked at between reads, and a file system that hangs holds the read itself.
        problem = None
        try:
            # As file: with one protocol, a name like "concat:a|b" is a name, and a playlist reaches nothing else.
            container = av.open(f"file:{self.path.absolute()}", options={"protocol_whitelist": "file", **options})
        except av.FFmpegError as error:
            problem = f"not a video that can be opened ({error.strerror}{self._without_index()})"
        if problem is not None:
            raise self._error(f"{problem}; expected a file that ffprobe can read", "not_a_video")
        if container.format.name in NOT_VIDEO_FORMATS:
            container.close()
            raise self._error("not a video but text", "not_a_video")
        try:
            self._stream_of(container)
        except SourceError:
            container.close()
            raise
        return container

    def _stream_of(self, container: av.container.InputContainer) -> av.VideoStream:
        """Return the stream that is read. Raises SourceError: ``no_video_stream``."""
        try:
            return choose_video_stream(container, self._video_stream)
        except NoVideoStream as problem:
            raise self._error(str(problem), "no_video_stream") from None

    def _order_times(self, is_stopped: Callable[[], bool] = lambda: False) -> OrderTimes | None:
        def opened(options: Mapping[str, str]) -> tuple[av.container.InputContainer, av.VideoStream]:
            container = self._open(options)
            return container, self._stream_of(container)

        return order_times(opened, is_stopped)

    def _measured_rate(self) -> float | None:
        with closing(self._open()) as container:
            return measured_rate(container, self._stream_of(container))

    def _times_of(
        self, container: av.container.InputContainer, stream: av.VideoStream, stop: threading.Event
    ) -> PictureTimes:
        rate, codec = stream.average_rate or stream.guessed_rate, stream.codec_context.codec.canonical_name
        if (order := self._order_times(stop.is_set)) is not None:
            return NumberedTimes(order, codec, rate)
        return StatedTimes(rate, LostPictures(codec, begins_anywhere=container.format.name in STREAM_FORMATS))

    def _without_index(self) -> str:
        """Return the usual reason why an MP4 cannot be opened; an empty text for any other file."""
        with suppress(OSError), self.path.open("rb") as file:  # it may be gone by now
            if file.read(8)[4:] == b"ftyp":
                return "; an MP4 without its index: cut off, or its recording was never finished"
        return ""

    def _frames(
        self, container: av.container.InputContainer, specs: Sequence[FrameSpec], stop: threading.Event
    ) -> Iterator[Frame | SegmentOver]:
        stream = self._stream_of(container)
        choice = describe_choice(container, stream)
        if choice is not None and self._on_choice is not None:
            self._on_choice(f"camera {self.camera}: {shown(str(self.path))}: {choice}")
        stream.codec_context.thread_count = self._threads
        stream.codec_context.thread_type = "AUTO"
        fps = self._measured_rate() or stream.average_rate or stream.guessed_rate
        clock = _RecordingClock(self._given or creation_time(container))
        self._log = FrameLog()
        pump = FramePump(
            self.camera,
            live=False,
            specs=specs,
            segment_id=lambda ordinal: f"{self.content_hash}/{ordinal}",
            wall_clock=clock,
            nominal_fps=float(fps) if fps else None,
            pixel_aspect=stream.sample_aspect_ratio,
            threads=1,
            log=self._log,
            rule=self._rule,
        )
        times = self._times_of(container, stream, stop)
        bad_packets, first_problem, cut_off, last_is_whole, packets_end = 0, "", False, True, float("-inf")
        packets = container.demux(stream)
        while not stop.is_set():
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                cut_off, first_problem = True, error.strerror or type(error).__name__
                break
            if packet is None:
                break
            if packet.size:
                last_is_whole = not packet.is_corrupt  # FFmpeg marks what it could read only a part of
            packets_end = max(packets_end, _end_of(packet))
            times.sent(packet)
            try:
                pictures = packet.decode()
            except av.FFmpegError as error:
                pump.lost(times.failed())
                bad_packets += 1
                first_problem = first_problem or error.strerror or type(error).__name__
                continue
            for picture in pictures:
                if stop.is_set():
                    break
                lost, pts_seconds = times.shown(picture)
                if pts_seconds is not None:
                    self.end_seconds = pts_seconds + times.length_of(picture)
                pump.lost(lost)
                try:
                    yield from pump.push(picture, pts_seconds)
                except av.FFmpegError as error:  # decoded, but of a kind that cannot be scaled
                    bad_packets += 1
                    first_problem = first_problem or error.strerror or type(error).__name__
        if stop.is_set():
            yield from pump.end(EndReason.SHUTDOWN)
            return
        pump.lost(times.rest())
        yield from pump.flush()
        if pump.last_pts_seconds is None:
            raise self._error(
                f"not one picture could be decoded ({first_problem or 'the video stream is empty'})", "decode"
            )
        # The last picture may be held for long: by a recorder that writes when something moves, or at a GIF's end.
        missing = stated_end(stream) - max(pump.last_pts_seconds + period_of(fps), packets_end)
        # Of streams FFmpeg estimates the length: they have no header.
        is_stated = container.format.name not in STREAM_FORMATS and not (pump.jumps or pump.strays)
        too_short = is_stated and missing > CUT_OFF_SECONDS
        cut_off = cut_off or not last_is_whole or too_short
        yield from pump.end(EndReason.ERROR if cut_off else EndReason.STREAM_END)
        bad_packets = max(bad_packets, times.lost)  # not every error is a picture's, and not every decoder reports it
        if cut_off or bad_packets or pump.dropped or pump.strays:
            self._say_damaged(pump, bad_packets, cut_off, missing, first_problem)

    def _say_damaged(self, pump: FramePump, bad_packets: int, cut_off: bool, missing: float, problem: str) -> None:
        if self._on_damage is None:
            return
        parts = [f"{pump.pictures} pictures decoded"]
        if bad_packets:
            parts.append(f"{bad_packets} packets could not be")
        if pump.dropped:
            parts.append(f"{pump.dropped} of them left out, as their times do not advance")
        if pump.strays:
            parts.append(f"{pump.strays} of them left out, as their times stray from those around them")
        if cut_off:
            parts.append(f"cut off {missing:.1f} s before its stated end" if missing > 0 else "cut off")
        reason = f" ({problem})" if problem else ""
        self._on_damage(f"camera {self.camera}: {shown(str(self.path))}: damaged recording: {', '.join(parts)}{reason}")

    def _error(self, what: str, code: str) -> SourceError:
        return SourceError(f"camera {self.camera}: {shown(str(self.path))}: {what}", code=code)


class _RecordingClock:
    """Wall-clock time of a recording's pictures; None once the stream's clock has jumped back."""

    def __init__(self, origin: datetime | None) -> None:
        self._origin = origin.astimezone(UTC) if origin is not None else None
        self._first: float | None = None
        self._last = float("-inf")

    def __call__(self, pts_seconds: float, _received_at: datetime) -> datetime | None:
        if self._first is None:
            self._first = pts_seconds
        if pts_seconds < self._last:
            self._origin = None
        self._last = pts_seconds
        if self._origin is None:
            return None
        return self._origin + timedelta(seconds=pts_seconds - self._first)


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet[av.VideoStream]]:
    """The stream's packets, as far as they can be read."""
    with suppress(av.FFmpegError):
        yield from container.demux(stream)


def _end_of(packet: av.Packet[av.VideoStream]) -> float:
    """Return until when a packet's picture is shown, seconds of the stream's clock; -inf where it has no time."""
    begin, base = seconds_of(packet), packet.time_base
    if begin is None or not is_picture(packet) or base is None:
        return float("-inf")
    return begin + exact_seconds(packet.duration or 0, base)
