"""The records of one camera on a topic of changes, written by several consoles and commands at the same moment.

Each record holds the whole state of its camera: the state that its writer had read, with one change. Its header
``mistwatch-base`` names the offset of the newest record that the writer had read. A record with a later one before it
is *stale*: its value lacks the changes in between.

The true state is the changes in the order of their offsets. A writer reads on after it has published. Where its record
lacks a change, it publishes the true state after it (a *repair*). A writer can also find a stale record at the end of
the topic, whose writer was killed before the repair: it works with the true state as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pipeline.errors import MistwatchError
from pipeline.live.audit import Change, change_of
from pipeline.live.control import ControlError
from pipeline.sinks.compacted_topic import CompactedTopic, Record

#: Name of the record's header.
HEADER = "mistwatch-base"
#: Repairs of one change. Each needs another writer that has published within the milliseconds of the one before.
_MOST_REPAIRS = 20

#: Returns the value of a record with a change on top, and the change with the values before and after it that are then
#: right. Raises ControlError: the change cannot be used on this value, and is left out.
Apply = Callable[[bytes | None, Change], tuple[bytes | None, Change]]


class ContendedCameraError(MistwatchError):
    """Others change a camera again and again at the same moment. One line."""


class Kind(StrEnum):
    """The meaning of a record for a reader that finds it stale."""

    CHANGE = "change"  #: its change is applied to the state before it
    WHOLE = "whole"  #: its value replaces the state before it: all settings of a camera, or its removal
    REPAIR = "repair"  #: it changes nothing


@dataclass(frozen=True, slots=True)
class _Base:
    """The header of a record. ``offset``: of the newest record that its writer had read; -1: there was none."""

    offset: int
    kind: Kind

    @property
    def header(self) -> tuple[str, bytes]:
        return (HEADER, json.dumps({"offset": self.offset, "kind": self.kind}).encode())


@dataclass(frozen=True, slots=True)
class _State:
    """The true state after a record.

    Attributes:
        change: the last change that is in it.
        problem: why the record's own change is not in it.
        is_published: the record has this value.
    """

    value: bytes | None
    change: Change | None
    problem: ControlError | None
    is_published: bool


class ChangeLog:
    """The records of one key that a topic has now. For one change: make another one for the next.

    Args:
        apply: see :data:`Apply`.

    Raises:
        BrokerUnavailableError: the broker cannot be reached, or the topic does not exist.
    """

    def __init__(self, topic: CompactedTopic, key: str, apply: Apply) -> None:
        self._topic = topic
        self._key = key
        self._apply = apply
        self._home = topic.partition_of(key)
        self._records: dict[int, Record] = {}  # of the key in its partition, by offset
        self._strays: dict[int, Record] = {}
        self._next = 0  # offset of the partition from which to read on
        for record in topic.read():
            self._note(record)

    @property
    def value(self) -> bytes | None:
        """The true value of the key; None: it has none, or a tombstone."""
        states = self._states()
        if states and (value := states[max(states)].value) is not None:
            return value
        newest = max(self._strays.values(), key=lambda record: record.published_at, default=None)
        return None if newest is None else newest.value

    @property
    def has_value(self) -> bool:
        """True if the newest record in the key's own partition has a value."""
        return bool(self._records) and self._records[max(self._records)].value is not None

    @property
    def strays(self) -> list[int]:
        """The other partitions that have a value of the key: older ones, from before partitions were added."""
        return list(self._strays)

    def is_newest(self, value: bytes) -> bool:
        """Return whether the newest record in the key's own partition has this value, and lacks no change."""
        states = self._states()
        return bool(states) and (newest := states[max(states)]).is_published and newest.value == value

    def publish(self, value: bytes | None, change: Change, kind: Kind) -> Change:
        """Publish a value and repair it as long as other writers come in between; return the change as it was made.

        Where the camera was removed in between, the removal stays.

        Args:
            value: :attr:`value` with the change.
            kind: change or whole.

        Raises:
            ControlError: the change cannot be used together with one that came in between; it is not in force.
            ContendedCameraError: others came in between too often.
            BrokerUnavailableError: the record was not acknowledged, or the topic cannot be read any more. It may be on
                the topic nevertheless.
        """
        first = last = self._send(value, change, kind)
        for _ in range(_MOST_REPAIRS):
            for record in self._topic.read([self._home], start=self._next):
                self._note(record)
            states = self._states()
            newest = states[max(states)]
            if states[last].is_published or newest.is_published:
                break
            last = self._send(newest.value, newest.change, Kind.REPAIR)
        else:
            raise ContendedCameraError(
                f"camera {self._key}: others changed it {_MOST_REPAIRS} times at the same moment; look at its "
                "settings, and send the change again"
            )
        own = states[first]
        if own.problem is not None:
            raise own.problem
        return own.change or change

    def _send(self, value: bytes | None, change: Change | None, kind: Kind) -> int:
        headers = [] if change is None else change.headers
        headers.append(_Base(max(self._records, default=-1), kind).header)
        offset = self._topic.send_now(self._key, value, headers=headers)
        # Another writer's next record of the key lets the broker remove this one.
        self._records[offset] = Record(self._key, value, self._home, offset, datetime.now(UTC), tuple(headers))
        return offset

    def _note(self, record: Record) -> None:
        if record.partition == self._home:
            self._next = record.offset + 1
        if record.key != self._key:
            return
        if record.partition == self._home:
            self._records[record.offset] = record
        elif record.value is None:
            self._strays.pop(record.partition, None)
        else:
            self._strays[record.partition] = record

    def _states(self) -> dict[int, _State]:
        """Return the true state after each record of the key's own partition, by offset."""
        found: dict[int, _State] = {}
        value: bytes | None = None
        change: Change | None = None
        before = -1
        for offset, record in sorted(self._records.items()):
            base, made = _base_of(record), change_of(record.headers)
            problem = None
            # Without this header it is of an earlier version or another program: its value counts.
            if base is None or base.offset >= before or base.kind is Kind.WHOLE:
                value, change = record.value, made
            elif base.kind is Kind.CHANGE and made is not None:
                try:
                    value, change = self._apply(value, made)
                except ControlError as error:
                    problem = error
            found[offset] = _State(value, change, problem, value == record.value)
            before = offset
        return found


def _base_of(record: Record) -> _Base | None:
    """Return the header of a record; None where it has none that can be read."""
    for name, text in record.headers:
        if name == HEADER and text is not None:
            try:
                document = json.loads(text)
                return _Base(int(document["offset"]), Kind(document["kind"]))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                return None
    return None
