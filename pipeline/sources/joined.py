"""The files of one camera, read one after the other as one recording: windows and times cross their borders."""

from __future__ import annotations

import hashlib
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.sources.archive_clock import SECOND, ArchiveClock
from pipeline.sources.base import EndReason, Frame, FrameSpec, Segment, SegmentOver, SourceError, TimeSource
from pipeline.sources.credentials import shown
from pipeline.sources.files import FileSource
from pipeline.sources.film_files import PassedOver
from pipeline.sources.frame_index import FrameIndex
from pipeline.sources.placed_file import TIE_SECONDS, PlacedFile
from pipeline.sources.resample import Rule, RuleFor

#: Number of damaged files that a line names.
_NAMED = 3

#: For consumers that need the times of the pictures and not the pictures.
_BARELY_SCALED = FrameSpec(16, 16, fps=0.001)


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a camera.

    Attributes:
        at: time of its first picture as its name states it (UTC); None where it does not.
    """

    path: Path
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A border that is not one of pictures that go on.

    Attributes:
        after: wall-clock time at which the gap or the overlap begins (UTC); None where it is not known.
        seconds: its length; below 0 the files overlap, and None: not known.
    """

    after: datetime | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Hashed:
    """The state of a file when it was hashed; ``signature`` changes when it is written to."""

    digest: str
    signature: tuple[int, int] | None


class JoinedSource:
    """The files of one camera as one recording; see :class:`pipeline.sources.files.FileSource`, whose kind it is.

    One clock runs through all files. It starts with 0, goes on without a break where a file abuts on the one before it,
    and by as much as is missing where there is a gap (:mod:`pipeline.sources.archive_clock`). Files that abut are one
    segment: grids of resampling and windows go on. A gap ends the segment with the reason ``clock_jump``, and a file
    that was cut off with ``error``. Pictures of a time that was watched already are left out.

    Segment ids are ``HASH/ORDINAL``, HASH the first 16 digits of the SHA-256 of the content hashes and the stated
    starts of all files. A file that cannot be read, or that has changed since it was hashed, is reported and passed
    over.

    Nothing is opened before it is needed: files are hashed together for the first segment id, and decoded one by one.

    Args:
        parts: at least one, in the order in which they were recorded; either all or none state their start.
        started_at: wall-clock time of the first picture, with its UTC offset, instead of the stated one.
        on_damage: called with one line on the files that could not be read to their end.
        threads: of the decoder; 0 lets FFmpeg choose (one a core).
        video_stream: see :class:`pipeline.sources.files.FileSource`.
        on_choice: called with one line that names the stream that is read, where there are several; again only when it
            changes from one file to another.
    """

    live = False

    def __init__(
        self,
        camera: str,
        parts: Sequence[Part],
        *,
        started_at: datetime | None = None,
        on_damage: Callable[[str], None] | None = None,
        threads: int = 0,
        video_stream: int | None = None,
        on_choice: Callable[[str], None] | None = None,
    ) -> None:
        if not parts or len({part.at is None for part in parts}) > 1:
            raise ValueError("expected files that all state their start, or none of which does")
        if started_at is not None and started_at.tzinfo is None:
            raise SourceError(
                f"camera {camera}: start time {started_at.isoformat()} needs its UTC offset (…Z or …+02:00)",
                code="usage",
            )
        self.camera = camera
        self.parts = tuple(parts)
        self.started_at = started_at
        self.path = parts[0].path
        self.present_path = self.path  #: of the file that the latest frame was read from
        self.gaps: list[Gap] = []  #: of the latest :meth:`frames`
        self.unread = 0  #: number of files that the latest :meth:`frames` could not read
        self._on_damage = on_damage
        self._threads = threads
        self.video_stream = video_stream
        self.on_choice = on_choice
        self.passed_over = PassedOver()  #: files of its folder that are not films, where it was found in one
        self.hashed: list[Hashed] = []  #: the files in the state in which they were hashed
        self._reading = _Reading(self, [], threading.Event())

    def __repr__(self) -> str:
        return f"JoinedSource({self.camera!r}, {len(self.parts)} files from {str(self.path)!r} on)"

    @property
    def resolution(self) -> timedelta:
        """The resolution of the stated starts; zero where one of them has a fraction of a second."""
        return timedelta() if any(part.at is not None and part.at.microsecond for part in self.parts) else SECOND

    @property
    def content_hash(self) -> str:
        """16 hexadecimal digits that name the content of all files and their stated starts, whatever their folder."""
        self.hash_files(threading.Event())
        digest = hashlib.sha256()
        for part, hashed in zip(self.parts, self.hashed, strict=True):
            at = part.at.isoformat() if part.at is not None else "-"
            digest.update(f"{hashed.digest} {at}\n".encode())
        return digest.hexdigest()[:16]

    def hash_files(self, stop: threading.Event, *, on_file: Callable[[int], None] = lambda _number: None) -> bool:
        """Hash the files that are not hashed yet, which reads them all; False if ``stop`` came first.

        Args:
            on_file: called with the number of files that are hashed, after each.
        """
        for part in self.parts[len(self.hashed) :]:
            if stop.is_set():
                return False
            self.hashed.append(_hashed(self.camera, part.path, self.video_stream))
            on_file(len(self.hashed))
        return True

    def check(self) -> None:
        """Open files until one is a recording. Raises SourceError: none is; the error is that of the first."""
        problems = []
        for part in self.parts:
            try:
                FileSource(self.camera, part.path, video_stream=self.video_stream).check()
            except SourceError as error:
                problems.append(error)
            else:
                return
        raise problems[0]

    def stated_seconds(self) -> float | None:
        """See :class:`pipeline.sources.recordings.Recording`; without gaps and files that cannot be read."""
        seconds = 0.0
        for part in self.parts:
            try:
                stated = FileSource(self.camera, part.path, video_stream=self.video_stream).stated_seconds()
            except SourceError:
                continue
            if stated is None:
                return None
            seconds += stated
        return seconds

    @property
    def seen(self) -> FrameIndex:
        """See :class:`pipeline.sources.recordings.Recording`; of the files that have been read to their end."""
        return self._reading.index

    def frame_index(self) -> FrameIndex:
        """See :class:`pipeline.sources.recordings.Recording`; everything is decoded."""
        reader = JoinedSource(self.camera, self.parts, threads=self._threads, video_stream=self.video_stream)
        for _ in reader.frames([_BARELY_SCALED], threading.Event()):
            pass
        return reader.seen

    def frame_times(self) -> npt.NDArray[np.float64]:
        """See :class:`pipeline.sources.recordings.Recording`."""
        return self.frame_index().times

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`.

        Raises:
            SourceError: not one picture of any file could be decoded; the error is that of the first.
        """
        self._reading = reading = _Reading(self, specs, stop)
        self.gaps = reading.gaps
        if self.hash_files(stop):
            yield from reading.items(self._threads)
        self.unread = len(reading.unread)
        if stop.is_set():
            return
        if not len(reading.index) and reading.unread:
            raise reading.unread[0]
        prefix = f"camera {self.camera}: "
        damage = [line.removeprefix(prefix) for line in (*map(str, reading.unread), *reading.damage)]
        if damage and self._on_damage is not None:
            more = f"; and {len(damage) - _NAMED} more" if len(damage) > _NAMED else ""
            self._on_damage(
                f"{prefix}{len(damage)} of {len(self.parts)} files damaged: {'; '.join(damage[:_NAMED])}{more}"
            )


def _hashed(camera: str, path: Path, video_stream: int | None) -> Hashed:
    try:
        return Hashed(FileSource(camera, path, video_stream=video_stream).content_hash, _signature(path))
    except (SourceError, OSError):
        return Hashed("unreadable", _signature(path))  # the error is reported when its turn comes


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


def _from(started_at: datetime | None, parts: Sequence[Part]) -> Iterator[Part]:
    """Yield the parts, moved so that the first one starts at ``started_at``."""
    first = parts[0].at
    for number, part in enumerate(parts):
        if started_at is None:
            yield part
        elif first is not None and part.at is not None:
            yield replace(part, at=started_at + (part.at - first))
        else:
            yield replace(part, at=started_at) if number == 0 else part


class _Reading:
    """One reading of all files."""

    def __init__(self, source: JoinedSource, specs: Sequence[FrameSpec], stop: threading.Event) -> None:
        self.gaps: list[Gap] = []
        self.damage: list[str] = []
        self.unread: list[SourceError] = []
        self._source = source
        self._identity = ""  # first half of the ids of segments
        self._specs = specs
        self._stop = stop
        self._clock = ArchiveClock(source.resolution)
        self._rules: dict[float | None, Rule] = {}
        self._segment: Segment | None = None
        self._held = EndReason.STREAM_END  # reason of the latest file's end, until it is known whether the next abuts
        self._size: tuple[int, int] | None = None
        self._choice: str | None = None  # the latest one of several video streams
        self._times = array("d")
        self._firsts = array("q")
        self._repeated = array("b")

    @property
    def index(self) -> FrameIndex:
        """The pictures of the files that are done."""
        repeated = np.array(self._repeated, np.bool_)
        return FrameIndex(
            np.array(self._times, np.float64), np.array(self._firsts, np.int64), repeated if repeated.any() else None
        )

    def items(self, threads: int) -> Iterator[Frame | SegmentOver]:
        """Yield the frames of all files, and the ends of their segments."""
        self._identity = self._source.content_hash
        parts = _from(self._source.started_at, self._source.parts)
        for part, hashed in zip(parts, self._source.hashed, strict=True):
            if self._stop.is_set():
                break
            try:
                yield from self._of_part(part, hashed, threads)
            except SourceError as error:
                self.unread.append(error)
                if part.at is None:
                    self._clock.lose()
        yield from self._end(EndReason.SHUTDOWN if self._stop.is_set() else self._held)

    def _of_part(self, part: Part, hashed: Hashed, threads: int) -> Iterator[Frame | SegmentOver]:
        camera = self._source.camera
        self._source.present_path = part.path
        if _signature(part.path) not in (hashed.signature, None):
            what = "has changed since the replay began, and is left out; replay it again when it is complete"
            raise SourceError(f"camera {camera}: {shown(str(part.path))}: {what}", code="changed")

        def open_film(rule: RuleFor) -> FileSource:
            return FileSource(
                camera,
                part.path,
                on_damage=self.damage.append,
                threads=threads,
                video_stream=self._source.video_stream,
                on_choice=lambda line: self._choose(line, part.path),
                known_hash=hashed.digest,
                rule=rule,
            )

        placed = PlacedFile(self._clock.border(part.at), self._rules, open_film)
        for item in placed.film.frames(self._specs, self._stop):
            if isinstance(item, Frame):
                yield from self._frame(item, placed)
                continue
            placed.jumps += item.reason is EndReason.CLOCK_JUMP
            if not (placed.opened or placed.border.abuts):
                continue  # all of it was watched already
            if item.reason in (EndReason.STREAM_END, EndReason.ERROR):
                self._held = item.reason
            else:
                yield from self._end(item.reason)
        if not self._stop.is_set():
            self._note(placed)
            if part.at is None and self._held is EndReason.ERROR:
                self._clock.lose()

    def _choose(self, line: str, path: Path) -> None:
        choice = line.removeprefix(f"camera {self._source.camera}: {shown(str(path))}: ")
        if choice != self._choice and self._source.on_choice is not None:
            self._source.on_choice(line)
        self._choice = choice

    def _frame(self, frame: Frame, placed: PlacedFile) -> Iterator[Frame | SegmentOver]:
        border, ordinal = placed.border, int(frame.segment.id.rpartition("/")[2])
        size = (frame.native.width, frame.native.height)
        if ordinal not in placed.shown:
            placed.shown.append(ordinal)
            fits = size == self._size
            if not (ordinal == 0 and border.abuts and fits and self._segment is not None):
                if border.abuts and not fits:
                    reason = EndReason.SIZE_CHANGED
                else:
                    reason = EndReason.ERROR if self._held is EndReason.ERROR else EndReason.CLOCK_JUMP
                yield from self._end(reason)
                self._segment = Segment(
                    f"{self._identity}/{len(self._firsts) + len(placed.opened)}", frame.segment.camera, live=False
                )
                placed.opened.append(ordinal)
        assert self._segment is not None
        self._size = size
        taken_at = placed.wall_at(frame.pts_seconds) if border.wall is not None else frame.taken_at
        yield replace(
            frame,
            segment=self._segment,
            pts_seconds=placed.at(frame.pts_seconds),
            taken_at=taken_at,
            time_source=None if taken_at is None else TimeSource.FILE,
        )

    def _end(self, reason: EndReason) -> Iterator[SegmentOver]:
        if self._segment is not None:
            segment, self._segment = self._segment, None
            yield SegmentOver(segment, reason)

    def _note(self, placed: PlacedFile) -> None:
        """Note what is known of a file once it has been read."""
        film, border = placed.film, placed.border
        seen, base = film.seen, len(self._times)
        if not len(seen):
            return
        times = placed.times(seen.times)
        firsts = [0] if seen.segments is None else seen.segments.tolist()
        for ordinal in placed.opened:
            first = firsts[ordinal]
            if ordinal == 0:
                first += int(np.argmax(times[first:] >= border.end_before - TIE_SECONDS))
            self._firsts.append(base + first)
        first_over = firsts[1] if len(firsts) > 1 else len(times)
        repeated = times < border.end_before - TIE_SECONDS
        repeated[first_over:] = False
        self._repeated.extend(repeated.tolist())
        times[:first_over] = np.maximum(times[:first_over], border.end_before)
        self._times.extend(times.tolist())
        if border.gap_seconds != 0:
            self.gaps.append(Gap(border.after, border.gap_seconds))
        if placed.opened or border.abuts:
            self._rules = placed.rules
        steps = np.diff(times)
        period = float(np.median(steps)) if len(steps) else 0.0
        length, last = film.end_seconds - placed.first, float(times.max()) - border.start
        if last > length - TIE_SECONDS:  # the last pictures could not be decoded, or the clock was set back
            length = last + period
        self._clock.leave(border, length, period, is_known=not placed.jumps)
