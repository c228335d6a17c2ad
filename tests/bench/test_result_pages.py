"""What the long benches do after hours of training, on scores that are made up: figures and pages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.detectors.mist.config import read_mist_config
from operators.figures.pixels import pixel_figures
from operators.figures.videos import ScoredVideo, scored_video
from pipeline.manifests.manifest import Video

FEW = 20  #: draws


@pytest.fixture(scope="module")
def fights_results(load, root, tmp_path_factory):
    """Twelve clips of six films, two seeds; stage 2 puts all in order, stage 1 all but one pair of 36."""
    fights_mist = load("fights_mist")
    kept = tmp_path_factory.mktemp("run")
    videos = [Video(Path(f"/fights/{i:02d}.mp4"), i % 2, group=f"film{i // 2}") for i in range(12)]
    for seed in (0, 1):
        for fold in (0, 1):
            folder = kept / "folds" / f"seed-{seed}" / f"fold-{fold}"
            folder.mkdir(parents=True)
            rows = []
            for i in range(fold, 12, 2) if seed else range(6 * fold, 6 * fold + 6):
                order = 3.0 * (i % 2) + i / 100
                first = 3.015 if i == 0 else order  # above the fight 1, of 3.01, and no other
                row = {"video": f"{i:02d}.mp4", "label": i % 2, "stage_1": [first, first], "stage_2": [order]}
                rows.append(json.dumps(row) + "\n")
            (folder / "scores.jsonl").write_text("".join(rows))
    config = read_mist_config(root / "configs" / "train" / "fights-i3d.yaml", ["folds=2", "seeds=2"])
    runs = fights_mist.kept_runs(videos, kept, config)
    runs[fights_mist.PROBE] = [[ScoredVideo(f"{i:02d}.mp4", i % 2, 0.0, group=f"film{i // 2}") for i in range(12)]]
    return fights_mist, fights_mist.figures(runs, config, FEW)


def test_the_fights_figures_are_those_of_the_jobs_scores(fights_results):
    _, results = fights_results
    auc = {name: method["video_auc"] for name, method in results["methods"].items()}
    assert auc["stage 1"]["runs"] == [round(35 / 36, 4)] * 2
    assert (auc["stage 2"]["value"], auc["linear probe"]["value"]) == (1.0, 0.5)
    assert (results["videos"], results["abnormal_videos"], results["films"]) == (12, 6, 6)
    assert (results["folds"], results["seeds"]) == (2, [0, 1])
    gain = results["differences"]["stage 2 less stage 1"]
    assert gain["by video"]["value"] == gain["by film"]["value"] == round(1 / 36, 4)


def test_folds_that_an_earlier_recipe_had_do_not_count(load, root, tmp_path):
    """After ``--set folds=2`` where there were three before, the third one's videos are in the other two."""
    config = read_mist_config(root / "configs" / "train" / "fights-i3d.yaml", ["folds=2", "seeds=1"])
    videos = [Video(Path(f"/fights/{i}.mp4"), i % 2, group=f"film{i}") for i in range(6)]
    for fold, members in enumerate(((0, 1, 2), (3, 4, 5), (4, 5))):
        folder = tmp_path / "folds" / "seed-0" / f"fold-{fold}"
        folder.mkdir(parents=True)
        rows = [{"video": f"{i}.mp4", "label": i % 2, "stage_1": [i % 2], "stage_2": [i % 2]} for i in members]
        (folder / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for runs in load("fights_mist").kept_runs(videos, tmp_path, config).values():
        assert [[video.name for video in run] for run in runs] == [[f"{i}.mp4" for i in range(6)]]


def test_the_fights_page(fights_results):
    fights_mist, results = fights_results
    page = fights_mist.page(json.loads(json.dumps(results)))
    assert "| stage 1 | 0.972, 0.972 | **0.972** |" in page
    assert "| stage 2 less stage 1 | +0.028 |" in page
    assert "picked without contrast, on another division of the films" in page
    other = results | {"recipe": results["recipe"] | {"name": "mine"}}
    assert "picked on" not in fights_mist.page(other)  # of another recipe nobody knows


@pytest.fixture(scope="module")
def ped2_results(load, root):
    """Films of 20 frames; the baseline knows nothing, the rest everything."""
    ped2 = load("ped2")
    videos = [Video(Path(f"/ped2/train/{i:02d}.mp4"), 0) for i in range(1, 13)]
    videos += [Video(Path(f"/ped2/test/{i:02d}.mp4"), 1, ((5, 20),)) for i in range(1, 10)]
    footage = ped2.Footage(videos, read_mist_config(root / "configs" / "train" / "ped2-i3d.yaml"), store=None)
    drawn = ped2.splits(videos, 2)

    def scored(i: int, knows: bool) -> ScoredVideo:
        video = videos[i]
        scores = np.where(np.arange(20) >= 5, 0.9, 0.1) if knows and video.label else np.full(20, 0.1)
        return scored_video(footage.names[i], video.label, scores, clip_frames=1, frames=20, intervals=video.intervals)

    runs = {name: [[scored(i, name != ped2.BASELINE) for i in split.test] for split in drawn] for name in ped2.METHODS}
    return ped2, drawn, videos, ped2.figures(footage, drawn, runs, FEW)


def test_the_ped2_splits_are_the_protocols(ped2_results):
    _, drawn, videos, results = ped2_results
    assert len(set(drawn)) == 2
    for split, written in zip(drawn, results["splits"], strict=True):
        for part, normal, abnormal in ((split.train, 4, 5), (split.test, 8, 4)):
            assert [sum(videos[i].label == label for i in part) for label in (0, 1)] == [normal, abnormal]
        assert not set(split.train) & set(split.test)
        assert len({*written["train"], *written["test"]}) == 21


def test_the_ped2_page(ped2_results):
    ped2, _, _, results = ped2_results
    methods = results["methods"]
    assert methods[ped2.BASELINE]["frame_auc"]["value"] == 0.5
    assert methods["stage 1, grid"]["frame_auc_above_baseline"]["value"] == 0.5
    page = ped2.page(json.loads(json.dumps(results)))
    assert "| stage 1, grid | **1.000** | 1.000 to 1.000 | ±0.000 | +0.500 (0.500 to 0.500) |" in page
    assert "a grid has 8×12 cells" in page
    without = {name: method for name, method in methods.items() if "grid" not in name}
    assert "grid" not in ped2.page(results | {"methods": without})


@pytest.fixture(scope="module")
def folds_results(load, root):
    """Twelve clips of six films in three divisions; the recipe puts all in order, 0.2.0 all but one pair of 36."""
    folds = load("fights_folds")
    videos = [Video(Path(f"/fights/{i:02d}.mp4"), i % 2, group=f"film{i // 2}") for i in range(12)]
    right = [np.array([0.7 * video.label + i / 100, 0.1]) for i, video in enumerate(videos)]
    swapped = [np.array([0.715, 0.1]), *right[1:]]  # above the fight 1, of 0.71, and no other
    runs = {
        folds.RECIPE.name: [folds.scored(videos, right)] * 3,
        folds.BEFORE.name: [folds.scored(videos, swapped)] * 3,
    }
    config = read_mist_config(root / "configs" / "train" / "fights.yaml")
    found = folds.figures(runs, config, (folds.RECIPE, folds.BEFORE), seeds=1, draws=FEW)
    test = runs[folds.RECIPE.name][:1]
    held = {"name": "made-up", "weights_sha256": "0" * 64, "held_out_sources": ["film0"], "videos": 12}
    held |= {"abnormal_videos": 6, "alerting": {"kernel": 3, "open_threshold": 0.5}}
    held |= {"recall_at_open_threshold": 0.5, "false_alarms_at_open_threshold": 0.0, **folds.judged(test, FEW)}
    held |= {
        folds.BEFORE.name: folds.judged(test, FEW),
        f"less {folds.BEFORE.name}": folds.differences(test, test, FEW),
    }
    return folds, found | {"committed": held, "too_short": ["13.mp4"]}


def test_the_folds_compare_the_recipe_with_the_one_before(folds_results):
    folds, results = folds_results
    recipe, before = (results["methods"][name] for name in (folds.RECIPE.name, folds.BEFORE.name))
    assert (recipe["video_auc"]["value"], before["video_auc"]["value"]) == (1.0, round(35 / 36, 4))
    assert before["video_auc"]["by_division"] == [round(35 / 36, 4)] * 3
    # At 5 % of six normal clips none may be above the threshold: the fight 1 is lost.
    assert (recipe["video_recall_at_5"]["value"], before["video_recall_at_5"]["value"]) == (1.0, round(5 / 6, 4))
    gain = recipe[f"less {folds.BEFORE.name}"]["video_auc"]
    assert gain["by film"]["value"] == gain["by video"]["value"] == round(1 / 36, 4)
    page = folds.page(json.loads(json.dumps(results)))
    assert "| recipe less stage 1 of 0.2.0 | +0.028 |" in page
    assert "| recipe | 1.000, 1.000, 1.000 | **1.000** |" in page


def test_every_variant_is_another_recipe_of_the_present_file(load, root):
    """A change that the file does not know, or already has, would compare the recipe with itself."""
    variants = load("fight_variants")
    file = root / "configs" / "train" / "fights.yaml"
    new = ["contrast={scene: clip}", "clip.fps=12.5", "training_stride=4", "layers=[mixed_5b, mixed_5c]"]
    new += ["recipe.heads=both", "extra_normals={footage: [x]}"]
    kept = variants.different(variants.REVERTED, file, new)
    assert {one.name for one in variants.REVERTED} - {one.name for one in kept} == {"both heads"}
    configs = [one.config(file, new) for one in (variants.RECIPE, variants.BEFORE, *kept)]
    assert all(one != other for i, one in enumerate(configs) for other in configs[:i])
    old = variants.BEFORE.config(file, new)
    assert (old.contrast, old.extra_normals, old.layers, old.clip.fps) == (None, None, ("mixed_5c",), None)


def test_results_that_are_not_there_are_named(load, fights_results, folds_results, ped2_results, tmp_path):
    results = load("results")
    made = (("fights_mist", fights_results), ("fights_folds", folds_results), ("ped2", ped2_results))
    for name, (module, *_, found) in made:
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
        (tmp_path / f"{name}.md").write_text(module.page(found))
    speed = {"ratio": 0.871, "aim": 0.9}
    found = {"machine": {"device": "cpu"}, "engine": "openvino", "extraction": {"maps": speed}}
    (tmp_path / "features.json").write_text(json.dumps(found))
    page = results.page(tmp_path)
    assert "| extraction of maps, relative to the engine | 0.87 | ≥ 0.9 | **missed** |" in page
    assert "| courtyard | not measured yet | | | run `python bench/courtyard.py` |" in page
    assert "| fights, stage 2: video AUC | 1.000 (1.000 to 1.000) | ≥ 0.90 | met | recipe `fights-i3d`" in page
    assert "| fights, contrast: video AUC | 1.000 (1.000 to 1.000) | ≥ 0.93 | met | recipe `fights`" in page
    assert "| Ped2, nearest neighbours, whole frame: frame AUC | 0.500 (0.500 to 0.500) |  |  |" in page
    assert "\n## UCSD Ped2, one label per video\n" in page


def test_a_clip_counts_for_its_last_frame(load):
    """Six frames and clips of three: the first two frames have the first clip's score, and nothing looks ahead."""
    one_class = load("one_class_ped2")
    video = Video(Path("/ped2/test/01.mp4"), 1, ((3, 5),))
    heat = np.arange(4, dtype=np.float32)[:, None, None]
    scored = one_class.Scored(video, 6, np.array([0.1, 0.3, 0.9, 0.2]), heat)
    assert [float(one[0, 0]) for one in scored.maps((1, 1))] == [0, 0, 0, 1, 2, 3]
    np.testing.assert_allclose(scored.judged(1).frame_scores, [0.1, 0.1, 0.1, 0.3, 0.9, 0.2])
    np.testing.assert_allclose(scored.judged(2).frame_scores, [0.1, 0.1, 0.1, 0.2, 0.6, 0.55])
    # Abnormal frames 3 and 4 at 0.3 and 0.9; one of the four others, the last one, is above 0.15.
    assert one_class.reached([scored], 1, 0.15) == {"threshold": 0.15, "abnormal": 1.0, "normal": 0.25}


def test_a_score_of_some_frames_holds_until_the_next(load, tmp_path):
    """Frames 0, 2 and 4 of five are scored; their heat is judged by their own masks."""
    one_class = load("one_class_ped2")
    masks = np.array([[[1, 0]], [[0, 1]], [[1, 0]], [[0, 1]], [[1, 0]]], bool)
    np.savez(tmp_path / "masks.npz", **{"01": masks})
    video = Video(tmp_path / "01.mp4", 1, ((0, 5),), masks=tmp_path / "masks.npz")
    heat = np.array([[[0.5, 0.1]], [[0.6, 0.2]], [[0.7, 0.3]]], np.float32)
    scored = one_class.Scored(video, 5, np.array([0.1, 0.3, 0.9]), heat, every=2)
    np.testing.assert_allclose(scored.judged(1).frame_scores, [0.1, 0.1, 0.3, 0.3, 0.9])
    np.testing.assert_allclose(np.stack(list(scored.maps((1, 2)))), heat)
    (counts,) = one_class.counted([scored])
    assert pixel_figures(counts)["pixel_auc"] == 1.0


def test_a_clip_without_heat_counts_from_its_last_frame_on(load):
    """Clips of three frames, one every two: frames 0 to 2, 2 to 4. The last frame has no clip of its own."""
    one_class = load("one_class_ped2")
    video = Video(Path("/ped2/test/01.mp4"), 1, ((4, 6),))
    scored = one_class.Scored(video, 6, np.array([0.1, 0.3]), None, every=2, first=2)
    np.testing.assert_allclose(scored.judged(1).frame_scores, [0.1, 0.1, 0.1, 0.1, 0.3, 0.3])
    found = one_class.figures([scored], 1, 0.2, [1.0])
    assert found["frame_auc"]["1"]["value"] == 1.0
    assert (found["every"], found.keys() & {"pixel_auc", "pro"}) == (2, set())


def test_the_effective_rank_counts_values_that_vary_by_themselves(load):
    ablation = load("ablation_students")
    alone = np.random.default_rng(0).standard_normal((4, 6, 50, 50)).astype(np.float32)
    assert ablation.effective_rank(alone) == pytest.approx(6, rel=0.01)
    twice = np.concatenate([alone[:, :3], 2 * alone[:, :3] + 1], axis=1)
    assert ablation.effective_rank(twice) == pytest.approx(3, rel=0.01)


def test_maps_are_judged_by_the_masks_of_their_videos(load, tmp_path):
    """One video has masks; the other one does not count."""
    one_class = load("one_class_ped2")
    masks = np.array([[[0, 1]], [[1, 0]]], bool)
    np.savez(tmp_path / "masks.npz", **{"01": masks})
    videos = [Video(tmp_path / "01.mp4", 1, ((0, 2),), masks=tmp_path / "masks.npz"), Video(tmp_path / "02.mp4", 1)]
    heat = np.array([[[0.1, 0.4]], [[0.3, 0.35]]], np.float32)
    scored = [one_class.Scored(video, 2, np.array([0.5, 0.5]), heat) for video in videos]
    (counts,) = one_class.counted(scored)
    # Abnormal 0.4 and 0.3, normal 0.1 and 0.35: of four pairs, three are in order.
    assert pixel_figures(counts)["pixel_auc"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    "name",
    [
        "ablation_students",
        "alike_courtyard",
        "alike_digits",
        "fights_mist",
        "halves",
        "ignore_zones",
        "muting",
        "one_class_baselines",
        "ped2",
        "places_courtyard",
    ],
)
def test_the_committed_page_is_of_the_committed_figures(load, root, name):
    """What a page says is changed in the program, which writes it."""
    results = root / "bench" / "results"
    figures = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    assert load(name).page(figures) == (results / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["alike_cost"])
def test_the_committed_page_of_an_additions_cost_is_of_its_figures(load, root, name):
    results = root / "bench" / "results"
    figures = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    assert load("addition_cost").page(figures) == (results / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    [
        "autoencoder",
        "autoencoder-clips",
        "fused",
        "fused-fast",
        "fused-light",
        "fused-sum",
        "motion",
        "memory_bank",
        "memory_bank-gaussian",
        "outlier-forest",
        "outlier-lof",
        "outlier-svm",
        "student_teacher",
        "student_teacher-paper",
        "student_teacher-picture",
        "student_teacher-slim",
        "student_teacher-speed",
        "student_teacher-speed-picture",
    ],
)
def test_the_committed_page_of_a_learned_detector_is_of_its_figures(load, root, name):
    figures = root / "bench" / "results" / f"one_class_ped2-{name}.json"
    page = load("one_class_ped2").page(json.loads(figures.read_text(encoding="utf-8")))
    assert page == figures.with_suffix(".md").read_text(encoding="utf-8")


def test_the_page_of_the_committed_results(load, root):
    """The committed page joins the committed results: `python bench/results.py` writes it."""
    page = load("results").page(root / "bench" / "results")
    assert page == (root / "docs" / "RESULTS.md").read_text(encoding="utf-8")
