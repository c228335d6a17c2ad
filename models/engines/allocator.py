"""How the C library's allocator treats blocks that are freed and asked for again at once."""

from __future__ import annotations

import ctypes

#: Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let this process keep what it frees, for its next step.

    Each step of a training asks for the same hundreds of megabytes as the one before it. By default glibc gives blocks
    of that size back to the kernel and gets them anew, filled with zeros page by page: on a CPU a good part of what
    stage 2 costs. The price is that the process stays as large as it has once been. Where the C library is another one,
    nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
