"""The worker's own disk full, its wall clock set back and forth, and SIGTERM while cameras fail."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from delivery_counts import count, illegal_alerts, read_messages
from fault_trial import Fault, try_fault
from faulty_camera import FaultyCameras
from forked_worker import Bench, Forge, drain
from ports import free_port
from small_disks import SmallDisk, small_disk
from triton_of_brightness import Server
from watched_fleet import Fleet

from deploy.broker.server import BrokerServer

pytestmark = [pytest.mark.faults, pytest.mark.waits, pytest.mark.realparts]

STOP_SECONDS = 25.0  # 10 s, and the time that a busy machine takes
LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
BLINKING = {f"cam{number}": "blink://?bright=0.6&dark=0.6" for number in range(6)}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker's address; each test takes a topic of its own."""
    with BrokerServer(tmp_path_factory.mktemp("broker")) as server:
        yield server.bootstrap


@pytest.fixture
def state_disk(tmp_path: Path, require: Callable[[str], NoReturn]) -> Iterator[SmallDisk]:
    """A disk for the worker's state."""
    with small_disk(tmp_path / "disk", 8, require) as disk:
        yield disk


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_outboxs_disk_is_full(
    tmp_path: Path,
    triton: Server,
    broker: str,
    state_disk: SmallDisk,
    forge: Forge,
    whole: bool,
    record: Callable[..., None],
) -> None:
    """Nothing is accepted meanwhile, nothing accepted is lost, and alerts are accepted again once there is room."""
    bench = Bench(
        tmp_path / "site",
        triton.address,
        broker,
        BLINKING,
        f"t{tmp_path.name}",
        state_disk.folder / "state",
        free_port(),
    )
    result = try_fault(forge, bench, Fault(state_disk.fill, state_disk.free, 30 if whole else 4))
    counts = result.counts
    assert (counts.missing, counts.disordered, counts.unlogged) == (0, 0, 0)
    assert result.stop_seconds < STOP_SECONDS
    # The ends of alerts that were open at the SIGTERM had no room; the log names each.
    refused = bench.log.read_text().count("alert lost")
    assert len(result.illegal) <= refused
    record(
        "worker: the outbox's disk full",
        "nothing accepted is lost; operators wait, clips that cannot wait are dropped and counted",
        counts.accepted,
        counts.arrived,
        counts.duplicates,
        result.recovery_seconds,
        f"{result.dropped:.0f} clips dropped and counted; SIGTERM during it: {result.stop_seconds:.1f} s, "
        f"{refused} events not accepted and logged",
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wall_clock_is_set_back_and_forth(
    tmp_path: Path, triton: Server, broker: str, require: Callable[[str], NoReturn], record: Callable[..., None]
) -> None:
    """An hour forward, a day back, to 1970 and right again: no accepted alert is lost, no latency is negative."""
    if LIBFAKETIME is None:
        require("libfaketime (`make system` installs it)")
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    faked = {
        "LD_PRELOAD": str(LIBFAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    bench = Bench(tmp_path / "site", triton.address, broker, BLINKING, f"t{tmp_path.name}", metrics_port=free_port())
    sums: list[float] = []

    def set_clock() -> None:
        for offset in ("+3600", "-86400", f"-{int(time.time()) - 1000}"):
            clock.write_text(f"{offset}\n")
            time.sleep(2.0)
        delays = ("capture_to_score", "capture_to_published")
        sums.extend(bench.metric(f"mistwatch_{name}_seconds_sum") for name in delays)

    with Forge(tmp_path, **faked) as forge:
        result = try_fault(forge, bench, Fault(set_clock, lambda: clock.write_text("+0\n"), 1))
    counts = result.counts
    assert (counts.missing, counts.disordered, counts.duplicates, counts.unlogged) == (0, 0, 0, 0)
    assert not result.illegal
    assert result.stop_seconds < STOP_SECONDS
    years = {message.value.partition(b'"captured_at":"')[2][:4] for message in result.messages}
    assert b"1970" in years, "the clock was never set"
    assert min(sums) >= 0
    record(
        "worker: its wall clock set an hour forth, a day back, to 1970 and right again",
        "no accepted alert is lost; delays are measured by another clock and never negative",
        counts.accepted,
        counts.arrived,
        counts.duplicates,
        result.recovery_seconds,
        f"{result.dropped:.0f} clips dropped; SIGTERM during it: {result.stop_seconds:.1f} s",
    )


@pytest.mark.timeout(900)
def test_a_signal_ends_a_worker_whose_cameras_fail(
    tmp_path: Path, triton: Server, broker: str, forge: Forge, record: Callable[..., None]
) -> None:
    """One camera fails in each way while SIGTERM comes; every alert ends, and everything accepted arrives."""
    steering = {
        "silent": {"silent": True}, "refused": {"listening": False}, "garbage": {"garbage": 0.5},
        "junk": {"junk": True}, "reset": {"reset": True}, "still": {"stamps": "still"}, "hevc": {"film": "hevc"},
        "password": {"password": "other", "reset": True}, "sound": {},
    }  # fmt: skip
    with FaultyCameras(steering) as cameras:
        bench = Bench(
            tmp_path / "site",
            triton.address,
            broker,
            {name: cameras.url(name) for name in steering},
            f"t{tmp_path.name}",
        )
        with forge.start(bench) as worker:
            deadline = time.monotonic() + 120
            while {camera for camera, _ in bench.accepted} != set(steering):
                assert time.monotonic() < deadline, bench.log.read_text()[-3000:]
                time.sleep(0.05)
            for name, command in steering.items():
                if command:
                    cameras.steer(name, **command)
            time.sleep(1.5)
            took = worker.terminate()
            assert worker.status == 0, bench.log.read_text()[-3000:]
    drain(forge, bench)
    messages = read_messages(broker, bench.topic)
    counts = count(bench.accepted, messages)
    assert took < STOP_SECONDS
    assert (counts.missing, counts.disordered, counts.duplicates, counts.unlogged) == (0, 0, 0, 0)
    assert not illegal_alerts(messages)
    record(
        f"SIGTERM while {len(steering) - 1} cameras fail, each in its own way",
        "the worker ends within 10 s; every alert is ended, and everything accepted arrives",
        counts.accepted,
        counts.arrived,
        counts.duplicates,
        None,
        f"ended after {took:.1f} s",
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_half_of_the_cameras_flap(
    tmp_path: Path,
    triton: Server,
    whole: bool,
    record: Callable[..., None],
    until: Callable[..., None],
) -> None:
    """Half of the cameras come and go; the others lose nothing. 64 cameras in the whole form.

    Their clips are farther apart: 320 clips a second are more than a machine of two cores scores, which is another
    test's subject.
    """
    number, seconds, stride = (64, 120.0, 6) if whole else (12, 12.0, 2)
    every_seconds = stride / 10  # the films have 10 pictures a second
    flapping = [f"flap{each:02}" for each in range(number // 2)]
    steady = [f"calm{each:02}" for each in range(number // 2)]
    draw = random.Random(64)
    with BrokerServer(tmp_path / "broker") as server, FaultyCameras([*flapping, *steady]) as cameras:
        sources: dict[str, dict[str, object]] = {
            name: {"source": cameras.url(name), "clip": {"stride": stride}} for name in [*flapping, *steady]
        }
        for name in steady:  # a busy machine may be slow; the camera is not silent
            sources[name] |= {"read_timeout_seconds": 60}
        with Fleet(tmp_path, triton.address, server.bootstrap, sources) as fleet:
            for name in sources:
                until(lambda name=name: fleet.notes[name].clips, f"{name} is watched")
            began, flaps = time.monotonic(), 0
            while time.monotonic() - began < seconds:
                name = draw.choice(flapping)
                if draw.random() < 0.5:
                    cameras.steer(name, reset=True)
                else:
                    cameras.steer(name, listening=False)
                    time.sleep(draw.uniform(0.1, 0.5))
                    cameras.steer(name, listening=True)
                flaps += 1
                time.sleep(draw.uniform(0.0, 0.4))
            ended = time.monotonic()
            for name in sources:
                until(
                    lambda name=name: fleet.notes[name].first_clip_after(ended),
                    f"{name} is watched again; outages: {fleet.notes[name].outages}",
                    180,
                )
            recovery = max((fleet.notes[name].first_clip_after(ended) or 0.0) - ended for name in flapping)
            fleet.close()
        messages = read_messages(server.bootstrap)
    counts = count(fleet.ledger, messages)
    hurt = {name: (fleet.notes[name].outages, fleet.notes[name].holes(every_seconds)) for name in steady}
    assert hurt == {name: ([], 0) for name in steady}
    assert {reason for name in steady for reason in fleet.notes[name].dropped} <= {"shutdown"}
    assert (counts.missing, counts.disordered, counts.duplicates, fleet.left) == (0, 0, 0, 0)
    assert not illegal_alerts(messages)
    clips = sum(len(fleet.notes[name].clips) for name in steady)
    record(
        f"cameras: {number // 2} of {number} flap ({flaps} times)",
        "the others lose nothing; each comes back by itself; alerts stay legal",
        counts.accepted,
        counts.arrived,
        counts.duplicates,
        recovery,
        f"{clips} clips of the others, 0 missing",
    )
