"""Compare clips per second through Triton, by gRPC and by shared memory, with the same engine in a plain loop.

    python bench/transport.py [--model fights | --repository FOLDER] [--rounds 12] [--results FOLDER]

The ways take turns on the same clips, with four clips in flight as a worker has. Then the same two ways carry clips to
a model that costs nothing (bench/free_model.py): milliseconds and processor time a clip, of client and server together.
It prints a table and adds a line to bench/results/performance/transport.jsonl.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from alternately import PERFORMANCE, alternate, append, ratio
from rich.console import Console
from rich.table import Table

from deploy.triton.server import TritonServer
from models.card import CARD_FILE, ModelCard
from models.engines.precision import Precision
from models.serving.config import triton_config
from models.serving.engine import Engine, open_engine
from models.serving.export import SERVED_NAME, ensure_repository
from pipeline.errors import MistwatchError
from pipeline.scoring.target import Target
from pipeline.scoring.transport import Answer, Failure, TritonTransport

IN_FLIGHT = 4  #: as triton.max_in_flight
ROUND_SECONDS = 2.0  #: about so long takes a round of the plain loop
FREE_CLIPS = 100  #: clips of a round of the model that costs nothing
SHAPE = (16, 224, 224, 3)  #: of that model's clips
GRPC, SHARED, LOOP = "gRPC", "shared memory", "plain loop"
_FREE = "free"

Clips = npt.NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    served = parser.add_mutually_exclusive_group()
    served.add_argument("--model", default="fights", help="committed model, or folder written by training")
    served.add_argument("--repository", type=Path, help="model repository written by mistwatch export")
    parser.add_argument("--rounds", type=int, default=12, help="rounds of the detector; half as many cost nothing")
    parser.add_argument("--results", type=Path, default=PERFORMANCE, help="folder of transport.jsonl")
    options = parser.parse_args()
    console = Console()
    try:
        repository = options.repository or ensure_repository(
            options.model, precision=Precision.FP32, progress=console.print
        )
        detector = measure_detector(repository, options.rounds)
        free = measure_free(max(options.rounds // 2, 1))
    except (MistwatchError, OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    console.print(table(detector, free))
    append("transport", {**detector, "transport_alone": free}, options.results)


def measure_detector(repository: Path, rounds: int) -> dict[str, Any]:
    """Return clips per second of a repository's detector in a plain loop and served, and their ratios."""
    folder = repository / SERVED_NAME
    card = ModelCard.model_validate_json((folder / CARD_FILE).read_text())
    size = (card.clip.frames, card.clip.height, card.clip.width, 3)
    engine = open_engine("auto", folder / newest_version(folder), size)
    clips = np.random.default_rng(0).integers(0, 256, (8, *size), dtype=np.uint8)
    scene = clips[0, 0] if engine.reads_scene else None
    with TritonServer(repository, models=[SERVED_NAME]) as server:
        ways = {name: connected(server, SERVED_NAME, clips[0], scene, shared=name == SHARED) for name in (GRPC, SHARED)}
        in_process = [score(engine, clip, scene) for clip in clips]
        differences = {
            name: max(abs(a - b) for a, b in zip(in_process, send(way, SERVED_NAME, clips, scene, 8), strict=True))
            for name, way in ways.items()
        }
        began = time.perf_counter()
        score(engine, clips[0], scene)
        count = max(round(ROUND_SECONDS / (time.perf_counter() - began)), 2 * IN_FLIGHT)
        works: dict[str, Callable[[], object]] = {
            LOOP: lambda: [score(engine, clips[at % len(clips)], scene) for at in range(count)],
            **{name: partial(send, way, SERVED_NAME, clips, scene, count) for name, way in ways.items()},
        }
        processor: dict[str, list[float]] = {name: [] for name in works}
        server_processes = processes(identity_of(server))

        def counted(name: str) -> None:
            before = processor_seconds(server_processes)
            works[name]()
            processor[name].append(processor_seconds(server_processes) - before)

        taken = alternate({name: partial(counted, name) for name in works}, rounds=rounds)
        processor = {name: seconds[1:] for name, seconds in processor.items()}
        for way in ways.values():
            way.close()
    return {
        "model": card.name,
        "engine": engine.name,
        "clip": list(size),
        "in_flight": IN_FLIGHT,
        "clips_a_round": count,
        "clips_per_second": {name: count / statistics.median(seconds) for name, seconds in taken.items()},
        "grpc_against_loop": ratio(taken[LOOP], taken[GRPC]),
        "shared_memory_against_loop": ratio(taken[LOOP], taken[SHARED]),
        "processor_milliseconds_a_clip": {
            name: 1000 * statistics.median(seconds) / count for name, seconds in processor.items()
        },
        "processor_grpc_against_loop": ratio(processor[LOOP], processor[GRPC]),
        "processor_shared_memory_against_loop": ratio(processor[LOOP], processor[SHARED]),
        "largest_score_difference": max(differences.values()),
    }


def measure_free(rounds: int) -> dict[str, Any]:
    """Return the cost of a clip to a model that costs nothing: milliseconds, and those of the processor."""
    clips = np.random.default_rng(0).integers(0, 256, (8, *SHAPE), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        write_free(Path(folder))
        with TritonServer(Path(folder)) as server:
            server_processes = processes(identity_of(server))
            ways = {name: connected(server, _FREE, clips[0], None, shared=name == SHARED) for name in (GRPC, SHARED)}
            works = {name: partial(send, way, _FREE, clips, None, FREE_CLIPS) for name, way in ways.items()}
            wall = alternate(works, rounds=rounds)
            processor = alternate(works, rounds=rounds, clock=partial(processor_seconds, server_processes))
            alone = {name: partial(send, way, _FREE, clips, None, FREE_CLIPS, 1) for name, way in ways.items()}
            latency = alternate(alone, rounds=rounds)
            for way in ways.values():
                way.close()

    def milliseconds(taken: Mapping[str, Sequence[float]]) -> dict[str, float]:
        return {name: 1000 * statistics.median(seconds) / FREE_CLIPS for name, seconds in taken.items()}

    return {
        "milliseconds_a_clip": milliseconds(wall),
        "processor_milliseconds_a_clip": milliseconds(processor),
        "milliseconds_of_a_single_clip": milliseconds(latency),
        "grpc_against_shared_memory": ratio(wall[GRPC], wall[SHARED]),
        "processor_grpc_against_shared_memory": ratio(processor[GRPC], processor[SHARED]),
    }


def score(engine: Engine, clip: Clips, scene: Clips | None) -> float:
    """Return the score of one clip in this process."""
    scenes = None if scene is None else [scene]
    return float(engine.score(clip[np.newaxis], scenes).scores[0])


def connected(server: TritonServer, model: str, clip: Clips, scene: Clips | None, *, shared: bool) -> TritonTransport:
    """Return a connection whose clips go the asked way. Raises ValueError: the server does not share memory."""
    transport = TritonTransport(server.grpc_address, shared_clips=IN_FLIGHT if shared else 0)
    deadline = time.monotonic() + 10
    send(transport, model, clip[np.newaxis], scene, 1)
    while transport.shares_memory is not shared:
        if time.monotonic() > deadline:
            raise ValueError(f"the server at {server.grpc_address} takes no shared memory; run both on one machine")
        time.sleep(0.05)
    return transport


def send(
    transport: TritonTransport, model: str, clips: Clips, scene: Clips | None, count: int, in_flight: int = IN_FLIGHT
) -> list[float]:
    """Send clips, so many at a time, and return their scores in order. Raises ValueError: one was not scored."""
    room = threading.Semaphore(in_flight)
    answers: dict[int, Answer | Failure] = {}

    def take(at: int, answer: Answer | Failure) -> None:
        answers[at] = answer
        room.release()

    for at in range(count):
        room.acquire()
        transport.infer(
            Target(model),
            clips[at % len(clips)],
            scene=scene,
            mask=None,
            heat=False,
            features=False,
            timeout_seconds=60.0,
            on_answer=partial(take, at),
        )
    for _ in range(in_flight):
        room.acquire()
    scores = []
    for at in range(count):
        answer = answers[at]
        if isinstance(answer, Failure):
            raise ValueError(f"a clip was not scored: {answer.line}")
        scores.append(answer.score)
    return scores


def identity_of(server: TritonServer) -> str:
    """Return a word that is in the command line of the server and of its models."""
    with triton.InferenceServerClient(server.grpc_address) as client:
        return str(client.get_server_metadata().name)


def processes(identity: str) -> list[Path]:
    """Return the folders in /proc of the processes that have a word in their command line."""
    return [
        path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if identity in path.read_text(errors="replace")
    ]


def processor_seconds(others: Sequence[Path]) -> float:
    """Return the processor time so far of this process and others, in seconds."""
    fields = [(process / "stat").read_text().rpartition(")")[2].split() for process in others]
    ticks = sum(int(user) + int(system) for *_, user, system in (each[:13] for each in fields))
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def newest_version(folder: Path) -> str:
    """Return the name of the newest version's folder of a served model."""
    return max((path.name for path in folder.iterdir() if path.name.isdigit()), key=int)


def write_free(folder: Path) -> None:
    """Write the repository of the model that costs nothing."""
    version = folder / _FREE / "1"
    version.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("free_model.py"), version / "model.py")
    clip = f'{{ name: "CLIP" data_type: TYPE_UINT8 dims: [ {", ".join(map(str, SHAPE))} ] }}'
    config = triton_config(_FREE, [clip], ['{ name: "SCORE" data_type: TYPE_FP32 dims: [ 1 ] }'], {}, 8)
    (folder / _FREE / "config.pbtxt").write_text(config)


def table(detector: Mapping[str, Any], free: Mapping[str, Any]) -> Table:
    """Return the results for the terminal."""
    rows = Table(title=f"{detector['model']} ({detector['engine']}), {IN_FLIGHT} clips in flight")
    for column in ("", LOOP, GRPC, SHARED):
        rows.add_column(column)

    def add(name: str, values: Mapping[str, float]) -> None:
        rows.add_row(name, *(f"{values[way]:.2f}" if way in values else "" for way in (LOOP, GRPC, SHARED)))

    def add_ratios(name: str, key: str) -> None:
        rows.add_row(
            name, "", str(detector[f"{key}grpc_against_loop"]), str(detector[f"{key}shared_memory_against_loop"])
        )

    add("clips/s", detector["clips_per_second"])
    add_ratios("  against the loop", "")
    add("processor ms a clip", detector["processor_milliseconds_a_clip"])
    add_ratios("  loop against it", "processor_")
    add("transport alone: ms a clip", free["milliseconds_a_clip"])
    add("  processor ms a clip", free["processor_milliseconds_a_clip"])
    add("  one at a time: ms a clip", free["milliseconds_of_a_single_clip"])
    return rows


if __name__ == "__main__":
    main()
