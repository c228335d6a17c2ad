"""``mistwatch watch`` in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def watch(*arguments: object, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """``mistwatch watch ARGUMENTS``, to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "pipeline.cli", "watch", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
