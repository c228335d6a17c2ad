"""Measure how the processor time of a camera grows with its resolution, the stride of its clips, and its detectors.

    python bench/growth.py [--film ../shared/data/cctv/vtest.avi] [--model fights] [--rounds 5]

The parts are measured alternately, in processor time of this process: reading a film at each resolution (the same
footage, scaled beforehand and encoded with x264) for clips of one size and of two sizes, and one clip through the
model's engine. The cost of a camera for a second is their sum: reading, and a clip every stride for each detector. A
second detector is counted as another encoder of the same cost. Appends to bench/results/performance/growth.jsonl.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
from alternately import alternate, append

from models.card import CARD_FILE, ModelCard
from models.engines.precision import Precision
from models.serving.engine import open_engine
from models.serving.export import ensure_repository
from pipeline.errors import MistwatchError
from pipeline.sources.base import Frame, FrameSpec
from pipeline.sources.recordings import open_recording

#: Pictures of a camera by the name of its resolution: (width, height).
RESOLUTIONS = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
FPS, FILM_SECONDS = 25, 8
CLIP_FPS = 12.5
#: Of the clips of one detector, and of two.
SIZES = (FrameSpec(224, 224, fps=CLIP_FPS), FrameSpec(128, 224, fps=CLIP_FPS))
STRIDES, DETECTORS = (16, 8), (1, 2)
CLIPS = 2  #: scored in a round


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("MISTWATCH_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--film", type=Path, default=data / "cctv" / "vtest.avi")
    parser.add_argument("--model", default="fights")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    try:
        results = measured(options.film, options.model, options.rounds)
    except (MistwatchError, av.FFmpegError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    append("growth", results)
    print(page(results), end="")


def measured(film: Path, model: str, rounds: int) -> dict[str, Any]:
    """Measure the parts, and return the results."""
    folder = ensure_repository(model, precision=Precision.FP32, progress=print) / "clip_scorer"
    clip = ModelCard.model_validate_json((folder / CARD_FILE).read_text()).clip
    shape = (clip.frames, clip.height, clip.width, 3)
    engine = open_engine("auto", folder / "1", shape)
    clips = np.random.default_rng(0).integers(0, 256, (CLIPS, 1, *shape), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as scratch:
        films = {name: encode(film, Path(scratch, f"{name}.mp4"), *size) for name, size in RESOLUTIONS.items()}
        works: dict[str, Callable[[], object]] = {
            f"{name}, {sizes}": partial(read, path, sizes) for (name, path), sizes in product(films.items(), DETECTORS)
        }
        works["clips"] = lambda: [engine.score(one) for one in clips]
        taken = {
            name: statistics.median(seconds)
            for name, seconds in alternate(works, rounds=rounds, clock=time.process_time).items()
        }
    clip_seconds = taken.pop("clips") / CLIPS
    return {
        "film": film.name,
        "model": model,
        "engine": engine.name,
        "fps": FPS,
        "clip_fps": CLIP_FPS,
        **costs({name: seconds / FILM_SECONDS for name, seconds in taken.items()}, clip_seconds),
    }


def costs(reading: Mapping[str, float], clip_seconds: float) -> dict[str, Any]:
    """Return the cost of a camera for a second, processor seconds, from its measured parts.

    Args:
        reading: of a camera for a second, by "RESOLUTION, NUMBER OF CLIP SIZES".
        clip_seconds: of one clip in the model.
    """
    of = [
        {
            "resolution": name,
            "stride": stride,
            "detectors": detectors,
            "reading": round(reading[f"{name}, {detectors}"], 5),
            "scoring": round(detectors * CLIP_FPS / stride * clip_seconds, 5),
        }
        for name, stride, detectors in product(RESOLUTIONS, STRIDES, DETECTORS)
    ]
    return {"clip_seconds": round(clip_seconds, 5), "camera_second": of}


def encode(film: Path, path: Path, width: int, height: int) -> Path:
    """Write the film's first pictures at another size, one after the other at the bench's rate, and return the path."""
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"bf": "0", "g": str(2 * FPS), "preset": "veryfast", "crf": "23"}
        for number, picture in enumerate(source.decode(video=0)):
            if number == FILM_SECONDS * FPS:
                break
            scaled = picture.reformat(width, height, "yuv420p")
            scaled.pts, scaled.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(scaled))
        out.mux(stream.encode())
    return path


def read(film: Path, sizes: int) -> int:
    """Read a film for clips of so many sizes; return the number of pictures."""
    items = open_recording(film).frames(SIZES[:sizes], threading.Event())
    return sum(isinstance(item, Frame) for item in items)


def page(results: Mapping[str, Any]) -> str:
    """Return the results as a table in Markdown."""
    lines = [
        "| camera | stride | detectors | reading, s | scoring, s | cameras per core |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for one in results["camera_second"]:
        cameras = 1 / (one["reading"] + one["scoring"])
        lines.append(
            f"| {one['resolution']} | {one['stride']} | {one['detectors']} | {one['reading']:.4f} "
            f"| {one['scoring']:.4f} | {cameras:.1f} |"
        )
    lines += [
        "",
        f"Processor seconds for a second of a camera at {results['fps']} fps, {results['clip_fps']} fps in the clips; "
        f"a clip takes {1000 * results['clip_seconds']:.0f} ms in `{results['model']}` ({results['engine']}).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
