"""The benches of the classical detectors: which frames are judged, with which score, and their pages."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from models.detectors.classifier.recipe import ClassifierRecipe
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import IncidentKind, SceneSettings
from pipeline.windows import ClipSpec

SMALL = ClassifierRecipe.model_validate({"height": 36, "width": 64, "margin": 0, "draws": 20, "head": {"epochs": 5}})


def test_pictures_of_a_kind_and_of_anything_else(load) -> None:
    """Of each day one picture of the kind and two others; the frames are checked against the scene's truth."""
    few = load("few_pictures")
    shown = list(few.pictures(few.LEARN_SEED, IncidentKind.CART, 2, SMALL))
    assert [own for _, own in shown] == [True, False, False, True, False, False]
    assert {picture.shape for picture, _ in shown} == {(36, 64, 3)}
    days = (Courtyard(SceneSettings(seed=few.LEARN_SEED + day, seconds=few.DAY_SECONDS)) for day in range(50))
    first = next(day for day in days if any(one.kind is IncidentKind.CART for one in day.incidents))
    cart = next(one for one in first.incidents if one.kind is IncidentKind.CART)
    middle = first.frame((cart.first_frame + cart.last_frame) // 2)
    np.testing.assert_array_equal(shown[0][0], cv2.resize(middle, (64, 36), interpolation=cv2.INTER_AREA))


def test_a_draw_learns_from_so_many_of_each_and_is_judged_on_others(load, tmp_path: Path, monkeypatch) -> None:
    few = load("few_pictures")
    drawn = np.random.default_rng(0)

    def described(number: int) -> tuple[np.ndarray, np.ndarray]:
        truth = np.arange(number) % 2
        read = drawn.normal(size=(number, 3, 1280)).astype(np.float32)
        read[..., :200] += 2 * truth[:, None, None]
        return read, truth

    pool, test = described(40), described(30)
    learned = []
    train = few.train_head
    monkeypatch.setattr(few, "train_head", lambda *given: (learned.append(given), train(*given)))
    found = few.one_draw(6, 0, pool, test, SMALL, tmp_path)
    (given,) = learned
    used = [*given[3], *given[4]]
    assert Counter(pool[1][used]) == {0: 6, 1: 6}
    assert len(set(used)) == 12
    assert set(pool[1][given[4]]) == {0, 1}
    assert found["auc"] > 0.9


def test_a_frame_has_the_score_of_the_latest_clip_before_it(load, tmp_path: Path) -> None:
    """Clips of 8 frames each 4 frames of a film at 12.5 fps, averaged by twos: frame 7 ends the first one."""
    bench = load("courtyard_families")
    scene = SceneSettings(seed=3, seconds=2.0, incidents_per_minute=0)
    film = tmp_path / "film.mp4"
    bench.render_films({film: scene}, lambda _done, _total: None)
    given = iter(range(1, 100))
    engine = SimpleNamespace(score=lambda _clips: SimpleNamespace(scores=np.array([next(given) / 10])))
    clip = SimpleNamespace(spec=ClipSpec(frames=8, stride=4, height=36, width=64))
    card = SimpleNamespace(clip=clip, alerting=SimpleNamespace(kernel=2))
    published, found = bench.scored(engine, card, film, scene, [])
    smoothed = [0.1, 0.15, 0.25, 0.35, 0.45]
    wanted = [smoothed[max(0, (frame - 7) // 4)] for frame in range(25)]
    np.testing.assert_allclose(found.frame_scores, wanted)
    assert not found.frame_labels.any()
    # Frames 0 to 3 are in the first clip alone, 4 to 7 in the first two, and so on; the last one is in none.
    wanted = [0.1] * 4 + [0.15] * 4 + [0.25] * 4 + [0.35] * 4 + [0.45] * 4 + [0.5] * 5
    np.testing.assert_allclose(published.frame_scores, wanted)


@pytest.mark.parametrize("bench", ["few_pictures", "classifier_fights", "courtyard_families"])
def test_pages_say_what_was_measured(load, bench: str) -> None:
    figure = {"value": 0.75, "interval_95": [0.5, 0.875], "interval_95_by_film": [0.4, 0.9]}
    results = {
        "few_pictures": {
            "recipe": {"file": "recipe.yaml", "changes": ["height=1"]},
            "kinds": {
                "cart": {
                    "pool": {"shown": 9, "others": 18},
                    "test": {"shown": 6, "others": 12},
                    "draws": {"5": [{"auc": 0.5}, {"auc": 1.0}]},
                }
            },
        },
        "classifier_fights": {
            "videos": 4,
            "films": 2,
            "divisions": 3,
            "changes": ["a=1"],
            "classifiers": {
                "vgg16": {"frames": 9, "video_auc": figure, "video_recall_at_2": figure, "video_recall_at_5": figure}
            },
            "mist": {"video_auc": figure, "video_recall_at_5": figure},
        },
        "courtyard_families": {
            "normal_seconds": 300.0,
            "labelled_seconds": 1200.0,
            "test_days": 6,
            "test_seconds": 360.0,
            "detectors": {
                "courtyard": {
                    "frame_auc": figure,
                    "frame_recall_at_2": figure,
                    "live": {"frame_auc": figure},
                    "milliseconds_a_clip": 12.3,
                    "clips_a_second": 2.5,
                    "learning_processor_minutes": None,
                }
            },
        },
    }[bench]
    text = load(bench).page(results)
    wanted = {
        "few_pictures": "| cart | 5 | **0.750** | 0.500 to 1.000 | 0.354 |",
        "classifier_fights": "| MIST, stage 1 with contrast | – | **0.750** (0.400 to 0.900) |",
        "courtyard_families": "| **0.750** (0.500 to 0.875) | 12 | 2.5 | – |",
    }[bench]
    assert wanted in text


def test_the_best_at_each_cost(load) -> None:
    """A dearer one that is worse is not among them; of two at one cost, the better one is."""
    points = {
        "cheap": (1.0, 0.6),
        "dear": (9.0, 0.9),
        "worse": (5.0, 0.5),
        "same cost": (1.0, 0.4),
        "best": (20.0, 0.95),
    }
    assert load("families").best_at_cost(points) == {"cheap", "dear", "best"}


def test_the_table_takes_the_figures_of_other_benches(load, tmp_path: Path) -> None:
    figure = {"value": 0.75, "interval_95": [0.5, 0.875]}
    one = {"frame_auc": {"1": {"value": 0.1, "interval_95": [0, 1]}, "3": figure}, "kernel": 3, "pro": figure}
    one |= {"milliseconds_a_frame": {"median": 25.4}, "frame_recall_at_2": figure}
    (tmp_path / "one_class_ped2-motion.json").write_text(json.dumps(one))
    bench = load("families")
    found = {name: bench.row_of(row, tmp_path) for name, row in bench.ROWS.items()}
    row = next(line for line in bench.page({"detectors": found}).splitlines() if "motion" in line)
    assert "| **0.750** (0.50 to 0.88) | 0.750 (0.50 to 0.88) | 0.750 (0.50 to 0.88) | 25 | – |" in row
