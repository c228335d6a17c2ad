"""The films of one recording: cut from its files when their alerts have ended, neither decoded nor encoded.

A recording stays where it is: nothing of it needs to be kept for its films but where its segments lie. Its file is read
a second time for a film, on a thread of its own, while the recording is watched on.
"""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import av
import av.container

from pipeline.sources.base import Frame, SourceError
from pipeline.sources.filming.descriptor_file import DescriptorFile
from pipeline.sources.filming.file_packets import TOLERANCE_SECONDS, FilePackets
from pipeline.sources.filming.orders import FilmEnd, FilmOrder, FilmProblem, FilmReport, FilmState
from pipeline.sources.filming.packet_stamps import Stamped
from pipeline.sources.filming.recording_places import RecordingPlaces
from pipeline.sources.filming.remux import FilmWriter
from pipeline.sources.filming.stream_shape import FILMED_CODECS, shape_of

#: Films of one recording that may wait for their end or for their turn: cutting is far faster than watching.
MOST_FILMS = 64


class PacketFile(Protocol):
    """One file of a recording, for its packets; both methods raise SourceError where it cannot be read."""

    def open_stream(self) -> tuple[av.container.InputContainer, av.VideoStream]:
        """Open it anew; the caller closes the container."""
        ...

    def pictures_bear_times(self) -> bool:
        """Return whether each picture has its time from the container."""
        ...


@dataclass(frozen=True, slots=True)
class _Cut:
    """A film whose end is known.

    Attributes:
        at: of the alert's first frame, seconds of the file's clock.
        until: last time that is wanted; infinite where the alert goes on in another file.
    """

    order: FilmOrder
    descriptor: int
    path: Path
    at: float
    until: float


class RecordingFilms:
    """Makes the films of one recording. Its methods may be called by any thread.

    Args:
        opened: gives a file of the recording.
        report: called with each state of each film, by any thread.
    """

    def __init__(self, camera: str, opened: Callable[[Path], PacketFile], report: Callable[[FilmReport], None]) -> None:
        self._places = RecordingPlaces()
        self._camera = camera
        self._opened = opened
        self._report = report
        self._lock = threading.Lock()
        self._begun: dict[int, tuple[FilmOrder, int]] = {}  # with their descriptors
        self._cuts: queue.Queue[_Cut] = queue.Queue()
        self._thread: threading.Thread | None = None

    def saw(self, frame: Frame, path: Path) -> None:
        """Take note of a frame that was read from a file of the recording."""
        if frame.native.pts is not None and frame.native.time_base is not None:
            at = float(frame.native.pts * frame.native.time_base)
            self._places.note(frame.segment.id, frame.pts_seconds, path, at)

    def begin(self, order: FilmOrder, descriptor: int) -> None:
        """Take note of a film that is to be cut; see :class:`pipeline.sources.filming.orders.FilmingSource`."""
        with self._lock:
            if is_taken := len(self._begun) + self._cuts.qsize() < MOST_FILMS:
                self._begun[order.number] = order, os.dup(descriptor)
        if not is_taken:
            self._fail(order.number, FilmProblem.TOO_MANY, f"{MOST_FILMS} films of it are being made")

    def end(self, end: FilmEnd) -> None:
        """Cut a film; unknown numbers are left out."""
        with self._lock:
            begun = self._begun.pop(end.number, None)
        if begun is None:
            return
        order, descriptor = begun
        begins = self._places.find(order.segment, order.starts_at)
        ends = self._places.find(end.segment, end.ends_at)
        if begins is None:
            os.close(descriptor)
            why = "its pictures have no times of their own, or its clock was set back"
            self._fail(order.number, FilmProblem.CODEC, why)
            return
        is_within = ends is not None and ends.path == begins.path
        until = ends.at + order.post_roll_seconds if ends is not None and is_within else math.inf
        self._cuts.put(_Cut(order, descriptor, begins.path, begins.at, until))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"films {self._camera}", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            cut = self._cuts.get()
            number = cut.order.number
            try:
                self._report(self._make(cut))
            except av.FFmpegError as error:
                problem = FilmProblem.DISK if isinstance(error, OSError) and error.errno else FilmProblem.ERROR
                self._fail(number, problem, error.strerror or type(error).__name__)
            except SourceError as error:
                self._fail(number, FilmProblem.ERROR, str(error))
            except OSError as error:
                self._fail(number, FilmProblem.DISK, error.strerror or type(error).__name__)
            except Exception as error:  # a bug in one film must not end the others
                self._fail(number, FilmProblem.ERROR, f"{type(error).__name__}: {error}")
            finally:
                os.close(cut.descriptor)

    def _make(self, cut: _Cut) -> FilmReport:
        """Write a film; returns its last report. Raises OSError, SourceError, av.FFmpegError."""
        number, file = cut.order.number, self._opened(cut.path)
        container, stream = file.open_stream()
        with closing(container):
            codec = stream.codec_context.name
            if codec not in FILMED_CODECS or stream.time_base is None:
                return self._failed(number, FilmProblem.CODEC, f"its stream is {codec}")
            if not file.pictures_bear_times():
                return self._failed(number, FilmProblem.CODEC, "its pictures have no times of their own")
            packets = FilePackets(container, stream)
            sought = packets.since(cut.at - cut.order.pre_roll_seconds)
            first = next(sought, None)
            if first is None:
                return self._failed(number, FilmProblem.NO_KEY_FRAME, "no key frame comes until its end")
            lead = cut.at - packets.seconds(first.pts)
            with FilmWriter(DescriptorFile(cut.descriptor), shape_of(stream)) as writer:
                self._report(FilmReport(self._camera, number, FilmState.BEGUN, lead_seconds=lead))
                problem = self._write(cut, writer, packets, chain([first], sought))
        return FilmReport(
            self._camera, number, FilmState.DONE, lead_seconds=lead, seconds=writer.seconds, problem=problem
        )

    def _write(self, cut: _Cut, writer: FilmWriter, packets: FilePackets, sought: chain[Stamped]) -> FilmProblem | None:
        """Write the packets of a film; returns what it lacks."""
        longest = cut.at - cut.order.pre_roll_seconds + cut.order.most_seconds
        held = 0
        for packet in sought:
            decoded_at = packets.seconds(packet.dts)
            if decoded_at > cut.until + TOLERANCE_SECONDS:
                return None
            if decoded_at > longest + TOLERANCE_SECONDS:
                return FilmProblem.TOO_LONG
            held += len(packet.data)
            if held > cut.order.most_bytes:
                return FilmProblem.TOO_LARGE
            writer.add(packet)
        return FilmProblem.STREAM_OVER

    def _failed(self, number: int, problem: FilmProblem, details: str) -> FilmReport:
        return FilmReport(self._camera, number, FilmState.FAILED, problem=problem, details=details)

    def _fail(self, number: int, problem: FilmProblem, details: str) -> None:
        self._report(self._failed(number, problem, details))
