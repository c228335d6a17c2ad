"""Measure serving: latency of a clip through Triton and in process, clips per second, start-up time, memory.

    python bench/serving.py [--model fights] [--rounds 20] [--out bench/results/serving.json]

Both ways take turns, clip by clip, so that other load on the machine affects both equally. The load average at the
start and at the end is recorded. Latencies are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton

from deploy.triton.server import TritonServer
from models.card import CARD_FILE, ModelCard
from models.engines.precision import Precision
from models.serving.engine import open_engine
from models.serving.export import ensure_repository

IN_FLIGHT = 4
STARTS = 3
Clips = npt.NDArray[np.uint8]


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def infer(client: triton.InferenceServerClient, clips: Clips) -> triton.InferResult:
    tensor = triton.InferInput("CLIP", list(clips.shape), "UINT8")
    tensor.set_data_from_numpy(clips)
    return client.infer("clip_scorer", [tensor])


def own_memory_mb(server: str) -> dict[str, float]:
    """Return the proportional set size of the server's processes, MB, which counts shared memory once."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        words = entry.read_bytes().split(b"\0")
        name = Path(words[0].decode(errors="replace")).name
        if name in ("tritonserver", "triton_python_backend_stub") and server.encode() in b" ".join(words):
            rollup = (entry.parent / "smaps_rollup").read_text()
            found[name] = int(rollup.split("Pss:")[1].split()[0]) / 1000
    return found


def clips_per_second(address: str, clips: Clips, count: int) -> float:
    """Send single clips, ``IN_FLIGHT`` requests at a time, as the scoring client does; return clips per second."""
    left = iter(range(count))
    lock = threading.Lock()

    def send() -> None:
        with triton.InferenceServerClient(address) as client:
            while True:
                with lock:
                    at = next(left, None)
                if at is None:
                    return
                infer(client, clips[at % len(clips)][None])

    threads = [threading.Thread(target=send) for _ in range(IN_FLIGHT)]
    took = seconds(lambda: ([thread.start() for thread in threads], [thread.join() for thread in threads]))
    return count / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fights")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "serving.json")
    options = parser.parse_args()

    load_before = os.getloadavg()[0]
    repository = ensure_repository(options.model, precision=Precision.FP32, progress=print)
    folder = repository / "clip_scorer"
    card = ModelCard.model_validate_json((folder / CARD_FILE).read_text())
    size = (card.clip.frames, card.clip.height, card.clip.width, 3)
    clips = np.random.default_rng(0).integers(0, 256, (4, *size), dtype=np.uint8)
    engine = open_engine("auto", folder / "1", size)
    engine.score(clips[:1])

    server = TritonServer(repository)
    ready, stop = [], []
    for _ in range(STARTS):
        ready.append(seconds(server.start))
        stop.append(seconds(server.stop))

    in_process, served, largest = [], [], 0.0
    with server, triton.InferenceServerClient(server.grpc_address) as client:
        identity = client.get_server_metadata().name
        infer(client, clips[:1])
        for turn in range(options.rounds):
            clip = clips[turn % len(clips)][None]
            in_process.append(seconds(lambda clip=clip: engine.score(clip)))
            served.append(seconds(lambda clip=clip: infer(client, clip)))
            largest = max(
                largest, float(abs(infer(client, clip).as_numpy("SCORE")[0, 0] - engine.score(clip).scores[0]))
            )
        through_triton = clips_per_second(server.grpc_address, clips, options.rounds)
        alone = options.rounds / seconds(lambda: [engine.score(clips[:1]) for _ in range(options.rounds)])
        memory = own_memory_mb(identity)

    median = {"in process": statistics.median(in_process), "through Triton": statistics.median(served)}
    result = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
        },
        "load_average": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
        "versions": {name: version(name) for name in ("openvino", "torch", "tritonclient", "nvidia-pytriton")},
        "model": card.name,
        "clip": size,
        "engine": engine.name,
        "rounds": options.rounds,
        "latency_ms": {name: round(value * 1000, 1) for name, value in median.items()},
        "latency_ratio": round(median["through Triton"] / median["in process"], 3),
        "clips_per_second": {
            "in process": round(alone, 2),
            f"through Triton, {IN_FLIGHT} at once": round(through_triton, 2),
        },
        "ready_seconds": [round(value, 2) for value in ready],
        "stop_seconds": [round(value, 2) for value in stop],
        "memory_mb": {name: round(value) for name, value in memory.items()},
        "largest_score_difference": largest,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
