"""Compare the standing scenes of contrast features: none, the short one, the long one, and both side by side.

    python bench/contrast_scenes.py --ped2 ../shared/data/ped2 [--courtyard runs/courtyard]

writes bench/results/contrast_scenes.json and .md. Stage 1 alone: on UCSD Ped2 with the ten splits of bench/ped2.py, on
the courtyard's training videos out of fold. The long scene is the background of the last minutes, with settings for
videos of some seconds: a span as long as the video, known after two samples. Features come from the user's cache or are
computed. The courtyard is left out where its folder is missing. A data set that is left out keeps its earlier figures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fight_variants import Work
from ped2 import RESULTS, ROOT, SPLITS, splits
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.data.contrast import Contrast, StoredBackground
from models.data.extraction import FeaturesError
from models.data.features import FeatureStore, VideoFeatures
from models.detectors.mist.bag import Bag
from models.detectors.mist.config import MistConfig, read_mist_config
from models.detectors.mist.figures import judged
from models.detectors.mist.footage import names_of
from models.detectors.mist.generator_scoring import clip_scores
from models.detectors.mist.generator_training import train_generator
from models.detectors.mist.stages.labels import out_of_fold_logits
from models.detectors.mist.video_scores import ClipTimes
from models.jobs.calibration import ClipScores, calibrated_scores
from models.jobs.errors import ConfigError, TrainingError
from models.jobs.video_plan import subset
from operators.background import SceneKind
from operators.figures.bootstrap import DRAWS, Run, compare, estimate
from operators.figures.videos import ScoredVideo
from pipeline.manifests.folds import group_folds
from pipeline.manifests.manifest import MANIFEST, ManifestError, Video, read_manifest
from pipeline.manifests.ped2 import ped2

FIGURES = ("frame_auc", "frame_ap", "per_video_auc", "video_auc")
ASKED = {"Ped2": 0.95}
FOLDS = 5
#: Videos of the courtyard; computing their features three times takes most of the time.
COURTYARD_VIDEOS = 160

#: Spans of the long scene, seconds: Ped2's videos have 12 to 18, the courtyard's 10.
LONG = {
    "Ped2": StoredBackground(seconds=20, samples=10, known_after=2),
    "courtyard": StoredBackground(seconds=10, samples=5, known_after=2),
}
NONE, SHORT, LONG_SCENE, BOTH = "no contrast", "short scene", "long scene", "both scenes"
#: For each variant the features that stand side by side.
VARIANTS = {NONE: (NONE,), SHORT: (SHORT,), LONG_SCENE: (LONG_SCENE,), BOTH: (SHORT, LONG_SCENE)}

Features = list[VideoFeatures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ped2", type=Path, default=ROOT.parent / "shared" / "data" / "ped2")
    parser.add_argument("--ped2-config", type=Path, default=ROOT / "configs" / "train" / "ped2-i3d.yaml")
    parser.add_argument("--splits", type=int, default=SPLITS, help="number of Ped2's splits, from the first")
    parser.add_argument("--only", choices=list(LONG), help="measure this data set alone")
    parser.add_argument("--courtyard", type=Path, default=ROOT / "runs" / "courtyard", help="left out where missing")
    parser.add_argument(
        "--courtyard-config", type=Path, default=ROOT / "configs" / "train" / "courtyard-generator.yaml"
    )
    parser.add_argument("--courtyard-videos", type=int, default=COURTYARD_VIDEOS, help="number of its videos")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of both recipes; may be repeated"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of contrast_scenes.json and .md")
    options = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    file = options.results / "contrast_scenes.json"
    sets = json.loads(file.read_text())["sets"] if file.exists() else {}
    try:
        with Progress(*columns, console=Console(stderr=True)) as bars:
            work = Work(bars)
            if options.only != "courtyard":
                config, videos = read_mist_config(options.ped2_config, options.set), ped2(options.ped2)
                sets["Ped2"] = measured("Ped2", videos, config, by_split(options.splits), work)
            manifest = options.courtyard / MANIFEST
            if options.only != "Ped2" and manifest.exists():
                config = read_mist_config(options.courtyard_config, options.set)
                videos = subset(read_manifest(manifest), options.courtyard_videos)
                sets["courtyard"] = measured("courtyard", videos, config, out_of_fold, work)
    except (ConfigError, ManifestError, FeaturesError, TrainingError) as error:
        parser.exit(1, "".join(f"{parser.prog}: {line}\n" for line in str(error).splitlines()))
    results = {"draws": DRAWS, "sets": sets}
    options.results.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    (options.results / "contrast_scenes.md").write_text(page(results))
    print(page(results), end="")


#: Scores videos by stage 1 trained on others; for each training the scores by the videos' ordinals.
Protocol = Callable[[Sequence[Video], Features, MistConfig], list[dict[int, ClipScores]]]


def by_split(count: int) -> Protocol:
    """Return the protocol of Ped2: a training for each split, with the split's seed."""

    def scores(videos: Sequence[Video], features: Features, config: MistConfig) -> list[dict[int, ClipScores]]:
        found = []
        for seed, split in enumerate(splits(videos, count)):
            bags = [Bag(features[i].values, videos[i].label) for i in split.train]
            generator = train_generator(bags, config.recipe, seed)
            found.append({i: clip_scores(generator, features[i].values) for i in split.test})
        return found

    return scores


def out_of_fold(videos: Sequence[Video], features: Features, config: MistConfig) -> list[dict[int, ClipScores]]:
    """Score every video by a generator that was trained on the other folds; calibrated, as folds differ in scale."""
    bags = [Bag(one.values, video.label) for one, video in zip(features, videos, strict=True)]
    logits = out_of_fold_logits(bags, group_folds(videos, FOLDS, 0), config.recipe, 0)
    return [dict(enumerate(calibrated_scores(logits, [video.label for video in videos])))]


def measured(name: str, videos: Sequence[Video], config: MistConfig, protocol: Protocol, work: Work) -> dict[str, Any]:
    """Return the figures of a data set for each scene, and how much better each is than no contrast."""
    features = {one: features_of(name, one, videos, config, work) for one in (NONE, SHORT, LONG_SCENE)}
    names = list(names_of(videos).values())
    runs: dict[str, list[Run]] = {}
    for variant, parts in VARIANTS.items():
        seen = side_by_side([features[part] for part in parts])
        runs[variant] = [
            [judged_video(names[i], videos[i], seen[i], values) for i, values in scores.items()]
            for scores in protocol(videos, seen, config)
        ]
        work(f"{name}, trainings")(len(runs), len(VARIANTS))
    return figures(name, runs, config)


def features_of(name: str, scene: str, videos: Sequence[Video], config: MistConfig, work: Work) -> Features:
    """Return the videos' features against one scene, from the cache or computed. Raises FeaturesError."""
    contrast = {
        NONE: None,
        SHORT: Contrast(),
        LONG_SCENE: Contrast(scene=SceneKind.BACKGROUND, background=LONG[name]),
    }[scene]
    store = FeatureStore(config.training_clip, backbone=config.backbone, layers=config.layers, contrast=contrast)
    if failed := store.fill(videos, progress=work(f"{name}, features, {scene}")):
        raise FeaturesError("\n".join(str(problem) for problem in failed.values()))
    return [store.of(video) for video in videos]


def side_by_side(parts: Sequence[Features]) -> Features:
    """Return the features of the same clips in one row."""
    return [
        VideoFeatures(np.concatenate([one.values for one in same], axis=1), **same[0].of_clips)
        for same in zip(*parts, strict=True)
    ]


def judged_video(name: str, video: Video, features: VideoFeatures, scores: ClipScores) -> ScoredVideo:
    """Return a video with the scores of its frames."""
    return judged(name, name, video, scores, ClipTimes(features.starts, features.ends, features.segments))


def figures(name: str, runs: dict[str, list[Run]], config: MistConfig, draws: int = DRAWS) -> dict[str, Any]:
    """Return the figures of a data set for the JSON file."""
    methods = {}
    for variant, of_variant in runs.items():
        methods[variant] = {key: one.summary() for key, one in estimate(of_variant, names=FIGURES, draws=draws).items()}
        if variant != NONE:
            less = compare(of_variant, runs[NONE], names=["frame_auc"], draws=draws)["frame_auc"]
            methods[variant][f"less {NONE}"] = less.summary()
    return {
        "recipe": config.model_dump(mode="json", include={"name", "clip", "training_stride", "layers", "recipe"}),
        "background": LONG[name].model_dump(),
        "asked": ASKED.get(name),
        "runs": len(runs[NONE]),
        "videos": len({video.name for run in runs[NONE] for video in run}),
        "methods": methods,
    }


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    lines = [
        "# Standing scenes of contrast features",
        "",
        "Stage 1 on I3D's features, and on their differences from those of a standing scene. The short scene is the "
        "median of the clip itself. The long one is the background, and until it is known the clip's own median. With "
        f"both, the two differences stand side by side. Intervals: percentile bootstrap over videos, "
        f"{results['draws']} draws. `bench/contrast_scenes.py` writes this page.",
    ]
    for name, one in results["sets"].items():
        recipe, long = one["recipe"], one["background"]
        trained = f"{one['runs']} splits" if one["runs"] > 1 else f"{FOLDS} folds, each scored by the others' model"
        lines += [
            "",
            f"**{name}**: {one['videos']} videos, {trained}, recipe `{recipe['name']}`, layers "
            f"{' and '.join(recipe['layers'])}. Background: {long['samples']} samples in {long['seconds']:g} s, "
            f"known after {long['known_after']}.",
            "",
            "| | frame AUC | 95 % interval | spread | less no contrast | average precision | AUC within a video "
            "| video AUC |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for variant, method in one["methods"].items():
            auc, less = method["frame_auc"], method.get(f"less {NONE}")
            spread = f"±{auc['spread']:.3f}" if auc.get("spread") is not None else "–"
            gain = f"{less['value']:+.3f} ({_between(less)})" if less else "–"
            others = " | ".join(_number(method[key]) for key in ("frame_ap", "per_video_auc", "video_auc"))
            lines.append(f"| {variant} | **{auc['value']:.3f}** | {_between(auc)} | {spread} | {gain} | {others} |")
        if one["asked"] is not None:
            best, value = max(
                ((variant, method["frame_auc"]["value"]) for variant, method in one["methods"].items()),
                key=lambda pair: pair[1],
            )
            verdict = "met" if value >= one["asked"] else "**missed**"
            lines += ["", f"Target: a frame AUC of {one['asked']:.2f} ({verdict}; the best is {value:.3f}, {best})."]
    return "\n".join(lines) + "\n"


def _between(summary: dict[str, Any]) -> str:
    low, high = summary["interval_95"]
    return f"{low:.3f} to {high:.3f}"


def _number(summary: dict[str, Any]) -> str:
    return "–" if summary["value"] is None else f"{summary['value']:.3f}"


if __name__ == "__main__":
    main()
