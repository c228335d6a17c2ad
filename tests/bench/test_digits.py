"""The bench of handwritten digits: its halves, and its page from made results."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def digits(load):
    return load("digits")


def test_half_of_each_other_digit_is_learned_and_all_else_is_judged(digits):
    labels = np.repeat(np.arange(10), np.arange(10, 20))
    learned, judged = digits.halves(labels, 3, seed=0)
    assert [int(learned[labels == digit].sum()) for digit in range(10)] == [5, 5, 6, 0, 7, 7, 8, 8, 9, 9]
    assert (learned ^ judged).all()
    assert (learned != digits.halves(labels, 3, seed=1)[0]).any()
    assert (learned == digits.halves(labels, 3, seed=0)[0]).all()


def test_the_mean_over_digits_has_the_spread_of_seeds(digits):
    """Seeds 0.5 and 0.7 for one digit, 0.9 and 0.9 for another: means of 0.7 and 0.8."""
    found = digits.over_digits([digits.summarised([0.5, 0.7]), digits.summarised([0.9, 0.9])])
    assert found == {"mean": 0.75, "spread": pytest.approx(0.1 / 2**0.5, abs=1e-4), "runs": [0.7, 0.8]}


def test_the_page_marks_the_best_method_of_each_digit(digits, root):
    results = {
        "recipe": {"sizes": [48, 32, 8]},
        "number": 1797,
        "figures": {"median_error": 0.0061},
        "unusual": [{"rank": 1, "index": 1155, "label": 9, "error": 0.0364}],
        "seeds": 2,
        "held_out": {
            "autoencoder": [digits.summarised([0.90, 0.92])] * 10,
            "isolation forest": [digits.summarised([0.80, 0.80])] * 9 + [digits.summarised([0.99, 0.99])],
        },
        "seconds_to_learn_and_judge": {"autoencoder": 5.5, "isolation forest": 0.2},
    }
    page = digits.page(json.loads(json.dumps(results)))
    assert "| 1 | 1155 | 9 | 0.0364 |" in page
    assert "| 0 | **0.910** ± 0.014 | 0.800 ± 0.000 |" in page
    assert "| 9 | 0.910 ± 0.014 | **0.990** ± 0.000 |" in page
    assert "| mean | **0.910** ± 0.014 | 0.819 ± 0.000 |" in page
    assert (root / "docs" / "digits.webp").is_file()
