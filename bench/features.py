"""Compare feature extraction, from films to files, with the bare engine on clips in memory.

    python bench/features.py [--data ../shared/data/fights] [--films 16] [--rounds 5] [--config RECIPE]

writes bench/results/features.json. Both ways take turns within one run, so that other load on the machine affects both
equally. The load average at the start and at the end is recorded. Each round gives the ratio of its two times, and the
figure is the median of these ratios: 1 would mean that the engine never waits for a film. The time of extraction
includes hashing, decoding, scaling and writing, but not opening the engine. ``features`` is what `mistwatch features`
does, ``maps`` is what the second stage is trained on, and ``ten crops`` is ``features`` with ten views of each clip
(each view counts as a clip).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.data.backbone_engines import open_feature_engine, open_map_engine
from models.data.extraction import Encoded, Engine, Recorded, extract, readers_for
from models.data.feature_folder import FeatureSettings, write_features
from models.data.maps import MapStore
from models.detectors.mist.config import read_mist_config
from models.engines.device import fastest_engine
from pipeline.manifests.fights import fights
from pipeline.windows import ClipSpec

ROOT = Path(__file__).resolve().parent.parent
AIM = 0.9  #: target of the ratio


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def clips_of(films: list[Recorded], clip: ClipSpec) -> npt.NDArray[np.uint8]:
    """Return the films' clips, all in memory."""
    kept: list[npt.NDArray[np.uint8]] = []

    def keep(clips: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32]]:
        kept.append(clips.copy())
        return (np.zeros((len(clips), 1), np.float32),)

    for _ in extract(films, clip, Engine("memory", 16, keep)):
        pass
    return np.concatenate(kept)


def decoding(films: list[Recorded], clip: ClipSpec, engine: str) -> float:
    """Return the readers' clips per second, with an engine that takes no time."""
    nothing = Engine("nothing", 16, lambda clips: (np.zeros((len(clips), 1), np.float32),))
    started = time.perf_counter()
    clips = sum(isinstance(event, Encoded) for event in extract(films, clip, nothing, readers=readers_for(engine)))
    return clips / (time.perf_counter() - started)


def compared(
    engine: Engine, rows: npt.NDArray[np.uint8], work: Callable[[Path], object], rounds: int
) -> dict[str, Any]:
    """Time the engine on ``rows`` and ``work`` on the films of the same clips, in turn."""

    def alone() -> None:
        for at in range(0, len(rows), engine.batch):
            engine.encode(rows[at : at + engine.batch])

    engine.encode(rows[: engine.batch])
    own, whole = [], []
    for _ in range(rounds):
        own.append(seconds(alone))
        with tempfile.TemporaryDirectory() as folder:
            whole.append(seconds(lambda folder=folder: work(Path(folder) / "out")))
    ratios = [one / other for one, other in zip(own, whole, strict=True)]
    return {
        "clips": len(rows),
        "engine_clips_per_second": round(len(rows) / statistics.median(own), 2),
        "extraction_clips_per_second": round(len(rows) / statistics.median(whole), 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "aim": AIM,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "fights")
    parser.add_argument("--films", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--config", type=Path, help="training recipe, for its clips and layers")
    parser.add_argument("--engine", choices=["cuda", "openvino", "cpu"])
    parser.add_argument("--only", nargs="+", choices=["features", "maps", "ten crops"])
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "features.json")
    options = parser.parse_args()

    load_before = os.getloadavg()[0]
    config = read_mist_config(options.config, [] if options.config else ["folds=5"])
    name = options.engine or fastest_engine()
    clip, films = config.training_clip, list(fights(options.data))[: options.films]
    rows = clips_of(films, clip)
    wanted = options.only or ["features", "maps"]
    found: dict[str, Any] = {}
    if "features" in wanted or "ten crops" in wanted:
        engine = open_feature_engine(name, clip, config.backbone, config.layers)
        for what, crops in (("features", 1), ("ten crops", 10)):
            if what in wanted:
                settings = FeatureSettings.for_clip(
                    clip, backbone=config.backbone, layers=config.layers, crops=crops, engine=name
                )
                views = rows if crops == 1 else np.repeat(rows, crops, 0)
                found[what] = compared(
                    engine,
                    views,
                    lambda out, settings=settings, engine=engine: write_features(films, out, settings, engine=engine),
                    options.rounds,
                )
        del engine
    if "maps" in wanted:
        maps = open_map_engine(name, clip, config.backbone)
        found["maps"] = compared(
            maps,
            rows,
            lambda out: MapStore(clip, backbone=config.backbone, folder=out, engine=maps).fill(films),
            options.rounds,
        )
    result = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "device": _device(name),
            "python": platform.python_version(),
        },
        "load_average": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
        "versions": {package: version(package) for package in ("openvino", "torch", "av")},
        "engine": name,
        "clip": config.clip.model_dump(mode="json") | {"stride": clip.stride},
        "films": len(films),
        "rounds": options.rounds,
        "decoding_clips_per_second": round(decoding(films, clip, name), 2),
        "extraction": found,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _device(engine: str) -> str:
    if engine != "cuda":
        return "cpu"
    import torch

    return torch.cuda.get_device_name()


if __name__ == "__main__":
    main()
