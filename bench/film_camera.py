"""A live camera that is a film; a module of its own, because decoder processes import it by its name."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import av.container

from pipeline.sources.base import Source
from pipeline.sources.connection import LiveStream
from pipeline.sources.factory import SourceCallbacks
from pipeline.sources.filming.orders import RingLimits
from pipeline.sources.pace import PacedClock


class FilmCamera(LiveStream):
    """A live camera that is a film, at the pace of its clock."""

    def __init__(self, camera: str, film: Path, callbacks: SourceCallbacks, ring: RingLimits | None = None) -> None:
        super().__init__(
            camera,
            film.name,
            on_connected=callbacks.on_connected,
            on_outage=callbacks.on_outage,
            ring=ring,
            on_film=callbacks.on_film,
        )
        self._film = film

    def _open(self) -> av.container.InputContainer:
        return self._open_with_ffmpeg(f"file:{self._film}", {})

    def _clock(self, _container: Any, stop: threading.Event) -> PacedClock:
        return PacedClock(stop)


def open_camera(camera: str, film: Path, callbacks: SourceCallbacks) -> Source:
    """Return a camera."""
    return FilmCamera(camera, film, callbacks)
