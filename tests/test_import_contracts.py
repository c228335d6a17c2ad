"""The design's table of who may import whom, held by import-linter, holds for every module there is."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import models
import pipeline

#: Rooms that read video, the scene behind one kind of source, clocks, errors, durable files, arrays, names and text.
OPEN_TO_MODELS = {
    "pipeline.clocks",
    "pipeline.courtyard",
    "pipeline.errors",
    "pipeline.files",
    "pipeline.manifests",
    "pipeline.names",
    "pipeline.plain_arrays",
    "pipeline.printable",
    "pipeline.secret_file",
    "pipeline.sources",
    "pipeline.tls",
    "pipeline.windows",
}


def test_every_module_of_the_pipeline_is_either_open_or_forbidden_to_models(root: Path) -> None:
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [c for c in contracts if c.get("source_modules") == ["models"]]
    forbidden = {module for module in contract["forbidden_modules"] if module.startswith("pipeline.")}
    there = {f"pipeline.{module.name}" for module in pkgutil.iter_modules(pipeline.__path__)}
    assert there - OPEN_TO_MODELS == forbidden


@pytest.mark.parametrize(("package", "split"), [(pipeline, ()), (models, ("detectors",))])
def test_every_room_has_a_layer(root: Path, package: ModuleType, split: tuple[str, ...]) -> None:
    """A room in ``split`` has its modules in layers of their own, so that each family of detectors has one."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [c for c in contracts if c.get("containers") == [package.__name__]]
    assert "ignore_imports" not in contract
    layered = {room.strip() for layer in contract["layers"] for room in layer.split("|")}
    there = {module.name for module in pkgutil.iter_modules(package.__path__)} - set(split)
    for room in split:
        (place,) = package.__path__
        there |= {f"{room}.{module.name}" for module in pkgutil.iter_modules([f"{place}/{room}"])}
    assert there == layered


def test_the_contracts_hold(root: Path) -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([linter], cwd=root, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stdout
