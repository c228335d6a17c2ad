"""Recordings: any file that FFmpeg opens."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import av.container
import numpy as np
import numpy.typing as npt

from pipeline import logs
from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.credentials import shown
from pipeline.sources.decode import FramePump
from pipeline.sources.frame_index import FrameIndex, FrameLog
from pipeline.sources.hidden_pictures import ShownPackets
from pipeline.sources.lost_pictures import LostPictures
from pipeline.sources.order_times import OrderTimes, is_picture, order_times
from pipeline.sources.picture_times import NumberedTimes, PictureTimes, Stamps, StatedTimes, period_of, seconds_of
from pipeline.sources.timeline import BACKWARD_LIMIT_SECONDS
from pipeline.sources.video_streams import NoVideoStream, choose_video_stream, describe_choice

_log = logs.get("recordings")

#: Up to this size a recording's identity is the hash of all its bytes; above, of so many blocks spread evenly over it,
#: the first and the last among them, and of its size. A second of a fast disk, whatever the recording's length. Bytes.
HASH_WHOLE_BYTES = 256 << 20
HASH_BLOCKS = 256
HASH_BLOCK_BYTES = 1 << 20

#: FFmpeg draws text, and anything in a file named .bin, as a film of a terminal, which is never meant.
NOT_VIDEO_FORMATS = frozenset({"tty", "bin", "xbin", "adf", "idf"})

#: The streams of cameras and disk recorders may be cut at any byte; any other file begins with a whole picture.
STREAM_FORMATS = frozenset({"h264", "hevc", "mpeg", "mpegts", "mpegvideo"})

#: A recording that ends this much before the length that its own header states was cut off. Seconds.
CUT_OFF_SECONDS = 1.0

_NO_OPTIONS: Mapping[str, str] = {}

#: For consumers that need the times of the pictures and not the pictures.
_BARELY_SCALED = FrameSpec(16, 16, fps=0.001)

#: Matroska states a stream's length in a tag.
_MATROSKA_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")

#: A clock that was never set: 1904 is the zero of MP4's clock, 1970 that of Unix.
_UNSET_BEFORE = datetime(1990, 1, 1, tzinfo=UTC)


class FileSource:
    """A recording; its frames come as fast as they are taken, and none is lost but those whose PTS does not advance.

    Segment ids are ``HASH/ORDINAL``, HASH the first 16 digits of the SHA-256 of the content: the same recording has
    the same ids under any name. Frames of a recording of bare pictures without time stamps (raw H.264) are placed one
    after the other by their durations, those of a container that does not state when pictures are shown (AVI) by their
    order, see :mod:`pipeline.sources.order_times`. ``taken_at`` is the origin plus the time since the first frame;
    after the stream's clock has jumped back nothing is known any more, and it is None.

    Args:
        stream: number of the video stream among several, from 0; None takes the first.
        started_at: wall-clock time of the first frame, with its UTC offset; None takes the file's own creation_time
            where it has one.
        on_damage: called with one line on the pictures that could not be decoded, while the rest could (they count
            among the frames, see :class:`pipeline.sources.lost_pictures.LostPictures`), and on those that had no time
            of their own. Where the recording ends too early its last segment also ends with reason ``error``.
        threads: of the decoder; 0 lets FFmpeg choose (one a core).

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
        stream: int | None = None,
    ) -> None:
        self.camera = camera
        self.path = Path(path)
        self.stream = stream
        self._given = started_at
        self._on_damage = on_damage
        self._threads = threads
        self._digest: str | None = None
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
        """16 hexadecimal digits that name the content, whatever the file's name (see HASH_WHOLE_BYTES)."""
        if self._digest is None:
            digest = content_hash(self.path)
            if self.stream:  # another film in the same file
                digest = hashlib.sha256(f"{digest} stream {self.stream}".encode()).hexdigest()[:16]
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

    def _decoded_index(self) -> FrameIndex:
        reader = FileSource(self.camera, self.path, threads=self._threads, stream=self.stream)
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
            return choose_video_stream(container, self.stream)
        except NoVideoStream as problem:
            raise self._error(str(problem), "no_video_stream") from None

    def _order_times(self) -> OrderTimes | None:
        def opened(options: Mapping[str, str]) -> tuple[av.container.InputContainer, av.VideoStream]:
            container = self._open(options)
            return container, self._stream_of(container)

        return order_times(opened)

    def _times_of(self, container: av.container.InputContainer, stream: av.VideoStream) -> PictureTimes:
        rate, codec = stream.average_rate or stream.guessed_rate, stream.codec_context.codec.canonical_name
        if (order := self._order_times()) is not None:
            return NumberedTimes(order, codec, period_of(rate))
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
        if (choice := describe_choice(container, stream)) is not None:
            _log.warning("%s: %s; --stream chooses another", shown(str(self.path)), choice)
        stream.codec_context.thread_count = self._threads
        stream.codec_context.thread_type = "AUTO"
        rate = stream.average_rate or stream.guessed_rate
        clock = _RecordingClock(self._given or creation_time(container))
        self._log = FrameLog()
        pump = FramePump(
            self.camera,
            live=False,
            specs=specs,
            segment_id=lambda ordinal: f"{self.content_hash}/{ordinal}",
            wall_clock=clock,
            nominal_fps=float(rate) if rate else None,
            pixel_aspect=stream.sample_aspect_ratio,
            threads=1,
            log=self._log,
        )
        times = self._times_of(container, stream)
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
                self._count(times.failed())
                bad_packets += 1
                first_problem = first_problem or error.strerror or type(error).__name__
                continue
            for picture in pictures:
                if stop.is_set():
                    break
                lost, pts_seconds = times.shown(picture)
                self._count(lost)
                try:
                    yield from pump.push(picture, pts_seconds)
                except av.FFmpegError as error:  # decoded, but of a kind that cannot be scaled
                    bad_packets += 1
                    first_problem = first_problem or error.strerror or type(error).__name__
        if stop.is_set():
            yield from pump.end(EndReason.SHUTDOWN)
            return
        self._count(times.rest())
        if pump.last_pts_seconds is None:
            raise self._error(
                f"not one picture could be decoded ({first_problem or 'the video stream is empty'})", "decode"
            )
        # The last picture may be held for long: by a recorder that writes when something moves, or at a GIF's end.
        missing = _stated_end(stream) - max(pump.last_pts_seconds + period_of(rate), packets_end)
        too_short = not pump.jumps and missing > CUT_OFF_SECONDS
        cut_off = cut_off or not last_is_whole or too_short
        yield from pump.end(EndReason.ERROR if cut_off else EndReason.STREAM_END)
        bad_packets = max(bad_packets, times.lost)  # not every error is a picture's, and not every decoder reports it
        if cut_off or bad_packets or pump.dropped:
            self._say_damaged(pump, bad_packets, cut_off, missing, first_problem)

    def _count(self, lost: list[float | None]) -> None:
        for time in lost:
            self._log.picture(time)

    def _say_damaged(self, pump: FramePump, bad_packets: int, cut_off: bool, missing: float, problem: str) -> None:
        if self._on_damage is None:
            return
        parts = [f"{pump.pictures} pictures decoded"]
        if bad_packets:
            parts.append(f"{bad_packets} packets could not be")
        if pump.dropped:
            parts.append(f"{pump.dropped} of them left out, as their times do not advance")
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


def content_hash(path: Path) -> str:
    """The first 16 hexadecimal digits of a SHA-256: of the whole file, or of blocks of a very large one."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size <= HASH_WHOLE_BYTES:
            while block := file.read(HASH_BLOCK_BYTES):
                digest.update(block)
        else:
            digest.update(str(size).encode())
            for ordinal in range(HASH_BLOCKS):
                file.seek((size - HASH_BLOCK_BYTES) * ordinal // (HASH_BLOCKS - 1))
                digest.update(file.read(HASH_BLOCK_BYTES))
    return digest.hexdigest()[:16]


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet[av.VideoStream]]:
    """The stream's packets, as far as they can be read."""
    with suppress(av.FFmpegError):
        yield from container.demux(stream)


def creation_time(container: av.container.InputContainer) -> datetime | None:
    """The container's creation_time (UTC), None where it has none or a clock that was never set."""
    stated = container.metadata.get("creation_time")
    if stated is None:
        return None
    try:
        at = datetime.fromisoformat(stated)
    except ValueError:
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at if at >= _UNSET_BEFORE else None


def _end_of(packet: av.Packet[av.VideoStream]) -> float:
    """Return until when a packet's picture is shown, seconds of the stream's clock; -inf where it has no time."""
    begin = seconds_of(packet)
    if begin is None or not is_picture(packet) or packet.time_base is None:
        return float("-inf")
    return begin + float((packet.duration or 0) * packet.time_base)


def _stated_end(stream: av.VideoStream) -> float:
    """Return the end of the video by its header, seconds of the stream's clock; -inf where it states none."""
    start = float((stream.start_time or 0) * stream.time_base) if stream.time_base else 0.0
    if stream.duration is not None and stream.time_base is not None:
        return start + float(stream.duration * stream.time_base)
    if match := _MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = match.groups()
        return start + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return float("-inf")
