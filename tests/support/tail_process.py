"""``mistwatch alerts tail`` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

TOPIC = "mistwatch.alerts"
COMMAND = [str(Path(sys.executable).with_name("mistwatch")), "alerts", "tail", "--bootstrap"]


class Tail:
    """The command, running, its lines collected.

    Args:
        background: start it as a shell starts ``mistwatch alerts tail … &``, with SIGINT ignored.
    """

    def __init__(self, *arguments: str, env: dict[str, str] | None = None, background: bool = False) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | (env or {}),
            preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if background else None,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=lines.extend, args=(stream,))
            for lines, stream in ((self.out, self.process.stdout), (self.err, self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def end(self, number: signal.Signals | None = None, timeout: float = 120) -> int:
        """Send the signal, wait for the end, return the status; the lines are complete then."""
        if number is not None:
            self.process.send_signal(number)
        status = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(10)
        return status

    @property
    def listens(self) -> bool:
        return any("listening" in line for line in self.err)
