"""Measure both stages of MIST and nearest neighbours on UCSD Ped2 with one label per video, over ten splits.

    python bench/ped2.py --data ../shared/data/ped2 [--stage2] [--grid]

writes bench/results/ped2.json and .md; the recipe is configs/train/ped2-i3d.yaml. In each split 5 of the 9 abnormal and
4 of the 12 normal videos train, and the other 4 + 8 are tested: the protocol of weak supervision on Ped2 (J.-X. Zhong
et al., CVPR 2019). Maps come from the user's cache or are computed. Scores are kept under runs/ped2-bench. A bench that
was stopped resumes where it was. Results are made again when the code, the clips or the recipe have changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from recorded import record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.code import code_digest
from models.data.maps import ClipMaps, MapStore, pooled
from models.detectors.mist.bag import Bag
from models.detectors.mist.config import MistConfig, read_mist_config
from models.detectors.mist.encoder_data import LabelledMaps
from models.detectors.mist.encoder_scoring import score_maps
from models.detectors.mist.encoder_training import train_encoder
from models.detectors.mist.figures import judged
from models.detectors.mist.generator_scoring import clip_scores
from models.detectors.mist.generator_training import train_generator
from models.detectors.mist.job import DECODES, FILLS_CACHES
from models.detectors.mist.pseudo_labels import pseudo_labels
from models.detectors.mist.video_scores import ClipTimes
from models.jobs.errors import ConfigError
from operators.figures.bootstrap import DRAWS, compare, estimate
from operators.figures.videos import ScoredVideo
from pipeline.manifests.folds import TEST, TRAIN, drawn_split
from pipeline.manifests.manifest import ManifestError, Video
from pipeline.manifests.ped2 import ped2

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
KEPT = ROOT / "runs" / "ped2-bench"

SPLITS = 10
TRAIN_ABNORMAL, TRAIN_NORMAL = 5, 4
#: The target; the protocol's authors report 93.2 % ± 2.3 with a graph network on C3D.
ASKED = 0.95
BASELINE = "nearest neighbours, whole frame"
#: Rows and columns of the grid that is compared with whole frames; a cell has 30×30 pixels, about a pedestrian.
GRID = (8, 12)

FIGURES = ("frame_auc", "frame_ap", "frame_eer", "per_video_auc", "video_auc")

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Split:
    """Ordinals of the training videos and of the tested ones."""

    train: tuple[int, ...]
    test: tuple[int, ...]


def splits(videos: Sequence[Video], count: int = SPLITS) -> list[Split]:
    """Return the splits that the training job draws with the seeds 0, 1, …"""
    drawn = []
    for seed in range(count):
        marked = drawn_split(videos, normal=TRAIN_NORMAL, abnormal=TRAIN_ABNORMAL, seed=seed)
        train, test = (tuple(i for i, video in enumerate(marked) if video.split == part) for part in (TRAIN, TEST))
        drawn.append(Split(train, test))
    return drawn


class Footage:
    """The videos with the features that the methods use."""

    def __init__(self, videos: Sequence[Video], config: MistConfig, store: MapStore) -> None:
        self.videos = list(videos)
        self.config = config
        self.names = [f"{'test' if video.label else 'train'}/{video.path.stem}" for video in videos]
        self.store = store

    @property
    def labels(self) -> list[int]:
        return [video.label for video in self.videos]

    def maps(self, i: int) -> ClipMaps:
        return self.store.of(self.videos[i].path)

    @cached_property
    def last(self) -> list[Scores]:
        """The backbone's last features of whole frames: (n, 1024) for each video."""
        return [pooled(self.maps(i), ("mixed_5c",)) for i in range(len(self.videos))]

    @cached_property
    def whole(self) -> list[Scores]:
        """Features of whole frames from the recipe's layers: (n, D) for each video."""
        return [pooled(self.maps(i), self.config.layers) for i in range(len(self.videos))]

    @cached_property
    def cells(self) -> list[Scores]:
        """Features of the grid's cells: (n, cells, D) for each video."""
        return [pooled(self.maps(i), self.config.layers, grid=GRID) for i in range(len(self.videos))]

    def judged(self, i: int, scores: npt.ArrayLike) -> ScoredVideo:
        maps = self.maps(i)
        times = ClipTimes(maps.starts, maps.ends, maps.segments)
        return judged(self.names[i], self.names[i], self.videos[i], np.asarray(scores, np.float32), times)


Method = Callable[[Footage, Split, int, Path], dict[int, Scores]]  #: returns the clips' scores for each tested video


def neighbours_of_frames(footage: Footage, split: Split, _seed: int, _scratch: Path) -> dict[int, Scores]:
    """Score a clip by its distance from the nearest clip of the normal training videos (one class)."""
    normal = np.concatenate([footage.last[i] for i in _normal(footage, split)])
    return {i: _to_nearest(footage.last[i], normal) for i in split.test}


def neighbours_of_cells(footage: Footage, split: Split, _seed: int, _scratch: Path) -> dict[int, Scores]:
    """Score a clip by its farthest cell; compare each cell with the same place in the normal training videos."""
    normal = np.concatenate([footage.cells[i] for i in _normal(footage, split)])
    return {
        i: np.max([_to_nearest(cells[:, at], normal[:, at]) for at in range(normal.shape[1])], axis=0)
        for i in split.test
        for cells in [footage.cells[i]]
    }


def generator_of_frames(footage: Footage, split: Split, seed: int, _scratch: Path) -> dict[int, Scores]:
    """Score with stage 1 on whole-frame features."""
    return _generator(footage, footage.whole, split, seed)[1]


def generator_of_cells(footage: Footage, split: Split, seed: int, _scratch: Path) -> dict[int, Scores]:
    """Score with stage 1 on the grid: a clip is as abnormal as its worst cell."""
    return _generator(footage, footage.cells, split, seed)[1]


def encoder(footage: Footage, split: Split, seed: int, scratch: Path) -> dict[int, Scores]:
    """Score with stage 2, trained on the pseudo labels of stage 1 on whole frames."""
    trained_on, _ = _generator(footage, footage.whole, split, seed)
    labels = [footage.labels[i] for i in split.train]
    recipe = footage.config.encoder
    assert recipe is not None
    how = footage.config.pseudo_labels.model_dump(exclude={"folds"})
    soft = pseudo_labels([trained_on[i] for i in split.train], labels, **how)
    bags = [
        LabelledMaps(maps.early, maps.late, target, label)
        for maps, target, label in zip((footage.maps(i) for i in split.train), soft, labels, strict=True)
    ]
    heads = train_encoder(bags, recipe, seed, scratch)
    return {i: score_maps(heads, maps.early, maps.late) for i in split.test for maps in [footage.maps(i)]}


def _generator(
    footage: Footage, features: Sequence[Scores], split: Split, seed: int
) -> tuple[dict[int, Scores], dict[int, Scores]]:
    """Train a generator; return the clips' scores for the training videos and for the tested ones."""
    bags = [Bag(features[i], footage.labels[i]) for i in split.train]
    generator = train_generator(bags, footage.config.recipe, seed)
    trained_on, tested = ({i: clip_scores(generator, features[i]) for i in part} for part in (split.train, split.test))
    return trained_on, tested


METHODS: dict[str, Method] = {
    BASELINE: neighbours_of_frames,
    "nearest neighbours, grid": neighbours_of_cells,
    "stage 1, whole frame": generator_of_frames,
    "stage 1, grid": generator_of_cells,
    "stage 2": encoder,
}
#: The modules that the methods are made of, besides the settings above. WITHOUT: code that fills the cache of maps.
CODE = (
    "models.data.maps",
    "models.detectors.mist.encoder_scoring",
    "models.detectors.mist.encoder_training",
    "models.detectors.mist.generator_scoring",
    "models.detectors.mist.generator_training",
    "models.detectors.mist.pseudo_labels",
)
WITHOUT = (*FILLS_CACHES, *DECODES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "ped2")
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "train" / "ped2-i3d.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the recipe; may be repeated"
    )
    parser.add_argument("--splits", type=int, default=SPLITS, help="number of splits, from the first")
    parser.add_argument("--grid", action="store_true", help="also the grid, which takes an hour")
    parser.add_argument("--stage2", action="store_true", help="also stage 2")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of scores")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of ped2.json and ped2.md")
    options = parser.parse_args()
    chosen = {
        name: method
        for name, method in METHODS.items()
        if (options.stage2 or name != "stage 2") and (options.grid or "grid" not in name)
    }
    try:
        config = read_mist_config(options.config, options.set)
        late = config.encoder.late if config.encoder is not None else ("mixed_5c",)
        store = MapStore(config.training_clip, late=late, backbone=config.backbone, contrast=config.contrast)
        footage = Footage(ped2(options.data), config, store)
    except (ConfigError, ManifestError) as error:
        parser.exit(1, "".join(f"{parser.prog}: {line}\n" for line in str(error).splitlines()))
    drawn = splits(footage.videos, options.splits)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("maps")
        failed = footage.store.fill(
            [video.path for video in footage.videos],
            progress=lambda done, of: bars.update(task, completed=done, total=of),
        )
        if failed:
            parser.exit(1, "".join(f"{parser.prog}: {problem}\n" for problem in failed.values()))
        task = bars.add_task("splits", total=len(chosen) * len(drawn))
        runs: dict[str, list[list[ScoredVideo]]] = {}
        for name, method in chosen.items():
            runs[name] = []
            for seed, split in enumerate(drawn):
                runs[name].append(scored(footage, split, seed, name, method, options.kept))
                bars.advance(task)
    results = figures(footage, drawn, runs)
    record(options.results, "ped2", results, page(results))
    print(page(results), end="")


def scored(footage: Footage, split: Split, seed: int, name: str, method: Method, kept: Path) -> list[ScoredVideo]:
    """Return the test videos of one split with their scores, from an earlier run or computed."""
    decides = [name, seed, split.train, GRID, footage.store.settings, code_digest(CODE, without=WITHOUT)]
    decides.append(footage.config.model_dump(mode="json", include={"layers", "recipe", "pseudo_labels", "encoder"}))
    key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]
    file = kept / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}-{key}.json"
    if file.exists():
        found = {int(i): values for i, values in json.loads(file.read_text()).items()}
    else:
        kept.mkdir(parents=True, exist_ok=True)
        clips = method(footage, split, seed, kept / f"training-{seed}-{key}")
        found = {i: [float(value) for value in values] for i, values in clips.items()}
        draft = file.with_name(file.name + ".part")
        draft.write_text(json.dumps(found) + "\n")
        draft.replace(file)
    return [footage.judged(i, found[i]) for i in split.test]


def figures(
    footage: Footage, drawn: Sequence[Split], runs: dict[str, list[list[ScoredVideo]]], draws: int = DRAWS
) -> dict[str, Any]:
    """Return the figures for the JSON file."""
    methods = {}
    for name, run in runs.items():
        estimates = estimate(run, names=FIGURES, draws=draws)
        methods[name] = {figure: one.summary() for figure, one in estimates.items()}
        if name != BASELINE:
            difference = compare(run, runs[BASELINE], names=["frame_auc"], draws=draws)["frame_auc"]
            methods[name]["frame_auc_above_baseline"] = difference.summary()
    return {
        "protocol": (
            f"In each split, {TRAIN_ABNORMAL} of 9 abnormal and {TRAIN_NORMAL} of 12 normal videos are used for "
            "training and the others for testing"
        ),
        "recipe": footage.config.model_dump(mode="json", exclude={"data", "sees", "does_not_see", "description"}),
        "draws": draws,
        "asked": ASKED,
        "baseline": BASELINE,
        "methods": methods,
        "splits": [
            {"seed": seed, **{part: [footage.names[i] for i in getattr(split, part)] for part in ("train", "test")}}
            for seed, split in enumerate(drawn)
        ],
    }


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    recipe = results["recipe"]
    clip, (rows, columns) = recipe["clip"], GRID
    grid = f"; a grid has {rows}×{columns} cells" if any("grid" in name for name in results["methods"]) else ""
    lines = [
        "# UCSD Ped2, one label per video",
        "",
        f"{results['protocol']}. There are {len(results['splits'])} splits, drawn with seeds 0 to "
        f"{len(results['splits']) - 1}. Each method was retrained for each split, with the split's seed. Recipe "
        f"`{recipe['name']}`: clips of {clip['frames']} frames every {recipe['training_stride']}, "
        f"{clip['height']}×{clip['width']}. A frame's score is the mean of its clips' scores. Layers: "
        f"{' and '.join(recipe['layers'])}{grid}. `bench/ped2.py` writes this page.",
        "",
        "| method | frame AUC, mean of the splits | 95 % interval | spread over splits | above the baseline "
        "| average precision | equal error rate | AUC within a video |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, method in results["methods"].items():
        auc = method["frame_auc"]
        above = method.get("frame_auc_above_baseline")
        lines.append(
            f"| {name} | **{auc['value']:.3f}** | {_between(auc)} | ±{auc.get('spread', 0):.3f} | "
            + (f"{above['value']:+.3f} ({_between(above)})" if above else "–")
            + "".join(f" | {_number(method[figure])}" for figure in ("frame_ap", "frame_eer", "per_video_auc"))
            + " |"
        )
    lines += [
        "",
        f"Target: {results['asked']:.2f}. Intervals: percentile bootstrap over videos, {results['draws']} draws. A "
        "video has the same number of copies in every split that tests it, and both methods of a comparison share "
        "the draws.",
        "",
        "| split | " + " | ".join(results["methods"]) + " | abnormal videos in the test |",
        "|--:|" + "--:|" * len(results["methods"]) + "---|",
    ]
    for ordinal, split in enumerate(results["splits"]):
        aucs = [
            method["frame_auc"].get("runs", [method["frame_auc"]["value"]])[ordinal]
            for method in results["methods"].values()
        ]
        tested = ", ".join(name.removeprefix("test/") for name in split["test"] if name.startswith("test/"))
        lines.append(f"| {split['seed']} | " + " | ".join(f"{auc:.3f}" for auc in aucs) + f" | {tested} |")
    return "\n".join(lines) + "\n"


def _normal(footage: Footage, split: Split) -> list[int]:
    return [i for i in split.train if not footage.labels[i]]


def _to_nearest(asked: Scores, known: Scores) -> Scores:
    """Return the Euclidean distances to the nearest known ones: (n, D), (m, D) → (n,)."""
    squares = (asked**2).sum(1)[:, None] + (known**2).sum(1) - 2 * asked @ known.T
    return np.sqrt(squares.min(1).clip(min=0))


def _between(summary: dict[str, Any]) -> str:
    interval = summary.get("interval_95")
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "–"


def _number(summary: dict[str, Any]) -> str:
    return "–" if summary["value"] is None else f"{summary['value']:.3f}"


if __name__ == "__main__":
    main()
