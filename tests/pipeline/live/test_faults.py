"""A run under faults: a full disk, a server that is not there, signals at bad moments, processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from ports import free_port
from site_runs import BRIGHT, DARK, read_until, site, start_run, wait_for_metric, write_site, write_video
from triton_of_brightness import Server

from deploy.broker.server import BrokerServer
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.outbox import Outbox, OutboxError
from pipeline.live.service import Service

pytestmark = pytest.mark.waits

AWAY = "rtsp://127.0.0.1:9/none"  # the discard port: nobody listens
#: A stop's limits sum to less than 10 s; beyond them a busy machine takes its time.
STOP_SECONDS = 25.0


class FullDisk:
    """An outbox's ``accept`` on a disk that is full until it is told otherwise."""

    def __init__(self, outbox: Outbox) -> None:
        self._accept = outbox.accept
        self.full = True
        self.refused = threading.Event()

    def __call__(self, event: AlertEvent) -> bool:
        if self.full:
            self.refused.set()
            raise OutboxError("outbox cannot grow: the disk is full")
        return self._accept(event)


def service_on_a_full_disk(
    folder: Path, triton: str, broker: str, events: list[AlertEvent]
) -> tuple[Service, FullDisk]:
    video = write_video(folder / "scene.mp4", [(1.0, DARK), (2.0, BRIGHT), (2.0, DARK)])
    service = Service(site(folder, triton, broker, {"cam": {"source": str(video)}}), run="r", published=events.append)
    disk = FullDisk(service.outbox)
    service.outbox.accept = disk  # type: ignore[method-assign]
    assert service.prepare(threading.Event(), patient=False)
    service.start()
    assert disk.refused.wait(90)
    return service, disk


@pytest.mark.realparts
def test_no_alert_is_lost_while_the_disk_is_full(tmp_path: Path, triton: Server, broker: str) -> None:
    events: list[AlertEvent] = []
    service, disk = service_on_a_full_disk(tmp_path, triton.address, broker, events)
    try:
        time.sleep(1.5)
        disk.full = False
        assert service.worker is not None
        assert service.worker.wait(90)
    finally:
        left = service.close(relay_seconds=60)
    assert left == 0
    assert [(event.data.state, event.data.sequence) for event in events] == [("begin", 0), ("end", 1)]


@pytest.mark.realparts
def test_a_full_disk_does_not_keep_a_run_from_ending(
    tmp_path: Path, triton: Server, broker: str, capfd: pytest.CaptureFixture[str]
) -> None:
    events: list[AlertEvent] = []
    service, _ = service_on_a_full_disk(tmp_path, triton.address, broker, events)
    began = time.monotonic()
    service.close()
    assert time.monotonic() - began < STOP_SECONDS
    said = "".join(capfd.readouterr())
    assert "alert lost" in said
    assert "Traceback" not in said
    assert not events


@pytest.mark.realparts
def test_what_a_killed_run_has_accepted_reaches_the_topic_without_a_scorer(tmp_path: Path, triton: Server) -> None:
    video = write_video(tmp_path / "scene.mp4", [(1.0, DARK), (2.0, BRIGHT), (2.0, DARK)])
    cameras = f"  cam: {{source: '{video}'}}\n  away: {{source: '{AWAY}'}}\n"
    broker_port, metrics_port = free_port(), free_port()
    process = start_run(write_site(tmp_path, triton.address, f"127.0.0.1:{broker_port}", cameras, metrics_port))
    try:
        wait_for_metric(process, metrics_port, "mistwatch_outbox_depth", 2)
    finally:
        process.kill()
        process.communicate(timeout=60)
    config = write_site(tmp_path, f"127.0.0.1:{free_port()}", f"127.0.0.1:{broker_port}", cameras)
    with BrokerServer(tmp_path / "late-broker", port=broker_port):
        process = start_run(config)
        try:
            assert process.stdout is not None
            watchdog = threading.Timer(90, process.kill)
            watchdog.start()
            published = [json.loads(process.stdout.readline())["type"] for _ in range(2)]
            watchdog.cancel()
            process.terminate()
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert published == ["mistwatch.alert.begin", "mistwatch.alert.end"]
    assert "waiting for the scorer" in errors
    assert process.returncode == 0, errors


@pytest.mark.realparts
def test_a_signal_ends_a_run_that_waits_only_for_the_broker(tmp_path: Path, triton: Server) -> None:
    """Its recordings are through; what they raised stays in the outbox."""
    video = write_video(tmp_path / "scene.mp4", [(1.0, DARK), (2.0, BRIGHT)])
    nobody, port = f"127.0.0.1:{free_port()}", free_port()
    process = start_run(write_site(tmp_path, triton.address, nobody, f"  cam: {{source: '{video}'}}\n", port))
    try:
        wait_for_metric(process, port, "mistwatch_outbox_depth", 2)
        began = time.monotonic()
        process.terminate()
        _, errors = process.communicate(timeout=90)
        took = time.monotonic() - began
    finally:
        process.kill()
    assert took < STOP_SECONDS
    assert process.returncode == 0, errors
    assert "2 alert event(s) are not on the topic yet" in errors


@pytest.mark.realparts
def test_a_camera_counts_as_away_until_its_first_picture(tmp_path: Path, triton: Server, broker: str) -> None:
    """An alarm on ``camera_connected == 0`` must see a camera that hangs in its first attempt."""
    service = Service(site(tmp_path, triton.address, broker, {"cam": {"source": AWAY}}))
    try:
        assert service.prepare(threading.Event(), patient=False)
        registry = service.metrics.registry
        assert registry.get_sample_value("mistwatch_camera_connected", {"camera": "cam"}) == 0
    finally:
        service.close()


ENDED_AT_ONCE = """
import os, signal, sys, time
from pipeline.cli.live import stopping

number = signal.Signals(int(sys.argv[1]))
before = signal.getsignal(number)
released, went_on = False, False
with stopping() as stop:
    try:
        with stop.at_once():
            os.kill(os.getpid(), number)
            time.sleep(10)
            went_on = True
    finally:
        released = True
    went_on = True
assert stop.is_set()
assert released
assert not went_on
assert signal.getsignal(number) is before
print("ended at once")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_starting_of_servers_at_once(number: signal.Signals) -> None:
    assert said_in_a_process(ENDED_AT_ONCE, str(number.value)) == "ended at once\n"


NOT_FORGOTTEN = """
import os, signal
from pipeline.cli.live import stopping

went_on = False
with stopping() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.wait(1)  # nothing is broken off here
    with stop.at_once():
        went_on = True
assert not went_on
print("not forgotten")
"""


def test_a_signal_before_the_starting_of_servers_is_not_forgotten() -> None:
    assert said_in_a_process(NOT_FORGOTTEN) == "not forgotten\n"


def said_in_a_process(code: str, *arguments: str) -> str:
    """Run ``code`` in a process of its own, and return the text that it prints.

    Signals are not sent to the tests' process: it has the threads of many native libraries, and died of one.
    """
    command = [sys.executable, "-P", "-c", code, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def watch_an_absent_camera(out: Path, triton: str) -> tuple[subprocess.Popen[str], int]:
    """`watch` with an embedded broker; gives the process and the broker's id."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "pipeline.cli",
        "watch",
        AWAY,
        "--wait",
        "--triton",
        triton,
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    read_until(process, "camera away")
    children = [pid for pid, parent in parents().items() if parent == process.pid]  # that of the decoders, too
    (broker,) = [pid for pid in children if "noida-db" in Path(f"/proc/{pid}/cmdline").read_text()]
    return process, broker


def parents() -> dict[int, int]:
    """Every process that has not ended, and its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has just ended
        if state != "Z":
            found[int(stat.parent.name)] = int(parent)
    return found


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    limit = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < limit:
        time.sleep(0.05)
    return held


@pytest.mark.realparts
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_goes_away_ends_watch_and_no_alert_is_lost(
    tmp_path: Path, triton: Server, broker: str, options: list[str]
) -> None:
    """`mistwatch watch … | head -1`: an alert that nobody reads there is published all the same."""
    video = write_video(tmp_path / "scene.mp4", [(1.0, DARK), (2.0, BRIGHT)] * 100)
    topic = f"t{tmp_path.name}"
    servers = ["--triton", triton.address, "--kafka", broker, "--topic", topic, "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.cli", "watch", str(video), *servers, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        assert process.wait(60) == 0, errors
    finally:
        process.kill()
    assert not errors
    with closing(Outbox(tmp_path / "run" / "outbox.sqlite", ["kafka"])) as outbox:
        assert outbox.depth() == 0


@pytest.mark.realparts
def test_a_full_standard_output_is_one_line(tmp_path: Path, triton: Server, broker: str) -> None:
    video = write_video(tmp_path / "scene.mp4", [(1.0, DARK), (2.0, BRIGHT)])
    servers = ["--triton", triton.address, "--kafka", broker, "--out", str(tmp_path / "run")]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-P", "-m", "pipeline.cli", "watch", str(video), *servers],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=180,
            check=False,
        )
    assert result.stderr == "mistwatch: standard output cannot be written: No space left on device\n"


@pytest.mark.realparts
def test_watch_ends_when_its_own_broker_has_ended(tmp_path: Path, triton: Server) -> None:
    process, broker = watch_an_absent_camera(tmp_path, triton.address)
    try:
        os.kill(broker, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "mistwatch: the embedded broker has ended by itself" in errors
    assert "Traceback" not in errors


@pytest.mark.realparts
def test_the_broker_of_a_killed_watch_ends(tmp_path: Path, triton: Server) -> None:
    process, broker = watch_an_absent_camera(tmp_path, triton.address)
    try:
        process.kill()
        process.communicate(timeout=60)
        assert within(60, lambda: broker not in parents())
    finally:
        if broker in parents():
            os.kill(broker, signal.SIGKILL)
