"""Live sources of one brightness, and a worker over them on a real Triton, with an outbox in memory."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import av
import numpy as np

from operators.chain import ChainSettings
from pipeline.alerts.event import AlertEvent
from pipeline.live.board import Board
from pipeline.live.camera import CameraPlan, DetectorPlan
from pipeline.live.judging import chain_settings
from pipeline.live.listener import WorkerListener
from pipeline.live.metrics import Metrics, MetricsListener
from pipeline.live.worker import Worker
from pipeline.scoring.scorer import ScoredModel, Scorer
from pipeline.scoring.served_model import ServedModel, served_model
from pipeline.settings import AlertTuning
from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, Source
from pipeline.sources.decode import FramePump, received
from pipeline.sources.factory import SourceCallbacks


class GreyCamera:
    """A live camera whose pictures are all of one grey or colour, ``fps`` a second.

    Args:
        grey: a level, or a colour (red, green, blue); see ``brightness_model.py`` for what colours do to the model.
        hang: after so many pictures it hangs, and does not notice a stop until this event is set.
    """

    live = True

    def __init__(
        self,
        camera: str,
        grey: int | tuple[int, int, int],
        *,
        fps: float = 50.0,
        hang: tuple[int, threading.Event] | None = None,
    ) -> None:
        self.camera = camera
        self.pump: FramePump | None = None
        self.hangs = threading.Event()
        self._picture = np.full((48, 64, 3), grey, np.uint8)
        self._fps = fps
        self._hang = hang

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        connection = uuid.uuid4().hex
        self.pump = pump = FramePump(
            self.camera,
            live=True,
            specs=specs,
            segment_id=lambda ordinal: f"{self.camera}/{connection}/{ordinal}",
            wall_clock=received,
        )
        began, number = time.monotonic(), 0
        while not stop.wait(max(0.0, began + number / self._fps - time.monotonic())):
            if self._hang is not None and number == self._hang[0]:
                self.hangs.set()
                self._hang[1].wait(60)
            picture = av.VideoFrame.from_ndarray(self._picture, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 1000)
            yield from pump.push(picture, number / self._fps)
            number += 1
        yield from pump.end(EndReason.SHUTDOWN)


class Kept:
    """An outbox in memory."""

    def __init__(self) -> None:
        self.events: list[AlertEvent] = []

    def accept(self, event: AlertEvent) -> bool:
        self.events.append(event)
        return True


class Site:
    """A worker without cameras on the models of a Triton, its board and its metrics. Close it, or use a ``with``."""

    def __init__(
        self, address: str, models: Sequence[str] = ("clip_scorer",), listeners: Sequence[WorkerListener] = ()
    ) -> None:
        self.models = {name: served_model(address, name) for name in models}
        self.board = Board()
        self.metrics = Metrics(detectors=len(models) > 1)
        self.outbox = Kept()
        self.scorer = Scorer(address, [ScoredModel(name, served.clip) for name, served in self.models.items()])
        self.worker = Worker(
            [],
            site="test",
            run="r",
            scorer=self.scorer,
            queue_clips=4,
            outbox=self.outbox,
            notify=lambda: None,
            pictures=None,
            listeners=[*listeners, self.board, MetricsListener(self.metrics)],
            several_detectors=len(models) > 1,
        )
        self.worker.start()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.stop()

    def plan(self, source: Source, *detectors: str) -> CameraPlan:
        """``detectors``: models of the same names; none for the only one, without a name."""

        def detector(name: str) -> DetectorPlan:
            served = self.models[name or next(iter(self.models))]
            return DetectorPlan(served.clip, served, _judged, name, name or None)

        return CameraPlan(source.camera, _given(source), [detector(name) for name in detectors or ("",)])

    def samples(self, camera: str) -> dict[str, float]:
        """Every series of this camera."""
        return {
            f"{sample.name}{sorted(sample.labels.items())}": sample.value
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.labels.get("camera") == camera
        }


def _given(source: Source) -> Callable[[SourceCallbacks], Source]:
    return lambda _callbacks: source


def _judged(served: ServedModel) -> ChainSettings:
    return chain_settings(AlertTuning(min_clips=1), served, max_in_flight=4)
