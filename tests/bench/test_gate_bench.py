"""The parts of the gate's bench: both runs of the operators, the figures, and films in which nothing moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.alerting import AlertSettings
from operators.chain import ChainSettings
from operators.figures.events import Span

CHAIN = ChainSettings(alert=AlertSettings(open_threshold=0.5, close_threshold=0.4, cooldown_seconds=0.0), kernel=1)


@pytest.fixture(scope="module")
def bench(load):
    return load("gate")


def scored(*scores: float):
    return [(float(at), at + 1.0, score) for at, score in enumerate(scores)]


def test_an_incident_that_only_a_gated_clip_shows_is_lost(bench):
    clips, whole = scored(0.1, 0.1, 0.9, 0.1), Span(0.0, 4.0)
    incidents = [Span(2.0, 3.0)]
    lost = bench.Compared.of(clips, [False, False, True, False], CHAIN, incidents, whole)
    assert (lost.ungated.found, lost.gated.found) == (1, 0)
    kept = bench.Compared.of(clips, [False, True, False, False], CHAIN, incidents, whole)
    assert (kept.ungated.found, kept.gated.found) == (1, 1)
    found = bench.figures("two", [False, True], [True, True], [lost, kept])
    assert (found["incidents"], found["found_ungated"], found["found_gated"], found["lost"]) == (2, 2, 1, 1)
    assert (found["clips"], found["gated"], found["abnormal_gated"]) == (2, 1, 1)


def test_lost_counts_by_incident(bench):
    """Each incident is compared with itself."""
    clips, whole = scored(0.1, 0.9, 0.1, *[0.1] * 20, 0.9, 0.1), Span(0.0, 25.0)
    incidents = [Span(1.0, 2.0), Span(23.0, 24.0)]
    gated = [at == 1 for at in range(len(clips))]
    both = bench.Compared.of(clips, gated, CHAIN, incidents, whole)
    assert (both.lost, both.ungated.found, both.gated.found) == (1, 2, 1)
    assert bench.Compared(both.gated, both.ungated).lost == 0


def test_incidents_without_scores_are_lost_where_a_clip_is_gated(bench):
    found = bench.figures("Ped2", [True, False, False], [True, True, True], [], [True, False])
    assert (found["incidents"], found["incidents_scored"], found["lost"]) == (2, 0, 1)
    assert "found_gated" not in found


def test_an_alert_goes_on_over_gated_clips(bench):
    held = bench.alerts(scored(0.9, 0.0, 0.0, 0.9, 0.0), [False, True, True, False, False], CHAIN)
    assert held == [Span(1.0, 5.0)]


@pytest.mark.parametrize("camera", ["still", "rain", "headlights"])
def test_a_still_cameras_film_can_be_read(bench, load, tmp_path: Path, camera: str):
    scene = np.kron(np.random.default_rng(1).uniform(50, 200, (6, 8, 1)), np.ones((16, 16, 3))).astype(np.float32)
    load("still_cameras").write(tmp_path / "film.mp4", camera, scene, seconds=1.5, seed=1)
    clips = list(bench.clips_of(tmp_path / "film.mp4"))
    assert len(clips) == 2  # of 38 frames
    if camera == "still":
        assert np.abs(clips[0].pixels.astype(float).mean(axis=0) - clips[1].pixels.mean(axis=0)).mean() < 3
