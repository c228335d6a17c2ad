"""A worker's membership of its group: Kafka's consumer group on the control topic, followed on a thread of its own.

The group's protocol is Kafka's eager one: at each change of the group all members join anew, and the leader shares out
the partitions (:mod:`pipeline.live.assignment`). The cameras of a worker go on running meanwhile, and when the broker
is away: only a new share says which of them are another worker's.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from kafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaError,
)
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

from pipeline import logs
from pipeline.live.assignment import GroupView, Member, share_out, view_of
from pipeline.live.audit import Change, change_of
from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError
from pipeline.sinks.kafka_security import reason_of

_log = logs.get("group")

#: A member without a sign of life for this long loses its partitions. Brokers allow no less by default.
SESSION_SECONDS = 6.0
#: Seconds between signs of life; in the answer a member learns that the group has changed.
HEARTBEAT_SECONDS = 1.5
#: Seconds that members get to join anew when the group has changed.
_REBALANCE_SECONDS = 10.0
#: Limit of one poll. kafka-python 3.0.12 joins twice where a poll ends during a join, so it should rarely; and a stop
#: waits for the end of a poll.
_POLL_SECONDS = 2.0
#: Seconds between two attempts to reach a broker that is away.
_RETRY_SECONDS = 1.0
#: Seconds between two looks whether the broker listens.
_LOOK_SECONDS = 3.0
#: Removals of each partition of which it is known who asked for them.
_REMOVALS = 100
#: Limit for the answer of a broker that is asked for the end of a partition.
_ANSWER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """The newest message of one key.

    Attributes:
        change: who sent it, when and why, where it says so.
    """

    key: str
    value: bytes
    partition: int
    offset: int
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """The share of a worker in the control topic, and what it says.

    Attributes:
        partitions: of this worker.
        read: those of them that were read to their end; nothing is known of the others yet.
        records: the newest message of each key of ``read``, without those that were removed.
        view: the group, as its leader saw it; None before the first share.
        removals: who took back messages while this worker followed their partitions, by key.
    """

    partitions: frozenset[int] = frozenset()
    read: frozenset[int] = frozenset()
    records: Mapping[str, ControlRecord] = field(default_factory=dict)
    view: GroupView | None = None
    removals: Mapping[str, Change] = field(default_factory=dict)


class GroupMember:
    """Joins the group, follows the control topic, and reports each change of the worker's share.

    Args:
        group: Kafka's name of the consumer group.
        worker: name of this worker, for people; unique in the group.
        version: of mistwatch.
        capacity: cameras that this worker can watch.
        ensure_topic: makes the topic where it is missing. Raises BrokerUnavailableError.
        on_share: called with each new share, on the thread; must return at once.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        group: str,
        *,
        worker: str,
        version: str,
        capacity: int,
        ensure_topic: Callable[[], object],
        on_share: Callable[[Share], None],
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._group = group
        self._ensure_topic = ensure_topic
        self._on_share = on_share
        self._assignor = _Assignor(topic, worker, version, capacity)
        self._partitions: dict[int, _Partition] = {}
        self._away = False
        self._changed = False
        self._stop = threading.Event()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="group", daemon=True)

    def start(self) -> None:
        """Join the group, however long the broker is away."""
        self._thread.start()

    def leave(self, timeout: float) -> bool:
        """Leave the group, so that other workers get the partitions at once; return whether it was left in time.

        No share is reported after this.
        """
        self._stop.set()
        if not self._thread.is_alive():
            return True
        return self._left.wait(timeout)

    # -- on the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._ensure_topic()
                consumer = self._connect()
            except BrokerUnavailableError as error:
                self._report_away(str(error))
                self._stop.wait(_RETRY_SECONDS)
                continue
            try:
                self._follow(consumer)
            except Exception:  # a bug must not leave the cameras of other workers waiting for this one
                _log.exception("unexpected failure in the group; joining again. This is a bug", group=self._group)
                self._stop.wait(_RETRY_SECONDS)
            finally:
                with contextlib.suppress(Exception):
                    consumer.close(autocommit=False, timeout_ms=int(_ANSWER_SECONDS * 1000))
        self._left.set()

    def _connect(self) -> Any:
        consumer = self._broker.client(
            KafkaConsumer,
            client_id=f"mistwatch-group-{self._assignor.worker}",
            group_id=self._group,
            session_timeout_ms=int(SESSION_SECONDS * 1000),
            heartbeat_interval_ms=int(HEARTBEAT_SECONDS * 1000),
            max_poll_interval_ms=int(_REBALANCE_SECONDS * 1000),
            request_timeout_ms=int((_REBALANCE_SECONDS + 5) * 1000),
            partition_assignment_strategy=[self._assignor],
            auto_offset_reset="earliest",  # nothing is ever committed: the whole of a partition is its meaning
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        consumer.subscribe([self._topic], listener=_Listener(self, consumer))
        return consumer

    def _follow(self, consumer: Any) -> None:
        looked = 0.0
        while not self._stop.is_set():
            try:
                polled = consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000))
                self._take(polled)
                self._look_for_ends(consumer)
            except (KafkaError, OSError) as error:
                self._report_away(_explained(error, self._group))
                self._stop.wait(_RETRY_SECONDS)
                continue
            if time.monotonic() - looked >= _LOOK_SECONDS:
                looked = time.monotonic()
                self._look_for_broker()
            if self._changed and not self._stop.is_set():
                self._changed = False
                self._on_share(self._share())

    def _take(self, polled: Mapping[Any, Any]) -> None:
        for place, messages in polled.items():
            if (partition := self._partitions.get(place.partition)) is None:
                continue  # of another worker by now
            for message in messages:
                partition.take(message)
            self._changed |= partition.is_read

    def _look_for_ends(self, consumer: Any) -> None:
        """Find out which partitions have been read to the end that they had when they were assigned."""
        unread = [number for number, partition in self._partitions.items() if not partition.is_read]
        if not unread:
            return
        places = {number: TopicPartition(self._topic, number) for number in unread}
        asked = [places[number] for number in unread if self._partitions[number].end is None]
        if asked:
            ends = consumer.end_offsets(asked, timeout_ms=int(_ANSWER_SECONDS * 1000))
            for place, end in ends.items():
                if (partition := self._partitions.get(place.partition)) is not None:
                    partition.end = end
        for number, place in places.items():
            partition = self._partitions.get(number)
            if partition is None or partition.end is None or place not in consumer.assignment():
                continue  # assigned anew meanwhile
            position = consumer.position(place, timeout_ms=int(_ANSWER_SECONDS * 1000))
            if position is not None and position >= partition.end:
                partition.finish()
                self._changed = True

    def assigned(self, consumer: Any, numbers: frozenset[int]) -> None:
        """Take a new share; partitions that stay are followed from where they were."""
        kept = {number: self._partitions[number] for number in numbers if number in self._partitions}
        for number, partition in kept.items():
            if partition.next_offset is not None:
                consumer.seek(TopicPartition(self._topic, number), partition.next_offset)
        self._partitions = {number: kept.get(number) or _Partition() for number in sorted(numbers)}
        self._changed = True

    def lost(self) -> None:
        """Read everything anew with the next share: what was removed long ago leaves no trace in the topic."""
        for partition in self._partitions.values():
            partition.restart()

    def _share(self) -> Share:
        read = {number: partition for number, partition in self._partitions.items() if partition.is_known}
        records = {key: record for partition in read.values() for key, record in partition.records.items()}
        removals = {key: change for partition in read.values() for key, change in partition.removals.items()}
        return Share(frozenset(self._partitions), frozenset(read), records, self._assignor.view, removals)

    def _look_for_broker(self) -> None:
        """Report a broker that has gone or come back: the client itself says nothing for as long as it is away."""
        try:
            self._broker.check_listening()
        except BrokerUnavailableError as error:
            self._report_away(str(error))
        else:
            self._report_back()

    def _report_away(self, reason: str) -> None:
        if not self._away:
            _log.warning("waiting for the group's broker; cameras of this worker go on", reason=reason)
        self._away = True

    def _report_back(self) -> None:
        if self._away:
            _log.info("the group's broker answers", group=self._group)
        self._away = False


class _Partition:
    """A partition of the control topic as it has been read so far."""

    def __init__(self) -> None:
        self.records: dict[str, ControlRecord] = {}  #: known ones
        self.removals: dict[str, Change] = {}  #: of keys that were taken back, the last ones
        self.is_known = False  #: whether it was ever read to its end
        self.is_read = False  #: whether it has been, since it was last begun
        self.end: int | None = None  #: where it ended when it was begun
        self.next_offset: int | None = None
        self._fresh: dict[str, ControlRecord] = {}

    def take(self, message: Any) -> None:
        """Take the next message."""
        self.next_offset = message.offset + 1
        # A key that is not text is kept under a name that no camera can have, and refused with its place.
        key = "" if message.key is None else message.key.decode("utf-8", errors="backslashreplace")
        records = self.records if self.is_read else self._fresh
        change = change_of(message.headers)
        self.removals.pop(key, None)
        if message.value is not None:
            records[key] = ControlRecord(key, message.value, message.partition, message.offset, change)
            return
        records.pop(key, None)
        if change is not None:
            self.removals[key] = change
            while len(self.removals) > _REMOVALS:
                del self.removals[next(iter(self.removals))]

    def finish(self) -> None:
        """Its end is reached: messages that have vanished meanwhile are forgotten."""
        self.records, self._fresh = self._fresh, {}
        self.is_known = self.is_read = True

    def restart(self) -> None:
        """Read it anew from its beginning; what is known of it holds until then."""
        self._fresh, self.is_read, self.end, self.next_offset = {}, False, None, None


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes new shares on. A revocation changes nothing: cameras go on until the new share is known."""

    def __init__(self, member: GroupMember, consumer: Any) -> None:
        self._member = member
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: object) -> None:
        pass

    def on_partitions_assigned(self, assigned: set[Any]) -> None:
        self._member.assigned(self._consumer, frozenset(place.partition for place in assigned))

    def on_partitions_lost(self, lost: object) -> None:
        _log.warning("this worker was taken for dead by its group; joining again. Its cameras go on until then")
        self._member.lost()


class _Assignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """Introduces this worker to the group, and shares out the partitions where this worker is the leader."""

    name = "mistwatch"

    def __init__(self, topic: str, worker: str, version: str, capacity: int) -> None:
        self.worker = worker
        self.view: GroupView | None = None
        self._topic = topic
        self._version = version
        self._capacity = capacity
        self._owned: frozenset[int] = frozenset()
        self._generation = -1

    def metadata(self, topics: set[str]) -> Any:
        member = Member(self.worker, self._version, self._capacity, self._owned, self._generation)
        return ConsumerProtocolSubscription(0, sorted(topics), member.to_bytes())

    def assign(self, cluster: Any, members: Any) -> dict[str, Any]:
        partitions = cluster.partitions_for_topic(self._topic) or set()
        introduced = {each.member_id: Member.from_bytes(each.metadata.user_data) for each in members}
        view = view_of(introduced.values(), len(partitions)).to_bytes()
        return {
            member: ConsumerProtocolAssignment(0, [(self._topic, numbers)] if numbers else [], view)
            for member, numbers in share_out(introduced, partitions).items()
        }

    def on_assignment(self, assignment: Any, generation: int) -> None:
        self._owned = frozenset(place.partition for place in assignment.partitions())
        self._generation = generation
        self.view = GroupView.from_bytes(assignment.user_data)


def _explained(error: Exception, group: str) -> str:
    """Return one line for what has gone wrong in the group."""
    if isinstance(error, InconsistentGroupProtocolError):
        return f"group {group} is in use by other consumers; choose another name with --group"
    if isinstance(error, GroupAuthorizationFailedError):
        return f"group {group}: not authorised; allow this user to read with it"
    if isinstance(error, InvalidSessionTimeoutError):
        return (
            f"group {group}: the broker refuses sessions of {SESSION_SECONDS:g} s; "
            "lower its group.min.session.timeout.ms"
        )
    return reason_of(error)
