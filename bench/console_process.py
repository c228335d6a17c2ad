"""`mistwatch console` in a process of its own, and looks at its memory; for bench/console_load.py."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from processor_time import tree_pids

ROOT = Path(__file__).resolve().parents[1]
_LOOK_SECONDS = 7.0


def memory_mb(pid: int) -> float:
    """Return the anonymous memory of a process and its children, MB."""
    kb = 0
    for each in tree_pids(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    kb += int(line.split()[1])
    return kb / 1000


class Console:
    """`mistwatch console` in a process of its own."""

    def __init__(self, bootstrap: str, log: Path) -> None:
        self.log = log
        command = [sys.executable, "-P", "-m", "pipeline.cli", "console", "--bootstrap", bootstrap, "--port", "0"]
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT)
        self.url = self._wait(lambda: (found := re.search(r"http://\S+", self.text())) and found[0])
        self.port = int(self.url.rpartition(":")[2])

    def text(self) -> str:
        """Return the log so far."""
        return self.log.read_text()

    def known(self, alerts: int) -> None:
        """Wait until it is ready, and holds so many alerts."""
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30) as client:
            self._wait(lambda: client.get("/readyz").status_code == 200)
            self._wait(lambda: client.get("/api/alerts?limit=1").json()["known"] >= alerts)

    def watched(self, cameras: int) -> None:
        """Wait until it shows so many cameras as live, each with a picture."""

        def live() -> bool:
            known = client.get("/api/cameras").json()["cameras"]
            return sum(one["is_live"] and one["picture"] is not None for one in known) == cameras

        with httpx.Client(base_url=self.url, trust_env=False, timeout=30) as client:
            self._wait(live)

    def stop(self) -> int:
        """End it, and return its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def _wait(self, found: Callable[[], Any], seconds: float = 180.0) -> Any:
        until = time.monotonic() + seconds
        while not (value := found()):
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"console_load: the console is not there: {self.text()[-2000:]}")
            time.sleep(0.1)
        return value


class Looks:
    """Looks at the memory on a thread: the lowest of each minute."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.began = time.monotonic()
        self._stop = threading.Event()
        self.samples: list[tuple[float, float]] = []  # minutes, MB
        self.most = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        lowest: float | None = None
        while not self._stop.wait(min(_LOOK_SECONDS, 1.0 + time.monotonic() - self.began)):
            now = memory_mb(self._pid)
            self.most, lowest = max(self.most, now), now if lowest is None else min(lowest, now)
            if (minutes := (time.monotonic() - self.began) / 60) >= len(self.samples) + 1:
                self.samples.append((round(minutes, 2), lowest))
                print(f"{minutes:6.1f} min: {lowest:.1f} MB", flush=True)
                lowest = None
        if lowest is not None:
            self.samples.append((round((time.monotonic() - self.began) / 60, 2), lowest))
