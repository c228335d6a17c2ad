"""Publishes a small live picture of each camera every two seconds, where the site asks for it.

The camera's thread only leaves a reference to its newest frame. A thread of its own scales, encodes and publishes; it
encodes one picture at a time, drops what it cannot keep up with, and drops everything while the broker is away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from kafka import KafkaProducer

from operators.heat_kind import HeatKind
from pipeline import logs
from pipeline.alerts.evidence import EvidenceError, encode_jpeg
from pipeline.alerts.live_picture import HEADER, MOST_WIDTH, HeatGrid, LivePicture
from pipeline.heat import Heat
from pipeline.live.listener import Watch, WorkerListener
from pipeline.scoring.outcomes import Scored
from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError
from pipeline.sinks.kafka_producer import close_producer, open_producer
from pipeline.sources.base import Frame, FrameSpec
from pipeline.sources.scale import seen_part, upright

_log = logs.get("pictures")

EVERY_SECONDS = 2.0
#: Pictures older than this are of no use to a page: the topic's retention.
RETENTION_SECONDS = 120.0
#: The heat of a clip older than this does not belong to the picture.
_HEAT_SECONDS = 10.0
_RETRY_SECONDS = 5.0
_REQUEST_SECONDS = 5.0
#: Quantiser of the JPEG, which then has a third of the bytes of an alert's picture.
_QUANTISER = 6


class LivePictures(WorkerListener):
    """Publishes the pictures of a worker's live cameras.

    Args:
        topic: its name.
        create: create the topic where it is missing.
    """

    def __init__(
        self, broker: Broker, topic: str, *, site: str, create: bool, every_seconds: float = EVERY_SECONDS
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._site = site
        self._create = create
        self._every = every_seconds
        self._due: dict[str, float] = {}  # monotonic time of the next picture of each live camera
        self._frames: dict[str, Frame] = {}
        self._heat: dict[str, tuple[float, npt.NDArray[np.float32], HeatKind, FrameSpec]] = {}
        self._wake = threading.Condition()
        self._stopping = False
        self._outage: str | None = None
        self._thread = threading.Thread(target=self._run, name="live-pictures", daemon=True)

    def start(self) -> None:
        """Begin to publish. Returns at once, also when the broker is away."""
        self._thread.start()

    def close(self, seconds: float) -> None:
        """End the thread, within at most so many seconds."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)

    # -- calls of the worker ---------------------------------------------------------------------------------------

    def camera_added(self, camera: str, watches: Sequence[Watch], *, live: bool) -> None:
        if live:
            self._due[camera] = 0.0

    def frame(self, camera: str, frame: Frame) -> None:
        due = self._due.get(camera)
        if due is None or frame.arrived_at < due:
            return
        self._due[camera] = frame.arrived_at + self._every
        with self._wake:
            self._frames[camera] = frame
            self._wake.notify_all()

    def scored(self, watch: Watch, scored: Scored) -> None:
        if scored.heat is None or watch.camera not in self._due:
            return
        kind = HeatKind.ATTENTION if scored.served.heat is None else scored.served.heat.kind
        spec = scored.served.clip.frame_spec
        self._heat[watch.camera] = (time.monotonic(), scored.heat, kind, spec)

    def camera_removed(self, camera: str) -> None:
        self._due.pop(camera, None)
        self._heat.pop(camera, None)
        with self._wake:
            self._frames.pop(camera, None)

    # -- on the publishing thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            producer: KafkaProducer | None = None
            try:
                self._broker.ensure_topic(self._topic, create=self._create, retention_seconds=RETENTION_SECONDS)
                producer = open_producer(self._broker, "mistwatch-pictures", _REQUEST_SECONDS)
                with self._broker.explained():
                    self._publish_all(producer)
            except BrokerUnavailableError as error:
                self._report(str(error))
            except Exception:  # a bug must not end the pictures
                _log.exception("live pictures are not published; this is a bug")
            finally:
                if producer is not None:
                    close_producer(producer)
            with self._wake:
                self._wake.wait_for(lambda: self._stopping, _RETRY_SECONDS)

    def _publish_all(self, producer: KafkaProducer) -> None:
        """Publish until the stop. Raises KafkaError where the producer is of no more use."""
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or bool(self._frames))
                if self._stopping:
                    return
                camera = next(iter(self._frames))
                frame = self._frames.pop(camera)
            if (made := self.record(camera, frame)) is None:
                continue
            header, picture = made
            flight = producer.send(
                self._topic, key=camera.encode(), value=picture, headers=[(HEADER, header.model_dump_json().encode())]
            )
            flight.get(timeout=2 * _REQUEST_SECONDS)
            if self._outage is not None:
                self._outage = None
                _log.info("live pictures are published again", topic=self._topic)

    def record(self, camera: str, frame: Frame) -> tuple[LivePicture, bytes] | None:
        """Return a frame's header and small JPEG; None where it cannot be encoded."""
        try:
            native = upright(frame.native)
            small = shrunk(native)
            picture = encode_jpeg(small, quantiser=_QUANTISER)
        except (FFmpegError, EvidenceError, ValueError) as error:
            _log.warning("live picture not made", camera=camera, error=str(error))
            return None
        grid = self._grid(camera, native.width, native.height)
        header = LivePicture(
            site=self._site,
            camera=camera,
            received_at=frame.received_at,
            width=small.width,
            height=small.height,
            heat=grid,
        )
        return header, picture

    def _grid(self, camera: str, width: int, height: int) -> HeatGrid | None:
        seen = self._heat.get(camera)
        if seen is None or time.monotonic() - seen[0] > _HEAT_SECONDS:
            return None
        _, values, kind, spec = seen
        return HeatGrid.of(Heat(values, seen_part(width, height, spec), kind), width, height)

    def _report(self, reason: str) -> None:
        if reason != self._outage:
            self._outage = reason
            _log.warning("live pictures are not published", reason=reason)


def shrunk(picture: av.VideoFrame) -> av.VideoFrame:
    """Return a picture of at most :data:`MOST_WIDTH` pixels across, both sides even."""
    if picture.width <= MOST_WIDTH:
        return picture
    height = max(2, round(picture.height * MOST_WIDTH / picture.width / 2) * 2)
    return picture.reformat(width=MOST_WIDTH, height=height, format="yuv420p")
