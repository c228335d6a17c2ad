"""Ties of a process to the one that started it, through the kernel's own means."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the parent's thread that started it ends.

    Args:
        parent: the process number of the parent, which may have ended already; then this one ends at once.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def ignore_stops() -> None:
    """Leave Ctrl-C and SIGTERM to the worker, which ends this process in its own order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def limit_memory(limit_bytes: int | None) -> None:
    """Limit the memory that this process may ask for, bytes; None: no limit. It writes no core files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
