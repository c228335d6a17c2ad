"""Features of the processor: they decide which precision ``auto`` is, and so where an export is kept."""

from __future__ import annotations

import subprocess

import pytest

from models.engines import device
from models.serving import export


def test_the_features_are_those_that_the_system_lists() -> None:
    shown = subprocess.run(["lscpu"], capture_output=True, text=True, check=True, timeout=60).stdout
    flags = next((line.split()[1:] for line in shown.splitlines() if line.startswith("Flags:")), [])
    found = device.processor_features()
    assert set(found) <= set(flags)
    assert ("avx2" in found) == ("avx2" in flags)


def test_an_export_for_another_processor_is_kept_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    here = export.export_tools()
    monkeypatch.setattr(export, "processor_features", lambda: ["amx_bf16"])
    assert export.export_tools() != here
