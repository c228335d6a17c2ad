"""The programs that check what stands under deploy/, where `make deploy-tools` has fetched them or the PATH has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def tool(name: str) -> str:
    """The path of a program; skips the test where it is missing."""
    path = shutil.which(name, path=str(ROOT / ".tools" / "bin")) or shutil.which(name)
    if path is None:
        pytest.skip(f"missing: {name} (make deploy-tools)")
    return path


def run(name: str, *arguments: str | Path, folder: Path | None = None) -> str:
    """The output of a program that must succeed."""
    command = [tool(name), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
