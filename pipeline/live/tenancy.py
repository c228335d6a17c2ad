"""Decides what becomes of each camera of a group's worker; pure: no I/O, no clock, no thread."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.live.group_member import Share

#: A camera whose partition is another worker's goes on until that worker claims it, for at most this long, seconds.
LINGER_SECONDS = 10.0
#: A camera that another worker has claimed although it belongs to this one is claimed again after this long, seconds.
RECLAIM_SECONDS = 10.0
#: A camera that lacks a detector is looked at again after this long, seconds.
COMPLETE_SECONDS = 10.0


class Action(StrEnum):
    """The next step with a camera."""

    WAIT = "wait"
    ADD = "add"
    COMPLETE = "complete"  #: a detector that it lacked may be there
    CHANGE = "change"  #: its message has changed: it alone starts anew
    REMOVE = "remove"  #: its message was taken back
    HAND_OVER = "hand_over"  #: another worker watches it


@dataclass(slots=True)
class Tenancy:
    """One camera as its worker knows it.

    Attributes:
        partition: of its newest message.
        running: the message with which it is watched; None: it is not.
        refused: offset of a message that cannot be used.
        retry_at: it is neither added nor changed before this moment.
        lost_at: since when its partition has been another worker's.
        fenced: another worker has claimed it.
        complete_at: when to look for the detectors that it lacks; None: it lacks none.
    """

    camera: str
    partition: int
    running: bytes | None = None
    refused: int | None = None
    retry_at: float = 0.0
    lost_at: float | None = None
    fenced: bool = False
    complete_at: float | None = None

    def follow(self, share: Share, now: float) -> None:
        """Take the worker's share as it is now."""
        if (record := share.records.get(self.camera)) is not None:
            self.partition = record.partition
        if self.partition in share.partitions:
            self.lost_at = None
        elif self.lost_at is None:
            self.lost_at = now

    def next_action(self, share: Share, now: float) -> Action:
        """Return what is to be done now."""
        owned = self.partition in share.partitions
        record = share.records.get(self.camera)
        if self.running is None:
            usable = owned and record is not None and record.offset != self.refused
            return Action.ADD if usable and now >= self.retry_at else Action.WAIT
        if self.fenced:
            return Action.HAND_OVER
        if not owned:
            lingers = self.lost_at is None or now - self.lost_at < LINGER_SECONDS
            return Action.WAIT if lingers else Action.HAND_OVER
        if self.partition not in share.read:
            return Action.WAIT  # nothing is known of its messages yet
        if record is None:
            return Action.REMOVE
        if record.value != self.running and record.offset != self.refused:
            return Action.CHANGE if now >= self.retry_at else Action.WAIT
        return Action.COMPLETE if self.complete_at is not None and now >= self.complete_at else Action.WAIT

    @property
    def is_over(self) -> bool:
        """Return whether it can be forgotten once its message is gone."""
        return self.running is None
