"""The cameras that a group shares out to this worker: claimed, added, changed, removed and handed over as they come.

Kafka's consumer group says which partitions of the control topic belong to this worker
(:mod:`pipeline.live.group_member`), and a claim which worker watches a camera (:mod:`pipeline.live.ownership`). So two
workers that both believe that they own a camera settle it by the later claim, and no camera is dark while they do.

Threads: the member's; one that decides (:mod:`pipeline.live.tenancy`); and for each camera that is being opened or
handed over one of its own, a few at a time, since that takes seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

from pipeline import logs
from pipeline.errors import MistwatchError
from pipeline.live.audit import Change, described, log_change
from pipeline.live.change_kinds import Difference, Kind
from pipeline.live.control import camera_of
from pipeline.live.deadline import Deadline
from pipeline.live.group_member import ControlRecord, Share
from pipeline.live.ownership import Claim
from pipeline.live.tenancy import COMPLETE_SECONDS, RECLAIM_SECONDS, Action, Tenancy
from pipeline.scoring.served_model import ScorerUnavailable
from pipeline.settings import CameraSettings
from pipeline.sinks.base import SinkUnavailableError

_log = logs.get("group")

#: Cameras that are opened or handed over at a time.
_AT_A_TIME = 8
#: A camera that cannot be claimed or scored now is tried again after this many seconds.
_RETRY_SECONDS = 1.0
#: Within the stop: for the moves and claims in flight. At a frozen broker they may take much longer, and are left.
_MOVES_SECONDS = 1.0
#: Longest sleep of the thread that decides, seconds.
_TICK_SECONDS = 0.5


class CameraHost(Protocol):
    """The cameras of this worker; see :class:`pipeline.live.service.Service`."""

    def add_camera(self, name: str, settings: CameraSettings, claim: Claim) -> bool:
        """Watch a camera; return whether all its detectors are there.

        Raises:
            ScorerUnavailable: it cannot be watched yet.
            MistwatchError: it cannot be watched so.
        """
        ...

    def difference(self, name: str, settings: CameraSettings) -> Difference:
        """Return what differs from the settings with which a camera is watched. Raises MistwatchError."""
        ...

    def judge_camera(self, name: str, settings: CameraSettings) -> bool:
        """Judge a camera by other settings while it goes on; return whether that was done. Raises MistwatchError."""
        ...

    def check_camera(self, name: str, settings: CameraSettings) -> None:
        """Check that a camera can be watched with these settings, and change nothing. Raises as :meth:`add_camera`."""
        ...

    def can_complete(self, name: str) -> bool:
        """Return whether a detector that a camera lacks is there now."""
        ...

    def remove_camera(self, name: str) -> Collection[str]:
        """Watch a camera no longer: its open alert ends. Return the names of its detectors."""
        ...

    def hand_over_camera(self, name: str) -> None:
        """Watch a camera no longer, and leave its open alert to the worker that does."""
        ...

    def note_change(self, name: str, change: Change | None, problem: str = "") -> None:
        """Report that a change of a camera is in force, or why it is not."""
        ...


class OwnedCameras(Protocol):
    """See :class:`pipeline.live.ownership.Ownership`."""

    def claim_all(self, cameras: Sequence[str]) -> list[Claim]:
        """Claim cameras with one exchange. Raises BrokerUnavailableError."""
        ...

    def release(self, camera: str, *, detectors: Collection[str] | None = None) -> None:
        """Send the camera's last states, and follow its claims no longer; with ``detectors``, remove them all."""
        ...


class Membership(Protocol):
    """See :class:`pipeline.live.group_member.GroupMember`."""

    def start(self) -> None:
        """Join the group."""
        ...

    def leave(self, timeout: float) -> bool:
        """Leave it; return whether that was done in time."""
        ...


class GroupListener:
    """The calls of a group, all empty; a listener overrides the ones that it needs."""

    def shared(self, share: Share) -> None:
        """This worker has a new share, or its messages have changed."""

    def watching(self, cameras: int) -> None:
        """So many cameras of the group are watched by this worker."""

    def refused(self) -> None:
        """A control message cannot be used."""

    def moved(self, direction: str) -> None:
        """A camera was gained or lost, or fenced: claimed by another worker."""


class Group:
    """Watches the cameras of this worker's share.

    Args:
        name: of the group.
        capacity: cameras that this worker can watch; more are watched all the same, and reported.
        make_member: makes the membership, given the function that takes each new share.
    """

    def __init__(
        self,
        name: str,
        *,
        capacity: int,
        host: CameraHost,
        make_member: Callable[[Callable[[Share], None]], Membership],
        listener: GroupListener | None = None,
    ) -> None:
        self._name = name
        self._capacity = capacity
        self._host = host
        self._listener = listener or GroupListener()
        self._claims: OwnedCameras | None = None
        self._share = Share()
        self._tenancies: dict[str, Tenancy] = {}
        self._busy: set[str] = set()
        self._is_claiming = False
        self._claiming: set[str] = set()  # cameras of the exchange of :meth:`_claim_all`; others are busy meanwhile
        self._said: dict[str, str] = {}  # why a camera waits, as it was logged
        self._refused: set[tuple[int, int]] = set()  # places of messages that the log has named
        self._warned: frozenset[str] = frozenset()  # what the log has said of the group's members
        self._shown = (0, 0)  # partitions and workers that the log has named last
        self._overloaded = False
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="group-cameras", daemon=True)
        self._member = make_member(self._take)

    def start(self, claims: OwnedCameras) -> None:
        """Join the group, and watch what it gives."""
        self._claims = claims
        self._thread.start()
        self._member.start()

    def fenced(self, camera: str, generation: int) -> None:
        """Take the news that another worker has claimed a camera; see :class:`pipeline.live.ownership.Ownership`."""
        with self._changed:
            tenancy = self._tenancies.get(camera)
            if tenancy is None or (tenancy.running is None and camera not in self._busy | self._claiming):
                return
            tenancy.fenced = True
            if tenancy.partition in self._share.partitions:
                tenancy.retry_at = time.monotonic() + RECLAIM_SECONDS
                _log.warning(
                    "another worker has claimed a camera of this one; it is handed over, and claimed again if it stays "
                    "in this worker's share",
                    camera=camera,
                    generation=generation,
                )
            self._changed.notify_all()
        self._listener.moved("fenced")

    def leave(self, *, leave_seconds: float, seconds: float) -> None:
        """Leave the group: cameras go on until other workers have claimed them, if it could be left.

        The cameras that are left are the worker's to hand over.

        Args:
            leave_seconds: limit of the leaving itself.
            seconds: limit of everything.
        """
        deadline = Deadline(seconds)
        left = self._member.leave(deadline.share(leave_seconds))
        if not left:
            _log.warning("the group could not be left in time; it takes this worker for dead in some seconds")
        with self._changed:
            view = self._share.view
            if left and view is not None and view.size > 1:
                # The share is another's from now on; the loop hands over what is claimed.
                self._share = Share(view=view)
                self._changed.notify_all()
                self._changed.wait_for(self._is_idle, deadline.share(seconds, keep=_MOVES_SECONDS))
            self._stopped = True
            self._changed.notify_all()
            moves_seconds = deadline.share(_MOVES_SECONDS)
            self._changed.wait_for(lambda: not self._busy and not self._is_claiming, moves_seconds)

    # -- on the member's thread --------------------------------------------------------------------------------

    def _take(self, share: Share) -> None:
        with self._changed:
            self._share = share
            self._changed.notify_all()
        self._listener.shared(share)
        size = 0 if share.view is None else share.view.size
        if (shown := (len(share.partitions), size)) != self._shown:
            self._shown = shown
            _log.info("this worker's share", group=self._name, workers=size, partitions=len(share.partitions))
        self._report_members(share)

    def _report_members(self, share: Share) -> None:
        """Log what an operator should know of the group's members, each once."""
        if (view := share.view) is None:
            return
        warnings = []
        if view.idle:
            warnings.append(
                f"{view.size} workers, {view.partitions} partition(s): {view.idle} of them watch nothing; add "
                "partitions to the control topic"
            )
        if len(versions := sorted(set(view.workers.values()))) > 1:
            warnings.append(f"workers of several versions: {', '.join(versions)}; update the older ones")
        if view.strangers:
            warnings.append(
                f"{view.strangers} member(s) of the group are not workers that this version knows; they count as one "
                "camera each"
            )
        for line in warnings:
            if line not in self._warned:
                _log.warning(line, group=self._name)
        if not warnings and self._warned:
            _log.info("the group is in order", group=self._name, workers=view.size, partitions=view.partitions)
        self._warned = frozenset(warnings)

    # -- on the thread that decides ----------------------------------------------------------------------------

    def _run(self) -> None:
        with self._changed:
            while not self._stopped:
                try:
                    self._decide()
                except Exception:  # a bug in one decision must not end the others
                    _log.exception("unexpected failure in the group's cameras; this is a bug")
                self._changed.wait(_TICK_SECONDS)

    def _decide(self) -> None:
        now, share = time.monotonic(), self._share
        for camera, message in share.records.items():
            if camera not in self._tenancies:
                self._tenancies[camera] = Tenancy(camera, message.partition)
        adding: list[tuple[Tenancy, ControlRecord]] = []
        for camera, tenancy in list(self._tenancies.items()):
            tenancy.follow(share, now)
            if camera in self._busy:
                continue
            if tenancy.is_over and camera not in share.records:
                del self._tenancies[camera]
                self._said.pop(camera, None)
                continue
            action, wanted = tenancy.next_action(share, now), share.records.get(camera)
            if action is Action.ADD and wanted is not None:
                adding.append((tenancy, wanted))
            elif action is not Action.WAIT and len(self._busy) < _AT_A_TIME:
                self._begin(tenancy, partial(self._act, tenancy, action, wanted))
        if adding and not self._is_claiming:
            self._is_claiming = True
            threading.Thread(target=self._claim_all, args=(adding,), name="claim", daemon=True).start()
        self._report_load()

    def _begin(self, tenancy: Tenancy, work: Callable[[], None]) -> None:
        """Move a camera on a thread of its own."""
        self._busy.add(tenancy.camera)
        threading.Thread(target=self._guarded, args=(tenancy, work), name=f"move {tenancy.camera}", daemon=True).start()

    def _report_load(self) -> None:
        watching = sum(tenancy.running is not None for tenancy in self._tenancies.values())
        self._listener.watching(watching)
        if (overloaded := watching > self._capacity) != self._overloaded:
            self._overloaded = overloaded
            if overloaded:
                _log.warning(
                    "more cameras than this worker's capacity; all are watched, and clips may be dropped. Start "
                    "another worker, or raise group.capacity",
                    cameras=watching,
                    capacity=self._capacity,
                )
            else:
                _log.info("within this worker's capacity again", cameras=watching, capacity=self._capacity)

    def _is_idle(self) -> bool:
        return (
            not self._busy
            and not self._is_claiming
            and all(tenancy.running is None for tenancy in self._tenancies.values())
        )

    # -- on a thread for each camera that moves ----------------------------------------------------------------

    def _guarded(self, tenancy: Tenancy, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            if self._stopped:  # the worker takes no camera any more
                _log.info("a camera was left while it moved", camera=tenancy.camera, reason=str(error))
            else:
                _log.exception("a camera could not be moved; trying again. This is a bug", camera=tenancy.camera)
            tenancy.retry_at = time.monotonic() + RECLAIM_SECONDS
        finally:
            with self._changed:
                self._busy.discard(tenancy.camera)
                self._changed.notify_all()

    def _act(self, tenancy: Tenancy, action: Action, record: ControlRecord | None) -> None:
        match action:
            case Action.CHANGE if record is not None:
                self._change(tenancy, record)
            case Action.COMPLETE if record is not None:
                self._complete(tenancy, record)
            case Action.REMOVE:
                self._remove(tenancy)
            case Action.HAND_OVER:
                self._hand_over(tenancy)

    def _claim_all(self, adding: Sequence[tuple[Tenancy, ControlRecord]]) -> None:
        """Claim cameras with one exchange, and watch each of them; when a worker has died that is many at once."""
        try:
            usable = [(each, settings) for each in adding if (settings := self._settings_of(*each)) is not None]
            with self._changed:
                self._claiming = {tenancy.camera for (tenancy, _), _ in usable}
            claims = self._claimed([tenancy for (tenancy, _), _ in usable])
            with self._changed:
                for ((tenancy, record), settings), claim in zip(usable, claims, strict=False):
                    self._begin(tenancy, partial(self._add, tenancy, record, settings, claim))
        except Exception:
            _log.exception("cameras could not be claimed; trying again. This is a bug")
            for tenancy, _ in adding:
                tenancy.retry_at = time.monotonic() + RECLAIM_SECONDS
        finally:
            with self._changed:
                self._is_claiming = False
                self._claiming = set()
                self._changed.notify_all()

    def _settings_of(self, tenancy: Tenancy, record: ControlRecord) -> CameraSettings | None:
        """Return a camera's settings; None where its message cannot be used, which is reported."""
        try:
            return camera_of(record.key, record.value)[1]
        except MistwatchError as error:
            self._refuse(tenancy, record, str(error))
            return None

    def _claimed(self, tenancies: Sequence[Tenancy]) -> list[Claim]:
        """Return the claims of cameras; none where they cannot be claimed now, or the worker ends."""
        assert self._claims is not None
        if self._stopped or not tenancies:
            return []
        for tenancy in tenancies:
            tenancy.fenced = False  # a later claim than the one below fences it, also while it is being added
        try:
            claims = self._claims.claim_all([tenancy.camera for tenancy in tenancies])
            return [] if self._stopped else claims  # the worker takes no camera any more
        except SinkUnavailableError as error:
            for tenancy in tenancies:
                self._wait(tenancy, str(error))
            return []

    def _add(self, tenancy: Tenancy, record: ControlRecord, settings: CameraSettings, claim: Claim) -> None:
        assert self._claims is not None
        try:
            complete = self._host.add_camera(tenancy.camera, settings, claim)
        except ScorerUnavailable as error:
            self._claims.release(tenancy.camera)
            self._wait(tenancy, str(error))
            return
        except MistwatchError as error:
            self._claims.release(tenancy.camera)
            self._refuse(tenancy, record, str(error))
            return
        with self._changed:
            tenancy.running, tenancy.refused = record.value, None
            tenancy.complete_at = None if complete else time.monotonic() + COMPLETE_SECONDS
        self._said.pop(tenancy.camera, None)
        self._host.note_change(tenancy.camera, record.change)
        self._listener.moved("gained")
        _log.info("camera taken", camera=tenancy.camera, generation=claim.generation, **described(record.change))

    def _restart(self, tenancy: Tenancy, record: ControlRecord, settings: CameraSettings) -> None:
        """Watch a camera again that has just been stopped."""
        self._release(tenancy)
        for claim in self._claimed([tenancy]):
            self._add(tenancy, record, settings, claim)

    def _change(self, tenancy: Tenancy, record: ControlRecord) -> None:
        """Watch a camera by other settings, in place where that is possible.

        A difference of the source or the clips starts the camera anew, and it alone. Settings that cannot be used
        change nothing.
        """
        if (settings := self._settings_of(tenancy, record)) is None:
            return
        try:
            self._host.check_camera(tenancy.camera, settings)
            found = self._host.difference(tenancy.camera, settings)
            in_place = found.kind < Kind.SOURCE and self._host.judge_camera(tenancy.camera, settings)
        except ScorerUnavailable as error:
            self._wait(tenancy, str(error))
            return
        except MistwatchError as error:
            self._refuse(tenancy, record, str(error))
            return
        if in_place:
            with self._changed:
                tenancy.running, tenancy.refused = record.value, None
            self._said.pop(tenancy.camera, None)
            self._host.note_change(tenancy.camera, record.change)
        else:
            self._host.remove_camera(tenancy.camera)
            self._restart(tenancy, record, settings)
        log_change(tenancy.camera, found, record.change, restarted=not in_place)

    def _complete(self, tenancy: Tenancy, record: ControlRecord) -> None:
        """Watch a camera by a detector that it lacked, too; its alerts continue."""
        tenancy.complete_at = time.monotonic() + COMPLETE_SECONDS
        settings = self._settings_of(tenancy, record)
        if settings is None or not self._host.can_complete(tenancy.camera):
            return
        try:
            self._host.check_camera(tenancy.camera, settings)
        except MistwatchError as error:
            self._say_waiting(tenancy, "a detector that a camera lacked cannot be used; trying again", str(error))
            return
        self._host.hand_over_camera(tenancy.camera)
        self._restart(tenancy, record, settings)

    def _hand_over(self, tenancy: Tenancy) -> None:
        self._host.hand_over_camera(tenancy.camera)
        self._release(tenancy)
        self._listener.moved("lost")
        _log.info("camera handed over", camera=tenancy.camera)

    def _remove(self, tenancy: Tenancy) -> None:
        change = self._share.removals.get(tenancy.camera)
        detectors = self._host.remove_camera(tenancy.camera)
        self._release(tenancy, detectors)
        _log.info("camera removed", camera=tenancy.camera, **described(change))

    def _release(self, tenancy: Tenancy, detectors: Collection[str] | None = None) -> None:
        """Give up the claim of a camera that is not watched any more."""
        assert self._claims is not None
        with self._changed:
            tenancy.running, tenancy.fenced = None, False
        try:
            self._claims.release(tenancy.camera, detectors=detectors)
        except SinkUnavailableError as error:
            _log.warning("the claim of a camera is not removed", camera=tenancy.camera, reason=str(error))

    def _wait(self, tenancy: Tenancy, reason: str) -> None:
        tenancy.retry_at = time.monotonic() + _RETRY_SECONDS
        waits = "a camera of this worker's share waits"
        if tenancy.running is not None:
            waits = "a camera goes on with its old settings for now"
        self._say_waiting(tenancy, waits, reason)

    def _say_waiting(self, tenancy: Tenancy, line: str, reason: str) -> None:
        if self._said.get(tenancy.camera) != reason:
            self._said[tenancy.camera] = reason
            _log.warning(line, camera=tenancy.camera, reason=reason)

    def _refuse(self, tenancy: Tenancy, record: ControlRecord, reason: str) -> None:
        tenancy.refused = record.offset
        self._host.note_change(tenancy.camera, record.change, reason)
        place = (record.partition, record.offset)
        if place in self._refused:
            return
        self._refused.add(place)
        what_next = "the camera goes on with its old settings" if tenancy.running is not None else "it is skipped"
        _log.error(
            f"a control message cannot be used; {what_next}",
            partition=record.partition,
            offset=record.offset,
            error=" ".join(reason.split()),
        )
        self._listener.refused()
