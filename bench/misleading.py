"""Measure when contrast misleads: moving cameras, cuts and lamps, on normal films that the model never saw.

    python bench/misleading.py [--model fights] [--data ../shared/data/fights]

writes bench/results/misleading.json and .md. The first clip of each normal film of the model's held_out_sources is
changed as a camera or a film would change it, and scored by the engine that Triton serves on a CPU.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from recorded import record
from rich.console import Console
from rich.progress import track

from models.card import read_card
from models.detectors.mist.card import MistCard
from models.serving.engine import Engine, open_engine
from models.serving.export import SERVED_NAME, ensure_repository, find_model
from operators.median import median_picture
from pipeline.errors import MistwatchError
from pipeline.manifests.fights import fights
from pipeline.manifests.manifest import Video, open_video
from pipeline.windows import ClipSpec, ClipWindow, cut

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
SEED = 0

Clip = npt.NDArray[np.uint8]  #: (T, H, W, 3)


def pan(pixels: float) -> Callable[[Clip, Clip], Clip]:
    """Return what moves the picture sideways, by so many pixels a frame; what leaves it comes in on the other side."""
    return lambda clip, _: np.stack([np.roll(frame, round(pixels * t), axis=1) for t, frame in enumerate(clip)])


def shake(pixels: int) -> Callable[[Clip, Clip], Clip]:
    """Return what moves each frame by up to so many pixels in both directions."""

    def shaken(clip: Clip, _: Clip) -> Clip:
        moves = np.random.default_rng(SEED).integers(-pixels, pixels + 1, (len(clip), 2))
        return np.stack([np.roll(frame, tuple(move), axis=(0, 1)) for frame, move in zip(clip, moves, strict=True)])

    return shaken


def noise(levels: float) -> Callable[[Clip, Clip], Clip]:
    """Return what shows the standing scene alone, with noise of this standard deviation, levels of 255."""

    def noisy(clip: Clip, _: Clip) -> Clip:
        added = np.random.default_rng(SEED).normal(0.0, levels, clip.shape)
        return np.clip(np.rint(median_picture(clip) + added), 0, 255).astype(np.uint8)

    return noisy


def _cut_in_half(clip: Clip, other: Clip) -> Clip:
    half = len(clip) // 2
    return np.concatenate([clip[:half], other[half:]])


def _darkened(clip: Clip, _: Clip) -> Clip:
    dark = clip.copy()
    dark[len(clip) // 2 :] //= 3
    return dark


#: Each takes a clip and one of another film.
CHANGES: dict[str, Callable[[Clip, Clip], Clip]] = {
    "as it is": lambda clip, _: clip,
    "the standing scene alone": noise(0.0),
    "the standing scene, noise of 2 levels": noise(2.0),
    "the standing scene, noise of 8 levels": noise(8.0),
    "a pan of 1 pixel a frame": pan(1),
    "a pan of 4 pixels a frame": pan(4),
    "a pan of 8 pixels a frame": pan(8),
    "shaking by up to 1 pixel": shake(1),
    "shaking by up to 4 pixels": shake(4),
    "a cut to another film": _cut_in_half,
    "a lamp that goes out (a third of the light)": _darkened,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fights", help="committed model, or folder written by training")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "fights")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of misleading.json and .md")
    options = parser.parse_args()
    console = Console(stderr=True)
    try:
        card = read_card(find_model(options.model), MistCard)
        unseen = [video for video in fights(options.data) if not video.label and video.group in card.held_out_sources]
        clips = [clip for video in unseen if (clip := first_clip(video, card.clip.spec)) is not None]
        if len(clips) < 2:
            parser.error(f"--model {options.model}: {len(clips)} clips of its held_out_sources; expected two or more")
        folder = ensure_repository(options.model, progress=console.print) / SERVED_NAME / "1"
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    engine = open_engine("openvino", folder, clips[0].shape)  # type: ignore[arg-type]
    threshold = card.alerting.open_threshold
    results = {
        "model": {"name": card.name, "weights_sha256": card.weights_sha256},
        "films": len(clips),
        "threshold": threshold,
        "seed": SEED,
        "changes": {
            name: judged(engine, clips, change, threshold) for name, change in track(CHANGES.items(), console=console)
        },
    }
    record(options.results, "misleading", results, page(results))
    print(page(results), end="")


def first_clip(video: Video, spec: ClipSpec) -> Clip | None:
    """Return the first clip of a video; None where it is too short for one."""
    items = cut(open_video(video, threads=1).frames([spec.frame_spec], threading.Event()), spec)
    return next((item.pixels for item in items if isinstance(item, ClipWindow)), None)


def judged(
    engine: Engine, clips: list[Clip], change: Callable[[Clip, Clip], Clip], threshold: float
) -> dict[str, float]:
    """Return the scores of all clips after ``change``; each is given the next one as the other film."""
    others = [*clips[1:], clips[0]]
    scores = [
        float(engine.score(change(clip, other)[None]).scores[0]) for clip, other in zip(clips, others, strict=True)
    ]
    return {
        "median": round(float(np.median(scores)), 3),
        "highest": round(max(scores), 3),
        "share_above": round(float(np.mean([score >= threshold for score in scores])), 3),
    }


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    lines = [
        "# When contrast misleads",
        "",
        f"The first clip of each of {results['films']} normal films that the model `{results['model']['name']}` "
        f"(weights `{results['model']['weights_sha256'][:12]}`) never saw, changed as named. Scores of single clips, "
        f"without the moving average; the suggested threshold is {results['threshold']:g}. Pictures that are moved "
        "come in again on the other side. `bench/misleading.py` writes this page.",
        "",
        "| clip | median score | highest score | share above the threshold |",
        "|---|--:|--:|--:|",
        *(
            f"| {name} | {found['median']:.2f} | {found['highest']:.2f} | {found['share_above']:.2f} |"
            for name, found in results["changes"].items()
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
