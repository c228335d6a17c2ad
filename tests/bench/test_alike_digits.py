"""The bench of SimCLR on digits: its figures by hand, and its page from made results."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def bench(load):
    return load("alike_digits")


LABELS = np.repeat(np.arange(4), 10)


@pytest.fixture(scope="module")
def methods(bench):
    """Two seeds: SCAN is right, then five of forty wrong; pixels know nothing."""
    wrong = LABELS.copy()
    wrong[:5] = 1
    clusters = {bench.PIXELS: [np.zeros(40, int)] * 2, bench.SCAN: [LABELS, wrong], bench.SELF: [(LABELS + 1) % 4] * 2}
    return bench.judged(LABELS, clusters, draws=40)


def test_the_figures_are_means_over_seeds(bench, methods):
    accuracy = methods[bench.SCAN]["accuracy"]
    assert accuracy["runs"] == [1.0, 0.875]
    assert accuracy["mean"] == 0.9375
    assert accuracy["spread"] == pytest.approx(0.125 / 2**0.5, abs=1e-4)
    low, high = accuracy["interval_95"]
    assert 0.85 < low < 0.9375 < high <= 1
    assert methods[bench.SELF]["accuracy"]["interval_95"] == [1.0, 1.0]
    assert methods[bench.PIXELS]["nmi"]["mean"] == 0
    assert methods[bench.PIXELS]["accuracy"]["mean"] == 0.25


@pytest.mark.parametrize(("aim", "word"), [(0.85, "met"), (1.01, "missed")])
def test_the_page_says_whether_the_aim_is_met(bench, methods, aim, word):
    one = bench.summarised([0.9, 0.92])
    names = ("knn_accuracy", "neighbours_accuracy", "judged_neighbours_accuracy")
    results = {
        "learned": 1258,
        "judged": 539,
        "seeds": 2,
        "aim": aim,
        "methods": methods,
        "neighbours": dict.fromkeys(names, one),
    }
    page = bench.page(json.loads(json.dumps(results)))
    assert f"The aim is {word}. Accuracy of single seeds after self-labelling: 1.000, 1.000." in page
    assert "| SCAN, self-labelling | **1.000** (1.000 to 1.000) | 0.000 |" in page
    assert "accuracy | 0.910 | 0.014 |" in page
