"""Tells the sinks that need it which cameras this worker watches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.live.listener import Watch, WorkerListener
from pipeline.sinks.base import KnowsSite, Sink


class SinkCameras(WorkerListener):
    """Passes on which cameras come and go; a camera that is handed over to another worker goes, too."""

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._sinks = [sink for sink in sinks if isinstance(sink, KnowsSite)]

    def camera_added(self, camera: str, watches: Sequence[Watch], *, live: bool) -> None:
        for sink in self._sinks:
            sink.watch(camera)

    def camera_removed(self, camera: str) -> None:
        for sink in self._sinks:
            sink.forget(camera)
