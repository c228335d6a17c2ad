"""What the kernel is asked for when a large block is freed and asked for again, in processes of their own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: 64 MiB are written to, freed, and asked for and written to again: how many pages did the second time take?
PROGRAM = """
import ctypes, resource, sys
from models.jobs.memory import keep_freed_memory
if sys.argv[1] == "keeps":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 64 << 20
def use():
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_large_block_that_is_freed_stays(root):
    pages = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], cwd=root, check=True, capture_output=True).stdout)
        for how in ("keeps", "gives back")
    }
    assert pages["gives back"] >= (64 << 20) // 65536  # the largest pages that there are without asking
    assert pages["keeps"] < pages["gives back"] // 10
