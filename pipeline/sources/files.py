"""Recordings: any file that FFmpeg opens."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np
import numpy.typing as npt

from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.credentials import shown
from pipeline.sources.decode import FramePump
from pipeline.sources.frame_index import FrameIndex, FrameLog
from pipeline.sources.lost_pictures import LostPictures
from pipeline.sources.resample import RuleFor, resampler
from pipeline.sources.timeline import BACKWARD_LIMIT_SECONDS

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
    after the other by their durations. ``taken_at`` is the origin plus the time since the first frame; after the
    stream's clock has jumped back nothing is known any more, and it is None.

    Args:
        started_at: wall-clock time of the first frame, with its UTC offset; None takes the file's own creation_time
            where it has one.
        on_damage: called with one line on the pictures that could not be decoded, while the rest could (they count
            among the frames, see :class:`pipeline.sources.lost_pictures.LostPictures`), and on those that had no time
            of their own. Where the recording ends too early its last segment also ends with reason ``error``.
        threads: of the decoder; 0 lets FFmpeg choose (one a core).
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
        known_hash: str | None = None,
        rule: RuleFor = resampler,
    ) -> None:
        self.camera = camera
        self.path = Path(path)
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
        """16 hexadecimal digits that name the content, whatever the file's name (see HASH_WHOLE_BYTES)."""
        if self._digest is None:
            self._digest = content_hash(self.path)
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
        with closing(self._open()) as container:
            stream = _video_stream(container)
            assert stream is not None
            stamps = _Stamps(stream.average_rate or stream.guessed_rate)
            packets = [
                (stamps.of(one), one.dts) for one in _packets(container, stream) if one.size and not one.is_discard
            ]
        times = np.array([time for time, _ in packets], np.float64)  # NaN where there is none
        if np.isnan(times).any():  # the decoder would know; films in AVI, which have a constant rate
            return FrameIndex(np.arange(len(times), dtype=np.float64) * stamps.period_seconds)
        decoded_at = np.array([dts for _, dts in packets if dts is not None], np.float64)
        # Pictures that wait for others fall back a little in the order of their coming.
        fall = np.max(np.maximum.accumulate(times) - times, initial=0.0)
        if fall <= BACKWARD_LIMIT_SECONDS and (np.diff(decoded_at) >= 0).all():
            return FrameIndex(np.sort(times))
        reader = FileSource(self.camera, self.path, threads=self._threads)
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

    def _open(self) -> av.container.InputContainer:
        # No time limit: FFmpeg's is only looked at between reads, and a file system that hangs holds the read itself.
        problem = None
        try:
            # As file: with one protocol, a name like "concat:a|b" is a name, and a playlist reaches nothing else.
            container = av.open(f"file:{self.path.absolute()}", options={"protocol_whitelist": "file"})
        except av.FFmpegError as error:
            problem = f"not a video that can be opened ({error.strerror}{self._without_index()})"
        if problem is not None:
            raise self._error(f"{problem}; expected a file that ffprobe can read", "not_a_video")
        if container.format.name in NOT_VIDEO_FORMATS:
            container.close()
            raise self._error("not a video but text", "not_a_video")
        if _video_stream(container) is None:
            container.close()
            raise self._error("holds no video stream", "no_video_stream")
        return container

    def _without_index(self) -> str:
        """Return the usual reason why an MP4 cannot be opened; an empty text for any other file."""
        with suppress(OSError), self.path.open("rb") as file:  # it may be gone by now
            if file.read(8)[4:] == b"ftyp":
                return "; an MP4 without its index: cut off, or its recording was never finished"
        return ""

    def _frames(
        self, container: av.container.InputContainer, specs: Sequence[FrameSpec], stop: threading.Event
    ) -> Iterator[Frame | SegmentOver]:
        stream = _video_stream(container)
        assert stream is not None
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
            rule=self._rule,
        )
        stamps = _Stamps(rate)
        lost = LostPictures(
            stream.codec_context.codec.canonical_name, begins_anywhere=container.format.name in STREAM_FORMATS
        )
        bad_packets, first_problem, cut_off, last_is_whole = 0, "", False, True
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
            if packet.size and not packet.is_discard:
                lost.sent(_seconds(packet), key=packet.is_keyframe)
            try:
                pictures = packet.decode()
            except av.FFmpegError as error:
                lost.failed()
                bad_packets += 1
                first_problem = first_problem or error.strerror or type(error).__name__
                continue
            for picture in pictures:
                if stop.is_set():
                    break
                pts_seconds = stamps.of(picture)
                if pts_seconds is not None:
                    self.end_seconds = pts_seconds + (_length(picture) or stamps.period_seconds)
                pump.lost(lost.shown(pts_seconds))
                try:
                    yield from pump.push(picture, pts_seconds)
                except av.FFmpegError as error:  # decoded, but of a kind that cannot be scaled
                    bad_packets += 1
                    first_problem = first_problem or error.strerror or type(error).__name__
        if stop.is_set():
            yield from pump.end(EndReason.SHUTDOWN)
            return
        pump.lost(lost.rest())
        yield from pump.flush()
        if pump.last_pts_seconds is None:
            raise self._error(
                f"not one picture could be decoded ({first_problem or 'the video stream is empty'})", "decode"
            )
        missing = _stated_end(stream) - pump.last_pts_seconds
        too_short = not (pump.jumps or pump.strays) and missing > CUT_OFF_SECONDS + stamps.period_seconds
        cut_off = cut_off or not last_is_whole or too_short
        yield from pump.end(EndReason.ERROR if cut_off else EndReason.STREAM_END)
        bad_packets = max(bad_packets, lost.count)  # not every error is a picture's, and not every decoder reports it
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


class _Stamps:
    """PTS of a recording's pictures (or their packets) in seconds; where the first has none, none has, and durations
    stand in."""

    def __init__(self, rate: Fraction | None) -> None:
        self.period_seconds = float(1 / rate) if rate else 0.04
        self._unstamped: bool | None = None
        self._elapsed = 0.0

    def of(self, picture: av.VideoFrame | av.Packet[av.VideoStream]) -> float | None:
        if self._unstamped is None:
            self._unstamped = picture.pts is None
        if not self._unstamped:
            return _seconds(picture)
        now = self._elapsed
        self._elapsed += _length(picture) or self.period_seconds
        return now


def _seconds(picture: av.VideoFrame | av.Packet[av.VideoStream]) -> float | None:
    """When a picture is shown, or that of a packet, by its stream's clock."""
    return None if picture.pts is None or picture.time_base is None else float(picture.pts * picture.time_base)


def _length(picture: av.VideoFrame | av.Packet[av.VideoStream]) -> float:
    """Return how long a picture is shown, seconds; 0 where its container does not say."""
    return float(picture.duration * picture.time_base) if picture.duration and picture.time_base else 0.0


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


def _video_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """The first video stream that is a film: the cover picture of a piece of music is a video stream to FFmpeg."""
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


def _stated_end(stream: av.VideoStream) -> float:
    """Return the end of the video by its header, seconds of the stream's clock; -inf where it states none."""
    start = float((stream.start_time or 0) * stream.time_base) if stream.time_base else 0.0
    if stream.duration is not None and stream.time_base is not None:
        return start + float(stream.duration * stream.time_base)
    if match := _MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = match.groups()
        return start + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return float("-inf")
