"""Reads the demo's alerts back from the topic, as anybody else would: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import MistwatchError

if TYPE_CHECKING:
    from pipeline.alerts.event import AlertEvent

_END_SECONDS = 5.0


class Consumer:
    """``mistwatch alerts tail --json``, from now on.

    Args:
        bootstrap: the broker.
        take: given each event and the moment (UTC) at which it was there, on a thread of the consumer's.
        log: file for what its process says.
    """

    def __init__(self, bootstrap: str, take: Callable[[AlertEvent, datetime], None], log: Path) -> None:
        from deploy.lifetime import end_with_parent

        since = datetime.now(UTC).isoformat()
        command = [sys.executable, "-P", "-m", "pipeline.cli", "alerts", "tail", "--json"]
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [*command, "--bootstrap", bootstrap, "--since", since],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,  # Ctrl-C is ours to handle
                preexec_fn=end_with_parent,
            )
        self.name = "consumer"
        self.log = log
        self._take = take
        self._arrived = threading.Condition()
        self._over = False
        self._failure: Exception | None = None
        self.events = 0  #: so many were given to ``take``
        self._thread = threading.Thread(target=self._read, name="consumer", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it still reads."""
        return not self._over and self._process.poll() is None

    def _read(self) -> None:
        from pipeline.alerts.event import AlertEvent

        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                had_at = datetime.now(UTC)
                self._take(AlertEvent.model_validate_json(line), had_at)
                with self._arrived:
                    self.events += 1
                    self._arrived.notify()
        except Exception as error:  # shown by whoever waits for the events
            self._failure = error
        with self._arrived:
            self._over = True
            self._arrived.notify()

    def wait_for(self, events: int, seconds: float) -> None:
        """Wait until that many events have been taken.

        Raises:
            MistwatchError: they did not arrive in time.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: self.events >= events or self._over, seconds)
        if self._failure is not None:
            raise self._failure
        if self.events < events:
            why = ": its consumer has ended by itself" if self._over else f" within {seconds:.0f} s"
            raise MistwatchError(f"the topic gave back {self.events} of {events} alert events{why} (log: {self.log})")

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(1)
