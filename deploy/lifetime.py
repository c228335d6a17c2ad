"""How long a process lives that another one starts."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None)


def end_with_parent() -> None:
    """As ``preexec_fn`` of a process: it is told to end (SIGTERM) when the thread that starts it has ended.

    Even where that one is killed: a server that nobody stops would keep its port and its folder for ever.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
