"""A live source in a decoder process: a crash of the decoder is an outage of its camera, and of no other one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from pipeline.errors import MistwatchError
from pipeline.sources.base import EndReason, Frame, FrameSpec, Segment, SegmentOver, Source, SourceError
from pipeline.sources.connection import FINISH_SECONDS, LiveStream
from pipeline.sources.factory import SourceCallbacks, SourceOptions, open_source
from pipeline.sources.filming.orders import FilmEnd, FilmOrder, FilmProblem, FilmReport, FilmState
from pipeline.sources.isolation import messages
from pipeline.sources.isolation.host import CameraRequest, Opening
from pipeline.sources.isolation.messages import ItemReader, MessageError
from pipeline.sources.isolation.pool import Attachment, DecoderPool
from pipeline.sources.reconnect import Backoff, BackoffSettings, reconnecting

#: How soon a stop is noticed while no frame comes. Seconds.
_LOOK_SECONDS = 0.25

#: How long after its last sign of life a process has to end. Seconds.
_END_SECONDS = 5.0

#: The longest time for which a live source has nothing to report, besides its own limits: it decodes no picture for
#: 60 s, or waits 30 s for its next attempt. Seconds.
_SILENCE_SECONDS = 120.0


#: The reports of films that end with a stop come so much later than the films. Seconds.
_REPORT_SECONDS = 0.5


class SourceOver(MistwatchError):
    """A source of stated length has ended."""


class IsolatedSource:
    """A live source that runs in a decoder process of a pool.

    A process that crashes, or that is silent for ``silence_seconds``, is an outage with the code ``decoder_crashed``.
    The open segment then ends with the reason ``error``, and after a wait another process takes the camera over.

    Args:
        opening: makes the source in the process; a function that can be imported by its name, or a partial of one.
        callbacks: the source's calls, and the outages by a crash.
        silence_seconds: a source that has neither frames nor calls for so long hangs, and its process is killed.
    """

    live = True

    def __init__(
        self,
        camera: str,
        opening: Opening,
        pool: DecoderPool,
        callbacks: SourceCallbacks | None = None,
        *,
        silence_seconds: float = _SILENCE_SECONDS,
        backoff: BackoffSettings | None = None,
    ) -> None:
        self.camera = camera
        self._opening = opening
        self._pool = pool
        self._callbacks = callbacks or SourceCallbacks()
        self._silence_seconds = silence_seconds
        self._backoff = backoff or BackoffSettings()
        self._lock = threading.Lock()
        self._attachment: Attachment | None = None  # of the present process
        self._films: set[int] = set()  # that it makes

    def begin_film(self, order: FilmOrder, descriptor: int) -> None:
        """See :class:`pipeline.sources.filming.orders.FilmingSource`."""
        with self._lock:
            is_sent = self._attachment is not None and self._attachment.begin_film(order, descriptor)
            if is_sent:
                self._films.add(order.number)
        if not is_sent:
            self._report_film(order.number, FilmProblem.DECODER)

    def end_film(self, end: FilmEnd) -> None:
        """See :class:`pipeline.sources.filming.orders.FilmingSource`."""
        with self._lock:
            if self._attachment is not None and end.number in self._films:
                self._attachment.end_film(end)

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`."""
        try:
            yield from reconnecting(
                self.camera,
                lambda: self._session(tuple(specs), stop),
                stop=stop,
                backoff=Backoff(self._backoff),
                on_outage=self._callbacks.on_outage,
            )
        except SourceOver:
            return

    def _session(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """Yield the items of one process. Raises SourceError for its end, SourceOver for the source's."""
        attachment = self._pool.attach(CameraRequest(self.camera, self._opening, specs))
        with self._lock:
            self._attachment = attachment
        reader = ItemReader(self.camera, attachment.reader, specs)
        segment: Segment | None = None
        failure: SourceError | None = None
        try:
            while failure is None:
                data = self._receive(attachment, stop)
                if stop.is_set():
                    break
                try:
                    item = self._take(data, attachment, reader)
                except (SourceError, MessageError) as error:
                    failure = error if isinstance(error, SourceError) else self._garbled(attachment, error)
                    break
                if item is not None:
                    segment = item.segment if isinstance(item, Frame) else None
                    yield item
            if segment is not None:
                yield SegmentOver(segment, EndReason.SHUTDOWN if failure is None else EndReason.ERROR)
            if failure is None:
                self._await_films(attachment, reader)
        finally:
            with self._lock:
                self._attachment = None
                lost, self._films = self._films, set()
            attachment.close()
            for number in lost:
                self._report_film(number, FilmProblem.DECODER)
        if failure is not None:
            raise failure

    def _await_films(self, attachment: Attachment, reader: ItemReader) -> None:
        """Wait until the films that the process makes are written, which the stop of the source brings about."""
        attachment.stop()
        until = time.monotonic() + FINISH_SECONDS + _REPORT_SECONDS
        while self._films and (left := until - time.monotonic()) > 0:
            data = attachment.receive(left)
            try:
                message = messages.decode(data or b"")
                if message["kind"] == "call" and message.get("name") == "on_film":
                    self._call(message)
                elif message["kind"] == "frame":
                    attachment.release(reader.slot(message))
            except MessageError:
                return  # nothing more comes

    def _call(self, message: Mapping[str, object]) -> None:
        """Do a call of the source. Raises MessageError."""
        name, argument = messages.decode_call(message, self.camera)
        if isinstance(argument, FilmReport):
            with self._lock:
                if argument.number not in self._films:
                    raise MessageError(f"the film {argument.number}")
                if argument.state is not FilmState.BEGUN:
                    self._films.discard(argument.number)
        if (call := getattr(self._callbacks, name)) is not None:
            call(argument)

    def _report_film(self, number: int, problem: FilmProblem) -> None:
        if self._callbacks.on_film is not None:
            self._callbacks.on_film(FilmReport(self.camera, number, FilmState.FAILED, problem=problem))

    def _receive(self, attachment: Attachment, stop: threading.Event) -> bytes:
        """Return the next message; empty: none will come, or it is time to stop."""
        silent = 0.0
        while not stop.is_set():
            data = attachment.receive(_LOOK_SECONDS)
            if data is not None:
                return data
            silent += _LOOK_SECONDS
            if silent >= self._silence_seconds:
                attachment.kill()
                return b""
        return b""

    def _take(self, data: bytes, attachment: Attachment, reader: ItemReader) -> Frame | SegmentOver | None:
        """Return the item of a message, None where it was a call.

        Raises:
            SourceError: the source failed, or its process ended.
            SourceOver: the source has ended.
            MessageError: it is not a message.
        """
        if not data:
            raise self._crashed(attachment.describe_end(_END_SECONDS))
        message = messages.decode(data)
        match message["kind"]:
            case "frame":
                frame = reader.frame(message)
                attachment.release(reader.slot(message))
                return frame
            case "over":
                return reader.over(message)
            case "call":
                self._call(message)
                return None
            case "failure":
                raise SourceError(str(message.get("message")), code=str(message.get("code")))
            case "memory":
                raise self._crashed("ran into its memory limit (decoder_memory_mb)")
            case "bug":
                raise RuntimeError(f"camera {self.camera}: in its decoder process: {message.get('text')}")
            case "end":
                raise SourceOver(self.camera)
            case kind:
                raise MessageError(f"the kind {kind}")

    def _garbled(self, attachment: Attachment, error: MessageError) -> SourceError:
        """A process that sends garbage has a damaged memory."""
        attachment.kill()
        return self._crashed(f"sent garbage ({error})")

    def _crashed(self, how: str) -> SourceError:
        return SourceError(
            f"camera {self.camera}: its decoder process {how}; it is started again", code="decoder_crashed"
        )


def open_contained(
    camera: str,
    location: str,
    options: SourceOptions,
    callbacks: SourceCallbacks,
    *,
    pool: DecoderPool | None,
) -> Source:
    """Return the source at ``location``, in a decoder process where it is a live one that FFmpeg decodes.

    Recordings stay in the worker's process: they are read once, and end with their first failure. A rendered scene
    decodes nothing.

    Args:
        pool: of the processes; None: every source stays in the worker's process.

    Raises:
        SourceError: as :func:`pipeline.sources.factory.open_source` does.
    """
    source = open_source(camera, location, options, callbacks)
    if pool is None or not isinstance(source, LiveStream):
        return source
    limits = 3 * options.open_timeout_seconds + options.read_timeout_seconds + (options.snapshot_seconds or 0.0)
    return IsolatedSource(
        camera,
        partial(open_source, camera, location, options),
        pool,
        callbacks,
        silence_seconds=_SILENCE_SECONDS + limits,
    )
