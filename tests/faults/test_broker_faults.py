"""Brokers killed, frozen, without room on their disk, and a leader that dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from brokers import ApacheKafka, TestBroker
from delivery_counts import make_topic
from fault_trial import Fault, Result, try_fault
from forked_worker import Bench, Forge
from kafka_cluster import KafkaCluster
from ports import free_port
from small_disks import SmallDisk, small_disk
from triton_of_brightness import Server

pytestmark = [pytest.mark.faults, pytest.mark.waits, pytest.mark.realparts]

PROMISE = "every accepted alert arrives at least once, in order within its camera; nothing else waits for the broker"
TOPIC = "mistwatch.alerts"


def site(folder: Path, triton: Server, bootstrap: str) -> Bench:
    """Six cameras that raise alerts."""
    cameras = {f"cam{number}": "blink://?bright=0.6&dark=0.6" for number in range(6)}
    return Bench(folder / "site", triton.address, bootstrap, cameras, metrics_port=free_port())


def note(record: Callable[..., None], fault: str, result: Result) -> None:
    """Check the counts, and record them."""
    counts = result.counts
    assert (counts.missing, counts.disordered, counts.unlogged) == (0, 0, 0)
    assert counts.arrived == counts.accepted + counts.duplicates
    assert not result.illegal
    assert result.stop_seconds < 25  # 10 s, and the time that a busy machine takes
    record(
        f"broker: {fault}",
        PROMISE,
        counts.accepted,
        counts.arrived,
        counts.duplicates,
        result.recovery_seconds,
        f"SIGTERM during it: {result.stop_seconds:.1f} s",
    )


def name_of(broker: TestBroker) -> str:
    """For the table."""
    return "Apache Kafka" if isinstance(broker, ApacheKafka) else "embedded broker"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", [pytest.param("noida_db", marks=pytest.mark.slow), "apache_kafka"], indirect=True)
def test_the_broker_goes_away(
    tmp_path: Path, triton: Server, broker: TestBroker, forge: Forge, whole: bool, record: Callable[..., None]
) -> None:
    """By SIGKILL; the embedded one by SIGTERM, as it loses the last second of messages when it is killed."""
    make_topic(broker.bootstrap, TOPIC)
    fault = Fault(broker.stop, broker.start, 60 if whole else 3)
    how = "SIGKILL" if isinstance(broker, ApacheKafka) else "SIGTERM"
    result = try_fault(forge, site(tmp_path, triton, broker.bootstrap), fault)
    note(record, f"{how} and restart, {name_of(broker)}", result)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_broker_is_frozen(
    tmp_path: Path, triton: Server, broker: TestBroker, forge: Forge, whole: bool, record: Callable[..., None]
) -> None:
    """Longer than the limit of a request, so that events are sent again over a new connection."""

    def send(number: signal.Signals) -> None:
        assert broker.pid is not None
        os.kill(broker.pid, number)

    make_topic(broker.bootstrap, TOPIC)
    fault = Fault(lambda: send(signal.SIGSTOP), lambda: send(signal.SIGCONT), 60 if whole else 12)
    result = try_fault(forge, site(tmp_path, triton, broker.bootstrap), fault)
    note(record, f"SIGSTOP, SIGCONT, {name_of(broker)}", result)


@pytest.fixture
def broker_disk(tmp_path: Path, require: Callable[[str], NoReturn]) -> Iterator[SmallDisk]:
    """A disk for a broker's data."""
    with small_disk(tmp_path / "disk", 64, require) as disk:
        yield disk


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_brokers_disk_is_full(
    tmp_path: Path,
    triton: Server,
    broker_disk: SmallDisk,
    kafka_jars: Path,
    forge: Forge,
    record: Callable[..., None],
) -> None:
    """Apache Kafka ends by itself; an operator makes room and starts it again."""
    broker = ApacheKafka(broker_disk.folder / "broker", kafka_jars)
    try:
        make_topic(broker.bootstrap, TOPIC)

        def end() -> None:
            broker.stop()
            broker_disk.free()
            broker.start()

        bench = site(tmp_path, triton, broker.bootstrap)
        result = try_fault(forge, bench, Fault(broker_disk.fill, end, 8))
        note(record, "its disk full, Apache Kafka", result)
    finally:
        broker.stop()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_leader_of_three_nodes_dies(
    tmp_path: Path, triton: Server, kafka_jars: Path, forge: Forge, record: Callable[..., None]
) -> None:
    """Each node in turn, so every partition has lost its leader."""
    with KafkaCluster(tmp_path / "cluster", kafka_jars) as cluster:
        make_topic(cluster.bootstrap, TOPIC, replicas=3)
        bench = site(tmp_path, triton, cluster.bootstrap)
        worst: list[float] = []
        result: Result | None = None
        for number in range(3):
            down = [number]

            def end(down: list[int] = down) -> None:
                cluster.start_node(down[0])

            # The recovery does not need the dead node: it is measured with two.
            result = try_fault(forge, bench, Fault(lambda down=down: cluster.kill_node(down[0]), lambda: None, 0))
            worst.append(result.recovery_seconds)
            end()
            cluster.wait_for_replicas(TOPIC)
        assert result is not None
        counts: Any = result.counts
        assert (counts.missing, counts.disordered, counts.unlogged) == (0, 0, 0)
        assert not result.illegal
        record(
            "broker: the leader dies, three nodes of Apache Kafka, each in turn",
            PROMISE,
            counts.accepted,
            counts.arrived,
            counts.duplicates,
            max(worst),
            "topic with 3 replicas, 2 in sync at least; the dead node is back after each turn",
        )
