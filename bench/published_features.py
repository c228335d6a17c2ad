"""Train the generator on published features of eight UCF-Crime test videos.

The features are fc6 of C3D, 32 segments each (Sultani et al. 2018).

    python bench/published_features.py --data ../shared/data/ucf_crime

writes bench/results/published_features.json and .md, in a minute. Eight videos, of which seven are abnormal, are too
few to judge a model. Each abnormal video is left out in turn, and a generator that never saw it scores *when* it is
abnormal. The normal video is in every training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recorded import record

from models.detectors.mist.bag import Bag
from models.detectors.mist.generator_recipe import Recipe
from models.detectors.mist.generator_scoring import clip_scores
from models.detectors.mist.generator_training import train_generator
from operators.figures.bootstrap import estimate
from operators.figures.videos import ScoredVideo, scored_video
from pipeline.manifests.video_lists import Annotation, read_annotation

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"

SEEDS = (0, 1, 2)
#: The paper's loss, sampling and sizes, with enough steps for so few videos.
RECIPE = Recipe(name="published-features", loss="paper", batch=7, epochs=100)


@dataclass(frozen=True)
class Published:
    """One video: its features, and the annotation of its frames."""

    name: str
    bag: Bag
    truth: Annotation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "ucf_crime")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of published_features.json and .md")
    options = parser.parse_args()
    results = figures(load(options.data), RECIPE, SEEDS)
    record(options.results, "published_features", results, page(results))
    print(page(results), end="")


def load(folder: Path) -> list[Published]:
    """Return the videos of ``folder``, sorted by name."""
    annotations = read_annotation(folder / "temporal_annotation.txt")
    videos = []
    for file in sorted((folder / "c3d_fc6_32x4096").glob("*.npy")):
        truth = annotations[file.stem]
        features = np.load(file, allow_pickle=False).astype(np.float32)
        videos.append(Published(file.stem, Bag(features, truth.label), truth))
    return videos


def judged(video: Published, scores: Sequence[float] | np.ndarray) -> ScoredVideo:
    """Return a video with the scores of its segments, which are equal parts of its frames, rounded down."""
    frames = video.truth.frames
    assert frames is not None
    starts = np.arange(len(scores)) * frames // len(scores)
    # A segment's score holds from its first frame until the next segment.
    return scored_video(
        video.name,
        video.bag.label,
        scores,
        starts=starts,
        clip_frames=1,
        frames=frames,
        intervals=video.truth.intervals,
    )


def left_out(videos: Sequence[Published], recipe: Recipe, seed: int) -> list[ScoredVideo]:
    """Score each abnormal video with a generator trained on the others, and the normal one with one trained on all."""
    scored = []
    for video in videos:
        others = [other.bag for other in videos if other is not video or not video.bag.label]
        scored.append(judged(video, clip_scores(train_generator(others, recipe, seed), video.bag.features)))
    return scored


def figures(videos: Sequence[Published], recipe: Recipe, seeds: Sequence[int]) -> dict[str, Any]:
    """Return the figures for the JSON file."""
    trained = []
    for seed in seeds:
        generator = train_generator([video.bag for video in videos], recipe, seed)
        trained.append([judged(video, clip_scores(generator, video.bag.features)) for video in videos])
    return {
        "videos": {
            video.name: {"frames": video.truth.frames, "abnormal": [list(pair) for pair in video.truth.intervals]}
            for video in videos
        },
        "recipe": recipe.model_dump(mode="json"),
        "seeds": list(seeds),
        "trained_on": {
            name: one.summary() for name, one in estimate(trained, names=["frame_auc", "per_video_auc"]).items()
        },
        "left_out": {
            name: one.summary()
            for name, one in estimate(
                [left_out(videos, recipe, seed) for seed in seeds], names=["per_video_auc"]
            ).items()
        },
    }


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    trained, out = results["trained_on"], results["left_out"]["per_video_auc"]
    lines = [
        "# UCF-Crime, published C3D features",
        "",
        f"The {len(results['videos'])} test videos that are available here, 32 segments each, fc6 of C3D. Seeds "
        f"{', '.join(str(seed) for seed in results['seeds'])}. The page shows that the generator runs on features of "
        "another backbone, and that the temporal annotation is read correctly. So few videos cannot judge a model. "
        "`bench/published_features.py` writes this page.",
        "",
        "| | mean over seeds | 95 % interval |",
        "|---|--:|--:|",
    ]
    for what, figure in (
        ("trained on all eight: frame AUC", trained["frame_auc"]),
        ("trained on all eight: AUC within an abnormal video", trained["per_video_auc"]),
        ("each abnormal video left out in turn: AUC within it", out),
    ):
        low, high = figure["interval_95"]
        lines.append(f"| {what} | {figure['value']:.3f} | {low:.3f} to {high:.3f} |")
    lines += ["", "| video | frames | abnormal, counted from 0 |", "|---|--:|---|"]
    for name, video in results["videos"].items():
        spans = ", ".join(f"{first} to {end - 1}" for first, end in video["abnormal"]) or "none"
        lines.append(f"| {name.removesuffix('_x264')} | {video['frames']} | {spans} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
