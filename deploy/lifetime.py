"""Lifetime of a process that another one starts."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None)


def end_with_parent() -> None:
    """End a process (SIGTERM) when the thread that starts it has ended; for use as ``preexec_fn``.

    This also works when that thread is killed: an abandoned server would keep its port and its folder for ever.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
