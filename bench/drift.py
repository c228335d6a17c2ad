"""Measure the drift of cameras: false reports on simulated scores, and what is noticed on a film that is changed.

    python bench/drift.py [--film ../shared/data/cctv/vtest.avi]

writes bench/results/drift.json and .md. A motion detector learns from the first half of the film. The second half is
scored as it is, and as a camera that is knocked or whose lens fogs would see it. The film is shorter than the least
drift, so the scores of its second half are repeated.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from recorded import record
from scipy.signal import lfilter
from scipy.special import ndtri
from scipy.stats import norm

from models.data.normal_footage import NormalFootage, read_footage
from models.detectors.motion.job import Outcome, learn_motion
from models.detectors.motion.recipe import MotionRecipe
from models.detectors.motion.weights import load_program
from models.detectors.program import Scorer
from operators.drift import LEARNED_SHARE, LEVEL, DriftMachine
from operators.scores import ClipScore
from pipeline.windows import ClipSpec

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
SEED = 0
#: Simulated scores: length of a clip, correlation times (all seconds), days, and shares of clips above the level.
CLIP_SECONDS, CORRELATED_SECONDS, DAYS = 10.0, (10, 60, 120, 300), 100
SHARES, DRAWS, HANGS_TOGETHER_SECONDS = (0.5, 0.7, 1.0), 20, 60.0
HOURS = 12  #: for which the scores of the film are repeated
EVERY = 3  #: one clip in three of the second half is scored

Pictures = npt.NDArray[np.uint8]  #: (T, H, W, 3)
Scores = npt.NDArray[np.float64]


def simulated(seconds: float, correlated: float, above: float, rng: np.random.Generator) -> Scores:
    """Return scores of clips, this share of them above the level, with an AR(1) process of that correlation time."""
    keep = math.exp(-CLIP_SECONDS / correlated)
    hidden = lfilter([math.sqrt(1 - keep**2)], [1, -keep], rng.standard_normal(int(seconds / CLIP_SECONDS)))
    decades = -norm.logsf(hidden + ndtri(above) - ndtri(LEARNED_SHARE)) / math.log(10)
    return np.asarray(decades / (decades + 3))


def begun(scores: Iterable[float], clip_seconds: float) -> list[float]:
    """Return the moments at which drifts are reported, minutes."""
    machine = DriftMachine("bench")
    found = []
    for index, score in enumerate(scores):
        start = clip_seconds * index
        clip = ClipScore("bench", "s", index, start, start + clip_seconds, float(score), "m", "1")
        transition = machine.push(clip)
        if transition is not None and transition.end_reason is None:
            found.append(clip.end / 60)
    return found


def simulation() -> dict[str, Any]:
    """Count false reports, and the minutes until a shift is reported."""
    rng = np.random.default_rng(SEED)
    false = {
        str(seconds): len(begun(simulated(86_400 * DAYS, seconds, LEARNED_SHARE, rng), CLIP_SECONDS))
        for seconds in CORRELATED_SECONDS
    }
    noticed = {}
    for share in SHARES:
        above = min(share, 1 - 1e-9)
        draws = [
            (begun(simulated(86_400, HANGS_TOGETHER_SECONDS, above, rng), CLIP_SECONDS) or [math.inf])[0]
            for _ in range(DRAWS)
        ]
        noticed[str(share)] = {"median": float(np.median(draws)), "longest": float(np.max(draws))}
    return {"days": DAYS, "clip_seconds": CLIP_SECONDS, "false_reports": false, "noticed_minutes": noticed}


def _shaken(pixels: int) -> Callable[[Pictures], Pictures]:
    rng = np.random.default_rng(SEED)
    return lambda clip: np.stack([np.roll(one, tuple(rng.integers(-pixels, pixels + 1, 2)), (0, 1)) for one in clip])


def _seen(down: float, right: float, zoom: float) -> Callable[[Pictures], Pictures]:
    """Move the view by shares of the picture, and enlarge it; what was not seen before is mirrored."""

    def change(clip: Pictures) -> Pictures:
        height, width = clip.shape[1:3]
        matrix = np.array([[zoom, 0, right * width], [0, zoom, down * height]], np.float32)
        size = (width, height)
        return np.stack([cv2.warpAffine(one, matrix, size, borderMode=cv2.BORDER_REFLECT) for one in clip])

    return change


#: Changes of the pictures, by the name in the report.
CHANGES: dict[str, Callable[[Pictures], Pictures]] = {
    "as it is": lambda clip: clip,
    "a tenth of the light": lambda clip: (clip * 0.1).astype(np.uint8),
    "upside down": lambda clip: np.ascontiguousarray(clip[:, ::-1]),
    "out of focus (Gauss, 4 pixels)": lambda clip: np.stack([cv2.GaussianBlur(one, (0, 0), 4) for one in clip]),
    "shaken by up to 3 pixels": _shaken(3),
    "turned down by a quarter of the picture": _seen(-0.25, 0, 1),
    "turned up by a quarter of the picture": _seen(0.25, 0, 1),
    "zoomed in by 1.5": _seen(-0.25, -0.25, 1.5),
}


def second_half(footage: NormalFootage, spec: ClipSpec) -> Iterator[Pictures]:
    for clip in footage.clips(replace(spec, stride=EVERY)):
        if clip.start >= footage.seconds / 2:
            yield clip.window.pixels


def film(path: Path) -> dict[str, Any]:
    """Learn from the first half, and follow the scores of the changed second half."""
    whole = read_footage("bench", [path], hold_out=0.5)
    with tempfile.TemporaryDirectory() as folder:
        learned: Outcome = learn_motion(replace(whole, seconds=whole.seconds / 2), MotionRecipe(), Path(folder))
        scorer = load_program(learned.card, learned.product).open()
    spec = learned.card.clip.spec
    assert spec.fps is not None
    rows = {}
    for name, change in CHANGES.items():
        rows[name] = _followed(scorer, (change(clip) for clip in second_half(whole, spec)), spec.fps)
    # Twice the frames between the two pictures that are compared, and half of them.
    for name, gap in (("at twice the speed", 2 * (spec.frames - 1)), ("at half the speed", (spec.frames - 1) / 2)):
        if gap == int(gap):
            clips = second_half(whole, replace(spec, frames=int(gap) + 1))
            rows[name] = _followed(scorer, clips, spec.fps)
    return {
        "name": path.name,
        "learned_seconds": learned.card.training["learned_seconds"],
        "held_back_seconds": learned.card.training["held_back_seconds"],
        "scored_seconds": round(whole.seconds / 2, 1),
        "hours": HOURS,
        "changes": rows,
    }


def _followed(scorer: Scorer, clips: Iterable[Pictures], fps: float) -> dict[str, Any]:
    scores = np.array([float(scorer.run(clip[None])["SCORE"][0, 0]) for clip in clips])
    repeated = islice(cycle(scores.tolist()), int(3600 * HOURS * fps / EVERY))
    reports = begun(repeated, EVERY / fps)
    return {
        "share_above": round(float((scores > LEVEL + 1e-6).mean()), 3),
        "noticed_minutes": round(reports[0]) if reports else None,
    }


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    simulation, film = results["simulation"], results["film"]
    lines = [
        "# Drift of a camera",
        "",
        f"**Simulated scores.** {simulation['days']} days of clips of {simulation['clip_seconds']:g} s, a tenth of "
        "them above the level of the learned 90 % quantile, with an AR(1) process behind them. Stated: at most one "
        "false report in a year while the expected share of a minute, given all earlier ones, is at most a fifth. "
        "Scores that hang together for minutes break that.",
        "",
        "| correlation time | false reports |",
        "|--:|--:|",
        *(f"| {seconds} s | {count} |" for seconds, count in simulation["false_reports"].items()),
        "",
        f"A shift from the first clip on, correlation time {HANGS_TOGETHER_SECONDS:g} s, {DRAWS} draws:",
        "",
        "| share of clips above the level | reported after, median | longest |",
        "|--:|--:|--:|",
        *(
            f"| {float(share):.0%} | {one['median']:.0f} min | {one['longest']:.0f} min |"
            for share, one in simulation["noticed_minutes"].items()
        ),
        "",
        f"**{film['name']}.** A motion detector learned from {film['learned_seconds']:g} s of its first half, with "
        f"{film['held_back_seconds']:g} s held back. The scores of the second half ({film['scored_seconds']:g} s) are "
        f"repeated for {film['hours']} hours, because a drift takes 15 minutes at least.",
        "",
        "| second half | clips above the level | reported after |",
        "|---|--:|--:|",
        *(
            f"| {name} | {one['share_above']:.0%} | "
            + ("silent |" if one["noticed_minutes"] is None else f"{one['noticed_minutes']} min |")
            for name, one in film["changes"].items()
        ),
        "",
        "A motion detector sees speeds and not appearance: the light makes no difference to it. Half the speed gives "
        "lower scores, which are not drift.",
        "",
        "`bench/drift.py` writes this page.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", type=Path, default=ROOT.parent / "shared" / "data" / "cctv" / "vtest.avi")
    options = parser.parse_args()
    results = {"seed": SEED, "simulation": simulation(), "film": film(options.film)}
    record(RESULTS, "drift", results, page(results))
    print(page(results))


if __name__ == "__main__":
    main()
