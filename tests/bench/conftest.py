"""Programs of the folder bench, for the tests of their parts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def load(root: Path):
    """Loads a program of the folder bench, which may import another one."""
    sys.path.insert(0, str(root / "bench"))

    def loaded(name: str):
        spec = importlib.util.spec_from_file_location(name, root / "bench" / f"{name}.py")
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # its dataclasses look there
        spec.loader.exec_module(module)
        return module

    yield loaded
    sys.path.remove(str(root / "bench"))
