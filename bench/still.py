"""Measure the features of a standing picture relative to those of a clip, with OpenVINO in float32.

    nice -n 10 python bench/still.py [--frames 16 25] [--size 224 224] [--rounds 40] [--out bench/results/still.md]

The clip holds the picture ``frames`` times, so both give the same features (:mod:`models.backbones.still`). They take
turns, so that other load on the machine affects both equally, and the load average is recorded. A ratio is taken within
each turn. The processor's time is measured beside the wall clock, because waiting for a busy core does not add to it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.backbones.i3d import I3D, ClipEncoder, load_i3d
from models.backbones.still import StillEncoder
from models.engines.openvino import OpenVinoNetwork
from models.engines.openvino_convert import Input, to_openvino

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("mixed_5b", "mixed_5c")
AIM = 0.6  #: target of the ratio for 16 frames
WARM_UP = 3  #: turns that do not count


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that ``work`` takes: on the wall clock, and of processors."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def spread(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return median and quartiles."""
    low, median, high = np.percentile(values, (25, 50, 75))
    return {"median": round(median, 3), "quartile_1": round(low, 3), "quartile_3": round(high, 3)}


def compared(backbone: I3D, frames: int, size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Time a clip of equal frames and the standing picture in turn."""
    picture = np.random.default_rng(frames).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    clip = np.repeat(picture[:, None], frames, axis=1)
    outputs = ("FEATURES",)
    whole = to_openvino(ClipEncoder(backbone, LAYERS), {"CLIP": Input((frames, *size, 3))}, outputs)
    still = to_openvino(StillEncoder(backbone, LAYERS, frames), {"SCENE": Input((*size, 3))}, outputs)
    on_clip, on_still = OpenVinoNetwork(whole, threads=0), OpenVinoNetwork(still, threads=0)
    expected, found = on_clip.run(clip)["FEATURES"], on_still.run(picture)["FEATURES"]
    turns = [(spent(lambda: on_clip.run(clip)), spent(lambda: on_still.run(picture))) for _ in range(WARM_UP + rounds)]
    times = np.array(turns[WARM_UP:])  # (rounds, clip and picture, wall and processor)
    ratios = times[:, 1] / times[:, 0]
    return {
        "frames": frames,
        "clip_ms": round(float(np.median(times[:, 0, 0])) * 1000, 1),
        "still_ms": round(float(np.median(times[:, 1, 0])) * 1000, 1),
        "ratio": spread(ratios[:, 0]),
        "processor_ratio": spread(ratios[:, 1]),
        "largest_difference": float(np.abs(found - expected).max()),
        "largest_feature": float(expected.max()),
    }


def page(result: dict[str, Any]) -> str:
    height, width = result["size"]
    before, after = result["load_average"].values()
    rows = []
    for one in result["compared"]:
        ratios = (
            f"{it['median']:.3f} ({it['quartile_1']:.3f} to {it['quartile_3']:.3f})"
            for it in (one["ratio"], one["processor_ratio"])
        )
        difference = f"{one['largest_difference']:.1e} of {one['largest_feature']:.2f}"
        times = f"{one['clip_ms']:.0f} ms | {one['still_ms']:.0f} ms"
        rows.append(f"| {one['frames']} | {times} | {' | '.join(ratios)} | {difference} |")
    return "\n".join(
        [
            "# A standing picture relative to a clip",
            "",
            f"I3D, layers {' and '.join(LAYERS)}, {height}×{width}, OpenVINO {result['versions']['openvino']} in "
            f"float32 on {result['machine']['cores']} cores; {result['rounds']} turns each. Ratios are medians "
            "(quartiles) of the picture's time divided by the clip's within a turn. The aim for 16 frames is "
            f"{result['aim']:g}. The load average was {before:g} before and {after:g} after; under load the ratio of "
            "processor time is the steadier one.",
            "",
            "| frames | clip | picture | ratio | ratio of processor time | largest difference of a feature |",
            "|--:|--:|--:|--:|--:|--:|",
            *rows,
            "",
            "Command: `python bench/still.py`.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 25], help="lengths of the clip")
    parser.add_argument("--size", type=int, nargs=2, default=[224, 224], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "still.md", help="and .json beside it")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    backbone = load_i3d(classifier=False)
    size = (options.size[0], options.size[1])
    found = [compared(backbone, frames, size, options.rounds) for frames in options.frames]
    result = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
        },
        "load_average": {"before": round(before, 2), "after": round(os.getloadavg()[0], 2)},
        "versions": {name: version(name) for name in ("openvino", "torch")},
        "layers": LAYERS,
        "size": size,
        "rounds": options.rounds,
        "aim": AIM,
        "compared": found,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    options.out.write_text(page(result), encoding="utf-8")
    print(page(result))


if __name__ == "__main__":
    main()
