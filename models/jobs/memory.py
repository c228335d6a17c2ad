"""The C library's allocator, set for processes that train."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  #: from glibc's malloc.h


def keep_freed_memory() -> None:
    """Keep memory that this process frees, for its next step.

    Each step of a training needs the same hundreds of megabytes as the one before it. By default glibc returns blocks
    of that size to the kernel and gets them anew, filled with zeros page by page: on a CPU a good part of the cost of
    stage 2. The price is that the process stays as large as it has once been. Another C library is left as it is.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
