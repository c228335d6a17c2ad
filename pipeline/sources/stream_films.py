"""Films of a camera's stream: its packets as they come, neither decoded nor encoded.

A recording is a folder of films of a few minutes, whose title is the camera's name. A film begins at a key frame. A new
connection, or a new clock of the stream, begins another film. A recording that was stopped resumes with the next film.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import av
import av.container

from pipeline.errors import UsageError
from pipeline.files import draft_path, remove, remove_stale_drafts, sync
from pipeline.sources.base import SourceError
from pipeline.sources.connection import LiveStream, Received
from pipeline.sources.files import FileSource
from pipeline.sources.timeline import FORWARD_LIMIT_SECONDS

_TITLE = "title"  #: Matroska's field for the camera's name
#: Length of a film, seconds: a process that is killed loses no more.
FILM_SECONDS = 300.0
#: A recording that lacks less is not resumed, seconds: the stated length of a film may lack a picture's.
_ENOUGH_SECONDS = 1.0
#: A film of fewer packets has no rate, and is not kept.
_LEAST_PACKETS = 2
#: A time that is so far below the one before belongs to another clock, seconds.
_BACK_SECONDS = 1.0
#: Longest wait for a key frame; cameras send one in some 20 s at most. Seconds.
_KEY_FRAME_SECONDS = 60.0
#: Number of packets in a row without a time above those before, after which the times of the stream are unusable.
_STANDING_PACKETS = 500


def record(
    source: LiveStream,
    folder: Path,
    seconds: float,
    *,
    stop: threading.Event,
    progress: Callable[[float], None] = lambda _seconds: None,
) -> float:
    """Record films of ``seconds`` in all into ``folder``, less those that it holds already.

    Args:
        folder: made when missing; the films are ``0001.mkv``, ``0002.mkv``, ...
        stop: ends the recording early.
        progress: called with the seconds that are recorded.

    Returns:
        Seconds of film in the folder; fewer than asked for after a stop.

    Raises:
        SourceError: the stream cannot be recorded, or a film in the folder cannot be read.
        UsageError: a film in the folder is of another camera.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_stale_drafts(folder)
    kept = sorted(film for film in folder.glob("*.mkv") if film.stem.isdecimal())
    for film_file in kept:
        _check_camera(source.camera, film_file)
    done = sum(FileSource(source.camera, film).stated_seconds() or 0.0 for film in kept)
    ordinal = max((int(film.stem) for film in kept), default=0)
    progress(done)
    if done > seconds - _ENOUGH_SECONDS:
        return done
    film: _Film | None = None
    waits_since = time.monotonic()  # for a key frame, on the monotonic clock
    with closing(source.packets(stop)) as packets:  # type: ignore[type-var]  # a generator, which Iterator does not say
        try:
            for received in packets:
                if film is not None and film.ends_before(received):
                    done += film.keep()
                    film, waits_since = None, time.monotonic()
                if film is None:
                    if not received.packet.is_keyframe or received.packet.dts is None:
                        _check_wait(source.camera, time.monotonic() - waits_since)
                        continue
                    ordinal += 1
                    film = _Film(source.camera, folder / f"{ordinal:04}.mkv", received.stream)
                film.add(received.packet)
                progress(done + film.seconds)
                if done + film.seconds >= seconds:
                    break
            if film is not None:
                done += film.keep()
        except BaseException:
            if film is not None:
                film.discard()
            raise
    return done


def _check_camera(camera: str, film: Path) -> None:
    """Raise UsageError where a film is of another camera."""
    try:
        with av.open(str(film)) as container:
            title = container.metadata.get(_TITLE, camera)
    except (av.FFmpegError, OSError):
        return  # it is reported where it is read
    if title != camera:
        raise UsageError(
            f"{film}: a film of another camera (got {title}); expected {camera}; choose another folder for the run, "
            "or move these films away"
        )


def _check_wait(camera: str, seconds: float) -> None:
    """Raise SourceError where no key frame has come for too long."""
    if seconds > _KEY_FRAME_SECONDS:
        raise SourceError(
            f"camera {camera}: no key frame with a time stamp in {seconds:.0f} s; expected one, because a film begins "
            "with it; set the camera's key frame interval",
            code="decode",
        )


class _Film:
    """A film that is being written, under the name of a draft."""

    def __init__(self, camera: str, path: Path, stream: av.VideoStream) -> None:
        self._camera = camera
        self._path = path
        self._draft = draft_path(path)
        self._source = stream
        self._first = self._last = 0.0
        self._origin = 0  # in the units of the stream's times
        self._packets = self._standing = 0
        try:
            self._container = av.open(str(self._draft), "w", format="matroska")
            self._container.metadata[_TITLE] = camera
        except av.FFmpegError as error:
            raise self._failure(error) from None
        try:
            self._stream = self._container.add_stream_from_template(stream)
        except (av.FFmpegError, ValueError) as error:
            self.discard()
            raise self._failure(error) from None

    @property
    def seconds(self) -> float:
        """Its length so far."""
        return self._last - self._first

    def ends_before(self, received: Received) -> bool:
        """Return whether a packet belongs to another film."""
        if received.stream is not self._source:
            return True
        at = _time(received.packet)
        if at is not None and not self._last - _BACK_SECONDS <= at <= self._last + FORWARD_LIMIT_SECONDS:
            return True  # the clock was set, or the camera paused
        return received.packet.is_keyframe and self.seconds >= FILM_SECONDS

    def add(self, packet: av.Packet[av.VideoStream]) -> None:
        """Write a packet; one without a time, or with one that does not rise, is left out.

        Raises:
            SourceError: times have not risen for long, or Matroska cannot hold the stream.
            OSError: it cannot be written.
        """
        at = _time(packet)
        if at is None or (self._packets and at <= self._last):
            self._standing += 1
            if self._standing >= _STANDING_PACKETS:
                raise SourceError(
                    f"camera {self._camera}: the times of its stream do not rise; expected ones that do, to record it; "
                    "mend the camera's clock, or learn from recordings of it",
                    code="decode",
                )
            return
        self._standing = 0
        if not self._packets:
            self._first, self._origin = at, packet.dts or 0
        self._last = at
        self._packets += 1
        packet.stream = self._stream
        packet.dts = (packet.dts or 0) - self._origin  # a film's stated length counts from 0
        if packet.pts is not None:
            packet.pts -= self._origin
        try:
            self._container.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            raise self._failure(error) from None

    def keep(self) -> float:
        """Close it, give it its name, and return its seconds; 0 for a film that is too short to be kept."""
        try:
            self._container.close()
        except av.FFmpegError as error:
            raise self._failure(error) from None
        if self._packets < _LEAST_PACKETS:
            remove(self._draft)
            return 0.0
        sync(self._draft)
        self._draft.replace(self._path)
        return self.seconds

    def discard(self) -> None:
        """Close and remove it."""
        with suppress(av.FFmpegError):  # it is removed anyway
            self._container.close()
        remove(self._draft)

    def _failure(self, error: Exception) -> OSError | SourceError:
        """Return FFmpeg's error as one of the disk, or as one of the stream."""
        if isinstance(error, OSError) and error.errno is not None:
            return OSError(error.errno, error.strerror, str(self._path))
        return SourceError(
            f"camera {self._camera}: its stream cannot be recorded (got {self._source.codec_context.name}: {error}); "
            "expected one that a Matroska film can hold; learn from recordings of the camera",
            code="decode",
        )


def _time(packet: av.Packet[av.VideoStream]) -> float | None:
    """Return when a packet is decoded, seconds of the stream's clock; None for one without a time."""
    if packet.dts is None or packet.time_base is None or not packet.size:
        return None
    return float(packet.dts * packet.time_base)
