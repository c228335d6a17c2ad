"""Partitions of the topic whose brokers are down: ``mistwatch alerts tail`` reads the others, and does not wait."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.structs import OffsetAndTimestamp
from misleading_broker import MisleadingBroker
from tail_process import TOPIC

from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.kafka_security import KafkaSecurity
from pipeline.sinks.tail import TopicReader

NOW_MS = int(time.time() * 1000)


class Cluster(Broker):
    """A cluster in memory that has one topic, and the consumer of it.

    Attributes:
        logs: the values of the messages of each partition.
        down: the partitions without a leader.
        lost_positions: the partitions whose position the consumer does not know.
    """

    def __init__(self, logs: dict[int, list[bytes]]) -> None:
        self.logs = logs
        super().__init__("127.0.0.1:1", KafkaSecurity())
        self.down: set[int] = set()
        self.lost_positions: set[int] = set()
        self._at: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    def client(self, _kind: Any, **_options: Any) -> Any:
        return self

    def partitions_without_leader(self, topic: str) -> set[int]:
        return set(self.down)

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(self.logs)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._at, self._paused = dict.fromkeys(partitions, 0), set()

    def assignment(self) -> set[TopicPartition]:
        return set(self._at)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        assert partition in self._at
        self._at[partition] = offset

    def position(self, partition: TopicPartition, timeout_ms: int | None = None) -> int | None:
        return None if partition.partition in self.lost_positions else self._at[partition]

    def pause(self, *partitions: TopicPartition) -> None:
        assert self.assignment() >= set(partitions)
        self._paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        assert self.assignment() >= set(partitions)
        self._paused -= set(partitions)

    def end_offsets(self, partitions: Iterable[TopicPartition], timeout_ms: int = 0) -> dict[TopicPartition, int]:
        self._require_leaders(partitions)
        return {each: len(self.logs[each.partition]) for each in partitions}

    def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        self._require_leaders(partitions)
        return dict.fromkeys(partitions, 0)

    def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """All messages are of the time at which this module was imported."""
        self._require_leaders(times)
        return {each: OffsetAndTimestamp(0, NOW_MS, 0) if at <= NOW_MS else None for each, at in times.items()}

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        time.sleep(0.01)
        batches = {}
        for partition in self.assignment() - self._paused:
            offset = self._at[partition]
            if partition.partition not in self.down and offset < len(self.logs[partition.partition]):
                self._at[partition] += 1
                value = self.logs[partition.partition][offset]
                place = {"topic": TOPIC, "partition": partition.partition, "offset": offset}
                batches[partition] = [SimpleNamespace(**place, timestamp=NOW_MS, value=value)]
        return batches

    def close(self) -> None: ...

    def _require_leaders(self, partitions: Iterable[TopicPartition]) -> None:
        if not self.down.isdisjoint(each.partition for each in partitions):
            raise KafkaTimeoutError("the request timed out")


class Listener:
    """Publishes a first message to a partition once the reader listens."""

    def __init__(self, log: list[bytes], first: bytes) -> None:
        self._log, self._first = log, [first]

    def listening(self) -> None:
        self._log += self._first
        self._first = []

    def waiting(self, reason: str) -> None:
        raise AssertionError(reason)

    def foreign_message(self, where: str, count: int) -> None:
        raise AssertionError(where)


@contextlib.contextmanager
def numbers_of(cluster: Cluster, listener: Listener) -> Iterator[Iterator[int]]:
    """The numbers of the events, as the reader yields them; it ends after 20 s."""
    give_up_at = time.monotonic() + 20
    reader = TopicReader(cluster, TOPIC, since=None, listener=listener, stopped=lambda: time.monotonic() > give_up_at)
    with contextlib.closing(reader.events()) as events:
        yield (each.event.data.sequence for each in events)


@pytest.fixture
def value(make_event: Any) -> Callable[[int], bytes]:
    """Makes the message of the camera's event of this number."""
    return lambda number: make_event("gate", number).to_json()


def test_one_that_has_lost_its_leader_does_not_hold_new_ones_back(value: Callable[[int], bytes]) -> None:
    cluster = Cluster({0: [value(0)], 1: []})
    with numbers_of(cluster, Listener(cluster.logs[1], value(1))) as numbers:
        assert next(numbers) == 1
        cluster.down = {0}
        cluster.logs[0].append(value(3))  # it can neither be read nor its end asked for
        cluster.logs[2] = [value(2)]
        assert next(numbers) == 2
        cluster.down = set()
        assert next(numbers) == 3  # it goes on where it was


def test_one_that_loses_its_leader_while_new_ones_wait_for_it(value: Callable[[int], bytes]) -> None:
    cluster = Cluster({0: [], 1: []})
    with numbers_of(cluster, Listener(cluster.logs[0], value(0))) as numbers:
        assert next(numbers) == 0
        cluster.logs[0] += [value(1), value(2), value(4)]
        cluster.logs[2] = [value(3)]
        assert [next(numbers), next(numbers)] == [1, 2]
        cluster.down = {0}
        assert next(numbers) == 3
        cluster.down = set()
        assert next(numbers) == 4


def test_one_whose_position_is_being_looked_up_holds_new_ones_back_until_it_is_known(
    value: Callable[[int], bytes],
) -> None:
    cluster = Cluster({0: []})
    with numbers_of(cluster, Listener(cluster.logs[0], value(0))) as numbers:
        assert next(numbers) == 0
        cluster.lost_positions = {0}
        cluster.logs[0] += [value(1), value(2)]
        cluster.logs[1] = [value(3)]
        assert [next(numbers), next(numbers)] == [1, 2]
        threading.Timer(0.3, cluster.lost_positions.clear).start()
        assert next(numbers) == 3
        assert not cluster.lost_positions


def test_one_without_leader_at_the_start_is_read_from_the_time_of_the_start_on(value: Callable[[int], bytes]) -> None:
    cluster = Cluster({0: [value(0)] * 3, 1: []})
    cluster.down = {0}
    with numbers_of(cluster, Listener(cluster.logs[1], value(1))) as numbers:
        assert next(numbers) == 1
        cluster.down = set()
        assert cluster.assignment() == {TopicPartition(TOPIC, 1)}
        cluster.logs[1].append(value(2))
        assert next(numbers) == 2  # nothing of before
        cluster.logs[0].append(value(3))
        assert next(numbers) == 3


def test_a_topic_without_any_leader_is_reported(tail: Any) -> None:
    with MisleadingBroker(leader=-1) as broker:
        running = tail(broker.bootstrap, "--count", "1", "--timeout", "2")
        assert running.end() == 1
    assert "no partition of topic mistwatch.alerts has a leader" in running.err[-1]
