"""Workers (``mistwatch run``) that start fast, to be killed: the tests' side of forked_worker_main.py."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from accepted_ledger import read_ledger
from delivery_counts import ids_in_outbox

MAIN = Path(__file__).with_name("forked_worker_main.py")


@dataclass
class Bench:
    """The files of one site: its configuration, its state, the ledger of accepted events, the log of its workers."""

    folder: Path
    triton: str
    kafka: str
    cameras: Mapping[str, str | Mapping[str, Any]]  #: a source for each camera, or its settings
    topic: str = "mistwatch.alerts"
    state: Path | None = None
    metrics_port: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = self.state or self.folder / "state"
        document: dict[str, Any] = {
            "site": "faults",
            "state_dir": str(self.state),
            "triton": {"address": self.triton, "deadline_seconds": 20},
            "kafka": {"bootstrap": self.kafka, "topic": self.topic},
            "alerts": {"min_clips": 1},
            "cameras": {
                name: {"source": one} if isinstance(one, str) else dict(one) for name, one in self.cameras.items()
            },
            **self.more,
        }
        if self.metrics_port is not None:
            document["metrics"] = {"port": self.metrics_port}
        self.config.write_text(json.dumps(document))  # JSON is YAML

    @property
    def config(self) -> Path:
        return self.folder / "site.yaml"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def ready(self) -> Path:
        """Holds the process id of the newest worker that obeys SIGTERM."""
        return self.folder / "ready"

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def outbox(self) -> Path:
        assert self.state is not None
        return self.state / "outbox.sqlite"

    @property
    def accepted(self) -> list[tuple[str, str]]:
        """(camera, id) of every accepted event, in the order of acceptance."""
        return read_ledger(self.ledger)

    def arrived(self) -> int:
        """The number of events that the worker knows to be on the topic."""
        if not self.log.exists():
            return 0
        return sum(line.startswith('{"specversion"') for line in self.log.read_text().splitlines())

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of this name that have these labels; 0 where there are none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
        total = 0.0
        for line in lines:
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(f'{key}="{text}"' in head for key, text in labels.items()):
                total += float(value)
        return total


class Forge:
    """The process that forks workers. Close it, or use a ``with``; its workers end with it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._errors = (folder / "forge.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(MAIN)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(MAIN.parent)} | environment,
        )

    def start(self, bench: Bench) -> Forged:
        """Fork a worker over a site."""
        files = {name: str(getattr(bench, name)) for name in ("config", "ledger", "ready", "log")}
        return Forged(self, int(self._ask(**files)), bench)

    def status_of(self, pid: int) -> int:
        """Wait for a worker's end; its status, or the negative number of the signal that ended it."""
        return int(self._ask(wait=pid))

    def _ask(self, **command: Any) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the forge has ended: {Path(self._errors.name).read_text()[-2000:]}"
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class Forged:
    """One worker. As a context it is killed at the end, whatever state it is in."""

    def __init__(self, forge: Forge, pid: int, bench: Bench) -> None:
        self._forge = forge
        self._bench = bench
        self.pid = pid
        self.status: int | None = None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.status = self._forge.status_of(self.pid)

    def terminate(self) -> float:
        """SIGTERM, and wait for its end; seconds that it took. It is killed after 90 s."""
        began = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        while self.alive() and time.monotonic() - began < 90:
            time.sleep(0.02)
        took = time.monotonic() - began
        if self.alive():
            self.kill()
        else:
            self.status = self._forge.status_of(self.pid)
        return took

    def wait_until_ready(self, timeout: float = 120.0) -> None:
        """Wait until SIGTERM ends it in order; before, the signal kills it as it does any process."""
        deadline = time.monotonic() + timeout
        ready, log = self._bench.ready, self._bench.log
        while not ready.exists() or ready.read_text() != str(self.pid):
            assert self.alive(), f"the worker ended before it was ready: {log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"not within {timeout:g} s: the worker obeys SIGTERM"
            time.sleep(0.02)

    def alive(self) -> bool:
        """Return whether it runs."""
        if self.status is not None:
            return False
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def drain(forge: Forge, bench: Bench, *, patience: int = 20) -> None:
    """Run workers over the site's outbox, with cameras that raise nothing, until it is empty; at most ``patience``."""
    try:
        _drain(forge, replace(bench, cameras=dict.fromkeys(bench.cameras, "blink://?bright=0&dark=1")), patience)
    finally:
        replace(bench)  # writes the configuration again: both have one file


def _drain(forge: Forge, quiet: Bench, patience: int) -> None:
    for _ in range(patience):
        with forge.start(quiet) as worker:
            worker.wait_until_ready()
            time.sleep(1.0)
            worker.terminate()
        assert worker.status == 0, quiet.log.read_text()[-3000:]
        if not ids_in_outbox(quiet.outbox):
            return
    raise AssertionError(f"{len(ids_in_outbox(quiet.outbox))} events are still in the outbox")
