"""The page of bench/halves.py describes only pictures that were looked at."""

from __future__ import annotations

import json


def test_only_moments_that_were_looked_at_are_described(load, root):
    halves = load("halves")
    results = json.loads((root / "bench" / "results" / "halves.json").read_text())
    results["film"] = "vtest.avi"
    results["detectors"]["motion"]["strangest"] = [{"seconds": 51.7, "score": 0.9}]
    results["detectors"]["fused"]["strangest"] = [{"seconds": 77.8, "score": 0.8}]
    assert "They show people who walk" in halves.page(results)
    results["detectors"]["fused"]["strangest"].append({"seconds": 70.0, "score": 0.7})
    page = halves.page(results)
    assert "They show people" not in page
    assert "A description of them is still missing." in page
