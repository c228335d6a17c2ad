"""One camera watched by one worker after the other, some of them killed at bad moments: no alert is begun twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shared_camera
from brokers import (  # noqa: F401  # fixtures
    apache_kafka,
    broker,
    formatted_kafka,
    kafka_jars,
    noida_db,
)

from pipeline.alerts.event import AlertEvent
from pipeline.alerts.outbox import Outbox

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

#: Far more than a busy machine needs.
SECONDS = 90.0


class Process:
    """``shared_camera.py``, running, with the lines that it prints."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.folder = folder
        self.lines: list[dict[str, Any]] = []
        self.log: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, shared_camera.__file__, bootstrap, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                if line.startswith("{"):
                    self.lines.append(json.loads(line))
                else:
                    self.log.append(line)
                self._changed.notify_all()

    def wait_for(self, key: str, value: object = None, *, after: int = 0, seconds: float = SECONDS) -> dict[str, Any]:
        """Return the first line, behind the first ``after`` ones, with this key (and value)."""

        def found() -> dict[str, Any] | None:
            return next((line for line in self.lines[after:] if key in line and value in (None, line[key])), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, seconds), f"no {key} in {self.lines}, {self.log}"
            line = found()
        assert line is not None
        return line

    def watch(self) -> dict[str, Any]:
        """Let it claim the camera; return its claim."""
        self._order()
        return self.wait_for("generation")

    def hand_over(self) -> None:
        self._order()
        assert self._process.wait(SECONDS) == 0

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(SECONDS)
        self._reader.join(SECONDS)

    def _order(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def events(self) -> list[AlertEvent]:
        """Return the events that it had accepted when it ended."""
        box = Outbox(self.folder / "outbox.sqlite", ["kafka"])
        try:
            return [event for event in box.deliveries("kafka").pending(10_000) if isinstance(event, AlertEvent)]
        finally:
            box.close()


@pytest.fixture
def start(broker: Any, tmp_path: Path) -> Iterator[Callable[[], Process]]:  # noqa: F811
    processes: list[Process] = []

    def start_one() -> Process:
        process = Process(broker.bootstrap, tmp_path / f"worker-{len(processes)}")
        processes.append(process)
        process.wait_for("ready")
        return process

    yield start_one
    for process in processes:
        process.kill()


def incident_of(event: AlertEvent) -> int:
    """The number of the bright time in which an alert began."""
    assert event.data.started_at is not None
    return int(event.data.started_at.timestamp() // (shared_camera.BRIGHT_SECONDS + shared_camera.DARK_SECONDS))


def check(workers: list[list[AlertEvent]]) -> int:
    """Check the events of all workers together; return the number of alerts that went over a hand-over."""
    events = [event for worker in workers for event in worker]
    assert len({event.id for event in events}) == len(events), "an id is used once"
    begins = [event for event in events if event.data.state == "begin"]
    assert len({event.data.alert_id for event in begins}) == len(begins), "an alert is begun once"
    assert len({incident_of(event) for event in begins}) == len(begins), "an incident is begun once"
    of_alert: dict[tuple[Any, Any], list[AlertEvent]] = defaultdict(list)
    generations: dict[Any, set[int | None]] = defaultdict(set)
    for event in events:
        of_alert[event.data.alert_id, event.data.generation].append(event)
        generations[event.data.alert_id].add(event.data.generation)
    for alert in of_alert.values():
        numbers = [event.data.sequence for event in alert]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "no gap within a generation"
        assert all(event.data.state != "end" for event in alert[:-1]), "nothing follows an end within a generation"
    return sum(len(of) > 1 for of in generations.values())


def test_a_handed_over_alert_continues_under_its_id(start: Callable[[], Process]) -> None:
    first, second = start(), start()
    claim = first.watch()
    assert not claim["continues"]
    begin = first.wait_for("event", "begin")["id"]
    first.hand_over()
    claimed = second.watch()
    assert claimed["continues"]
    assert claimed["generation"] > claim["generation"]
    second.wait_for("event", "end")
    second.hand_over()
    workers = [first.events(), second.events()]
    alert = begin.partition("/")[0]
    assert next(event.data.state for event in workers[0] if event.id.startswith(alert)) == "begin"
    of_alert = [event for event in workers[1] if str(event.data.alert_id) == alert]
    assert of_alert[-1].data.end_reason == "below_threshold"
    assert all(event.data.state != "begin" for event in of_alert)
    assert of_alert[0].data.generation == claimed["generation"]
    assert of_alert[-1].data.last_segment not in (None, of_alert[-1].data.segment)
    assert check(workers) == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_workers_killed_at_random_begin_no_alert_twice(start: Callable[[], Process]) -> None:
    draw = random.Random(18)
    workers: list[list[AlertEvent]] = []
    process = start()
    for number in range(8):
        process.watch()
        following = start()  # it has to import everything before it can take over
        after = len(process.lines)
        if number % 3:  # near a transition
            process.wait_for("event", "begin" if number % 3 == 1 else "end", after=after)
            time.sleep(draw.uniform(0.0, 0.02))
        else:
            time.sleep(draw.uniform(0.0, 8.0))
        process.kill()
        workers.append(process.events())
        process = following
    process.watch()
    process.wait_for("event", "end")
    process.hand_over()
    workers.append(process.events())
    assert check(workers) >= 2, "some alerts were continued"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_frozen_worker_is_fenced_when_it_comes_back(start: Callable[[], Process]) -> None:
    first, second = start(), start()
    claim = first.watch()
    first.wait_for("event", "begin")
    first.signal(signal.SIGSTOP)
    claimed = second.watch()
    second.wait_for("event")
    first.signal(signal.SIGCONT)
    assert first.wait_for("fenced")["fenced"] == claimed["generation"] > claim["generation"]
    events = len(first.lines)
    second.wait_for("event", "begin")  # of the next incident, which the first worker must leave alone
    first.hand_over()
    second.hand_over()
    assert "begin" not in [line.get("event") for line in first.lines[events:]]
    assert check([first.events(), second.events()]) >= 1
