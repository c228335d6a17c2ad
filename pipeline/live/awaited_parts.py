"""Parts of live cameras that are not in their hosting models yet: each is used as soon as it is there and fits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from pipeline import logs
from pipeline.scoring.served_model import ScorerError, ServedModel, served_model
from pipeline.scoring.target import Target

_log = logs.get("awaited-parts")

#: A missing part is asked for again after this many seconds.
LOOK_SECONDS = 2.0


class AwaitedParts:
    """Asks for missing parts, on a thread of its own.

    Args:
        address: HOST:PORT of the server's gRPC endpoint.
        parts: those that are missing.
        on_there: called with a part that is there, on the thread; returns whether it is used. Otherwise it is
            asked for again.
    """

    def __init__(
        self,
        address: str,
        parts: Collection[Target],
        on_there: Callable[[Target, ServedModel], bool],
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._address = address
        self._missing = list(parts)
        self._failed: dict[Target, str] = {}
        self._on_there = on_there
        self._look_seconds = look_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="awaited-parts", daemon=True)

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def wait(self, timeout: float | None) -> bool:
        """Wait until no part is missing, for at most ``timeout`` seconds; return whether that is so."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._missing

    def close(self, timeout: float) -> None:
        """Ask no longer."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while self._missing and not self._stop.wait(self._look_seconds):
            for part in list(self._missing):
                if self._stop.is_set():
                    return
                try:
                    found = served_model(self._address, part.model, part=part.part)
                except ScorerError:  # still missing, or the server is away, which the scorer reports
                    continue
                if self._is_used(part, found):
                    self._missing.remove(part)

    def _is_used(self, part: Target, found: ServedModel) -> bool:
        try:
            return self._on_there(part, found)
        except Exception as error:  # a bug in the use of one part must not keep the others waiting
            if self._failed.get(part) != (what := repr(error)):  # logged once, not every two seconds
                self._failed[part] = what
                _log.exception("a part that is there cannot be used; this is a bug", model=part.model, camera=part.part)
            return False
