"""The films of one camera, made where its stream is read: on a thread for each film, from the ring of packets."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import av

from pipeline.errors import MistwatchError
from pipeline.sources.base import Frame
from pipeline.sources.filming.descriptor_file import DescriptorFile
from pipeline.sources.filming.file_packets import TOLERANCE_SECONDS, USUAL_FPS
from pipeline.sources.filming.orders import FilmEnd, FilmOrder, FilmProblem, FilmReport, FilmState, RingLimits
from pipeline.sources.filming.packet_ring import KeptPacket, PacketRing, Place
from pipeline.sources.filming.packet_stamps import PacketStamps, RawPacket
from pipeline.sources.filming.remux import FilmWriter
from pipeline.sources.filming.stream_shape import (
    FILMED_CODECS,
    StreamShape,
    parameter_sets,
    shape_of,
    shape_of_byte_stream,
)

#: Films of one camera that may be made at the same time: one for each detector, and those in their post-roll.
MOST_FILMS = 8
#: How often a film that waits for packets looks whether it is to end. Seconds.
_LOOK_SECONDS = 0.5


class _NoFilmError(MistwatchError):
    """The film fails."""

    def __init__(self, problem: FilmProblem, details: str = "") -> None:
        super().__init__(details)
        self.problem = problem


@dataclass(eq=False)
class _Film:
    order: FilmOrder
    descriptor: int
    end: FilmEnd | None = None
    is_cut: bool = False  #: it ends with what there is
    alert_at: float = 0.0  #: of the alert's first frame, seconds of the packets' clock
    thread: threading.Thread = field(init=False)


class Filmer:
    """Keeps the packets of a camera and makes its films. Its methods may be called by any thread.

    Args:
        report: called with each state of each film, by the film's thread or the caller's.
    """

    def __init__(self, camera: str, limits: RingLimits, report: Callable[[FilmReport], None]) -> None:
        self._camera = camera
        self._report = report
        self._ring = PacketRing(limits)
        self._stamps: PacketStamps | None = None  # of the connection; None: it is not filmed
        self._why_not = "its pictures do not come as a stream"  # empty: they do
        self._lock = threading.Lock()
        self._films: dict[int, _Film] = {}

    # -- the camera's thread -----------------------------------------------------------------------------------

    def opened(self, stream: av.VideoStream, *, has_times: bool) -> None:
        """A connection begins, with this stream."""
        self._stamps = None
        codec = stream.codec_context.name
        if codec not in FILMED_CODECS or not has_times or stream.time_base is None:
            self._why_not = f"its stream is {codec}" + ("" if has_times else " without times")
            return
        try:
            self._ring.begin(shape_of(stream))
        except (av.FFmpegError, ValueError) as error:
            self._why_not = f"its stream cannot be copied ({error})"
            return
        self._why_not = ""
        rate = float(stream.average_rate or USUAL_FPS)
        self._stamps = PacketStamps(round(1 / (rate * float(stream.time_base))))

    def take(self, packet: av.Packet[av.VideoStream], arrived_at: float) -> None:
        """Take the next packet of the connection.

        Args:
            arrived_at: on the monotonic clock.
        """
        if self._stamps is None or not packet.size:
            return
        raw = RawPacket(bytes(packet), packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe, arrived_at)
        for stamped in self._stamps.take(raw):
            if stamped.is_key:
                self._follow_parameters(stamped.data)
            self._ring.add(stamped)

    def saw(self, frame: Frame) -> None:
        """Take note of a frame's time."""
        if self._stamps is not None and frame.native.pts is not None:
            self._ring.note(frame.segment.id, frame.pts_seconds, frame.native.pts)

    def closed(self) -> None:
        """The connection ends: so do its films, with what there is."""
        self._stamps = None
        self._ring.end()

    def _follow_parameters(self, key_frame: bytes) -> None:
        """Begin another generation where a key frame comes with other parameter sets, such as another size."""
        shape = self._ring.shape
        assert shape is not None, "a connection has begun"
        found = parameter_sets(shape.codec, key_frame)
        if not found or found == shape.sets:
            return
        try:
            self._ring.begin(shape_of_byte_stream(shape.codec, key_frame, shape.time_base))
        except (av.FFmpegError, ValueError, IndexError):
            return  # a damaged key frame: the parameters go on

    # -- films -------------------------------------------------------------------------------------------------

    def begin(self, order: FilmOrder, descriptor: int) -> None:
        """Begin a film.

        Args:
            descriptor: of its file, which is this object's to close.
        """
        film = _Film(order, descriptor)
        with self._lock:
            if is_taken := len(self._films) < MOST_FILMS and order.number not in self._films:
                self._films[order.number] = film
        if not is_taken:
            os.close(descriptor)
            self._fail(order.number, FilmProblem.TOO_MANY, f"{MOST_FILMS} films of it are being made")
            return
        film.thread = threading.Thread(target=self._run, args=[film], name=f"film {self._camera}", daemon=True)
        film.thread.start()

    def end(self, end: FilmEnd) -> None:
        """Let a film go on until the post-roll after this, and then end it."""
        with self._lock:
            if (film := self._films.get(end.number)) is not None:
                film.end = end

    def finish(self, seconds: float) -> None:
        """End all films with what there is, and wait until they are written, for at most so many seconds."""
        until = time.monotonic() + seconds
        with self._lock:
            films = list(self._films.values())
            for film in films:
                film.is_cut = True
        self._ring.end()
        for film in films:
            film.thread.join(max(0.0, until - time.monotonic()))

    def _run(self, film: _Film) -> None:
        number = film.order.number
        try:
            report = self._make(film)
        except _NoFilmError as error:
            self._fail(number, error.problem, str(error))
        except av.FFmpegError as error:
            problem = FilmProblem.DISK if isinstance(error, OSError) and error.errno else FilmProblem.ERROR
            self._fail(number, problem, error.strerror or type(error).__name__)
        except OSError as error:
            self._fail(number, FilmProblem.DISK, error.strerror or type(error).__name__)
        except Exception as error:
            self._fail(number, FilmProblem.ERROR, f"{type(error).__name__}: {error}")
        else:
            self._send(report)
        finally:
            os.close(film.descriptor)
            with self._lock:
                self._films.pop(number, None)

    def _make(self, film: _Film) -> FilmReport:
        """Write a film; returns the report of its end. Raises _NoFilmError, OSError, av.FFmpegError."""
        order = film.order
        alert = self._ring.place(order.segment, order.starts_at)
        if alert is None:
            if self._why_not:
                raise _NoFilmError(FilmProblem.CODEC, self._why_not)
            raise _NoFilmError(FilmProblem.FORGOTTEN, "the pictures of the alert are not kept any more")
        film.alert_at = alert.at
        wanted = Place(alert.generation, alert.at - order.pre_roll_seconds)
        first = self._first(film, wanted)
        shape = self._ring.shape_of(first.generation)
        begins_at = float(first.packet.pts * shape.time_base)
        lead = alert.at - begins_at
        with FilmWriter(DescriptorFile(film.descriptor), shape) as writer:
            self._send(FilmReport(self._camera, order.number, FilmState.BEGUN, lead_seconds=lead))
            problem = self._write(film, writer, first, wanted, shape)
        if begins_at > wanted.at + TOLERANCE_SECONDS:
            problem = problem or FilmProblem.FORGOTTEN
        details = ""
        if problem is FilmProblem.FORGOTTEN and (early := self._ring.forgotten_early):
            details = f"{early} packets of the camera were forgotten for their size so far; raise evidence.ring_mb"
        return FilmReport(
            self._camera,
            order.number,
            FilmState.DONE,
            lead_seconds=lead,
            seconds=writer.seconds,
            problem=problem,
            details=details,
        )

    def _first(self, film: _Film, wanted: Place) -> KeptPacket:
        """Return the key frame to begin with; where none is kept, the next one that comes."""
        while True:
            if (first := self._ring.key_at(wanted)) is not None:
                return first
            newest = self._ring.read(0, wanted.generation, _LOOK_SECONDS)
            if newest is None or film.is_cut or self._is_over(film, newest, self._ring.shape_of(wanted.generation)):
                raise _NoFilmError(FilmProblem.NO_KEY_FRAME, "no key frame came until its end")
            if newest:
                time.sleep(_LOOK_SECONDS)

    def _is_over(self, film: _Film, newest: list[KeptPacket], shape: StreamShape) -> bool:
        until = self._until(film)
        return until is not None and bool(newest) and float(newest[-1].packet.dts * shape.time_base) > until

    def _until(self, film: _Film) -> float | None:
        """Return where a film ends, seconds of the packets' clock; None: the alert goes on."""
        end, order = film.end, film.order
        if end is None:
            return None
        if end.segment == order.segment:
            return film.alert_at + end.ends_at - order.starts_at + order.post_roll_seconds
        place = self._ring.place(end.segment, end.ends_at)
        return -math.inf if place is None else place.at + order.post_roll_seconds

    def _write(
        self, film: _Film, writer: FilmWriter, first: KeptPacket, wanted: Place, shape: StreamShape
    ) -> FilmProblem | None:
        """Write the packets from a key frame on; returns what the film lacks at its end."""
        order, ordinal, held = film.order, first.ordinal, 0
        decoded_at = -math.inf
        longest = wanted.at + order.most_seconds
        until: float | None = None
        while True:
            packets = self._ring.read(ordinal, first.generation, _LOOK_SECONDS)
            if packets is None:
                return FilmProblem.STOPPED if film.is_cut else FilmProblem.STREAM_OVER
            if packets and packets[0].ordinal != ordinal:
                return FilmProblem.FORGOTTEN  # the disk is slower than the camera
            if film.end is not None and until is None:
                until = self._until(film)
                if until is not None and decoded_at > until + TOLERANCE_SECONDS:
                    return None  # it was written already when the alert ended
            for kept in packets:
                decoded_at = float(kept.packet.dts * shape.time_base)
                if until is not None and decoded_at > until + TOLERANCE_SECONDS:
                    return None
                if decoded_at > longest + TOLERANCE_SECONDS:
                    return FilmProblem.TOO_LONG
                held += len(kept.packet.data)
                if held > order.most_bytes:
                    return FilmProblem.TOO_LARGE
                writer.add(kept.packet)
            ordinal += len(packets)

    def _fail(self, number: int, problem: FilmProblem, details: str) -> None:
        self._send(FilmReport(self._camera, number, FilmState.FAILED, problem=problem, details=details))

    def _send(self, report: FilmReport) -> None:
        with suppress(MistwatchError):  # the worker is gone, and nothing is left to report to
            self._report(report)
