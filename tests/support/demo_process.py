"""``mistwatch demo`` in a process of its own, with all that it starts: what it prints, and what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """A demo that has ended: what it printed, and the folder it was given."""

    status: int
    lines: list[dict[str, Any]]
    errors: str
    folder: Path
    left_behind: list[str]

    @property
    def summary(self) -> dict[str, Any]:
        return self.lines[-1]

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.lines[:-1]


class Demo:
    """A demo that runs: in a process group of its own, as at a terminal, with a mark that its descendants inherit."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._mark = f"MISTWATCH_TEST_RUN={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.cli", "demo", "--json", "--out", str(folder), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, name: value},
        )
        self._errors: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self._errors.append(line)
                self._said.notify()

    def wait_until_it_says(self, text: str, seconds: float) -> str:
        """Wait for a line with a text, and return the line."""
        with self._said:
            heard = self._said.wait_for(lambda: any(text in line for line in self._errors), seconds)
            assert heard, f"{text!r} was never said:\n{''.join(self._errors)}"
            return next(line for line in self._errors if text in line)

    def end(self, seconds: float) -> Run:
        """Wait for its end, kill it after so many seconds, and see what it leaves."""
        assert self.process.stdout is not None
        patience = threading.Timer(seconds, self.process.kill)
        patience.start()
        lines = self.process.stdout.read().splitlines()
        status = self.process.wait()
        patience.cancel()
        self._reader.join(5)
        deadline = time.monotonic() + 30
        while (left := self.running()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return Run(status, [json.loads(line) for line in lines], "".join(self._errors), self.folder, left)

    def running(self) -> list[str]:
        """The command lines of its processes, however far from it they have been started."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # it has ended, or is somebody else's
                continue
        return [line for line in found if line]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
