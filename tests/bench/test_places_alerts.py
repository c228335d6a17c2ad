"""The bench of alerts' places: shares by hand, Wilson's interval against published values, and its page."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="module")
def bench(load):
    return load("places_alerts")


def test_wilsons_interval(bench) -> None:
    """R. G. Newcombe (1998) has 81 of 263 as .2553 to .3662, 15 of 148 as .0624 to .1605, and 0 of 20 as 0 to .1611."""
    assert bench.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert bench.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert bench.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert bench.wilson(0, 0) is None


def test_the_runs_add_up_and_the_page_has_the_shares(bench) -> None:
    def summary(alerts: int, place: int, thing: int) -> dict:
        places = {"alerts": alerts, "place": place, "object": thing}
        return {"clips_scored": 100, "clips_dropped": 1, "detectors": {"one": {"places": places}}}

    found = bench.figures([summary(12, 11, 9), summary(8, 7, 6)])
    one = found["detectors"]["one"]
    assert (one["alerts"], one["place"]["right"], one["object"]["right"]) == (20, 18, 15)
    assert (one["place"]["share"], one["object"]["share"]) == (0.9, 0.75)
    nothing = bench.figures([summary(0, 0, 0)])["detectors"]["one"]
    assert nothing["place"] == {"right": 0, "share": None, "interval_95": None}
    results = {"seeds": [1, 2, 3, 4], "seconds": 66.0, "load_average": {"before": 1.0, "after": 2.0}, **found}
    page = bench.page(json.loads(json.dumps(results)))
    assert "| `one` | 20 | 90% (70% to 97%) | 75% (53% to 89%) |" in page
    assert "2 of 202 clips were dropped" in page
