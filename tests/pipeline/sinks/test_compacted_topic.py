"""A compacted topic on real brokers: partitions, offsets, the newest record of each key, a writer that never waits."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaAdminClient, KafkaProducer

from pipeline.sinks.compacted_topic import CompactedTopic, NewRecord, partition_of
from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError
from pipeline.sinks.latest_values import LatestValues

TOPIC = "states"
#: Far more than a busy machine needs.
SECONDS = 60.0


def is_stopped(pid: int) -> bool:
    """Return whether all threads of a process stand still: the signal alone does not wait for them."""
    stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS:g} s: {what}"
        time.sleep(0.05)


class Kept:
    """The callbacks of a writer."""

    def __init__(self) -> None:
        self.trouble: list[str] = []
        self.resumed = 0
        self.refused: list[tuple[str, str]] = []

    def count(self) -> None:
        self.resumed += 1

    def writer(self, topic: CompactedTopic) -> LatestValues:
        return LatestValues(
            topic,
            on_trouble=self.trouble.append,
            on_resumed=self.count,
            on_refused=lambda key, line: self.refused.append((key, line)),
        )


@pytest.fixture
def topic(broker: Any) -> Iterator[CompactedTopic]:
    """A topic with six partitions on each of the two brokers."""
    made = CompactedTopic(Broker(broker.bootstrap), TOPIC, partitions=6, request_timeout_seconds=5.0)
    yield made
    made.close()


# Reference values of Kafka's Java client (org.apache.kafka.common.utils.UtilsTest.testMurmur2), as positive numbers.
@pytest.mark.parametrize(
    ("key", "java"), [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)]
)
def test_a_key_has_the_partition_that_java_clients_give_it(key: str, java: int) -> None:
    for partitions in (1, 2, 7, 50):
        assert partition_of(key, partitions) == (java & 0x7FFFFFFF) % partitions


@given(st.text(), st.integers(1, 1000))
def test_a_partition_exists(key: str, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


@pytest.mark.realparts
class TestTheTopic:
    def test_records_are_placed_found_and_removed(self, topic: CompactedTopic, broker: Any) -> None:
        offsets = topic.send_all_now(
            [NewRecord(f"gate/{name}", name.encode(), "gate") for name in ("fights", "smoke", "fights")]
        )
        assert offsets == sorted(set(offsets)), "offsets of one partition grow"
        assert topic.send_now("gate/smoke", b"newer", partition_key="gate") > offsets[-1]
        topic.send_now("yard", b"other")
        topic.send_now("gone", b"soon")
        topic.send_now("gone", None)
        assert topic.partitions == 6
        gate = topic.partition_of("gate")
        assert {record.partition for record in topic.read() if record.key.startswith("gate/")} == {gate}
        latest = topic.latest()
        assert {key: record.value for key, record in latest.items()} == {
            "gate/fights": b"fights",
            "gate/smoke": b"newer",
            "yard": b"other",
        }
        # Another client's own choice of partition for the same key.
        with contextlib.closing(KafkaProducer(bootstrap_servers=broker.bootstrap)) as producer:
            sent = producer.send(TOPIC, key=b"yard", value=b"again").get(timeout=SECONDS)
        assert sent.partition == topic.partition_of("yard") == latest["yard"].partition

    def test_only_the_chosen_partitions_are_read(self, topic: CompactedTopic) -> None:
        keys = [f"camera {number}" for number in range(24)]
        topic.send_all_now([NewRecord(key, key.encode()) for key in keys])
        chosen = {0, 4}
        expected = {key for key in keys if partition_of(key, 6) in chosen}
        assert 0 < len(expected) < len(keys)
        assert set(topic.latest(chosen)) == expected
        assert list(topic.read([])) == []
        with pytest.raises(BrokerUnavailableError, match="has 6 partitions, so not number 6"):
            list(topic.read([6]))

    def test_the_topic_is_created_compacted(self, topic: CompactedTopic, broker: Any) -> None:
        from kafka.admin import ConfigResource, ConfigResourceType

        topic.ensure()
        topic.ensure()
        with contextlib.closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
            found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC)], config_filter="all")
        assert found["topic"][TOPIC]["cleanup.policy"]["value"] == "compact"

    def test_a_topic_that_loses_values_is_refused(self, topic: CompactedTopic, broker: Any) -> None:
        with contextlib.closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
            admin.create_topics({TOPIC: {"configs": {"cleanup.policy": "delete"}}}, wait_for_metadata=True)
        with pytest.raises(BrokerUnavailableError, match=r"got cleanup\.policy=delete\); expected cleanup\.policy=com"):
            topic.send_now("gate", b"value")

    def test_a_missing_topic_is_reported_where_it_may_not_be_created(self, broker: Any) -> None:
        topic = CompactedTopic(Broker(broker.bootstrap), TOPIC, partitions=1, create=False)
        for use in (topic.latest, lambda: topic.partitions, lambda: topic.send_now("gate", b"")):
            with pytest.raises(BrokerUnavailableError, match=f"topic {TOPIC} does not exist"):
                use()

    def test_a_send_to_a_frozen_broker_fails_and_the_next_one_succeeds(
        self, topic: CompactedTopic, broker: Any
    ) -> None:
        first = topic.send_now("gate", b"one")
        os.kill(broker.pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(broker.pid), "each of its threads stops")
        try:
            with pytest.raises(BrokerUnavailableError, match=broker.bootstrap):
                topic.send_now("gate", b"two")
        finally:
            os.kill(broker.pid, signal.SIGCONT)

        def sent() -> bool:
            with contextlib.suppress(BrokerUnavailableError):
                return topic.send_now("gate", b"three") > first
            return False

        wait_until(sent, "a send after the freeze")


@pytest.mark.realparts
class TestTheWriter:
    def test_the_newest_value_arrives_after_an_outage_and_the_caller_never_waits(
        self, topic: CompactedTopic, broker: Any
    ) -> None:
        kept = Kept()
        writer = kept.writer(topic)
        writer.start()
        writer.put("gate", b"0")
        writer.put("gone", b"0")
        assert writer.flush(SECONDS)
        broker.stop()
        slowest = 0.0
        for number in range(1, 1001):
            began = time.perf_counter()
            writer.put(f"camera {number % 20}", str(number).encode(), partition_key="all")
            writer.put("gone", None)
            slowest = max(slowest, time.perf_counter() - began)
        assert not writer.flush(0.0)
        assert slowest < 1.0, "put() waits for no broker, which is away for good here"
        wait_until(lambda: bool(kept.trouble), "the outage is reported")
        assert broker.bootstrap in kept.trouble[0]
        assert "\n" not in kept.trouble[0]
        broker.start()
        assert writer.flush(SECONDS)
        assert writer.stop(SECONDS)
        assert kept.resumed == 2
        latest = topic.latest()
        assert {key: record.value for key, record in latest.items() if key != "gate"} == {
            f"camera {number % 20}": str(number).encode() for number in range(981, 1001)
        }
        assert {record.partition for key, record in latest.items() if key != "gate"} == {topic.partition_of("all")}

    def test_values_put_meanwhile_are_the_newest(self, topic: CompactedTopic) -> None:
        kept = Kept()
        writer = kept.writer(topic)
        writer.start()

        def put(prefix: str) -> None:
            for number in range(500):
                writer.put(f"{prefix} {number % 7}", str(number).encode())

        threads = [threading.Thread(target=put, args=(f"thread {number}",)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert writer.stop(SECONDS)
        expected = {
            f"thread {each} {number % 7}": str(number).encode() for each in range(3) for number in range(493, 500)
        }
        assert {key: record.value for key, record in topic.latest().items()} == expected

    def test_a_value_that_is_too_large_is_discarded_and_blocks_nothing(self, topic: CompactedTopic) -> None:
        kept = Kept()
        writer = kept.writer(topic)
        writer.start()
        writer.put("large", bytes(3_000_000))
        writer.put("gate", b"small")
        assert writer.flush(SECONDS)
        assert writer.stop(SECONDS)
        assert [key for key, _ in kept.refused] == ["large"]
        assert set(topic.latest()) == {"gate"}


def test_a_stop_without_a_broker_is_bounded() -> None:
    kept = Kept()
    writer = kept.writer(CompactedTopic(Broker("127.0.0.1:1"), TOPIC, partitions=1))
    writer.start()
    writer.put("gate", b"value")
    wait_until(lambda: bool(kept.trouble), "the outage is reported")
    began = time.monotonic()
    assert not writer.stop(0.5)
    assert time.monotonic() - began < 10.0
    assert kept.resumed == 0
