"""Measure what int8 costs on the fights set, out of fold: five folds by film, three divisions.

    python bench/precision_folds.py [--data ../shared/data/fights]

appends a run to bench/results/performance/precision_folds.jsonl. Every generator is trained on float32 features of the
other folds, without ordinary footage, and scores its own fold by the float32 features and by those of the int8 network
that an export of ``fights`` serves. Clips are cut as live. The ranges of int8 come from the model's folder
(bench/committed_precisions.py). Features are kept under runs/precision. About 8 minutes on two quiet cores the first
time.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from alternately import append

from models.card import BUILT_IN, Comparison
from models.detectors.base import read_detector
from models.detectors.mist.bag import Bag
from models.detectors.mist.config import read_mist_config
from models.detectors.mist.generator_recipe import Recipe
from models.detectors.mist.generator_scoring import clip_logits
from models.detectors.mist.generator_training import train_generator
from models.detectors.network import ServedNetwork
from models.engines.openvino import OpenVinoNetwork
from models.engines.quantised import load_ranges, quantise
from models.jobs.calibration import fit_calibration
from models.serving.accuracy import compare_scores, validation_clips
from models.serving.precisions import RANGES_FILE, converted
from models.serving.standing import StandingScenes
from operators.figures.bootstrap import compare
from operators.figures.videos import scored_video
from pipeline.errors import MistwatchError, UsageError
from pipeline.manifests.fights import fights
from pipeline.manifests.folds import group_folds
from pipeline.manifests.manifest import Video

ROOT = Path(__file__).resolve().parent.parent
FOLDS = 5
DIVISIONS = (0, 1, 2)
Features = list[npt.NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "fights")
    parser.add_argument("--model", type=Path, default=BUILT_IN / "fights", help="folder of the model with the ranges")
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "train" / "fights.yaml")
    parser.add_argument("--kept", type=Path, default=ROOT / "runs" / "precision", help="folder of features")
    options = parser.parse_args()
    try:
        videos = fights(options.data)
        precise, int8 = features(options.model, videos, options.kept)
        recipe = read_mist_config(options.config, []).recipe
        results = out_of_fold(videos, precise, int8, recipe)
    except MistwatchError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    for name, value in results.items():
        print(f"{name}: {value}")
    append("precision_folds", results)


def features(model: Path, videos: Sequence[Video], kept: Path) -> tuple[Features, Features]:
    """Return the features of each video's clips, (n, D), in float32 and in int8; computed where none are kept."""
    family, card = read_detector(model)
    cost = next((one for one in card.precisions if one.precision == "int8"), None)
    if cost is None:
        raise UsageError(f"{model}: its card has no figures of int8; run bench/committed_precisions.py first")
    key = hashlib.sha256((card.weights_sha256 + cost.ranges_sha256 + "".join(cost.in_float)).encode()).hexdigest()
    file = kept / f"features-{key[:16]}.npz"
    if not file.exists():
        network = family.load(card, model, print)
        assert isinstance(network, ServedNetwork)
        candidate = converted(network, card, model, family.scene(card))
        ranges = load_ranges(model / RANGES_FILE, sha256=cost.ranges_sha256).without(cost.in_float)
        quantised = quantise(candidate.network, ranges)
        opened = [OpenVinoNetwork(one, threads=0) for one in (candidate.network, quantised)]
        scene = candidate.scene_network
        standing = None if scene is None else StandingScenes(OpenVinoNetwork(scene, threads=0))
        found: list[list[list[npt.NDArray[np.float32]]]] = [[[] for _ in videos] for _ in opened]
        for clip in validation_clips(videos, card, candidate.scene):
            of_scene = {} if standing is None else standing.of_clips(clip.pixels[None], [clip.scene])
            for one, of_one in zip(opened, found, strict=True):
                of_one[clip.video].append(one.run({"CLIP": clip.pixels[None], **of_scene})["FEATURES"][0])
        kept.mkdir(parents=True, exist_ok=True)
        arrays = {
            f"{name}_{ordinal}": np.array(rows, np.float32)
            for name, of_one in zip(("fp32", "int8"), found, strict=True)
            for ordinal, rows in enumerate(of_one)
        }
        np.savez(file, allow_pickle=False, **arrays)
    with np.load(file, allow_pickle=False) as held:
        precise, int8 = ([held[f"{name}_{ordinal}"] for ordinal in range(len(videos))] for name in ("fp32", "int8"))
    return precise, int8


def out_of_fold(videos: Sequence[Video], precise: Features, int8: Features, recipe: Recipe) -> dict[str, Any]:
    """Return the AUC over videos out of fold in both precisions, the loss in points and its interval by film.

    Videos without a clip are left out. Both precisions share the calibration of the float32 logits.
    """
    usable = [ordinal for ordinal, rows in enumerate(precise) if len(rows)]
    videos = [videos[i] for i in usable]
    precise, int8 = [precise[i] for i in usable], [int8[i] for i in usable]
    runs: list[list[list[Any]]] = [[], []]
    found: list[Comparison] = []
    for division in DIVISIONS:
        logits: list[list[npt.NDArray[np.float32]]] = [[np.empty(0, np.float32)] * len(videos) for _ in range(2)]
        for fold in group_folds(videos, FOLDS, division):
            bags = [Bag(precise[i], videos[i].label) for i in sorted({*range(len(videos))} - {*fold})]
            generator = train_generator(bags, recipe, 0)
            for of_one, rows in zip(logits, (precise, int8), strict=True):
                for i in fold:
                    of_one[i] = clip_logits(generator, rows[i])
        calibration = fit_calibration(logits[0], [video.label for video in videos])
        scores = [[calibration(values) for values in of_one] for of_one in logits]
        for run, of_one in zip(runs, scores, strict=True):
            run.append(
                [
                    scored_video(str(video.path), video.label, values, group=video.group)
                    for video, values in zip(videos, of_one, strict=True)
                ]
            )
        lists = [[values.tolist() for values in of_one] for of_one in scores]
        found.append(compare_scores(videos, *lists, kernel=2))
    difference = compare(runs[0], runs[1], names=["video_auc"], by="group")["video_auc"]
    assert difference.value is not None
    assert difference.interval is not None
    return {
        "videos": len(videos),
        "films": len({video.group for video in videos}),
        "auc_fp32": [one.auc_fp32 for one in found],
        "auc_int8": [one.auc for one in found],
        "auc_points_lost": round(100 * difference.value, 3),
        "auc_points_interval_95": [round(100 * difference.interval.low, 3), round(100 * difference.interval.high, 3)],
        "largest_move_of_a_smoothed_score": max(one.largest_move for one in found),
        "mean_move_of_a_smoothed_score": round(float(np.mean([one.mean_move for one in found])), 5),
    }


if __name__ == "__main__":
    main()
