"""Compare the throughput of a replay with scoring alone, and measure its memory over an hour.

    python bench/replay.py [--model fights] [--film ../shared/data/cctv/vtest.avi] [--seconds 40] [--rounds 3]
    python bench/replay.py --hour      # memory instead: an hour of that film, on a model that costs almost nothing

**Throughput.** The same clips of the same recording go through the same embedded Triton in two ways, in turn: from
memory through the scoring client alone, and by a whole replay, which decodes, scales, cuts, runs the operators and
writes the run folder. Where scoring takes all cores, the ratio of the rates equals the ratio of processor seconds per
clip, of server and this process together. Appends to bench/results/performance/replay.jsonl.

**Memory.** Resident memory of the replaying process over an hour-long recording, which is joined from copies of the
film without re-encoding: the level after the first tenth, the change from there, and the amount that writing the table
adds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pyarrow.parquet  # noqa: F401  (as in the command: its 50 MB are loaded from the start)
from alternately import alternate, append, ratio
from processor_time import tree_seconds

from deploy.triton.server import TritonServer
from models.serving.export import ensure_repository
from operators.background import SceneKind, standing_scene
from pipeline.replay.replay import Progress, Replay
from pipeline.runs.recordings import Wanted
from pipeline.scoring.scorer import ScoredModel, Scorer
from pipeline.scoring.served_model import ServedModel, served_model
from pipeline.settings import site_from_options
from pipeline.sources.recordings import open_recording
from pipeline.windows import ClipWindow, cut

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from triton_of_brightness import Server

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
HOUR_SECONDS = 3600.0


def copies(film: Path, out: Path, seconds: float) -> Path:
    """Repeat the packets of ``film`` up to ``seconds``, in a container that keeps their times."""
    with av.open(str(out), "w", format="matroska") as joined:
        with av.open(str(film)) as first:
            stream = joined.add_stream_from_template(first.streams.video[0])
        offset = 0.0
        while offset < seconds:
            with av.open(str(film)) as one:
                source = one.streams.video[0]
                time_base = source.time_base
                assert time_base is not None
                end = 0.0
                for packet in one.demux(source):
                    if packet.dts is None or packet.pts is None:
                        continue
                    if offset + float(packet.pts * time_base) >= seconds:
                        continue
                    end = max(end, float((packet.pts + (packet.duration or 1)) * time_base))
                    packet.pts += round(offset / time_base)
                    packet.dts += round(offset / time_base)
                    packet.stream = stream
                    joined.mux(packet)
            if not end:
                break
            offset += end
    return out


def with_scenes(windows: Iterable[ClipWindow], kind: SceneKind | None) -> list[ClipWindow]:
    """Return clips with the standing scene that a worker sends with each: a server without it computes one more."""
    if kind is None:
        return list(windows)
    standing = standing_scene(kind)
    return [
        replace(one, scene=standing.push(one.segment.id, one.start, one.pixels), scene_kind=kind) for one in windows
    ]


def scoring_alone(served: ServedModel, address: str, windows: list[ClipWindow]) -> None:
    """Score the clips from memory, through the same client as a replay's."""
    with Scorer(address, [ScoredModel("clip_scorer", served.clip)]) as scorer:
        port = scorer.add_camera("bench", live=False, capacity=4, deliver=lambda _outcome: None)
        for window in windows:
            port.submit(window)
        port.drain()


def replayed(
    served: ServedModel, address: str, film: Path, show: Any = lambda _progress: None, **clip: int
) -> tuple[int, float]:
    """Replay ``film``; return its clips and the seconds it took. ``clip``: settings that differ from the model's."""
    site = site_from_options(
        {"triton": {"address": address}, "clip": clip, "gate": "off", "cameras": {"any": {"source": "any"}}}
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        outcome = Replay([Wanted(film.stem, film)], Path(folder), site=site, served=served, jobs=1).run(
            threading.Event(), show=show
        )
        took = time.perf_counter() - began
    (row,) = outcome.rows
    assert row.error is None, row.error
    return row.clips, took


def throughput(model: str, film: Path, rounds: int) -> dict[str, Any]:
    """Compare a replay with scoring alone, in rounds."""
    spent = {"scoring alone": np.zeros(2), "replay": np.zeros(2)}  # processor seconds: this process, the server

    def counted(name: str, work: Callable[[], object]) -> None:
        before = processor_seconds()
        work()
        spent[name] += processor_seconds() - before

    with TritonServer(ensure_repository(model, progress=print)) as server:
        served = served_model(server.grpc_address)
        items = cut(open_recording(film).frames([served.clip.frame_spec], threading.Event()), served.clip)
        windows = with_scenes((item for item in items if isinstance(item, ClipWindow)), served.scene)
        works: dict[str, Callable[[], object]] = {
            "scoring alone": lambda: scoring_alone(served, server.grpc_address, windows),
            "replay": lambda: replayed(served, server.grpc_address, film),
        }
        taken = alternate({name: partial(counted, name, work) for name, work in works.items()}, rounds=rounds)
    clips = (rounds + 1) * len(windows)  # with the round that alternate does not measure
    of_a_clip = {name: seconds / clips for name, seconds in spent.items()}
    return {
        "model": model,
        "film": film.name,
        "clips": len(windows),
        "clips_per_second": {name: [round(len(windows) / one, 3) for one in each] for name, each in taken.items()},
        "replay_to_scoring": ratio(taken["scoring alone"], taken["replay"]),
        "cpu_seconds_a_clip": {
            name: {"this process": round(float(own), 4), "server": round(float(its), 4)}
            for name, (own, its) in of_a_clip.items()
        },
        "ratio_by_cpu": round(float(of_a_clip["scoring alone"].sum() / of_a_clip["replay"].sum()), 3),
    }


def processor_seconds() -> npt.NDArray[np.float64]:
    """Return the processor seconds so far, of this process and of the servers that it has started."""
    own = time.process_time()
    return np.array([own, tree_seconds() - own])


def memory(film: Path, seconds: float) -> dict[str, Any]:
    """Measure resident memory, MB, at each tenth of a recording of ``seconds``."""
    with tempfile.TemporaryDirectory() as scratch:
        hour = copies(film, Path(scratch, "hour.mkv"), seconds)
        server = Server(Path(scratch, "triton"))
        server.start()
        seen: dict[int, float] = {}

        def note(progress: Progress) -> None:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            seen[int(10 * progress.seconds / seconds)] = pages * PAGE_BYTES / 1e6

        try:
            served = served_model(server.address)
            clips, took = replayed(served, server.address, hour, note, stride=16)
        finally:
            server.stop()
    tenths = [round(seen[tenth], 1) for tenth in range(10)]
    return {
        "recording_seconds": seconds,
        "clips": clips,
        "took_seconds": round(took, 1),
        "rss_mb_by_tenth": tenths,
        "growth_after_first_tenth_mb": round(tenths[-1] - tenths[1], 1),
        "rss_mb_when_written": round(seen[max(seen)], 1),  # Parquet's writer adds this once per process
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("MISTWATCH_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--model", default="fights")
    parser.add_argument("--film", type=Path, default=data / "cctv" / "vtest.avi")
    parser.add_argument("--seconds", type=float, default=40.0, help="length of the film for measuring rates")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hour", action="store_true", help="measure memory over an hour instead")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "replay.json")
    options = parser.parse_args()

    if not options.hour:
        with tempfile.TemporaryDirectory() as scratch:
            film = copies(options.film, Path(scratch, options.film.with_suffix(".mkv").name), options.seconds)
            results = throughput(options.model, film, options.rounds)
        append("replay", results)
        print(page(results), end="")
        return
    load_before = os.getloadavg()[0]
    measured = memory(options.film, HOUR_SECONDS) | {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "film": options.film.name,
        "machine": {"cpu": platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "load_average": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
        "versions": {name: version(name) for name in ("av", "openvino", "tritonclient", "pyarrow")},
    }
    text = json.dumps({"memory": measured}, indent=2) + "\n"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)
    print(text, end="")


def page(results: Mapping[str, Any]) -> str:
    """Return the results as a table in Markdown."""
    lines = ["| | clips per second, median | processor seconds a clip: this process, server |", "|---|--:|--:|"]
    for name, rates in results["clips_per_second"].items():
        cpu = results["cpu_seconds_a_clip"][name]
        lines.append(f"| {name} | {statistics.median(rates):.2f} | {cpu['this process']:.3f}, {cpu['server']:.3f} |")
    found = results["replay_to_scoring"]
    lines += ["", f"Replay relative to scoring alone: {found}; by processor time {results['ratio_by_cpu']:.2f}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
