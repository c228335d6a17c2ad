"""Membership of a group on real brokers: shares, messages, and members that come, leave, die or are frozen."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import apache_kafka, broker, formatted_kafka, kafka_jars, noida_db  # noqa: F401  # fixtures
from kafka import KafkaAdminClient, KafkaProducer

from pipeline.live.group_member import SESSION_SECONDS, GroupMember, Share
from pipeline.sinks.kafka_broker import Broker

pytestmark = [pytest.mark.realparts, pytest.mark.timeout(400)]

TOPIC = "mistwatch.control"
#: A busy machine; nothing here takes more than some seconds on a quiet one.
PATIENCE_SECONDS = 90.0


class Shares:
    """Keeps the newest share of a member, and waits for one."""

    def __init__(self) -> None:
        self.newest = Share()
        self._changed = threading.Condition()

    def take(self, share: Share) -> None:
        with self._changed:
            self.newest = share
            self._changed.notify_all()

    def wait_for(self, right: Callable[[Share], bool]) -> Share:
        with self._changed:
            assert self._changed.wait_for(lambda: right(self.newest), PATIENCE_SECONDS), self.newest
            return self.newest


class ProcessOfMember:
    """A member in a process of its own."""

    def __init__(self, bootstrap: str, worker: str, root: Path) -> None:
        script = root / "tests/support/group_member_process.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script), bootstrap, TOPIC, "g", worker],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.shares: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.shares.append(json.loads(line))
                self._changed.notify_all()

    def wait_for(self, right: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.shares) and right(self.shares[-1]), PATIENCE_SECONDS)
            return self.shares[-1]


def create_topic(bootstrap: str, partitions: int) -> None:
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        topic = {"num_partitions": partitions, "replication_factor": 1, "configs": {"cleanup.policy": "compact"}}
        admin.create_topics({TOPIC: topic}, wait_for_metadata=True)


def send(bootstrap: str, **cameras: bytes | None) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for name, value in cameras.items():
        producer.send(TOPIC, key=name.encode(), value=value).get(timeout=60)
    producer.close(timeout=30)


def values_of(share: Share) -> dict[str, bytes]:
    return {name: record.value for name, record in share.records.items()}


@pytest.fixture
def join(request: pytest.FixtureRequest) -> Iterator[Callable[..., tuple[GroupMember, Shares]]]:
    """Joins the group ``g`` with a member in this process."""
    members: list[GroupMember] = []

    def start(bootstrap: str, worker: str, capacity: int = 4) -> tuple[GroupMember, Shares]:
        shares = Shares()
        member = GroupMember(
            Broker(bootstrap),
            TOPIC,
            "g",
            worker=worker,
            version="1",
            capacity=capacity,
            ensure_topic=lambda: None,
            on_share=shares.take,
        )
        members.append(member)
        member.start()
        return member, shares

    yield start
    for member in members:
        member.leave(30)


@pytest.fixture
def in_process(root: Path) -> Iterator[Callable[[str, str], ProcessOfMember]]:
    """Starts a member in a process of its own."""
    started: list[ProcessOfMember] = []

    def start(bootstrap: str, worker: str) -> ProcessOfMember:
        started.append(ProcessOfMember(bootstrap, worker, root))
        return started[-1]

    yield start
    for each in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each.process.pid, signal.SIGCONT)
        each.process.kill()
        each.process.wait()


def test_a_member_alone_reads_every_message_and_follows_changes(broker: Any, join: Any) -> None:  # noqa: F811
    create_topic(broker.bootstrap, 5)
    send(broker.bootstrap, gate=b"1", door=b"2", gone=b"3")
    send(broker.bootstrap, gone=None)
    _, shares = join(broker.bootstrap, "a")
    share = shares.wait_for(lambda share: len(share.read) == 5)
    assert share.partitions == frozenset(range(5))
    assert values_of(share) == {"gate": b"1", "door": b"2"}
    assert share.view is not None
    assert dict(share.view.workers) == {"a": "1"}

    send(broker.bootstrap, gate=b"4", yard=b"5")
    send(broker.bootstrap, door=None)
    shares.wait_for(
        lambda share: {key: each.value for key, each in share.records.items()} == {"gate": b"4", "yard": b"5"}
    )


def test_a_joiner_takes_its_share_by_capacity_and_leaves_it_again(broker: Any, join: Any) -> None:  # noqa: F811
    create_topic(broker.bootstrap, 8)
    send(broker.bootstrap, **{f"cam{number}": b"{}" for number in range(30)})
    _, first = join(broker.bootstrap, "a", 2)
    first.wait_for(lambda share: len(share.read) == 8 and len(share.records) == 30)
    member, second = join(broker.bootstrap, "b", 6)

    small = first.wait_for(lambda share: len(share.partitions) == 2 == len(share.read))
    large = second.wait_for(lambda share: len(share.partitions) == 6 == len(share.read))
    assert small.partitions | large.partitions == frozenset(range(8))
    assert small.records.keys() | large.records.keys() == {f"cam{number}" for number in range(30)}
    assert not small.records.keys() & large.records.keys()
    assert large.view is not None
    assert (large.view.size, large.view.capacity) == (2, 8)

    assert member.leave(PATIENCE_SECONDS)
    first.wait_for(lambda share: len(share.read) == 8 and len(share.records) == 30)


def test_with_one_partition_the_second_worker_is_idle_and_both_know_it(broker: Any, join: Any) -> None:  # noqa: F811
    create_topic(broker.bootstrap, 1)
    _, first = join(broker.bootstrap, "a")
    first.wait_for(lambda share: len(share.read) == 1)
    _, second = join(broker.bootstrap, "b")
    for shares in (first, second):
        shares.wait_for(lambda share: share.view is not None and (share.view.size, share.view.idle) == (2, 1))
    assert sorted([len(first.newest.partitions), len(second.newest.partitions)]) == [0, 1]


@pytest.mark.slow
def test_a_member_keeps_its_share_over_a_restart_of_the_broker(broker: Any, join: Any) -> None:  # noqa: F811
    create_topic(broker.bootstrap, 3)
    send(broker.bootstrap, gate=b"1")
    _, shares = join(broker.bootstrap, "a")
    shares.wait_for(lambda share: "gate" in share.records)
    broker.stop()
    assert "gate" in shares.newest.records
    broker.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:  # the embedded broker may lose what it took in its last second
        with contextlib.suppress(Exception):
            send(broker.bootstrap, door=b"2")
            break
        assert time.monotonic() < deadline
    assert shares.wait_for(lambda share: "door" in share.records).partitions == frozenset(range(3))


@pytest.mark.waits
def test_the_share_of_a_killed_member_goes_to_the_others(apache_kafka: Any, in_process: Any) -> None:  # noqa: F811
    # On Apache Kafka alone: noida-db never ends the session of a member that is silent.
    create_topic(apache_kafka.bootstrap, 8)
    members = [in_process(apache_kafka.bootstrap, name) for name in "abc"]
    for member in members:
        member.wait_for(lambda share: share["workers"] == 3 and 2 <= len(share["partitions"]) <= 3)
    before = [set(member.shares[-1]["partitions"]) for member in members]
    began = time.monotonic()
    members[0].process.kill()
    for member, kept in zip(members[1:], before[1:], strict=True):
        share = member.wait_for(lambda share: share["workers"] == 2 and len(share["partitions"]) == 4)
        assert kept <= set(share["partitions"])
    assert time.monotonic() - began < 15


@pytest.mark.waits
def test_a_member_frozen_beyond_its_session_comes_back(apache_kafka: Any, in_process: Any) -> None:  # noqa: F811
    create_topic(apache_kafka.bootstrap, 8)
    awake, frozen = in_process(apache_kafka.bootstrap, "a"), in_process(apache_kafka.bootstrap, "b")
    for member in (awake, frozen):
        member.wait_for(lambda share: share["workers"] == 2 and len(share["partitions"]) == 4)
    os.kill(frozen.process.pid, signal.SIGSTOP)
    awake.wait_for(lambda share: len(share["partitions"]) == 8)
    time.sleep(SESSION_SECONDS / 2)
    os.kill(frozen.process.pid, signal.SIGCONT)
    awake.wait_for(lambda share: share["workers"] == 2 and len(share["partitions"]) == 4)
    # Until it knows its new share, the frozen one keeps the one from before, which may be the other's by now.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sorted(awake.shares[-1]["partitions"] + frozen.shares[-1]["partitions"]) != list(range(8)):
        assert time.monotonic() < deadline, (awake.shares[-1], frozen.shares[-1])
        time.sleep(0.1)
