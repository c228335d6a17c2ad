"""The page of the benches of speed: its verdicts, its tolerance, and the committed page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import MistwatchError

MACHINE = {"cpu": "made-up", "cores": 2, "features": ["avx2"], "load": 0.1, "packages": {"av": "18.1.0"}}


@pytest.fixture(scope="module")
def performance(load: Any) -> Any:
    return load("performance")


def run(**results: Any) -> dict[str, Any]:
    return {"when": "2026-12-01T12:00:00+00:00", "machine": MACHINE, **results}


def row_of(page: str, words: str) -> str:
    (line,) = [line for line in page.splitlines() if line.startswith("|") and words in line]
    return line


def test_the_committed_page_is_of_the_committed_results(performance: Any, root: Path) -> None:
    """`python bench/performance.py` writes it; by hand only the program is changed."""
    found = {name: performance.newest(name) for name in (*performance.BENCHES, "gpu")}
    assert performance.page(found) == (root / "docs" / "PERFORMANCE.md").read_text(encoding="utf-8")


def test_without_results_nothing_is_claimed(performance: Any) -> None:
    page = performance.page({})
    assert len([line for line in page.splitlines() if line.endswith(".py` |")]) == len(performance.ROWS)
    assert "| met |" not in page
    assert "missed**" not in page
    assert "**has never run on a GPU**" in page


@pytest.mark.parametrize(
    ("replay", "verdict"),
    [
        ({"median": 0.96, "low": 0.94, "high": 0.97, "rounds": 3}, "| 0.96 (0.94 to 0.97) | met |"),
        ({"median": 0.949, "low": 0.94, "high": 0.96, "rounds": 3}, "| 0.95 (0.94 to 0.96) | **missed** |"),
    ],
)
def test_the_median_decides(performance: Any, replay: Any, verdict: str) -> None:
    (row,) = [row for row in performance.ROWS if row.bench == "replay"]
    figures, judged = row.judged(run(replay_to_scoring=replay))
    assert f"| {figures} | {judged} |" == verdict


def test_the_worst_of_several_figures_counts(performance: Any) -> None:
    """Of two films, one is decoded too slowly; and of two checks, one does not hold."""
    (decode,) = [row for row in performance.ROWS if row.bench == "decode"]
    films = {name: {"ours_to": {"ffmpeg": figure}} for name, figure in (("small, 25 fps", 0.9), ("large", 1.2))}
    assert decode.judged(run(films=films)) == ("1.20", "**missed**")
    (gate,) = [row for row in performance.ROWS if row.bench == "gate"]
    one_lost, kept = ({"footage": name, "incidents": 5, "lost": lost} for name, lost in (("a", 1), ("b", 0)))
    found = run(cameras_against_decoding=0.8, sets=[one_lost, kept])
    assert gate.judged(found) == ("0.80; incidents lost: 1.00", "**missed**")
    assert gate.judged(found | {"sets": [kept]}) == ("0.80; incidents lost: 0", "met")
    not_judged = found | {"sets": [kept, {"footage": "Ped2"}]}
    assert gate.judged(not_judged)[1] == "not measured: no lost incidents counted for Ped2"
    assert gate.judged(found | {"sets": []}) == ("0.80", "not measured"), "one of two is not enough"


def test_the_rows_read_the_keys_of_the_gates_bench(performance: Any, load: Any) -> None:
    bench = load("gate")
    (gate,) = [row for row in performance.ROWS if row.bench == "gate"]
    unscored = bench.figures("Ped2", [True, False], [True, True], [], [True, False])
    found = json.loads(json.dumps(run(cameras_against_decoding=0.8, sets=[unscored])))
    assert gate.judged(found) == ("0.80; incidents lost: 1.00", "**missed**")


def test_a_worker_without_a_gate_does_not_count_as_gated(performance: Any) -> None:
    share = {"median": 0.005, "low": 0.004, "high": 0.006}
    found = run(share_of_a_core={"beyond_decoding": share}, gated=0)
    (row,) = [row for row in performance.ROWS if "all cameras gated" in row.what]
    assert row.judged(found) == ("0.5 % (0.4 % to 0.6 %)", "not measured: the worker had no gate")
    assert row.judged(found | {"gated": 10}) == ("0.5 % (0.4 % to 0.6 %)", "met")


def test_peers_stand_in_one_table(performance: Any) -> None:
    films = {
        "fine": {"milliseconds_a_picture": {"mistwatch": 1.0, "ffmpeg": 1.25}},
        "coarse": {"milliseconds_a_picture": {"mistwatch": 0.5}},
    }
    page = performance.page({"decode": run(films=films)})
    assert "sampled and scaled | fine | coarse |" in page
    assert "| mistwatch | 1.000 | 0.500 |\n| ffmpeg | 1.250 |  |" in page
    assert "| `decode` | 2026-12-01 | 2 cores of made-up (avx2) | 0.1 | av 18.1.0 |" in page


def test_a_core_holds_as_many_cameras_as_its_seconds_allow(performance: Any) -> None:
    """Reading 0.02 s and scoring 0.08 s of a core: 10 cameras; with a 64th of the clips 1 / 0.02125 = 47.06."""
    one = {"resolution": "720p", "stride": 16, "detectors": 1, "reading": 0.02, "scoring": 0.08}
    lines = performance.sizing(run(camera_second=[one, one | {"detectors": 2}]))
    (row,) = [line for line in lines if line.startswith("| 720p")]
    always, tenth, never = (cell.strip() for cell in row.split("|")[2:5])
    assert (always, never) == ("10.0", "47.1")
    assert float(tenth) == pytest.approx(1 / (0.02 + 0.08 * (0.1 + 0.9 / 64)), abs=0.05)


def test_the_rows_read_the_keys_of_the_bench_of_precision(performance: Any, load: Any) -> None:
    """Every row of the page but that of bfloat16, which few processors have; and the peers are ways of scoring."""
    ways = ("eager", "fp32_in_process", "fp32_served", "int8_in_process", "int8_served", "peak_f32", "peak_int8")
    scores = {"fp32_served": np.array([0.5]), "int8_served": np.array([0.5])}
    summary = load("precision").summary({way: [0.1, 0.1] for way in ways}, scores, np.array([0.5]), work=50.0)
    found = json.loads(json.dumps(run(**summary), default=asdict))
    rows = [row for row in performance.ROWS if row.bench == "precision" and "bfloat16" not in row.what]
    assert len(rows) == 3
    assert all("not measured" not in row.judged(found)[1] for row in rows)
    peers = "\n".join(performance.table_of(performance.PEERS[0], found))
    assert "| int8_served |" in peers
    assert "peak" not in peers
    assert all("not measured" not in "\n".join(performance.table_of(limit, found)) for limit in performance.LIMITS)


def test_every_bench_that_a_row_names_is_run(performance: Any) -> None:
    named = {row.bench for row in performance.ROWS}
    named |= {one.bench for one in (*performance.PEERS, *performance.LIMITS, *performance.GROWTH)}
    assert named <= performance.BENCHES.keys()


def test_the_costs_of_growth_are_sums_of_parts(load: Any) -> None:
    """A clip of 0.4 s: at 12.5 fps and a stride of 16 it takes 0.3125 s of a second; half the stride, twice that."""
    growth = load("growth")
    reading = {f"{name}, {sizes}": 0.01 * sizes for name in growth.RESOLUTIONS for sizes in growth.DETECTORS}
    found = growth.costs(reading, 0.4)
    of = {(one["resolution"], one["stride"], one["detectors"]): one for one in found["camera_second"]}
    assert len(of) == 12
    assert of["720p", 16, 1]["scoring"] == 0.3125
    assert of["720p", 8, 1]["scoring"] == 0.625
    assert of["720p", 16, 2] == {
        "resolution": "720p", "stride": 16, "detectors": 2, "reading": 0.02, "scoring": 0.625
    }  # fmt: skip
    page = growth.page(found | {"fps": 25, "clip_fps": 12.5, "model": "m", "engine": "e"})
    assert f"| 720p | 16 | 1 | 0.0100 | 0.3125 | {1 / 0.3225:.1f} |" in page


def test_an_idle_worker_is_compared_round_by_round(load: Any) -> None:
    shares = {"tail": [0.001, 0.003], "worker": [0.2, 0.3], "decoding": [0.15, 0.28], "scaling": [0.19, 0.295]}
    found = load("idle").figures(shares, {"scored": 2, "gated": 30}, cameras=4, seconds=10.0, rounds=2)
    share = found["share_of_a_core"]
    assert share["beyond_decoding"]["median"] == pytest.approx(0.035)
    assert share["beyond_decoding"]["high"] == pytest.approx(0.05)
    assert share["beyond_scaling"]["low"] == pytest.approx(0.005)
    assert "| `mistwatch alerts tail` | 0.20% | 0.10% to 0.30% |" in load("idle").page(found)


def test_a_process_that_ends_by_itself_is_named(load: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(MistwatchError, match=r"worker: ended by itself \(got no camera\)"),
        load("idle").running("worker", [sys.executable, "-c", "print('no camera')"], tmp_path) as pid,
    ):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_latencies_are_shown_by_stage(load: Any) -> None:
    latency = load("latency")
    assert latency.spread([]) is None
    assert latency.spread([0.1] * 19 + [0.5]) == {"median": 0.1, "p95": pytest.approx(0.12), "count": 20}
    before = {"requests": 10, "executions": 10, "queue": 0, "compute_infer": 5_000_000}
    after = {"requests": 18, "executions": 14, "queue": 4_000_000, "compute_infer": 85_000_000}
    inside = latency.difference(before, after)
    assert inside == {"batch": 2.0, "queue_ms": 0.5, "compute_infer_ms": 10.0}
    found = {
        "cameras": 8, "stride": 9, "capacity_cameras": 10.2, "busy_share": 0.79, "clips": 900, "dropped": 0,
        "alerts": 40,
        "stages": {"window": {"median": 1.28, "p95": 1.3, "count": 900}, "queue": None}, "triton": inside,
        "clip_to_consumer_seconds": {"median": 0.1, "p95": 0.3, "count": 80}, "incident_to_consumer_seconds": None,
    }  # fmt: skip
    page = latency.page(json.loads(json.dumps(found)))
    assert "| window | 1.280 | 1.300 | 900 |\n| queue | | | 0 |" in page
    assert "| clip's last frame → consumer | 0.100 | 0.300 | 80 |" in page


def test_the_time_of_a_process_counts_its_children(load: Any) -> None:
    processor_time = load("processor_time")
    before = processor_time.tree_seconds()
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint('', flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert 0.45 <= processor_time.tree_seconds(child.pid) < 5
        assert processor_time.tree_seconds(os.getpid()) - before >= 0.45
        child.communicate(b"\n")
