"""The bench of the courtyard's embedding, on days that are made up: kinds by neighbours, clusters, clips, alerts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_embedder import write_embedder

from models.alike.served.card import read_embedding_card
from models.alike.served.embedder import Embedder
from pipeline.courtyard.settings import Incident, IncidentKind, OrdinaryKind, SceneSettings
from pipeline.scoring.served_model import ServedModel
from pipeline.windows import ClipSpec

FPS = 10.0
KINDS = ("cart", "fall", "normal", "runner")
NOISE = 16
DAYS, REPEATS = 8, 3  # each day shows each kind so many times


@pytest.fixture(scope="module")
def bench(load):
    """The bench, with few draws of the intervals."""
    loaded = load("alike_courtyard")
    loaded.DRAWS, loaded.NMI_DRAWS = 200, 20
    return loaded


@pytest.fixture(scope="module")
def make_day(bench):
    """Makes a day of clips of one second that do not overlap."""

    def made(features, incidents=(), umbrellas=()):
        count = len(features)
        starts = np.arange(count, dtype=np.float64)
        ordinary = [frozenset({OrdinaryKind.UMBRELLA} if clip in umbrellas else ()) for clip in range(count)]
        scene = SceneSettings(fps=FPS, seconds=float(count))
        return bench.Day(scene, np.asarray(features, np.float32), starts, starts + 1, tuple(incidents), ordinary)

    return made


def incident(kind: IncidentKind, start: float, end: float) -> Incident:
    return Incident(kind, round(start * FPS), round(end * FPS) - 1)


@pytest.fixture(scope="module")
def judged(bench, make_day, tmp_path_factory):
    """Features that hide the kind among loud noise, and an embedder that finds it; a random network sees noise."""
    random = np.random.default_rng(0)
    clips_a_day = len(KINDS) * REPEATS
    kinds = np.tile(KINDS, REPEATS)
    days = [
        make_day(np.hstack([np.tile(np.eye(len(KINDS)), (REPEATS, 1)), 5 * random.normal(size=(clips_a_day, NOISE))]))
        for _ in range(DAYS)
    ]
    noise = [{clip: random.normal(size=NOISE).astype(np.float32) for clip in range(clips_a_day)} for _ in days]
    width = len(KINDS) + NOISE
    arrays = {
        "centre": np.zeros(width),
        "spread": np.ones(width),
        "weight_0": np.eye(len(KINDS), width),
        "bias_0": np.zeros(len(KINDS)),
    }
    card = read_embedding_card(write_embedder(tmp_path_factory.mktemp("made") / "model", inputs=width, widths=(4,)))
    clips = bench.Clips([(day, clip, str(kinds[clip])) for day in range(DAYS) for clip in range(clips_a_day)])
    return bench.judged(clips, days, card, Embedder(arrays), noise)


def test_an_embedding_that_separates_the_kinds_is_always_right(bench, judged) -> None:
    trained = judged[bench.TRAINED]
    assert trained["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert trained["accuracy_by_kind"] == dict.fromkeys(KINDS, 1.0)
    assert trained["nmi"] == {"value": 1.0, "spread": 0.0, "low": 1.0, "high": 1.0}
    assert judged["online_groups"] == {"groups": len(KINDS), "nmi": 1.0, "purity": 1.0}
    assert judged["kinds"] == dict.fromkeys(KINDS, DAYS * REPEATS)


def test_noise_is_right_by_chance(bench, judged) -> None:
    """By chance one of four is right; of 96 clips, 0.25 ± 0.044."""
    for name in (bench.FROZEN, bench.RANDOM):
        assert judged[name]["accuracy"]["value"] == pytest.approx(1 / len(KINDS), abs=0.15)
        assert judged[name]["nmi"]["value"] < 0.2


def test_the_difference_is_paired(bench, judged) -> None:
    """The trained embedding is right for every clip, so what is gained is what the frozen features get wrong."""
    gained, frozen = judged["trained_minus_frozen"], judged[bench.FROZEN]["accuracy"]
    expected = {"value": 1 - frozen["value"], "low": 1 - frozen["high"], "high": 1 - frozen["low"]}
    assert gained == pytest.approx(expected, abs=2e-3)
    assert gained["low"] > 0


def test_neighbours_of_the_same_day_do_not_count(bench) -> None:
    clips = bench.Clips([(0, 0, "cart"), (0, 1, "cart"), (1, 0, "fall"), (1, 1, "fall")])
    assert not bench.right_by_neighbours(np.eye(4, dtype=np.float32), clips).any()


def test_a_near_neighbour_outweighs_two_far_ones(bench) -> None:
    """The first clip has a cart at similarity 1, e¹⁰ = 22026, and two falls at 0, 1 each."""
    clips = bench.Clips([(0, 0, "cart"), (1, 0, "cart"), (1, 1, "fall"), (1, 2, "fall")])
    values = np.array([[1, 0], [1, 0], [0, 1], [0, -1]], np.float32)
    assert bench.right_by_neighbours(values, clips)[0]


def test_the_interval_is_that_of_the_draws(bench) -> None:
    """Means of 0, 1/2 and 1: the quantiles 0.025 and 0.975 lie at 0.05 of the way between two of them."""
    draws = [np.array([0, 0]), np.array([0, 1]), np.array([1, 1])]
    assert bench.estimate(np.array([False, True]), draws) == {"value": 0.5, "low": 0.025, "high": 0.975}


def test_middle_clips_of_incidents_and_hard_normals_apart(bench, make_day) -> None:
    """Umbrellas from the second 3 on, but the clip of second 3 shares half a second with the fall."""
    day = make_day(
        np.zeros((10, 2)),
        [incident(IncidentKind.FALL, 2, 3.5), incident(IncidentKind.CART, 9.6, 10)],
        umbrellas=range(3, 10),
    )
    found = bench.incidents([day])
    rows = list(zip(found.clip.tolist(), found.kind.tolist(), strict=True))
    # Of the cart no clip shows 0.6 of its length. After the one at 4 the next is at 7, as 6 is less than 2.5 s later.
    assert rows == [(2, "fall"), (4, "normal"), (7, "normal")]
    assert found.clips_of(0) == [2, 4, 7]


def test_alerts_are_of_the_kind_of_their_incident(load, make_day) -> None:
    """Scores above the threshold in seconds 3 and 9; a runner is there from 3 to 4, and nothing at 9."""
    scenes = load("alike_scenes")
    scores = np.zeros((14, 1))
    scores[[3, 9]] = 0.9
    day = make_day(scores, [incident(IncidentKind.RUNNER, 3, 4)])
    served = ServedModel("made", "1", ClipSpec(), 0.5, 0.4, 1)
    detector = scenes.Scored(lambda features: features[:, 0], served)
    (found,) = scenes.alerts_of([day], None, cooldown_seconds=0.0, scored=detector)
    assert [(alert.peak, alert.kind) for alert in found] == [(3, "runner"), (9, "normal")]
    assert found[0].span.start == 4.0


def test_the_page(bench, judged) -> None:
    results = {
        "model": {"name": "made", "version": "made/1", "similarity": 0.5},
        "seeds": [1, 8],
        "seconds": 12.0,
        "neighbours": bench.NEIGHBOURS,
        "draws": bench.DRAWS,
        "sets": {"incidents": judged},
    }
    page = bench.page(json.loads(json.dumps(results)))
    assert "## Incidents: 96 clips (24 cart, 24 fall, 24 normal, 24 runner)" in page
    assert "| trained embedding | 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) | cart 1.00 |" in page
    assert "similarity 0.5 makes 4 groups (purity 1.00, NMI 1.00)" in page
