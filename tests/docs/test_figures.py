"""Figures of the guide stand in the reports, which the benches write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDE = ("which-detector.md", "learn.md", "calibrate.md")
#: A share or an area under a curve, to two or three places.
_FIGURE = re.compile(r"(?<![\d.])0\.\d{2,3}(?![\d.])")


@pytest.mark.parametrize("name", GUIDE)
def test_each_figure_stands_in_the_results(root: Path, name: str) -> None:
    known = set(_FIGURE.findall((root / "docs" / "RESULTS.md").read_text(encoding="utf-8")))
    page = root / "docs" / "guide" / name
    settings = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)  # thresholds of examples are not measured
    found = set(_FIGURE.findall(settings.sub("", page.read_text(encoding="utf-8"))))
    assert found <= known, f"{page}: {sorted(found - known)} are in no report"
