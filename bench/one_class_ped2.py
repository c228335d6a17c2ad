"""Learn a motion detector from UCSD Ped2's normal videos alone, and judge it on the abnormal ones.

    python bench/one_class_ped2.py [--data ../shared/data/ped2]

writes bench/results/one_class_ped2.json and .md. The command is that of an operator: `mistwatch learn TRAIN`, with its
defaults, then the exported program scores the test videos clip by clip. A clip's score counts for its last frame, so
nothing looks into the future. Scores are not normalised by test video. Nothing was chosen on the test videos.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from models.data.normal_footage import read_footage
from models.detectors.motion.job import learn_motion
from models.jobs.thresholds import smoothed_as_live
from models.serving.engine import Engine, open_engine
from models.serving.export import SERVED_NAME, export
from models.serving.versions import served
from operators.figures.bootstrap import DRAWS, estimate
from operators.figures.videos import ScoredVideo, abnormal_frames
from pipeline.errors import MistwatchError
from pipeline.manifests.folds import TEST
from pipeline.manifests.manifest import Video, open_video
from pipeline.manifests.ped2 import ped2
from pipeline.windows import ClipSpec, ClipWindow, cut

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
HOLD_OUT = 0.2  #: the default of the command
ASKED = 0.97
#: Results of the first measurement, at whose time two constants were other ones.
FIRST = RESULTS / "one_class_ped2-first.json"


@dataclass(frozen=True)
class Scored:
    """A test video's raw scores, one a frame from the first clip's last frame on."""

    video: Video
    frames: int
    scores: npt.NDArray[np.float64]

    def judged(self, kernel: int) -> ScoredVideo:
        """Return the video with its smoothed scores; frames before the first clip have its score."""
        smoothed = smoothed_as_live(self.scores, kernel)
        of_frames = np.concatenate([np.full(self.frames - len(smoothed), smoothed[0]), smoothed])
        labels = abnormal_frames(self.video.intervals or (), self.frames)
        name = self.video.path.stem
        return ScoredVideo(name, self.video.label, float(of_frames.mean()), of_frames, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "ped2")
    parser.add_argument("--kept", type=Path, default=ROOT / "runs" / "one-class-ped2", help="folder of the run")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of one_class_ped2.json and .md")
    options = parser.parse_args()
    console = Console(stderr=True)
    try:
        videos = [video for video in ped2(options.data) if video.split == TEST]
        footage = read_footage("ped2", [options.data / "train"], hold_out=HOLD_OUT)
        outcome = learn_motion(footage, options.kept, report=console.print)
        repository = options.kept / "models"
        export(str(outcome.product), repository, replace=True)
        version = repository / SERVED_NAME / str(served(repository / SERVED_NAME))
        clip = outcome.card.clip.spec
        engine = open_engine("auto", version, (clip.frames, clip.height, clip.width, 3))
        milliseconds: list[float] = []
        scored = [score(engine, clip, video, milliseconds) for video in track(videos, console=console)]
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    kernel = outcome.card.alerting.kernel
    results = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "asked": ASKED,
        "model": {"name": outcome.card.name, "weights_sha256": outcome.card.weights_sha256},
        "learned": {"videos": len(footage.films), **outcome.card.training["gap"]},
        "held_back_seconds": outcome.card.training["held_back_seconds"],
        "test_videos": len(videos),
        "kernel": kernel,
        "frame_auc": {str(k): auc(scored, k) for k in sorted({1, kernel})},
        "at_open_threshold": reached(scored, kernel, outcome.card.alerting.open_threshold),
        "milliseconds_a_frame": {
            "median": round(float(np.median(milliseconds)), 1),
            "p95": round(float(np.quantile(milliseconds, 0.95)), 1),
        },
    }
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "one_class_ped2.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    (options.results / "one_class_ped2.md").write_text(page(results))
    print(page(results), end="")


def score(engine: Engine, clip: ClipSpec, video: Video, milliseconds: list[float]) -> Scored:
    """Score a video clip by clip, and note the processor time of each clip."""
    source = open_video(video)
    scores = []
    with closing(source.frames([clip.frame_spec], threading.Event())) as frames:
        for window in cut(frames, clip):
            if isinstance(window, ClipWindow):
                began = time.process_time()
                scores.append(float(engine.score(window.pixels[None]).scores[0]))
                milliseconds.append(1000 * (time.process_time() - began))
    return Scored(video, len(source.frame_times()), np.array(scores))


def auc(scored: list[Scored], kernel: int) -> dict[str, Any]:
    """Return the frame AUC with its interval by videos."""
    return estimate([[one.judged(kernel) for one in scored]], names=["frame_auc"], draws=DRAWS)["frame_auc"].summary()


def reached(scored: list[Scored], kernel: int, threshold: float) -> dict[str, float]:
    """Return the shares of the abnormal and of the normal frames at or above the suggested threshold."""
    judged = [one.judged(kernel) for one in scored]
    scores = np.concatenate([one.frame_scores for one in judged])
    labels = np.concatenate([one.frame_labels for one in judged])
    shares = (float((scores[labels == wanted] >= threshold).mean()) for wanted in (True, False))
    return {"threshold": threshold, **dict(zip(("abnormal", "normal"), (round(s, 4) for s in shares), strict=True))}


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    kernel, at = results["kernel"], results["at_open_threshold"]
    gaps = ", ".join(f"{gap}: {decades}" for gap, decades in results["learned"]["decades"].items())
    lines = [
        "# UCSD Ped2, one class: motion",
        "",
        f"`mistwatch learn` with its defaults on the {results['learned']['videos']} normal videos "
        f"({results['held_back_seconds']:.0f} s of them held back), judged on the {results['test_videos']} abnormal "
        "ones, frame by frame. Scores are causal and not normalised by test video; nothing was chosen on the test "
        f"videos. The gap of {results['learned']['gap']} frames was chosen by how rare held-back footage is when it is "
        f"played twice as fast (decades by gap: {gaps}). `bench/one_class_ped2.py` writes this page.",
        "",
        "| causal average over | frame AUC | 95 % interval | target |",
        "|---|--:|--:|--:|",
    ]
    for number, found in results["frame_auc"].items():
        low, high = found["interval_95"]
        target = f"≥ {results['asked']}" if int(number) == kernel else ""
        frames = f"{number} frame{'s' * (number != '1')}"
        lines.append(f"| {frames} | **{found['value']:.3f}** | {low:.3f} to {high:.3f} | {target} |")
    cost = results["milliseconds_a_frame"]
    lines += [
        "",
        f"At the suggested threshold of {at['threshold']:g}: {100 * at['abnormal']:.0f} % of the abnormal frames and "
        f"{100 * at['normal']:.1f} % of the normal ones. Cost: {cost['median']:.1f} ms of one core a frame (95th "
        f"percentile {cost['p95']:.1f}), without decoding. Intervals: percentile bootstrap over videos, {DRAWS} draws.",
        "",
        first_look(json.loads(FIRST.read_text())),
    ]
    return "\n".join(lines) + "\n"


def first_look(results: dict[str, Any]) -> str:
    """Say that constants were chosen again after the first measurement, and the figure that it gave."""
    found = results["frame_auc"][str(results["kernel"])]
    low, high = found["interval_95"]
    return (
        f"The first measurement (`{FIRST.name}`) gave {found['value']:.3f} ({low:.3f} to {high:.3f}), so the figures "
        "above are not from a first look. After it, two constants of `operators/motion.py` (the speed below which a "
        "pixel stands still, and the least size of a thing) were chosen again, on the normal videos alone: by how well "
        "footage played 1.5 times as fast is separated from itself. No other choice was made after it for the sake of "
        "these figures."
    )


if __name__ == "__main__":
    main()
