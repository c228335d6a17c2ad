"""The bench of detectors learned from a courtyard: its points and its page, on made-up scores."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from operators.alerting import AlertSettings
from operators.chain import ChainSettings
from pipeline.courtyard.settings import IncidentKind, SceneSettings

CHAIN = ChainSettings(alert=AlertSettings(open_threshold=0.65, close_threshold=0.52, cooldown_seconds=2.0), kernel=1)
CARD = SimpleNamespace(name="made-up", family="motion", weights_sha256="0" * 64)


@pytest.fixture(scope="module")
def bench(load):
    pytest.importorskip("openvino")
    return load("learned_courtyard")


@pytest.fixture
def watched(bench):
    """``watched(kind, spikes)``: ten minutes in clips of a second, with incidents from 400 and from 500 s for 4 s."""

    def made(kind: IncidentKind, spikes: dict[int, float]):
        courtyard = sys.modules["courtyard"]
        scene = SceneSettings(seed=1, seconds=600, fps=25.0)
        incidents = tuple(courtyard.Incident(kind, 25 * second, 25 * second + 99) for second in (400, 500))
        clips = [[i, i + 1.0, spikes.get(i, 0.1)] for i in range(600)]
        return courtyard.alerts_of(scene, incidents, clips, "made-up", CHAIN)

    return made


@pytest.fixture
def judged(bench, watched):
    """False alarms at 0.9, 0.7 and 0.6; incidents found at 0.8 and 0.3; an object found at 0.66, and a false alarm."""
    spikes = {100: 0.9, 200: 0.7, 300: 0.6, 401: 0.8, 502: 0.3}
    objects = watched(IncidentKind.ABANDONED, {100: 0.75, 401: 0.66})
    return bench.judge(CARD, CHAIN, [watched(IncidentKind.CART, spikes)], [objects])


def test_points_of_so_many_false_alarms_an_hour(judged) -> None:
    """In a sixth of an hour 30 an hour are five false alarms, 6 an hour one, and 1 an hour none."""
    points = judged["points"]
    found = {name: (point["open_threshold"], point["found"]) for name, point in points.items()}
    # None are above 0.9; one is above 0.7, and 0.8 is the highest threshold that finds the first incident; three there
    # are down to 0.3, which finds both.
    assert found == {"as suggested": (0.65, 1), "1/hour": (0.995, 0), "6/hour": (0.8, 1), "30/hour": (0.3, 2)}
    rates = [points[name]["false_alarms_per_camera_hour"] for name in ("1/hour", "6/hour", "30/hour", "as suggested")]
    assert rates == pytest.approx([0, 6, 18, 12])
    assert points["30/hour"]["median_delay"] == pytest.approx((2 + 3) / 2)  # the ends of clips 401 and 502
    assert points["30/hour"]["kinds"]["cart"]["found"] == 2


def test_abandoned_objects_are_judged_apart_at_the_same_thresholds(judged) -> None:
    found = {name: point["abandoned"]["found"] for name, point in judged["points"].items()}
    assert found == {"as suggested": 1, "1/hour": 0, "6/hour": 0, "30/hour": 1}
    assert set(judged["points"]["30/hour"]["kinds"]) == {"cart"}


def test_a_rate_that_no_threshold_keeps_is_left_out(bench, watched) -> None:
    smoothed = [bench.Smoothed.from_watch(watched(IncidentKind.CART, {100: 1.0}))]
    assert list(bench.at_rates(smoothed, CHAIN, [30, 1])) == [30]


def test_the_lines_of_the_results(load, judged) -> None:
    """The model that is named first is the learned one, which has targets."""
    asked = {"30/hour": None, "6/hour": 0.8, "1/hour": 0.7}
    lines = list(load("results").learned_courtyard({"asked": asked, "models": [judged, judged]}))
    learned, beside = ({line.what.split("at ")[1]: line for line in some} for some in (lines[:3], lines[3:]))
    six = learned["6/hour false alarms"]
    assert (six.figure, six.asked, six.met) == ("0.50 (0.50 to 0.50)", "≥ 0.8", False)
    assert learned["30/hour false alarms"].met is None
    assert {line.asked for line in beside.values()} == {""}


def test_the_page(bench, judged) -> None:
    results = {"detector": "motion", "learned_from": {"seeds": [7, 8], "minutes": 20}, "minutes": 10}
    results |= {"seeds": [1], "object_seeds": [1]}
    results |= {"asked": {"6/hour": 0.8}, "models": [judged, judged]}
    page = bench.page(json.loads(json.dumps(results)))
    assert "without incidents (seeds 7 to 8), judged on seeds 1 to 1, 10 minutes each" in page
    assert "| 6/hour | 0.8 | 1 of 2 | **0.50** | 0.50 to 0.50 | ≥ 0.8 | 6.0 | 2.00 s | 2.00 s |" in page
    assert (
        "| 6/hour | 0.8 | 1 of 2 | **0.50** | 0.50 to 0.50 |  | 6.0 | 2.00 s | 2.00 s |" in page
    )  # the supervised one
    assert "| cart | 1 of 2 (0.50 to 0.50) | 2 of 2 (1.00 to 1.00) |" in page
    assert "| abandoned object, apart | 1 of 2 (0.50 to 0.50) | 1 of 2 (0.50 to 0.50) |" in page
    del judged["points"]["1/hour"]
    assert "| 1/hour | no threshold has so few | " in bench.page(results)
