"""The probes: which troubles make them fail, as a table, and a real worker asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from site_runs import BRIGHT, DARK, scrape, site, write_video
from triton_of_brightness import Server

from pipeline.alerts.outbox import OutboxError
from pipeline.live import health
from pipeline.live.health import SinkState, alive, ready
from pipeline.live.listener import Watch, WorkerListener
from pipeline.live.service import Service
from pipeline.scoring.outcomes import Scored

Until = Callable[..., None]


class Facts:
    """A service with these facts; by default nothing is wrong with it."""

    def __init__(self, **facts: Any) -> None:
        self._facts = facts

    def dead_threads(self) -> list[str]:
        return self._facts.get("dead", [])

    def step_seconds(self) -> float:
        return self._facts.get("step", 0.0)

    def starting(self) -> str:
        return self._facts.get("starting", "")

    def is_stopping(self) -> bool:
        return self._facts.get("stopping", False)

    def scorer_away(self) -> float:
        return self._facts.get("away", 0.0)

    def outbox_blocked(self) -> bool:
        return self._facts.get("blocked", False)

    def sink_states(self) -> list[SinkState]:
        return self._facts.get("sinks", [SinkState("kafka", away=False, full=False)])


def sinks(*states: tuple[bool, bool]) -> list[SinkState]:
    return [SinkState(name, *state) for name, state in zip(("kafka", "webhook"), states, strict=False)]


@pytest.mark.parametrize(
    ("facts", "is_alive", "is_ready", "said"),
    [
        ({}, True, True, ""),
        ({"dead": ["operators"]}, False, True, "thread operators has ended"),
        ({"step": health.MOST_STEP_SECONDS + 1}, False, True, "operators have been at one step for 61 s"),
        ({"step": health.MOST_STEP_SECONDS - 1}, True, True, ""),
        ({"starting": "the scorer"}, True, False, "starting: the scorer"),
        ({"stopping": True, "dead": ["operators"], "step": 999.0}, True, False, "stopping"),
        ({"away": 12.0}, True, False, "nothing has been scored for 12 s"),
        ({"blocked": True}, True, False, "the outbox cannot be written"),
        ({"sinks": sinks((True, False))}, True, True, "sink kafka is away; its alerts are kept"),
        ({"sinks": sinks((False, True))}, True, True, "sink kafka does not get new alerts"),
        ({"sinks": sinks((True, True), (False, False))}, True, True, "sink kafka does not get new alerts"),
        ({"sinks": sinks((True, True), (True, False))}, True, True, "sink webhook is away"),
        (
            {"sinks": sinks((True, True), (True, True))},
            True,
            False,
            "no sink takes alerts and the outbox is full: kafka, ",
        ),
    ],
)
def test_the_probes_fail_for_these_troubles(facts: dict[str, Any], is_alive: bool, is_ready: bool, said: str) -> None:
    verdicts = alive(Facts(**facts)), ready(Facts(**facts))
    assert [verdict.status for verdict in verdicts] == [200 if is_alive else 503, 200 if is_ready else 503]
    lines = [line for verdict in verdicts for line in (*verdict.reasons, *verdict.notes)]
    assert any(said in line for line in lines) if said else not lines


def ask(port: int, probe: str) -> tuple[int, dict[str, Any]]:
    """The status and the document of a probe."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{probe}", timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@contextlib.contextmanager
def service_over(
    folder: Path, triton: str, listeners: tuple[WorkerListener, ...] = (), seconds: float = 600.0
) -> Iterator[tuple[Service, int]]:
    """A service over a long film, whose broker is away, and the port of its metrics; it has not been prepared."""
    scene: list[tuple[float, int | tuple[int, int]]] = [(2.0, BRIGHT), (seconds, DARK)]
    video = write_video(folder / "scene.mp4", scene, size=(64, 36))
    port = free_port()
    unused = f"127.0.0.1:{free_port()}"
    cameras = {"cam": {"source": str(video)}}
    service = Service(site(folder, triton, unused, cameras, metrics={"port": port}), run="r", listeners=listeners)
    try:
        yield service, port
    finally:
        service.close(relay_seconds=0.2)


def start(service: Service) -> None:
    assert service.prepare(threading.Event(), patient=True)
    service.start()


@pytest.mark.realparts
def test_a_worker_is_ready_while_it_watches_and_its_scorer_is_there(
    tmp_path: Path, triton: Server, until: Until
) -> None:
    with service_over(tmp_path, triton.address) as (service, port):
        assert ask(port, "healthz") == (200, {"ok": True, "reasons": [], "notes": []})
        status, document = ask(port, "readyz")
        assert (status, document["ok"], document["reasons"]) == (503, False, ["starting: cameras and models"])
        start(service)
        until(lambda: service.board.states[0].scored > 0, "a score")
        status, document = ask(port, "readyz")
        assert (status, document["reasons"]) == (200, [])
        assert document["notes"] == ["sink kafka is away; its alerts are kept"]
        assert scrape(port)["mistwatch_scorer_away"] == 0
        triton.unload()
        try:
            until(lambda: ask(port, "readyz")[0] == 503, "a scorer that is away")
            assert "nothing has been scored" in ask(port, "readyz")[1]["reasons"][0]
            assert ask(port, "healthz")[0] == 200, "a restart brings no scorer back"
            metrics = scrape(port)
        finally:
            triton.load()
        until(lambda: ask(port, "readyz")[0] == 200, "a scorer that is back")
    assert metrics["mistwatch_scorer_away"] == 1
    assert metrics['mistwatch_sink_away{sink="kafka"}'] == 1
    assert metrics["process_start_time_seconds"] > 0


@pytest.mark.realparts
def test_a_worker_that_waits_for_its_scorer_says_so(tmp_path: Path, until: Until) -> None:
    with service_over(tmp_path, f"127.0.0.1:{free_port()}", seconds=1.0) as (service, port):
        stop = threading.Event()
        preparing = threading.Thread(target=service.prepare, args=(stop,), kwargs={"patient": True})
        preparing.start()
        try:
            until(lambda: "the scorer" in ask(port, "readyz")[1]["reasons"][0], "the reason")
            assert ask(port, "healthz")[0] == 200
        finally:
            stop.set()
            preparing.join()


class Step(WorkerListener):
    """Does something at the first score, on the operators' thread."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def scored(self, watch: Watch, scored: Scored) -> None:
        self._act()


def end_thread() -> None:
    raise SystemExit  # ends a thread without a word


@pytest.mark.realparts
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_operators_that_hang_or_have_ended_make_a_worker_dead(
    tmp_path: Path, triton: Server, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MOST_STEP_SECONDS", 0.3)
    go_on = threading.Event()
    (tmp_path / "hang").mkdir()
    with service_over(tmp_path / "hang", triton.address, (Step(go_on.wait),), 5.0) as (service, port):
        start(service)
        until(lambda: ask(port, "healthz")[0] == 503, "a hang")
        assert "the operators have been at one step" in ask(port, "healthz")[1]["reasons"][0]
        go_on.set()
        until(lambda: ask(port, "healthz")[0] == 200, "the end of the hang")
    (tmp_path / "end").mkdir()
    with service_over(tmp_path / "end", triton.address, (Step(end_thread),), 5.0) as (service, port):
        start(service)
        until(lambda: "thread operators has ended" in ask(port, "healthz")[1]["reasons"], "the end of the thread")


@pytest.mark.realparts
def test_a_full_disk_makes_a_worker_unready_but_not_dead(
    tmp_path: Path, triton: Server, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_event: object) -> bool:
        raise OutboxError("outbox cannot grow: the disk is full")

    monkeypatch.setattr(health, "MOST_STEP_SECONDS", 3.0)  # the outbox is tried again each second
    with service_over(tmp_path, triton.address, seconds=5.0) as (service, port):
        accept = service.outbox.accept
        service.outbox.accept = full  # type: ignore[method-assign,assignment]
        start(service)
        until(lambda: "the outbox cannot be written" in ask(port, "readyz")[1]["reasons"], "the full disk")
        assert ask(port, "healthz")[0] == 200
        service.outbox.accept = accept  # type: ignore[method-assign]
        until(lambda: ask(port, "readyz")[0] == 200, "room on the disk")
