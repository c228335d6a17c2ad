"""The benches of contrast on scores and scenes that are made up: shares, alerts, reuse, figures and pages."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from models.data.features import VideoFeatures
from models.data.video_store import OfClips
from models.detectors.mist.config import read_mist_config
from operators.alerting import AlertSettings
from operators.background import HELD_TOLERANCE
from operators.chain import ChainSettings
from operators.figures.videos import scored_video
from operators.median import median_picture


def clips_at(starts: list[float], seconds: float, segments: list[int] | None = None) -> OfClips:
    begin = np.array(starts)
    return OfClips(segments=np.array(segments or [0] * len(starts)), starts=begin, ends=begin + seconds)


@pytest.fixture(scope="module")
def ordinary(load):
    return load("ordinary")


def test_a_piece_has_the_clips_that_lie_in_two_seconds(ordinary):
    """From 5.0 s: two clips lie in the first two seconds, one reaches beyond them, one lies in the third piece."""
    clips = clips_at([5.0, 5.64, 6.28, 9.0], 1.28)
    assert ordinary.means_of_pieces(clips, np.array([0.2, 0.4, 0.9, 0.7], np.float32)) == pytest.approx([0.3, 0.7])
    cut = clips_at([0.0, 0.5], 1.0, [0, 1])  # a piece does not span two segments
    assert ordinary.means_of_pieces(cut, np.array([0.1, 0.3], np.float32)) == pytest.approx([0.1, 0.3])


@pytest.mark.parametrize("count", [19, 20, 40, 116])
def test_at_most_five_per_cent_exceed_the_threshold(ordinary, count):
    scores = np.random.default_rng(0).permutation(count) / count
    threshold = ordinary.threshold_of(scores, 0.05)
    assert (scores > threshold).mean() <= 0.05
    lower = scores[scores < threshold].max()
    assert (scores > lower).mean() > 0.05


def test_alerts_of_a_recording_are_those_of_the_workers_chain(ordinary):
    """Two peaks in one segment and one in the next; the second follows within the cooldown."""
    settings = ChainSettings(
        alert=AlertSettings(open_threshold=0.5, close_threshold=0.4, cooldown_seconds=5.0), kernel=1
    )
    scores = np.full(40, 0.1, np.float32)
    scores[[3, 6, 30]] = 0.9
    clips = clips_at([float(i) for i in range(40)], 1.0, [0] * 20 + [1] * 20)
    assert ordinary.alerts_of(clips, scores, settings) == 2


@pytest.fixture(scope="module")
def ordinary_results(ordinary):
    def figure(value: float) -> dict:
        return {"value": value, "by_division": [value, value + 0.01]}

    def variant(share: float) -> dict:
        place = {"hours": 0.02, "share_above": figure(share), "alerts_per_hour": figure(50 * share)}
        return {
            "kernels": [3], "open_thresholds": [0.6, 0.7], "hours": 0.04, "alerts_per_hour": figure(100 * share),
            "places": {"vtest.avi": place, "ped2/train": place | {"share_above": figure(2 * share)}},
        }  # fmt: skip

    return {
        "recipe": {"name": "fights"}, "folds": 5, "divisions": [0, 1, 2], "seconds": 2.0, "false_positives": 0.05,
        "asked": 0.1, "asked_of": ["vtest.avi", "ped2/train"],
        "variants": {"recipe": variant(0.08), "without ordinary footage": variant(0.4)},
    }  # fmt: skip


def test_the_page_of_ordinary_footage(ordinary, ordinary_results):
    page = ordinary.page(json.loads(json.dumps(ordinary_results)))
    assert "| recipe | 0.08 (0.08 to 0.09) | 0.16 (0.16 to 0.17) |" in page
    assert "vtest.avi (met) and on ped2/train (**missed**)" in page
    assert "| recipe | 3 | 0.6 to 0.7 | **8.0** |" in page


def test_a_film_of_another_folder_belongs_to_the_folders_place(load):
    variants = load("fight_variants")
    videos = [
        SimpleNamespace(path=Path(name)) for name in ("/d/cctv/a.mp4", "/d/ped2/train/1.mp4", "/d/ped2/train/2.mp4")
    ]
    assert {place: len(found) for place, found in variants.by_place(videos).items()} == {"a.mp4": 1, "ped2/train": 2}


@pytest.fixture(scope="module")
def scenes_results(load, root):
    """Two splits of four films of 20 frames: without contrast chance, with it all frames in order."""
    scenes = load("contrast_scenes")

    def film(i: int, knows: bool):
        scores = np.where(np.arange(20) >= 5, 0.9, 0.1) if knows and i % 2 else np.full(20, 0.1)
        intervals = ((5, 20),) if i % 2 else ()
        return scored_video(f"{i}", i % 2, scores, clip_frames=1, frames=20, intervals=intervals)

    runs = {name: [[film(i, name != scenes.NONE) for i in range(4)]] * 2 for name in scenes.VARIANTS}
    config = read_mist_config(root / "configs" / "train" / "ped2-i3d.yaml")
    return scenes, {"draws": 20, "sets": {"Ped2": scenes.figures("Ped2", runs, config, draws=20)}}


def test_the_page_of_the_scenes(scenes_results):
    scenes, results = scenes_results
    page = scenes.page(json.loads(json.dumps(results)))
    assert "| no contrast | **0.500** | 0.500 to 0.500 | ±0.000 | – |" in page
    assert "| both scenes | **1.000** | 1.000 to 1.000 | ±0.000 | +0.500 (0.500 to 0.500) |" in page
    assert "Target: a frame AUC of 0.95 (met" in page


def test_both_scenes_stand_side_by_side(load):
    place = {"segments": np.zeros(2, np.int64), "starts": np.arange(2.0), "ends": np.arange(2.0) + 1}
    one, other = (VideoFeatures(np.full((2, n), n, np.float32), **place) for n in (3, 5))
    (joined,) = load("contrast_scenes").side_by_side([[one], [other]])
    assert joined.values.tolist() == [[3.0] * 3 + [5.0] * 5] * 2
    assert (joined.starts == one.starts).all()


class Brightness:
    """An engine whose score is the mean difference of a clip from its scene."""

    def score(self, clips, scenes=None):
        scene = median_picture(clips[0]) if scenes is None or scenes[0] is None else scenes[0]
        return SimpleNamespace(scores=np.array([np.abs(clips[0].astype(float) - scene).mean() / 255], np.float32))


def test_a_scene_is_reused_where_nothing_moves_and_nowhere_else(load):
    cost = load("clip_cost")
    rng = np.random.default_rng(1)
    moving = rng.integers(0, 256, (4, 8, 32, 32, 3), dtype=np.uint8)
    spec = cost.ClipSpec(8, 4, 32, 32, fps=12.5)
    found = cost.film_costs(Brightness(), Brightness(), moving, spec)
    assert (found["clips"], found["reused"], found["largest_difference"]) == (4, 0.0, 0.0)
    still = cost.still_clips(np.repeat(moving[:1, :1], 16, axis=1).repeat(4, axis=0))
    found = cost.film_costs(Brightness(), Brightness(), still, cost.ClipSpec(16, 4, 32, 32, fps=12.5))
    assert found["reused"] == 1.0
    assert 0 < found["largest_difference"] <= HELD_TOLERANCE / 255


def test_the_page_of_the_cost(load, tmp_path, scenes_results, ordinary_results):
    cost = load("clip_cost")
    film = {"clips": 4, "reused": 0.25, "second_of_footage": 1.4, "largest_difference": 2e-4, "score_range": [0.1, 0.2]}
    found = {
        "model": {"name": "fights", "weights_sha256": "0" * 64}, "clips": {"0.2.0": "a", "fights": "b"},
        "machine": {"cores": 2}, "load_average": {"before": 0.1, "after": 1.0}, "camera_fps": 25.0, "asked": cost.ASKED,
        "clip": {
            "ms": {"0.2.0": 100.0, "own scene": 160.0, "reused scene": 101.0},
            "ratio": {
                "own scene": {"median": 1.6, "p5": 1.5, "p95": 1.7},
                "reused scene": {"median": 1.01, "p5": 0.9, "p95": 1.1},
            },
        },
        "films": {"vtest.avi": film},
    }  # fmt: skip
    page = cost.page(json.loads(json.dumps(found)))
    assert "| own scene | 160 | **1.60** | 1.50 to 1.70 | ≤ 1.7 | met |" in page
    assert "| vtest.avi | 4 | 25% | **1.40** | **missed** | 0.0002 | met | 0.10 to 0.20 |" in page
    _, scenes = scenes_results
    for name, one in (("clip_cost", found), ("ordinary", ordinary_results), ("contrast_scenes", scenes)):
        (tmp_path / f"{name}.json").write_text(json.dumps(one))
    page = load("results").page(tmp_path)
    assert "| a clip, own scene | 1.60 (5th to 95th percentile: 1.50 to 1.70) | ≤ 1.7 | met |" in page
    assert "| a second of vtest.avi (scene reused in 25%) | 1.40 | ≤ 1.3 | **missed** |" in page
    assert "| ordinary footage, ped2/train: share above the threshold | 0.16 (divisions: 0.16 to 0.17) | ≤ 0.10" in page
    assert "| Ped2, short scene: frame AUC | 1.000 (1.000 to 1.000) | ≥ 0.95 | met |" in page
