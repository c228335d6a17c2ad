"""The soak's judgement of its samples, on samples that are made up."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from delivery_counts import Message


@pytest.fixture(scope="module")
def soak(load: Any) -> Any:
    return load("soak")


def samples(soak: Any, pss: list[float]) -> list[Any]:
    """One a minute, of a worker with four processes; in each minute, clips that wait take up to 300 MB more."""
    return [
        soak.Sample(float(minute), mb, mb + 300.0, 100, 40, 4, 30.0 * minute, 0.0, 16.0, 80.0 * minute)
        for minute, mb in enumerate(pss)
    ]


def judged(soak: Any, pss: list[float], missing: int = 0) -> list[str]:
    problems: list[str] = soak.growth(soak.figures(samples(soak, pss), 16) | {"missing": missing})
    return problems


def test_a_worker_whose_memory_settles_passes(soak: Any) -> None:
    assert judged(soak, [150.0, 190.0, 200.0] + [205.0] * 58) == []


def test_memory_that_grows_is_found(soak: Any) -> None:
    (problem,) = judged(soak, [200.0 + 2.5 * minute for minute in range(61)])
    assert problem.startswith("pss_mb grew from 21")


def test_a_sample_has_the_lowest_and_the_highest_memory_of_its_minute(soak: Any) -> None:
    with subprocess.Popen(["sleep", "60"]) as worker:
        try:
            sample = soak.look(worker.pid, 1, 0.0, [410.0, 400.0, 700.0])
        finally:
            worker.kill()
    assert (sample.pss_mb, sample.pss_most_mb, sample.processes) == (400.0, 700.0, 1)


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
    assert line.startswith(
        "| an hour | 1.00 | 16 | 200 MB, 200 MB (12.5 MB a camera) | 500 MB | 100, 100 | 40, 40 | 0.50 cores"
    )
