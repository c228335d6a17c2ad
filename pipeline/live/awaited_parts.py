"""Live cameras whose parts are not in their hosting models yet: each is watched as soon as its parts are there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from pipeline.scoring.served_model import ScorerError, ServedModel, served_model
from pipeline.scoring.target import Target

#: A missing part is asked for again after this many seconds.
LOOK_SECONDS = 2.0


class AwaitedParts:
    """Asks for missing parts, on a thread of its own.

    Args:
        address: HOST:PORT of the server's gRPC endpoint.
        cameras: the missing parts of each camera.
        on_there: called with a camera and its parts when all of them are there, on the thread.
    """

    def __init__(
        self,
        address: str,
        cameras: Mapping[str, Sequence[Target]],
        on_there: Callable[[str, dict[Target, ServedModel]], None],
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._address = address
        self._cameras = dict(cameras)
        self._on_there = on_there
        self._look_seconds = look_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="awaited-parts", daemon=True)

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def wait(self, timeout: float | None) -> bool:
        """Wait until no camera misses a part, for at most ``timeout`` seconds; return whether that is so."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._cameras

    def close(self, timeout: float) -> None:
        """Ask no longer."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while self._cameras and not self._stop.wait(self._look_seconds):
            for camera, targets in list(self._cameras.items()):
                if self._stop.is_set():
                    return
                try:
                    found = {target: served_model(self._address, target.model, part=target.part) for target in targets}
                except ScorerError:  # still missing, or the server is away, which the scorer reports
                    continue
                self._on_there(camera, found)
                del self._cameras[camera]
