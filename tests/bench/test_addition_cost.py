"""The bench of the cost of additions: its figures by hand, its stopwatch on a real enricher, its page."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from operators.alerting import AlertState, AlertTransition
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.added_likeness import AddedLikeness
from pipeline.alerts.event import event_from
from pipeline.alerts.recent_features import RecentFeatures


@pytest.fixture(scope="module")
def bench(load):
    return load("addition_cost")


@pytest.fixture
def pair(bench):
    """100 clips at 2 + 18 s, and 50 at 1.1 + 9.5 s, of which the second model takes 0.05 s."""
    return bench.Pair(bench.Run(100, 0, 3, 2.0, 18.0, 0.0), bench.Run(50, 1, 2, 1.1, 9.5, 0.05))


def test_the_cost_is_that_of_a_clip(pair) -> None:
    """200 ms without and 212 ms with likeness; by parts 22 + 1 − 20 ms of 200."""
    assert pair.without.ms_a_clip == pytest.approx(200)
    assert pair.share == pytest.approx(0.06)
    assert pair.share_by_parts == pytest.approx(0.015)


def test_the_figures_and_the_page(bench, pair) -> None:
    cheap = bench.Pair(pair.without, bench.Run(100, 0, 3, 2.0, 18.0, 0.0))
    found = bench.figures([pair, cheap, cheap], [0.01, 0.02, 0.06], Counter(in_time=3, late=1))
    assert found["share"] == {"median": 0.0, "lowest": 0.0, "highest": 0.06}
    assert found["held_ms"] == {"events": 3, "median": 20.0, "p99": 59.2, "highest": 60.0}
    assert found["outcomes"] == {"in_time": 3, "late": 1, "missing": 0}
    results = {
        "machine": {"cores": 2},
        "load_average": {"before": 1.5, "after": 2.0},
        "of": "likeness",
        "models": ["courtyard", "alike-courtyard"],
        "cameras": 2,
        "seconds": 40.0,
        **found,
    }
    page = bench.page(json.loads(json.dumps(results)))
    assert "| 1 | 100, 3 | 20.0, 180.0 | 50, 2 | 22.0, 190.0 | 1.00 | +6.0% |" in page
    assert "Likeness adds +0.0% (+0.0% to +6.0%)" in page
    assert "3 of 4 in time, 1 of 4 late, 0 of 4 missing" in page


def begin():
    now = datetime.now(UTC)
    clip = ClipScore("gate", "segment", 0, 0.0, 0.64, 0.75, "m", "1", ClipTimes(now, now, now, now))
    peak = SmoothedScore(clip, 0.75)
    step = AlertTransition(AlertState.BEGIN, "gate", "segment", 0, clip, clip, peak, 0.6, (peak,), None)
    return event_from(step, site="bench", run="", evidence=[])


def test_the_stopwatch_reads_how_long_an_event_was_held_back(bench) -> None:
    """Without features there is no answer, so the event goes out when its time is over."""
    seconds: list[float] = []
    likeness = AddedLikeness(lambda: None, lambda _features, _on_answer: None, RecentFeatures())
    enricher = bench.TimedEnricher(seconds, [likeness], hold_seconds=0.05)
    began = time.monotonic()
    assert enricher.take([begin()]) == []
    assert seconds == []
    while enricher.is_holding:
        time.sleep(0.005)
        enricher.ready()
    assert len(seconds) == 1
    assert 0.05 <= seconds[0] <= time.monotonic() - began
