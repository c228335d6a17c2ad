"""The programs that check what stands under deploy/: those of `make deploy-tools`, or of the PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def tool(name: str) -> str:
    """The path of a program; skips the test where it is missing."""
    folders = [str(ROOT / ".tools" / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    path = shutil.which(name, path=os.pathsep.join(folders))
    if path is None:
        pytest.skip(f"missing: {name} (make deploy-tools)")
    return path


def run(name: str, *arguments: str | Path, folder: Path | None = None) -> str:
    """The output of a program that must succeed."""
    command = [tool(name), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
