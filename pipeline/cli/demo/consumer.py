"""Reads the demo's alerts back from the topic in a process of its own, as any other consumer would."""

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
        on_event: called with each event and the time (UTC) of its arrival, on a thread of the consumer.
        log: file for the messages of its process.
    """

    def __init__(self, bootstrap: str, on_event: Callable[[AlertEvent, datetime], None], log: Path) -> None:
        from deploy.lifetime import end_with_parent

        since = datetime.now(UTC).isoformat()
        command = [sys.executable, "-P", "-m", "pipeline.cli", "alerts", "tail", "--json"]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--bootstrap", bootstrap, "--since", since],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,  # Ctrl-C is ours to handle
                preexec_fn=end_with_parent,
            )
        self.name = "consumer"
        self.log = log
        self._on_event = on_event
        self._arrived = threading.Condition()
        self._over = False
        self._failure: Exception | None = None
        self.events = 0  #: number of events passed to ``on_event``
        self._thread = threading.Thread(target=self._read, name="consumer", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Id of its process."""
        return self._process.pid

    def alive(self) -> bool:
        """Return whether it still reads."""
        return not self._over and self._process.poll() is None

    def _read(self) -> None:
        from pipeline.alerts.event import AlertEvent
        from pipeline.alerts.reading import read_event

        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                arrived_at = datetime.now(UTC)
                event = read_event(line)
                if not isinstance(event, AlertEvent):  # a camera's drift, a judgement
                    continue
                self._on_event(event, arrived_at)
                with self._arrived:
                    self.events += 1
                    self._arrived.notify()
        except Exception as error:  # raised by wait_for
            self._failure = error
        with self._arrived:
            self._over = True
            self._arrived.notify()

    def wait_for(self, events: int, seconds: float) -> None:
        """Wait until ``events`` events have arrived. Raises MistwatchError: they did not arrive in time."""
        with self._arrived:
            self._arrived.wait_for(lambda: self.events >= events or self._over, seconds)
        if self._failure is not None:
            raise self._failure
        if self.events < events:
            reason = ": its consumer has ended by itself" if self._over else f" within {seconds:.0f} s"
            raise MistwatchError(
                f"the topic gave back {self.events} of {events} alert events{reason} (log: {self.log})"
            )

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
