"""RTSP cameras of the tests' own that misbehave on command; faulty_camera_main.py has the faults."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from ports import free_port

MAIN = Path(__file__).with_name("faulty_camera_main.py")


class FaultyCameras:
    """Several cameras in one process. As a context they run; they keep their ports when they are started again."""

    def __init__(self, names: Iterable[str]) -> None:
        self._ports = {name: free_port() for name in names}
        self._process: subprocess.Popen[str] | None = None

    def url(self, name: str) -> str:
        """Without credentials; the user's name is ``viewer`` where a password is set."""
        return f"rtsp://127.0.0.1:{self._ports[name]}/cam"

    def start(self) -> None:
        """Start the process, with cameras in good order, and wait until they listen."""
        assert self._process is None, "the cameras run already"
        self._process = subprocess.Popen(
            [sys.executable, str(MAIN), *(f"{name}={port}" for name, port in self._ports.items())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def steer(self, name: str, **command: Any) -> None:
        """Change one camera's `Steering`, or reset its connections (``reset=True``) or put junk in them (``junk``)."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"camera": name, **command}) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def freeze(self) -> None:
        """SIGSTOP: connections live on, new ones are accepted by the kernel, and nothing is said."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
