"""The bench of muting, by hand: which alerts are muted, what that is worth, and its page."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.courtyard.settings import Incident, IncidentKind, OrdinaryKind, SceneSettings
from pipeline.scoring.served_model import ServedModel
from pipeline.windows import ClipSpec


@pytest.fixture(scope="module")
def bench(load):
    return load("muting")


def directions(*degrees: float):
    """Embeddings in a plane, whose similarity is the cosine of the angle between them."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("judged", "similarity", "expected"),
    [
        ([0], 0.9, [True, True, False, False, False]),  # cos 20° = 0.940, cos 30° = 0.866
        ([0], 0.85, [True, True, True, False, False]),
        ([0, 3], 0.9, [True, True, False, True, True]),  # the last one is 15° from the second exemplar
    ],
)
def test_an_alert_near_a_judged_one_is_muted(bench, judged, similarity, expected) -> None:
    embeddings = directions(0, 20, 30, 90, 75)
    assert bench.muted(embeddings, judged, similarity, "made/1").tolist() == expected


def test_without_a_judgement_nothing_is_muted(bench) -> None:
    assert not bench.muted(directions(0, 0, 10), [], 0.5, "made/1").any()


def alerts_of(bench, *kinds: str):
    return [bench.Alert(0, number, kind) for number, kind in enumerate(kinds)]


def test_judged_alerts_and_other_false_alarms_do_not_count(bench) -> None:
    alerts = alerts_of(bench, "umbrella", "umbrella", "umbrella", "cart", "normal", "fall")
    mutes = np.array([True, True, False, True, True, False])
    outcome = bench.Outcome.of(alerts, mutes, judged=[0])
    assert outcome.figures() == {"umbrellas": 2, "muted_umbrellas": 1, "incidents": 2, "muted_incidents": 1}


def test_shares_are_averaged_over_the_draws(bench) -> None:
    """Of umbrellas 0, 1/2 and 1: a tenth of the way between two of them at the quantiles 0.05 and 0.95."""
    outcomes = [bench.Outcome((4, muted), (10, 1)) for muted in (0, 2, 4)]
    assert bench.spread(outcomes) == {
        "umbrellas": {"mean": 0.5, "low": 0.05, "high": 0.95},
        "incidents": {"mean": 0.1, "low": 0.1, "high": 0.1},
    }


def test_an_alert_is_about_an_umbrella_where_no_incident_is(bench) -> None:
    """An umbrella is open from second 2 to 7, and a cart crosses from 2 to 3. An alert at 10 is about neither."""
    scores = np.zeros((14, 1), np.float32)
    scores[[2, 6, 10]] = 0.9
    ordinary = [frozenset({OrdinaryKind.UMBRELLA} if 2 <= clip < 8 else ()) for clip in range(len(scores))]
    starts = np.arange(len(scores), dtype=np.float64)
    cart = Incident(IncidentKind.CART, 20, 29)
    day = bench.Day(SceneSettings(fps=10.0, seconds=14.0), scores, starts, starts + 1, (cart,), ordinary)
    served = ServedModel("made", "1", ClipSpec(), 0.5, 0.4, 1)
    found = bench.about_umbrellas_and_incidents([day], bench.Scored(lambda features: features[:, 0], served))
    assert [(alert.peak, alert.kind) for alert in found] == [(2, "cart"), (6, "umbrella"), (10, "normal")]


def test_the_page_names_the_suggested_similarity(bench) -> None:
    outcome = bench.Outcome((8, 2), (100, 1))
    at = {"first_judged": outcome.figures(), "at_random": bench.spread([outcome])}
    results = {
        "model": {"name": "made", "version": "made/1", "mute_similarity": 0.5},
        "days": 2,
        "seconds": 100.0,
        "staged_incidents": 20,
        "alerts": {"umbrella": 13, "cart": 100},
        "judged": 5,
        "repeats": 1,
        "at": [{"similarity": 0.4, **at}, {"similarity": 0.5, **at}],
    }
    page = bench.page(json.loads(json.dumps(results)))
    assert "Its alerts: 13 umbrella, 100 cart." in page
    assert "| 0.4 | 2 of 8 | 1 of 100 | 25% (25% to 25%) | 1% (1% to 1%) |" in page
    assert "| 0.5 (suggested) | 2 of 8 |" in page
