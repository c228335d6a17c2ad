"""Learn a detector from the good pictures of each category of MVTec AD, and judge it on the category's test pictures.

    python bench/mvtec.py --data DIR [--category bottle] [--detector student_teacher] [--set KEY=VALUE]

writes bench/results/mvtec-DETECTOR.json and .md. DIR is the unpacked archive, or one category. This is the protocol of
P. Bergmann et al. (Uninformed Students, CVPR 2020): pictures of 256 × 256 pixels, learned from train/good, and the
per-region overlap up to a false-positive rate of 0.3. The learning is that of `mistwatch learn` on a folder of
pictures. A fifth of the good pictures is held back for scores and thresholds, more where a fifth would be too few.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from one_class_ped2 import HOLD_OUT, RESULTS, ROOT, Kind, Scored, learn, score
from recorded import record
from rich.console import Console
from rich.progress import track

from models.data.picture_footage import LEAST_PICTURES, read_pictures
from models.detectors.base import FAMILIES, find_family
from models.jobs.recipes import read_recipe
from operators.figures.bootstrap import DRAWS, estimate, estimate_pixels
from operators.figures.pixels import PixelCounts, Regions, count_pixels, levels_of
from operators.figures.videos import ScoredVideo
from pipeline.errors import MistwatchError
from pipeline.evaluation.pixel_maps import regions_of
from pipeline.manifests.folds import TEST
from pipeline.manifests.masks import masks_of
from pipeline.manifests.mvtec import mvtec
from pipeline.sources.frame_folder import pictures

GOOD = Path("train") / "good"
FIGURES = {"picture_auc": "picture AUC", "pixel_auc": "pixel AUC", "pro": "PRO up to 30 % false positives"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    able = [name for name in FAMILIES if find_family(name).pictures is not None]
    parser.add_argument("--data", type=Path, required=True, help="the unpacked archive, or one category of it")
    parser.add_argument("--category", action="append", help="one of the archive; repeatable; all by default")
    parser.add_argument("--detector", choices=able, default="student_teacher")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the recipe")
    parser.add_argument("--kept", type=Path, help="folder of the runs; by default below runs/")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    kept = options.kept or ROOT / "runs" / f"mvtec-{options.detector}"
    try:
        kind = kind_of(options.detector, tuple(options.set))
        found = {one.name: judged(kind, one, kept / one.name) for one in categories(options.data, options.category)}
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    results = {
        "detector": options.detector,
        "command": kind.command,
        "categories": found,
        "mean": {name: round(float(np.mean([one[name]["value"] for one in found.values()])), 4) for name in FIGURES},
    }
    record(options.results, f"mvtec-{options.detector}", results, page(results))
    print(page(results), end="")


def kind_of(detector: str, changes: tuple[str, ...]) -> Kind:
    """Return the detector with the settings that `mistwatch learn` has for pictures, and changes of them."""
    family = find_family(detector)
    settings, usual = family.settings(), family.pictures
    assert settings is not None
    assert usual is not None
    return Kind(detector, detector, read_recipe(settings, None, (*usual, *changes)), changes)


def categories(data: Path, wanted: list[str] | None) -> list[Path]:
    """Return the folders of the categories.

    Raises:
        MistwatchError: there are none, or one that is wanted is missing.
    """
    if (data / GOOD).is_dir():
        return [data.resolve()]
    found = sorted(one for one in (data.iterdir() if data.is_dir() else ()) if (one / GOOD).is_dir())
    missing = set(wanted or ()) - {one.name for one in found}
    if not found or missing:
        names = ", ".join(sorted(missing)) or "categories"
        raise MistwatchError(
            f"{data}: no {names} there; expected folders with {GOOD}, such as {data / 'bottle' / GOOD}"
        )
    return [one for one in found if wanted is None or one.name in wanted]


def judged(kind: Kind, category: Path, kept: Path) -> dict[str, Any]:
    """Learn a category, and return the figures on its test pictures.

    Raises:
        MistwatchError: pictures or masks are missing, or cannot be learned from.
    """
    console = Console(stderr=True)
    videos = [video for video in mvtec(category) if video.split == TEST]
    number = len(pictures(category / GOOD))
    # Some more than the least number, because whole pieces are held back.
    hold_out = min(0.5, max(HOLD_OUT, 1.25 * LEAST_PICTURES / max(number, 1)))
    footage = read_pictures(category.name, [category / GOOD], hold_out=hold_out)
    outcome, engine = learn(kind, footage, kept, console.print)
    clip = outcome.card.clip.spec
    scored = [score(engine, clip, video, []) for video in track(videos, category.name, console=console)]
    learned, held_back = footage.lengths()
    pixels = estimate_pixels([(one.name, one) for one in counted(scored)], draws=DRAWS)
    return {
        "learned": round(learned),
        "held_back": round(held_back),
        "tested": len(videos),
        "defects": sum(video.label for video in videos),
        "picture_auc": estimate([of_pictures(scored)], names=["frame_auc"], draws=DRAWS)["frame_auc"].summary(),
        **{name: one.summary() for name, one in pixels.items()},
    }


def of_pictures(scored: list[Scored]) -> list[ScoredVideo]:
    """Return the pictures' scores. Those of different kinds of defects have the same names, so paths are the names."""
    return [replace(one.judged(1), name=str(one.video.path)) for one in scored]


def counted(scored: list[Scored]) -> list[PixelCounts]:
    """Count the pixels of all pictures; those of a good one are normal."""
    masks = [None if one.video.masks is None else masks_of(one.video.masks, str(one.video.path)) for one in scored]
    size = next(mask.size for mask in masks if mask is not None)
    none = np.zeros(size, np.int64)
    levels = levels_of(part for one in scored for part in one.maps(size))
    counts = []
    for one, mask in zip(scored, masks, strict=True):
        regions: Iterator[Regions] = iter([none]) if mask is None else map(regions_of, mask)
        counts.append(count_pixels(str(one.video.path), zip(one.maps(size), regions, strict=True), levels))
    return counts


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    lines = [
        f"# MVTec AD: {results['detector']}",
        "",
        f"`{results['command']}` on the good pictures of each category, judged on its test pictures. Intervals: "
        f"percentile bootstrap over pictures, {DRAWS} draws. `bench/mvtec.py` writes this page.",
        "",
        f"| category | good pictures, of them held back | test pictures, of them with a defect | "
        f"{' | '.join(FIGURES.values())} |",
        "|---|--:|--:|" + "--:|" * len(FIGURES),
    ]
    for name, one in results["categories"].items():
        cells = ("{:.3f} ({:.3f} to {:.3f})".format(one[key]["value"], *one[key]["interval_95"]) for key in FIGURES)
        good = one["learned"] + one["held_back"]
        lines.append(
            f"| {name} | {good}, {one['held_back']} | {one['tested']}, {one['defects']} | {' | '.join(cells)} |"
        )
    means = " | ".join(f"**{results['mean'][key]:.3f}**" for key in FIGURES)
    lines.append(f"| mean of {len(results['categories'])} | | | {means} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
