"""Counts of accepted and arrived events: on the topic, in the ledger and in the outbox."""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

_ALERT = "mistwatch.alert."  # how the types of an alert's events begin


@dataclass(frozen=True)
class Message:
    """One message of the topic, without its document."""

    camera: str
    id: str
    type: str
    published: float  #: when the broker had it, seconds since the epoch
    value: bytes


@dataclass(frozen=True)
class Counts:
    """Accepted against arrived.

    Attributes:
        accepted: events in the ledger, and those on the topic that a kill kept out of the ledger (see ``unlogged``).
        arrived: messages on the topic.
        duplicates: messages whose id the topic had already.
        missing: accepted events that are neither on the topic nor in the outbox.
        disordered: events whose first arrival was before that of an event of their camera accepted earlier.
        unlogged: events on the topic and not in the ledger: the worker died between the commit and the ledger's line.
    """

    accepted: int
    arrived: int
    duplicates: int
    missing: int
    disordered: int
    unlogged: int


def make_topic(bootstrap: str, topic: str, *, partitions: int = 3, replicas: int = 1) -> None:
    """Create a topic whose messages the broker stamps."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        settings = {"message.timestamp.type": "LogAppendTime"}
        asked = {"num_partitions": partitions, "replication_factor": replicas, "configs": settings}
        admin.create_topics({topic: asked}, wait_for_metadata=True)


def read_messages(bootstrap: str, topic: str = "mistwatch.alerts", timeout: float = 120.0) -> list[Message]:
    """The topic from its beginning to its end; in order within a partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", request_timeout_ms=40_000)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        found: list[Message] = []
        deadline = time.monotonic() + timeout
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            assert time.monotonic() < deadline, "the topic cannot be read to its end"
            for messages in consumer.poll(timeout_ms=200).values():
                for each in messages:
                    headers = dict(each.headers)
                    identity, kind = headers["ce_id"].decode(), headers["ce_type"].decode()
                    found.append(Message(each.key.decode(), identity, kind, each.timestamp / 1000, each.value))
        return found
    finally:
        consumer.close()


def ids_in_outbox(path: Path) -> set[str]:
    """The events that the outbox still has; the worker must not run."""
    with closing(sqlite3.connect(path)) as connection:
        return {identity for (identity,) in connection.execute("SELECT id FROM events")}


def count(accepted: Iterable[tuple[str, str]], messages: Iterable[Message], kept: Iterable[str] = ()) -> Counts:
    """Compare the events that a ledger has accepted with those on the topic, and those still in the outbox."""
    ledger = list(accepted)
    first: dict[str, Message] = {}  # in the order of the first arrivals
    arrived = 0
    for message in messages:
        arrived += 1
        first.setdefault(message.id, message)
    known = {identity for _, identity in ledger}
    lost = known - first.keys() - set(kept)
    unlogged = first.keys() - known
    return Counts(
        accepted=len(known) + len(unlogged),
        arrived=arrived,
        duplicates=arrived - len(first),
        missing=len(lost),
        disordered=_disordered(ledger, first),
        unlogged=len(unlogged),
    )


def _disordered(ledger: list[tuple[str, str]], first: dict[str, Message]) -> int:
    """Events that came before an earlier one of their camera, or before a lower number of their alert."""
    place = {identity: number for number, (_, identity) in enumerate(ledger)}
    by_camera: dict[str, int] = defaultdict(lambda: -1)
    by_alert: dict[str, int] = defaultdict(lambda: -1)
    disordered = 0
    for identity, message in first.items():
        early = False
        if message.type.startswith(_ALERT):
            alert, number = _numbered(identity)
            early = number <= by_alert[alert]
            by_alert[alert] = max(by_alert[alert], number)
        if identity in place:
            early |= place[identity] < by_camera[message.camera]
            by_camera[message.camera] = max(by_camera[message.camera], place[identity])
        disordered += early
    return disordered


def _numbered(identity: str) -> tuple[str, int]:
    """The alert and the number of an alert's event; the id of an event may name a generation before the number."""
    alert, _, number = identity.rpartition("/")
    return alert, int(number.rpartition(".")[2])


def illegal_alerts(messages: Iterable[Message]) -> list[str]:
    """Alerts that break the rules, a line each: a camera has one alert at a time, begun, updated and ended in order."""
    problems: list[str] = []
    opened: dict[str, tuple[str, int]] = {}  # by camera: the open alert, and its last number
    seen: set[str] = set()
    for message in messages:
        if message.id in seen or not message.type.startswith(_ALERT):
            continue
        seen.add(message.id)
        alert, number = _numbered(message.id)
        state, now = message.type.removeprefix(_ALERT), opened.get(message.camera)
        if state == "begin" and now is not None:
            problems.append(f"{message.id} of {message.camera} begins while {now[0]} is open")
        elif now is None and (state, number) != ("begin", 0):
            problems.append(f"{message.id} of {message.camera} is the {state} of an alert that has not begun")
        elif now is not None and (alert, number) != (now[0], now[1] + 1):
            problems.append(f"{message.id} of {message.camera} follows {now[0]}/{now[1]}")
        if state == "end":
            opened.pop(message.camera, None)
        else:
            opened[message.camera] = (alert, number)
    return problems + [f"{alert} of {camera} has not ended" for camera, (alert, _) in opened.items()]
