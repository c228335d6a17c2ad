"""Clips on their way: waiting in queues, in flight, and settled. No I/O, no thread, no clock.

A :class:`Lane` belongs to one camera and one of its detectors. :class:`Traffic` decides which clip is sent next and
accounts for every clip until it is settled. It is not thread-safe: its user holds a lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from pipeline.scoring.fair_queue import FairQueue
from pipeline.scoring.outcomes import Dropped, DropReason, Scored
from pipeline.scoring.target import Target
from pipeline.windows import ClipWindow

Outcome = Scored | Dropped


@dataclass(eq=False, slots=True)
class Lane:
    """The way of one camera's clips to one model, and of their outcomes back.

    Attributes:
        target: the model, or its part, that scores.
        live: the oldest waiting clip is dropped when the queue is full; otherwise a new one has to wait for room.
        capacity: clips that may wait to be sent, and outcomes that may wait to be delivered.
        changed: called after every change that someone may wait for: room, an outcome, the end.
        held: clips submitted and not yet delivered.
    """

    camera: str
    detector: str
    target: Target
    live: bool
    capacity: int
    changed: Callable[[], None] = lambda: None
    held: int = 0
    closed: bool = False
    _outcomes: deque[Outcome] = field(default_factory=deque)
    _undelivered: int = 0  # settled, and not yet delivered

    def __str__(self) -> str:
        return f"{self.camera}/{self.detector}" if self.detector else self.camera

    @property
    def takes_outcomes(self) -> bool:
        """Return whether its consumer keeps up: fewer than ``capacity`` outcomes are not yet delivered."""
        return self._undelivered < self.capacity

    @property
    def has_outcome(self) -> bool:
        """Return whether an outcome waits to be delivered."""
        return bool(self._outcomes)

    @property
    def is_over(self) -> bool:
        """Return whether no outcome will follow."""
        return self.closed and not self.held

    def settle(self, outcome: Outcome) -> None:
        """Queue the outcome of a held clip for delivery."""
        self._undelivered += 1
        self._outcomes.append(outcome)
        self.changed()

    def next_outcome(self) -> Outcome:
        """Take the outcome that is to be delivered next; call :meth:`delivered` afterwards."""
        return self._outcomes.popleft()

    def delivered(self) -> None:
        """Record that an outcome was delivered."""
        self.held -= 1
        self._undelivered -= 1
        self.changed()


@dataclass(eq=False, slots=True)
class Clip:
    """A submitted window on its way.

    Attributes:
        ticket: its place in line; lower ones were submitted earlier.
        sent_at: when it was last sent, monotonic seconds.
        asked_heat: it was sent with a request for HEAT.
        sent_scene: it was sent with its standing scene.
        suspect: the model raised on it or on another clip of its batch; it is sent alone once more.
        refused: the server has refused it; it is sent once more, without the requests for HEAT and FEATURES.
    """

    lane: Lane
    window: ClipWindow
    ticket: int
    sent_at: float = 0.0
    asked_heat: bool = False
    sent_scene: bool = False
    suspect: bool = False
    refused: bool = False


class Traffic:
    """Every clip between its submission and its outcome."""

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self._tickets = count()
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._queue: FairQueue[Lane, Clip] = FairQueue()
        self._in_flight: dict[int, Clip] = {}  # by ticket
        self._suspects: dict[int, str] = {}  # ticket to model

    @property
    def lanes(self) -> list[Lane]:
        """Return the open lanes."""
        return list(self._lanes.values())

    @property
    def in_flight(self) -> list[Clip]:
        """Return the clips that are sent and not answered."""
        return list(self._in_flight.values())

    @property
    def waiting_targets(self) -> set[Target]:
        """Return the models and parts for which clips wait to be sent."""
        return {lane.target for lane in self._lanes.values() if self._queue.waiting(lane)}

    def open(self, lane: Lane) -> None:
        """Accept clips of a lane. Raises ValueError: the camera has such a lane already, or its capacity is below 1."""
        if (lane.camera, lane.detector) in self._lanes:
            raise ValueError(f"{lane}: added twice")
        self._queue.add(lane, lane.capacity, group=lane.camera)
        self._lanes[lane.camera, lane.detector] = lane

    def has_room(self, lane: Lane) -> bool:
        """Return whether a clip may be submitted now; always true for a closed lane, which must not be waited for."""
        return lane.closed or (lane.takes_outcomes and (lane.live or not self._queue.full(lane)))

    def submit(self, lane: Lane, window: ClipWindow, *, misfit: str = "", away: bool = False) -> None:
        """Take a window into the queue of an open lane.

        Args:
            misfit: the reason for which it is dropped at once, if any.
            away: the model is away, which is then the reason of a clip that is shed.
        """
        clip = Clip(lane, window, next(self._tickets))
        lane.held += 1
        if misfit:
            lane.settle(Dropped(window, DropReason.ERROR, misfit))
        else:
            self._wait(clip, away)

    def next_lane(self, limit: Callable[[Target], int]) -> Lane | None:
        """Return the lane whose clip is to be sent next; None when none may be sent.

        Args:
            limit: clips that may be in flight now to a part, or to a model with all its parts; 0 holds its clips up.
        """
        if len(self._in_flight) >= self.max_in_flight:
            return None
        return self._queue.next(lambda lane: self._has_way(lane.target, limit))

    def send(self, lane: Lane, *, now: float) -> Clip:
        """Take the oldest waiting clip of ``lane``, and with it the turn of its camera; it is in flight from now on."""
        clip = self._queue.take(lane)
        clip.sent_at = now
        self._in_flight[clip.ticket] = clip
        lane.changed()
        return clip

    def suspect(self, clip: Clip) -> None:
        """Send a clip once more, with no other clip in flight to its model: a batch that it was in has failed."""
        clip.suspect = True
        if clip.ticket in self._in_flight:
            self._suspects[clip.ticket] = clip.lane.target.model

    def settle(self, clip: Clip, outcome: Outcome | None, *, away: bool = False) -> bool:
        """End the flight of a clip; return False when it had been abandoned.

        Args:
            outcome: its outcome, or None to put it back to its place in its queue, in front of later ones.
        """
        if self._in_flight.pop(clip.ticket, None) is None:
            return False
        if outcome is not None:
            self._finish(clip, outcome)
        elif clip.lane.closed:
            self._finish(clip, Dropped(clip.window, DropReason.SHUTDOWN))
        else:
            self._wait(clip, away)
        return True

    def abandon(self, clip: Clip) -> None:
        """Drop a clip whose answer is not waited for any longer."""
        self.settle(clip, Dropped(clip.window, DropReason.SHUTDOWN))

    def retire(self, lane: Lane) -> None:
        """Close a lane: accept and send nothing more of it, and drop its waiting clips."""
        if lane.closed:
            return
        lane.closed = True
        del self._lanes[lane.camera, lane.detector]
        for clip in self._queue.remove(lane):
            self._finish(clip, Dropped(clip.window, DropReason.SHUTDOWN))
        lane.changed()

    def _wait(self, clip: Clip, away: bool) -> None:
        """Put a clip into its queue; a live camera keeps its newest clips."""
        self._queue.put(clip.lane, clip)
        if clip.lane.live:
            reason = DropReason.UNAVAILABLE if away else DropReason.OVERLOAD
            while (oldest := self._queue.overflow(clip.lane)) is not None:
                self._finish(oldest, Dropped(oldest.window, reason))

    def _finish(self, clip: Clip, outcome: Outcome) -> None:
        self._suspects.pop(clip.ticket, None)
        clip.lane.settle(outcome)

    def _has_way(self, target: Target, limit: Callable[[Target], int]) -> bool:
        """Return whether one more clip may be sent to a part, and to its model."""
        to_model = [clip.lane.target for clip in self._in_flight.values() if clip.lane.target.model == target.model]
        of_model = limit(target.whole)
        if target.model in self._suspects.values():  # a batch holds clips of several parts
            of_model = min(1, of_model)
        return len(to_model) < of_model and to_model.count(target) < limit(target)
