"""Measure ways to scale pictures for clips: their cost, how far the pictures differ, and how far the scores move.

    python bench/scaler.py [--data ../shared/data] [--model fights] [--clips 12] [--rounds 15]

adds a line to bench/results/performance/scaler.jsonl, in about three minutes. The reference is FFmpeg's bilinear scaler
straight into RGB. A way may be used where it moves no score by more than 0.01.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from alternately import alternate, append, ratio

from models.card import read_card
from models.detectors.mist.card import MistCard
from models.engines.precision import Precision
from models.serving.engine import Engine, open_engine
from models.serving.export import SERVED_NAME, ensure_repository, find_model
from pipeline.errors import MistwatchError
from pipeline.sources import decode
from pipeline.sources.base import FrameSpec
from pipeline.sources.files import FileSource
from pipeline.sources.scale import Scaler, _graph
from pipeline.windows import ClipSpec, ClipWindow, cut

ROOT = Path(__file__).resolve().parent.parent
SIDE = 224  #: pixels
PICTURES = 20  #: of each film whose scaling is timed
ASKED = 0.01
SIZE = f"{SIDE}:{SIDE}"


def straight(flags: str) -> list[tuple[str, str | None]]:
    return [("scale", f"{SIZE}:flags={flags}"), ("format", "rgb24")]


def by_yuv(flags: str) -> list[tuple[str, str | None]]:
    return [("scale", f"{SIZE}:flags={flags}"), ("format", "yuv422p"), *straight(flags)]


REFERENCE = "bilinear"
WAYS = {
    REFERENCE: straight("bilinear"),
    "bilinear, by YUV, exact": by_yuv("bilinear+accurate_rnd"),
    "bilinear, by YUV": by_yuv("bilinear"),
    "area": straight("area"),
    "bicubic": straight("bicubic"),
    "fast_bilinear": straight("fast_bilinear"),
}


class ByWay(Scaler):
    """A scaler that goes one of the ways."""

    way: list[tuple[str, str | None]]

    def _filters(self, _picture: av.VideoFrame, _orientation: Any) -> list[tuple[str, str | None]]:
        return self.way


def first_pictures(film: Path) -> list[av.VideoFrame]:
    with av.open(str(film)) as container:
        return list(islice(container.decode(video=0), PICTURES))


def costs(film: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """Return for each way the milliseconds a picture, their ratio to the reference, and the largest difference."""
    pictures = first_pictures(film)
    scaled: dict[str, npt.NDArray[np.int16]] = {}

    def scale(name: str, graph: av.filter.Graph) -> None:
        images = []
        for picture in pictures:
            graph.vpush(picture)
            images.append(graph.vpull())
        scaled[name] = images[-1].to_ndarray().astype(np.int16)

    works = {name: partial(scale, name, _graph(pictures[0], filters, threads=1)) for name, filters in WAYS.items()}
    taken = alternate(works, rounds=rounds, clock=time.process_time)
    return {
        name: {
            "ms": statistics.median(seconds) / PICTURES * 1000,
            "to_reference": ratio(seconds, taken[REFERENCE]),
            "levels": int(np.abs(scaled[name] - scaled[REFERENCE]).max()),
        }
        for name, seconds in taken.items()
    }


def clips_by(way: str, film: Path, spec: ClipSpec, count: int) -> list[npt.NDArray[np.uint8]]:
    ByWay.way = WAYS[way]
    decode.Scaler = ByWay  # type: ignore[misc]
    items = cut(FileSource("bench", film, threads=1).frames([spec.frame_spec], threading.Event()), spec)
    return [item.pixels for item in islice((one for one in items if isinstance(one, ClipWindow)), count)]


def moved(engine: Engine, films: Sequence[Path], spec: ClipSpec, count: int) -> dict[str, float]:
    """Return for each way by how much it moves a score at most."""
    found = {}
    scores: dict[str, list[float]] = {}
    for way in WAYS:
        clips = [clip for film in films for clip in clips_by(way, film, spec, count)]
        scores[way] = [float(engine.score(clip[None]).scores[0]) for clip in clips]
        found[way] = max(abs(a - b) for a, b in zip(scores[way], scores[REFERENCE], strict=True))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of cctv/")
    parser.add_argument("--model", default="fights", help="committed model of MIST, or folder written by training")
    parser.add_argument("--clips", type=int, default=12, help="clips of each film, from its start")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    films = sorted(film for film in (options.data / "cctv").glob("*") if film.suffix in (".mp4", ".avi"))
    if not films:
        parser.exit(2, f"{parser.prog}: {options.data}: holds no films in cctv/; give its folder with --data\n")
    try:
        spec = read_card(find_model(options.model), MistCard).clip.spec
        folder = ensure_repository(options.model, precision=Precision.FP32, progress=print) / SERVED_NAME / "1"
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    assert spec.frame_spec == FrameSpec(SIDE, SIDE, spec.fit, spec.fps), "the ways are of this size"
    found = {film.name: costs(film, options.rounds) for film in films}
    engine = open_engine("openvino", folder, (spec.frames, SIDE, SIDE, 3))
    scores = moved(engine, films, spec, options.clips)
    print(f"{'':26}{'score moved':>12}" + "".join(f"{film.name[:18]:>22}" for film in films))
    for way in WAYS:
        cells = (f"{found[film.name][way]['ms']:.3f} ms, {found[film.name][way]['levels']} levels" for film in films)
        print(f"{way:26}{scores[way]:12.4f}" + "".join(f"{cell:>22}" for cell in cells))
    append("scaler", {"model": options.model, "asked": ASKED, "score_moved": scores, "films": found})


if __name__ == "__main__":
    main()
