"""The bench of precisions: its arithmetic, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest


def test_operations_are_counted_by_hand(load):
    """Two a product: 4 outputs of 2 × 3 × 3 products at 5 × 6 places."""
    import torch

    from models.engines.openvino_convert import Input, to_openvino

    bench = load("precision")
    network = torch.nn.Conv2d(2, 4, 3, padding=1).eval()
    converted = to_openvino(network, {"VALUES": Input((2, 5, 6), torch.float32)}, ["OUT"])
    assert bench.gflop(converted) * 1e9 == 2 * (4 * 5 * 6) * (2 * 3 * 3)


def test_ratios_and_shares_of_the_peak_are_those_by_hand(load):
    bench = load("precision")
    each = {
        "eager": [0.8, 0.8],
        "fp32_in_process": [0.4, 0.4],
        "int8_in_process": [0.2, 0.2],
        "fp32_served": [0.5, 0.5],
        "int8_served": [0.25, 0.25],
        "peak_f32": [0.1, 0.1],
        "peak_int8": [0.05, 0.05],
    }
    scores = {"fp32_in_process": np.array([0.5, 0.25]), "int8_in_process": np.array([0.5, 0.5])}
    found = bench.summary(each, scores, np.array([0.5, 0.25]), work=50.0)
    assert found["eager_over_fp32_served"].median == pytest.approx(1.6)
    assert found["eager_over_int8_in_process"].median == pytest.approx(4)
    assert found["fp32_loop_over_served"].median == pytest.approx(0.8)
    assert "eager_over_peak_f32" not in found
    assert found["largest_score_difference"] == {"fp32_in_process": 0, "int8_in_process": 0.25}
    gflop = 2 * 512 * 512 * 9 * 64 * 64 / 1e9
    assert found["peak_f32_gflop_s"] == pytest.approx(gflop / 0.1, abs=0.1)
    assert found["share_of_peak_fp32"] == pytest.approx((50 / 0.4) / (gflop / 0.1), abs=0.001)


def test_the_peak_computes_the_same_in_int8_within_its_steps(load, monkeypatch):
    bench = load("precision")
    monkeypatch.setattr(bench, "PEAK_SIDE", 8)
    found = {name: work()["OUT"].item() for name, work in bench.peaks().items()}
    assert found["peak_int8"] == pytest.approx(found["peak_f32"], rel=0.05)


def test_fights_are_divided_by_the_card(load, tmp_path):
    """Calibration clips come from training films alone, figures from the others."""
    import json

    bench = load("committed_precisions")
    index = [{"clip": f"{name}.mp4", "label": 1, "source": name} for name in ("yt02", "yt07", "yt39")]
    (tmp_path / "clips.json").write_text(json.dumps(index))
    for clip in index:
        (tmp_path / clip["clip"]).touch()
    sets = bench.of_fights(bench.BUILT_IN / "fights", tmp_path)
    assert [video.group for video in sets.choosing] == ["yt02"]
    assert [video.group for video in sets.judging] == ["yt07", "yt39"]


def test_features_that_are_equal_cost_nothing_out_of_fold_and_noise_costs_much(load, monkeypatch):
    """Films of one label pair each, separable by their first value; noise leaves an AUC of about a half."""
    from pathlib import Path

    from models.detectors.mist.generator_recipe import Recipe
    from pipeline.manifests.manifest import Video

    bench = load("precision_folds")
    monkeypatch.setattr(bench, "DIVISIONS", (0,))
    monkeypatch.setattr(bench, "FOLDS", 2)
    rng = np.random.default_rng(0)
    videos = [Video(Path(f"/films/{n}.mp4"), n % 2, group=str(n // 4)) for n in range(40)]
    rows = [rng.normal(0, 0.1, (3, 8)).astype(np.float32) + np.float32(video.label) for video in videos]
    rows[7] = rows[7][:0]
    recipe = Recipe(name="tests", loss="reference", epochs=5, standardise=True, top_k=2)
    same = bench.out_of_fold(videos, rows, rows, recipe)
    assert (same["videos"], same["films"]) == (39, 10)
    assert same["auc_fp32"] == same["auc_int8"]
    assert (same["auc_points_lost"], same["largest_move_of_a_smoothed_score"]) == (0, 0)
    assert min(same["auc_fp32"]) > 0.9
    noise = [rng.normal(0.5, 0.1, row.shape).astype(np.float32) for row in rows]
    lost = bench.out_of_fold(videos, rows, noise, recipe)
    assert lost["auc_points_lost"] > 20
    assert lost["auc_points_interval_95"][0] > 5
