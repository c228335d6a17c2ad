"""Lifetime of servers that run in processes of their own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from typing import Self

#: Settings of a site, passwords among them, are variables of this kind; servers need none of them.
_SETTINGS_PREFIX = "MISTWATCH_"

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None)


def child_environment() -> dict[str, str]:
    """Return this process's environment without the site's settings, which may hold passwords."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(_SETTINGS_PREFIX)}


class ChildServer(ABC):
    """A server in a process that leads a session of its own. As a context it runs for the length of the block."""

    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while started, else None."""
        return None if self._process is None else self._process.pid

    def alive(self) -> bool:
        """Return whether the process runs (it may be frozen or unreachable)."""
        return self._process is not None and self._process.poll() is None

    @abstractmethod
    def start(self) -> None:
        """Start the server, and wait until it can be used."""

    def stop(self, timeout: float = 5.0) -> None:
        """Let the server end; kill it after ``timeout`` seconds. Harmless when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None and timeout > 0:
            signal_group(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout)
        if process.poll() is None:
            signal_group(process, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to the group of a process that leads a session of its own; the group may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)  # a leader's group has its id


def end_with_parent() -> None:
    """End a process (SIGTERM) when the thread that starts it has ended; for use as ``preexec_fn``.

    This also works when that thread is killed: an abandoned server would keep its port and its folder for ever.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
