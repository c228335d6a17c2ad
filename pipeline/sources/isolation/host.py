"""A decoder process: runs the sources of one camera, or of a few, and sends their frames to the worker."""

from __future__ import annotations

import os
import pickle
import selectors
import socket
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from pipeline.errors import MistwatchError
from pipeline.sources.base import Frame, FrameSpec, Source, SourceError
from pipeline.sources.factory import SourceCallbacks
from pipeline.sources.filming.orders import FilmingSource, FilmOrder, FilmProblem, FilmReport, FilmState
from pipeline.sources.isolation import messages
from pipeline.sources.isolation.ring import SlotWriter, needed

#: A source ends within its read limit after a stop; after this the process ends without it. Seconds.
_LINGER_SECONDS = 20.0

#: Opens a source: importable by its name, for it is pickled by that.
Opening = Callable[[SourceCallbacks], Source]

#: Packets of the worker to one camera: a stop, the number of a slot that it has read, and an order of films, in JSON
#: behind its mark. With the order of a film comes the descriptor of its file: a decoder never names a file.
STOP = b"stop"
RELEASE = b"r"
FILM = b"f"

_PACKET_BYTES = 1 << 12


@dataclass(frozen=True)
class CameraRequest:
    """A camera that a decoder process is to watch; it comes with two descriptors, its socket and its memory."""

    camera: str
    opening: Opening
    specs: Sequence[FrameSpec]


class WorkerGoneError(MistwatchError):
    """The worker is gone, or does not want more frames of this camera."""


class HostedCamera:
    """One camera's source on a thread of its own.

    Args:
        memory: descriptor of the shared memory; it is closed with the camera.
    """

    def __init__(self, request: CameraRequest, link: socket.socket, memory: int) -> None:
        self._request = request
        self.link = link
        self._memory = memory
        self._writer = SlotWriter(memory)
        self._room = threading.Condition()
        self._stop = threading.Event()
        self._source: object = None  # once it is made
        self._thread = threading.Thread(target=self._run, name=f"camera {request.camera}", daemon=True)
        self._thread.start()

    def take(self) -> bool:
        """Take a packet of the worker, on the main thread; returns whether there may be more."""
        descriptors: list[int] = []
        try:
            data, descriptors, _, _ = socket.recv_fds(self.link, _PACKET_BYTES, 1)
        except OSError:
            data = b""
        if data.startswith(FILM):
            self._film(data[len(FILM) :], descriptors)
            return True
        with self._room:
            if data.startswith(RELEASE):
                self._writer.release(data[1])
            else:
                self._stop.set()
            self._room.notify()
        return bool(data)

    @property
    def is_running(self) -> bool:
        """The source has not ended yet."""
        return self._thread.is_alive()

    def join(self, seconds: float) -> None:
        """Wait for the end of the source."""
        self._thread.join(seconds)

    def stop(self) -> None:
        """Stop the source: it ends at its next packet."""
        with self._room:
            self._stop.set()
            self._room.notify()

    def close(self) -> None:
        """Give back socket and memory when the source has ended."""
        self._thread.join()
        self.link.close()
        os.close(self._memory)

    def _run(self) -> None:
        with suppress(WorkerGoneError):
            self._send(self._watch())
        with suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)

    def _watch(self) -> bytes:
        """Send the frames until the source ends; returns the message of its end."""
        try:
            callbacks = SourceCallbacks(**{one.name: self._call(one.name) for one in fields(SourceCallbacks)})
            source = self._source = self._request.opening(callbacks)
            for item in source.frames(self._request.specs, self._stop):
                if isinstance(item, Frame):
                    self._send_frame(item)
                else:
                    self._send(messages.encode_over(item))
        except SourceError as failure:
            return messages.encode_failure(failure)
        except WorkerGoneError:
            raise
        except MemoryError:
            return messages.encode("memory")
        except Exception:
            return messages.encode_bug(traceback.format_exc())
        return messages.encode("end")

    def _film(self, data: bytes, descriptors: Sequence[int]) -> None:
        """Begin or end a film, on the main thread."""
        source, order = self._source, messages.decode_order(data)
        try:
            if not isinstance(source, FilmingSource):
                if isinstance(order, FilmOrder):
                    report = FilmReport(self._request.camera, order.number, FilmState.FAILED, problem=FilmProblem.CODEC)
                    with suppress(WorkerGoneError):
                        self._send(messages.encode_call("on_film", report))
            elif isinstance(order, FilmOrder):
                source.begin_film(order, descriptors[0])
            else:
                source.end_film(order)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _call(self, name: str) -> Callable[[Any], None]:
        return lambda argument: self._send(messages.encode_call(name, argument))

    def _send(self, data: bytes) -> None:
        try:
            self.link.sendall(data)
        except OSError:
            raise WorkerGoneError(self._request.camera) from None

    def _send_frame(self, frame: Frame) -> None:
        description, arrays = messages.frame_arrays(frame)
        size = needed(arrays)
        with self._room:
            while not self._writer.has_room(size):
                if self._stop.is_set():
                    raise WorkerGoneError(self._request.camera)
                self._room.wait()
            slot, offsets = self._writer.write(arrays)
        self._send(messages.encode_frame(frame, description, slot, arrays, offsets))


def run_host(control: socket.socket) -> None:
    """Watch the cameras that come over ``control``, until the worker closes it; then end them."""
    cameras: dict[socket.socket, HostedCamera] = {}
    leaving: list[HostedCamera] = []  # the worker wants no more of them; their sources end
    with selectors.DefaultSelector() as waiting:
        waiting.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is control:
                    data, descriptors, _, _ = socket.recv_fds(control, messages.MOST_BYTES, 2)
                    if not data:
                        _end([*cameras.values(), *leaving])
                        return
                    link = socket.socket(fileno=descriptors[0])
                    # From the worker, which this process belongs to.
                    cameras[link] = HostedCamera(pickle.loads(data), link, descriptors[1])  # noqa: S301
                    waiting.register(link, selectors.EVENT_READ)
                    continue
                link = key.fileobj  # type: ignore[assignment]
                if not cameras[link].take():
                    waiting.unregister(link)
                    ended = cameras.pop(link)
                    leaving = [*(one for one in leaving if one.is_running), ended]
                    threading.Thread(target=ended.close, daemon=True).start()


def _end(cameras: Sequence[HostedCamera]) -> None:
    """Stop the cameras, and wait until their sources have ended, which takes a read limit at most."""
    until = time.monotonic() + _LINGER_SECONDS
    for camera in cameras:
        camera.stop()
    for camera in cameras:
        camera.join(max(0.0, until - time.monotonic()))
