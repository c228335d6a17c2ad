"""Workers killed by SIGKILL at random moments under load, and restarted on their outbox."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from brokers import ApacheKafka, TestBroker
from delivery_counts import count, make_topic, read_messages
from forked_worker import Bench, Forge, drain
from triton_of_brightness import Server

pytestmark = [pytest.mark.faults, pytest.mark.waits, pytest.mark.realparts]

CAMERAS = 12
#: A worker lives for between so many seconds.
LIVES_SECONDS = (0.3, 2.0)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("broker", ["noida_db", pytest.param("apache_kafka", marks=pytest.mark.slow)], indirect=True)
def test_no_accepted_alert_is_lost_when_workers_are_killed(
    tmp_path: Path,
    triton: Server,
    broker: TestBroker,
    forge: Forge,
    whole: bool,
    record: Callable[..., None],
    until: Callable[..., None],
) -> None:
    """Promise: whatever the moment of a SIGKILL, an accepted event reaches the topic, in order within its camera."""
    kills = 300 if whole else 10
    make_topic(broker.bootstrap, "mistwatch.alerts")
    cameras = {f"cam{number:02}": "blink://?bright=0.3&dark=0.3" for number in range(CAMERAS)}
    bench = Bench(tmp_path / "site", triton.address, broker.bootstrap, cameras)
    draw = random.Random(18)  # the moments differ all the same: they are relative to the start of a process
    under_load, recoveries = 0, []
    for _ in range(kills):
        before = len(bench.accepted)
        started = time.monotonic()
        with forge.start(bench) as worker:
            if draw.random() < 0.5:  # at any moment of the start, or with alerts on their way
                until(lambda before=before: len(bench.accepted) > before or not worker.alive(), "an alert is accepted")
                recoveries.append(time.monotonic() - started)
            time.sleep(draw.uniform(*LIVES_SECONDS))
            assert worker.alive(), bench.log.read_text()[-3000:]
        assert worker.status == -9
        under_load += len(bench.accepted) > before
    drain(forge, bench)
    counts = count(bench.accepted, read_messages(broker.bootstrap))
    assert under_load >= kills * 0.4
    assert counts.accepted > kills
    assert (counts.missing, counts.disordered) == (0, 0)
    assert counts.unlogged <= kills
    assert counts.arrived == counts.accepted + counts.duplicates
    name = "Apache Kafka" if isinstance(broker, ApacheKafka) else "embedded broker"
    record(
        f"worker: {kills} × SIGKILL at random moments, {name}",
        "no accepted alert missing, none out of order within a camera, duplicates recognisable by their id",
        counts.accepted,
        counts.arrived,
        counts.duplicates,
        max(recoveries),
        f"{under_load} kills with alerts in this life; recovery: start of the next worker to its first accepted alert",
    )
