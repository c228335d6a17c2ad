"""The soak's judgement of its samples, on samples that are made up."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from delivery_counts import Message


@pytest.fixture(scope="module")
def soak(load: Any) -> Any:
    return load("soak")


def samples(soak: Any, memory: list[float]) -> list[Any]:
    """One a minute, of a worker with four processes; in each minute, clips that wait take up to 300 MB more."""
    return [
        soak.Sample(float(minute), mb, mb + 300.0, 60.0, 100, 40, 4, 30.0 * minute, 0.0, 16.0, 80.0 * minute)
        for minute, mb in enumerate(memory)
    ]


def judged(soak: Any, memory: list[float], missing: int = 0) -> list[str]:
    problems: list[str] = soak.growth(soak.figures(samples(soak, memory), 16) | {"missing": missing})
    return problems


def test_a_worker_whose_memory_settles_passes(soak: Any) -> None:
    assert judged(soak, [150.0, 190.0, 200.0] + [205.0] * 58) == []


def test_memory_that_grows_is_found(soak: Any) -> None:
    (problem,) = judged(soak, [200.0 + 2.5 * minute for minute in range(61)])
    assert problem.startswith("memory_mb grew from 21")


def test_a_sample_has_the_lowest_and_the_highest_memory_of_its_minute(soak: Any) -> None:
    with subprocess.Popen(["sleep", "60"]) as worker:
        try:
            sample = soak.look(
                worker.pid, 1, 0.0, [soak.Memory(*one) for one in [(410.0, 50.0), (400.0, 70.0), (700.0, 60.0)]]
            )
        finally:
            worker.kill()
    assert (sample.memory_mb, sample.memory_most_mb, sample.worker_mb, sample.processes) == (400.0, 700.0, 70.0, 1)


def test_pages_of_files_do_not_count_pages_of_children_do(soak: Any, tmp_path: Path) -> None:
    """A process and its child write 40 and 20 MB; both have mapped and read a file of 80 MB."""
    (tmp_path / "file").write_bytes(bytes(80_000_000))
    program = (
        "import mmap, os, sys, time\n"
        "file = open(sys.argv[1], 'rb'); mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n"
        "sum(mapped[::4096])\n"
        "child = os.fork()\n"
        "own = bytearray(b'x' * (40_000_000 if child else 20_000_000))\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "file")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as worker:
        try:
            assert worker.stdout is not None
            assert [worker.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
            memory = soak.memory_of(worker.pid)
        finally:
            os.killpg(worker.pid, signal.SIGKILL)
    assert memory.tree == pytest.approx(60.0, abs=15.0)  # an interpreter takes some megabytes
    assert memory.root == pytest.approx(40.0, abs=10.0)


def test_a_missing_event_is_found(soak: Any) -> None:
    assert judged(soak, [200.0] * 61, missing=2) == ["2 accepted events are neither on the topic nor in the outbox"]


def test_an_accepted_event_that_was_never_published_is_missing(soak: Any, tmp_path: Path) -> None:
    """Five are accepted; one of them arrives twice, one waits in the outbox, and two have gone without a word."""
    (tmp_path / "ledger").write_text("gate a/0\ngate a/1\nyard y/0\nyard y/1\ngate a/2\n")
    (tmp_path / "state").mkdir()
    with closing(sqlite3.connect(tmp_path / "state" / "outbox.sqlite")) as outbox, outbox:
        outbox.execute("CREATE TABLE events (id TEXT)")
        outbox.execute("INSERT INTO events VALUES ('y/1')")
    messages = [Message("gate", one, "mistwatch.alert.update", 0.0, b"") for one in ("a/0", "a/0", "a/1")]
    assert soak.delivered(tmp_path, messages) == {"accepted": 5, "arrived": 2, "missing": 2, "duplicates": 1}


def test_processor_time_is_that_of_the_time_between_the_samples(soak: Any) -> None:
    assert soak.figures(samples(soak, [200.0] * 61), 16)["cpu_cores"] == pytest.approx(0.5)


def test_the_picture_is_drawn_and_the_page_has_a_line(soak: Any, tmp_path: Path) -> None:
    made = samples(soak, [200.0] * 61)
    run = soak.figures(made, 16) | {"faults": 7, "accepted": 9, "arrived": 9, "missing": 0, "duplicates": 0}
    run["samples"] = [soak.asdict(one) for one in made]
    soak.draw("an hour", run, tmp_path / "soak.webp")
    assert (tmp_path / "soak.webp").read_bytes()[8:12] == b"WEBP"
    line = soak.reliability.soak_lines({"an hour": run}).splitlines()[-1]
    memory = "200 MB, 200 MB (12.5 MB a camera) | 60 MB, 60 MB | 500 MB"
    assert line.startswith(f"| an hour | 1.00 | 16 | {memory} | 100, 100 | 40, 40 | 0.50 cores")
