"""Measure the cost of incidents among the footage that a detector learns from, on UCSD Ped2.

    python bench/planted_incidents.py [--detector motion] [--data ../shared/data/ped2]

writes bench/results/planted_incidents-DETECTOR.json and .md. The abnormal videos are dealt into three divisions. From
each video of a division, the middle of its longest incident is planted between the normal videos, so that incidents are
2 % of the footage. The detector that learns from it is judged on the videos of the other two divisions, beside the one
that learns from the normal videos alone. Both are learned as by `mistwatch learn`, and nothing is left out.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from one_class_ped2 import HOLD_OUT, KINDS, RESULTS, ROOT, Kind, Scored, learn, score
from recorded import record
from rich.console import Console

from models.data.normal_footage import read_footage
from operators.figures.bootstrap import DRAWS, compare, estimate
from pipeline.errors import MistwatchError
from pipeline.manifests.folds import TEST
from pipeline.manifests.manifest import Video, open_video
from pipeline.manifests.ped2 import ped2
from pipeline.sources.base import Frame, FrameSpec

SHARE = 0.02  #: of the footage that is planted
DIVISIONS = 3
#: Most that the frame AUC may fall, in points.
ASKED = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", choices=KINDS, default="motion")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "ped2")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    kind = KINDS[options.detector]
    kept = ROOT / "runs" / f"planted-incidents-{options.detector}"
    console = Console(stderr=True)
    try:
        normal = sorted((options.data / "train").glob("*.mp4"))
        abnormal = [video for video in ped2(options.data) if video.split == TEST]
        seconds = read_footage("ped2", normal, hold_out=HOLD_OUT).seconds
        clean, kernel = learned_from(kind, normal, abnormal, kept / "clean", console.print)
        pairs, planted = [], []
        for division in range(DIVISIONS):
            chosen = abnormal[division::DIVISIONS]
            share = SHARE / (1 - SHARE) * seconds / len(chosen)
            films = [plant(video, share, kept / f"incident-{video.path.stem}.mp4") for video in chosen]
            planted.append({"videos": [one.path.stem for one in chosen], "seconds_each": round(share, 2)})
            others = [video for video in abnormal if video not in chosen]
            found, _ = learned_from(kind, among(normal, films), others, kept / f"division-{division}", console.print)
            same = [one for one in clean if one.video in others]
            pairs.append((found, same))
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    runs = [[[one.judged(kernel) for one in some] for some in pair] for pair in zip(*pairs, strict=True)]
    with_incidents, without = runs
    names = ["frame_auc"]
    results = {
        "detector": options.detector,
        "share": SHARE,
        "planted": planted,
        "kernel": kernel,
        "asked": ASKED,
        "with_incidents": estimate(with_incidents, names=names, draws=DRAWS)["frame_auc"].summary(),
        "without": estimate(without, names=names, draws=DRAWS)["frame_auc"].summary(),
        "difference": compare(with_incidents, without, names=names, draws=DRAWS)["frame_auc"].summary(),
    }
    record(options.results, f"planted_incidents-{options.detector}", results, page(results))
    print(page(results), end="")


def plant(video: Video, seconds: float, path: Path) -> Path:
    """Write the middle of the longest incident of a video as a film, without loss."""
    source = open_video(video)
    with closing(source.frames([FrameSpec(240, 360)], threading.Event())) as items:
        frames = [item for item in items if isinstance(item, Frame)]
    period = frames[1].pts_seconds - frames[0].pts_seconds
    first, end = max(video.intervals, key=lambda one: one[1] - one[0])
    count = min(round(seconds / period), end - first)
    begin = (first + end - count) // 2
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = round(1 / period)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = frames[0].native.width, frames[0].native.height, "yuv420p"
        for ordinal, frame in enumerate(frames[begin : begin + count]):
            picture = frame.native.reformat(format="yuv420p")
            picture.pts, picture.time_base = ordinal, Fraction(1, rate)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def among(normal: Sequence[Path], incidents: Sequence[Path]) -> list[Path]:
    """Return the normal films with the incidents between them, evenly."""
    every = len(normal) // len(incidents)
    mixed: list[Path] = []
    for ordinal, film in enumerate(normal):
        mixed.append(film)
        if ordinal % every == every // 2 and ordinal // every < len(incidents):
            mixed.append(incidents[ordinal // every])
    return mixed


def learned_from(
    kind: Kind, films: Sequence[Path], videos: Sequence[Video], kept: Path, report: Callable[[str], None]
) -> tuple[list[Scored], int]:
    """Learn a detector from the films; return the scores of the videos, and the kernel of the moving average.

    Raises:
        MistwatchError: the footage cannot be learned from, or a video cannot be read.
    """
    outcome, engine = learn(kind, read_footage("ped2", films, hold_out=HOLD_OUT), kept, report)
    clip = outcome.card.clip.spec
    return [score(engine, clip, video, []) for video in videos], outcome.card.alerting.kernel


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    kind, found = KINDS[results["detector"]], results["difference"]
    low, high = found["interval_95"]
    met = "met" if found["value"] >= -results["asked"] else "**missed**"
    lines = [
        f"# Incidents among the footage, UCSD Ped2: {kind.title}",
        "",
        f"Parts of incidents of three of the nine abnormal videos, {100 * results['share']:g} % of the footage, lay "
        "among the twelve normal videos that the detector learned from. It is judged on the other six videos, beside "
        "the detector that learned from the normal ones alone; three divisions, so that each video is judged twice. "
        "`bench/planted_incidents.py` writes this page.",
        "",
        "| frame AUC | value | 95 % interval | target |",
        "|---|--:|--:|--:|",
    ]
    for name, title in (("without", "normal footage alone"), ("with_incidents", "with incidents")):
        one = results[name]
        low_one, high_one = one["interval_95"]
        lines.append(f"| {title} | **{one['value']:.3f}** | {low_one:.3f} to {high_one:.3f} | |")
    lines.append(
        f"| difference | **{found['value']:+.4f}** | {low:+.4f} to {high:+.4f} | ≥ −{results['asked']:g}, {met} |"
    )
    lines += [
        "",
        f"Paired bootstrap over videos, {DRAWS} draws; the value of each figure is the mean of the divisions.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
