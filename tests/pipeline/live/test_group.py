"""The cameras of a group's workers: who watches them while shares move, messages change and claims cross."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.errors import UsageError
from pipeline.live import group as group_module
from pipeline.live.assignment import GroupView
from pipeline.live.audit import Change
from pipeline.live.change_kinds import Difference, difference
from pipeline.live.group import Group, GroupListener
from pipeline.live.group_member import ControlRecord, Share
from pipeline.live.ownership import Claim
from pipeline.scoring.served_model import ScorerUnavailable, Trouble
from pipeline.settings import CameraSettings
from pipeline.sinks.kafka_broker import BrokerUnavailableError

SOURCE = b'{"source": "rtsp://192.0.2.7/%d"}'
PATIENCE_SECONDS = 60.0


class Member:
    """A membership whose shares the test gives."""

    def __init__(self, on_share: Callable[[Share], None]) -> None:
        self.give = on_share
        self.left = False
        self.is_cut_off = False

    def start(self) -> None:
        pass

    def leave(self, timeout: float) -> bool:
        self.left = not self.is_cut_off
        return self.left


class ClaimsTopic:
    """Claims of several workers, in one order; a later claim fences the worker of the earlier one."""

    def __init__(self) -> None:
        self.offsets = itertools.count(1)
        self.owners: dict[str, Worker] = {}
        self.away = False

    def claim(self, worker: Worker, camera: str) -> Claim:
        if self.away:
            raise BrokerUnavailableError("Kafka 127.0.0.1:1: connection refused")
        generation = next(self.offsets)
        before, self.owners[camera] = self.owners.get(camera), worker
        if before is not None and before is not worker:
            before.group.fenced(camera, generation)
        return Claim(camera, generation)


class Worker(GroupListener):
    """A worker whose cameras are a dictionary, and what it did with them."""

    def __init__(self, topic: ClaimsTopic, capacity: int = 4) -> None:
        self.topic = topic
        self.cameras: dict[str, CameraSettings] = {}
        self.did: list[tuple[str, str]] = []
        self.refusal: Exception | None = None
        self.lacks_a_part = False
        self.held: str | None = None  # the answer to a claim of this camera waits
        self.claimed, self.let_go = threading.Event(), threading.Event()
        self.counts: dict[str, int] = {}
        self.noted: dict[str, tuple[str | None, str]] = {}
        self.watched = 0
        self.changed = threading.Condition()  # held where two things change that a test sees together
        made: list[Member] = []
        self.group = Group(
            "g",
            capacity=capacity,
            host=self,
            make_member=lambda on_share: made.append(Member(on_share)) or made[0],  # type: ignore[func-returns-value]
            listener=self,
        )
        (self.member,) = made

    def start(self) -> None:
        self.group.start(self)

    def claim_all(self, cameras: Sequence[str]) -> list[Claim]:
        claims = [self.topic.claim(self, camera) for camera in cameras]
        if self.held in cameras:
            self.claimed.set()
            assert self.let_go.wait(PATIENCE_SECONDS)
        return claims

    def release(self, camera: str, *, detectors: Collection[str] | None = None) -> None:
        self._note("release" if detectors is None else "remove claim", camera)

    def add_camera(self, name: str, settings: CameraSettings, claim: Claim) -> bool:
        if self.refusal is not None:
            raise self.refusal
        with self.changed:
            self.cameras[name] = settings
            self._note("add", name)
        return not self.lacks_a_part

    def check_camera(self, name: str, settings: CameraSettings) -> None:
        if self.refusal is not None:
            raise self.refusal

    def difference(self, name: str, settings: CameraSettings) -> Difference:
        return difference(self.cameras[name], settings)

    def judge_camera(self, name: str, settings: CameraSettings) -> bool:
        with self.changed:
            self.cameras[name] = settings
            self._note("judge anew", name)
        return True

    def can_complete(self, name: str) -> bool:
        return not self.lacks_a_part

    def note_change(self, name: str, change: Change | None, problem: str = "") -> None:
        with self.changed:
            self.noted[name] = (None if change is None else change.by, problem)
            self.changed.notify_all()

    def remove_camera(self, name: str) -> Collection[str]:
        with self.changed:
            del self.cameras[name]
            self._note("remove", name)
        return ("fights",)

    def hand_over_camera(self, name: str) -> None:
        with self.changed:
            del self.cameras[name]
            self._note("hand over", name)

    def refused(self) -> None:
        with self.changed:
            self.counts["refused"] = self.counts.get("refused", 0) + 1
            self._note("refused", "")

    def moved(self, direction: str) -> None:
        self.counts[direction] = self.counts.get(direction, 0) + 1

    def watching(self, cameras: int) -> None:
        with self.changed:
            self.watched = cameras
            self.changed.notify_all()

    def _note(self, what: str, name: str) -> None:
        with self.changed:
            self.did.append((what, name))
            self.changed.notify_all()

    def wait_for(self, right: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(right, PATIENCE_SECONDS), (self.did, self.cameras.keys())


def share(*partitions: int, view: GroupView | None = None, read: bool = True, **cameras: tuple[int, bytes]) -> Share:
    """Return a share; of each camera (partition, message), with its place among the arguments as offset."""
    records = {
        name: ControlRecord(name, value, partition, offset)
        for offset, (name, (partition, value)) in enumerate(cameras.items())
        if partition in partitions
    }
    return Share(frozenset(partitions), frozenset(partitions if read else ()), records, view)


@pytest.fixture
def topic() -> ClaimsTopic:
    return ClaimsTopic()


@pytest.fixture
def worker(topic: ClaimsTopic) -> Iterator[Callable[..., Worker]]:
    """Starts a worker of the group."""
    started: list[Worker] = []

    def start(**options: Any) -> Worker:
        started.append(Worker(topic, **options))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.group.leave(leave_seconds=1, seconds=1)


CAMERAS = {"a": (0, SOURCE % 1), "b": (1, SOURCE % 2), "c": (1, SOURCE % 3)}


def test_a_share_is_claimed_and_watched_and_a_removed_camera_ends(worker: Any) -> None:
    one = worker()
    one.member.give(share(0, 1, **CAMERAS))
    one.wait_for(lambda: one.cameras.keys() == {"a", "b", "c"})
    assert one.cameras["b"].source == "rtsp://192.0.2.7/2"
    one.member.give(share(0, 1, a=CAMERAS["a"], c=CAMERAS["c"]))
    one.wait_for(lambda: ("remove claim", "b") in one.did)
    assert one.did[-2:] == [("remove", "b"), ("remove claim", "b")]
    assert one.cameras.keys() == {"a", "c"}


def test_a_changed_message_restarts_that_camera_alone(worker: Any) -> None:
    one = worker()
    one.member.give(share(0, 1, **CAMERAS))
    one.wait_for(lambda: len(one.cameras) == 3)
    before = len(one.did)
    one.member.give(share(0, 1, **{**CAMERAS, "b": (1, SOURCE % 9)}))
    one.wait_for(lambda: one.did[before:] == [("remove", "b"), ("release", "b"), ("add", "b")])
    assert one.cameras["b"].source == "rtsp://192.0.2.7/9"


def changed(offset: int) -> Share:
    """A share of camera a alone, with a changed message."""
    return Share(frozenset({0}), frozenset({0}), {"a": ControlRecord("a", SOURCE % 9, 0, offset)})


def test_a_change_that_the_models_refuse_leaves_the_camera_as_it_is(worker: Any) -> None:
    one = worker()
    one.member.give(share(0, **CAMERAS))
    one.wait_for(lambda: "a" in one.cameras)
    one.refusal = UsageError("camera a: detector typo is not among the site's")
    with capture_logs() as logged:
        one.member.give(changed(9))
        one.wait_for(lambda: one.counts.get("refused") == 1)
    (line,) = [line for line in logged if line["log_level"] == "error"]
    assert line["event"] == "a control message cannot be used; the camera goes on with its old settings"
    assert one.cameras["a"].source == "rtsp://192.0.2.7/1"
    assert one.did == [("add", "a"), ("refused", "")]
    assert one.noted["a"] == (None, "camera a: detector typo is not among the site's")


def test_a_change_waits_for_a_scorer_that_is_away_and_the_camera_goes_on(worker: Any) -> None:
    one = worker()
    one.member.give(share(0, **CAMERAS))
    one.wait_for(lambda: "a" in one.cameras)
    one.refusal = ScorerUnavailable(Trouble.UNREACHABLE, "Triton 127.0.0.1:1: connection refused")
    with capture_logs() as logged:
        one.member.give(changed(9))
        waits = "a camera goes on with its old settings for now"
        until_logged(logged, waits)
        assert one.cameras["a"].source == "rtsp://192.0.2.7/1"
        one.refusal = None
        one.wait_for(lambda: "a" in one.cameras and one.cameras["a"].source == "rtsp://192.0.2.7/9")
    assert one.did == [("add", "a"), ("remove", "a"), ("release", "a"), ("add", "a")]


def until_logged(logged: Sequence[Any], line: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while all(each["event"] != line for each in logged):
        assert time.monotonic() < deadline, f"not logged: {line}"
        time.sleep(0.02)


def test_a_part_that_cannot_be_used_leaves_the_camera_as_it_is(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_module, "COMPLETE_SECONDS", 0.2)
    one = worker()
    one.lacks_a_part = True
    one.member.give(share(0, **CAMERAS))
    one.wait_for(lambda: "a" in one.cameras)
    one.refusal, one.lacks_a_part = UsageError("camera a: other clips"), False
    with capture_logs() as logged:
        until_logged(logged, "a detector that a camera lacked cannot be used; trying again")
    assert one.did == [("add", "a")]
    one.refusal = None
    one.wait_for(lambda: one.did.count(("add", "a")) == 2)


def test_cameras_go_on_until_another_worker_claims_them_and_no_camera_is_dark(worker: Any, topic: ClaimsTopic) -> None:
    one, two = worker(), worker()
    one.member.give(share(0, 1, **CAMERAS))
    one.wait_for(lambda: len(one.cameras) == 3)
    one.member.give(share(0, **CAMERAS))
    topic.away = True
    two.member.give(share(1, **CAMERAS))
    with pytest.raises(AssertionError):
        short_wait(two, lambda: bool(two.cameras))
    assert one.cameras.keys() == {"a", "b", "c"}, "what the new owner cannot claim yet is watched by the old one"
    topic.away = False
    two.wait_for(lambda: two.cameras.keys() == {"b", "c"})
    one.wait_for(lambda: one.cameras.keys() == {"a"})
    assert ("hand over", "b") in one.did
    assert ("remove", "b") not in one.did


def short_wait(worker: Worker, right: Callable[[], bool]) -> None:
    with worker.changed:
        assert worker.changed.wait_for(right, 3.0)


def test_one_that_leaves_waits_until_its_cameras_are_claimed(worker: Any) -> None:
    view = GroupView(2, {"one": "1", "two": "1"}, 8)
    one, two = worker(), worker()
    one.member.give(share(0, 1, view=view, **CAMERAS))
    one.wait_for(lambda: len(one.cameras) == 3)
    leaving = threading.Thread(target=lambda: one.group.leave(leave_seconds=5, seconds=PATIENCE_SECONDS))
    leaving.start()
    two.member.give(share(0, 1, view=view, **CAMERAS))
    two.wait_for(lambda: len(two.cameras) == 3)
    leaving.join(PATIENCE_SECONDS)
    assert not leaving.is_alive()
    assert one.member.left
    assert not one.cameras
    assert [what for what, _ in one.did].count("hand over") == 3


def test_the_last_worker_leaves_at_once_and_keeps_its_cameras_for_its_stop(worker: Any) -> None:
    one = worker()
    one.member.give(share(0, 1, view=GroupView(2, {"one": "1"}, 4), **CAMERAS))
    one.wait_for(lambda: len(one.cameras) == 3)
    one.group.leave(leave_seconds=1, seconds=PATIENCE_SECONDS)
    assert len(one.cameras) == 3


def test_one_that_cannot_leave_does_not_wait_for_claims(worker: Any) -> None:
    one = worker()
    one.member.give(share(0, 1, view=GroupView(2, {"one": "1", "two": "1"}, 8), **CAMERAS))
    one.wait_for(lambda: len(one.cameras) == 3)
    one.member.is_cut_off = True
    began = time.monotonic()
    one.group.leave(leave_seconds=1, seconds=PATIENCE_SECONDS)
    assert time.monotonic() - began < PATIENCE_SECONDS / 2
    assert len(one.cameras) == 3, "they are the worker's to hand over"


def test_a_claim_that_hangs_is_not_waited_for_and_brings_no_camera_after_the_stop(worker: Any) -> None:
    one = worker()
    one.held = "a"
    one.member.give(share(0, **CAMERAS))
    assert one.claimed.wait(PATIENCE_SECONDS)
    began = time.monotonic()
    one.group.leave(leave_seconds=1, seconds=PATIENCE_SECONDS)
    assert time.monotonic() - began < PATIENCE_SECONDS / 2
    one.let_go.set()
    with pytest.raises(AssertionError):
        short_wait(one, lambda: bool(one.cameras))


def test_a_camera_that_a_zombie_has_claimed_is_claimed_again(
    worker: Any, topic: ClaimsTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "RECLAIM_SECONDS", 0.3)
    owner, zombie = worker(), worker()
    owner.member.give(share(0, **CAMERAS))
    owner.wait_for(lambda: "a" in owner.cameras)
    with capture_logs() as logged:
        topic.claim(zombie, "a")  # late: it was shared out otherwise meanwhile
        owner.wait_for(lambda: owner.did.count(("add", "a")) == 2)
    assert ("hand over", "a") in owner.did
    assert topic.owners["a"] is owner
    assert owner.counts["fenced"] == 1
    assert any("another worker has claimed a camera of this one" in line["event"] for line in logged)


def test_a_fence_counts_while_the_claim_is_answered_and_another_camera_changes(
    worker: Any, topic: ClaimsTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "RECLAIM_SECONDS", 0.3)
    owner, zombie = worker(), worker()
    owner.member.give(share(1, **CAMERAS))
    owner.wait_for(lambda: owner.cameras.keys() == {"b", "c"})
    owner.held = "a"
    owner.member.give(share(0, 1, **CAMERAS))
    assert owner.claimed.wait(PATIENCE_SECONDS)
    owner.member.give(share(0, 1, **{**CAMERAS, "b": (1, SOURCE % 9)}))
    owner.wait_for(lambda: owner.did.count(("add", "b")) == 2)
    topic.claim(zombie, "a")
    owner.held = None
    owner.let_go.set()
    owner.wait_for(lambda: ("hand over", "a") in owner.did)
    owner.wait_for(lambda: owner.did.count(("add", "a")) == 2)
    assert topic.owners["a"] is owner


def test_a_message_that_is_not_a_camera_is_said_once_counted_and_skipped(worker: Any) -> None:
    one = worker()
    with capture_logs() as logged:
        one.member.give(share(0, 1, a=CAMERAS["a"], b=(1, b"no camera")))
        one.wait_for(lambda: one.counts.get("refused") == 1 and "a" in one.cameras)
        one.member.give(share(0, 1, a=CAMERAS["a"], b=(1, b"no camera"), c=CAMERAS["c"]))
        one.wait_for(lambda: "c" in one.cameras)
    lines = [line for line in logged if line["log_level"] == "error"]
    assert [(line["event"], line["partition"], line["offset"]) for line in lines] == [
        ("a control message cannot be used; it is skipped", 1, 1)
    ]
    assert one.counts["refused"] == 1


def test_settings_of_a_newer_version_leave_the_camera_as_it_is(worker: Any) -> None:
    one = worker()
    one.member.give(share(0, 1, **CAMERAS))
    one.wait_for(lambda: len(one.cameras) == 3)
    with capture_logs() as logged:
        newer = ControlRecord("a", b'{"source": "rtsp://h", "z": 1}', partition=0, offset=9)
        before = share(0, 1, **CAMERAS)
        one.member.give(Share(before.partitions, before.read, {**before.records, "a": newer}))
        one.wait_for(lambda: one.counts.get("refused") == 1)
    (line,) = [line for line in logged if line["log_level"] == "error"]
    assert line["event"] == "a control message cannot be used; the camera goes on with its old settings"
    assert "camera a: z: unknown key" in line["error"]
    assert one.cameras["a"].source == "rtsp://192.0.2.7/1"
    assert ("remove", "a") not in one.did


def test_a_camera_that_the_models_refuse_is_given_back_until_its_message_changes(worker: Any) -> None:
    one = worker()
    one.refusal = UsageError("camera a: no threshold")
    one.member.give(share(0, **CAMERAS))
    one.wait_for(lambda: one.counts.get("refused") == 1)
    assert one.did[0] == ("release", "a")
    one.refusal = None
    one.member.give(Share(frozenset({0}), frozenset({0}), {"a": ControlRecord("a", SOURCE % 5, 0, 9)}))
    one.wait_for(lambda: "a" in one.cameras)


def test_a_camera_whose_scorer_is_away_waits_and_is_tried_again(worker: Any) -> None:
    one = worker()
    one.refusal = ScorerUnavailable(Trouble.UNREACHABLE, "Triton 127.0.0.1:1: connection refused")
    with capture_logs() as logged:
        one.member.give(share(0, **CAMERAS))
        one.wait_for(lambda: one.did.count(("release", "a")) >= 2)
        one.refusal = None
        one.wait_for(lambda: "a" in one.cameras)
    waits = [line for line in logged if line["event"] == "a camera of this worker's share waits"]
    assert len(waits) == 1


def test_a_part_that_comes_later_is_watched_without_ending_the_alert(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "COMPLETE_SECONDS", 0.2)
    one = worker()
    one.lacks_a_part = True
    one.member.give(share(0, **CAMERAS))
    one.wait_for(lambda: "a" in one.cameras)
    one.lacks_a_part = False
    one.wait_for(lambda: one.did == [("add", "a"), ("hand over", "a"), ("release", "a"), ("add", "a")])


def test_more_cameras_than_the_capacity_are_watched_and_reported(worker: Any) -> None:
    one = worker(capacity=2)
    with capture_logs() as logged:
        one.member.give(share(0, 1, **CAMERAS))
        one.wait_for(lambda: one.watched == 3)
        one.member.give(share(0, **CAMERAS))
        two = worker(capacity=2)
        two.member.give(share(1, **CAMERAS))
        one.wait_for(lambda: one.watched == 1)
    events = [line["event"] for line in logged]
    assert sum(event.startswith("more cameras than this worker's capacity; all are watched") for event in events) == 1
    assert "within this worker's capacity again" in events


def test_the_log_names_idle_workers_older_versions_and_strangers_once(worker: Any) -> None:
    one = worker()
    crowded = GroupView(1, {"one": "0.2.0", "two": "0.1.0"}, 9, strangers=1)
    with capture_logs() as logged:
        for _ in range(2):
            one.member.give(share(0, view=crowded))
        one.member.give(share(0, view=GroupView(4, {"one": "0.2.0"}, 4)))
    assert [line["event"] for line in logged if line["event"] != "this worker's share"] == [
        "3 workers, 1 partition(s): 2 of them watch nothing; add partitions to the control topic",
        "workers of several versions: 0.1.0, 0.2.0; update the older ones",
        "1 member(s) of the group are not workers that this version knows; they count as one camera each",
        "the group is in order",
    ]


def test_a_change_of_rules_alone_is_applied_to_the_running_camera_and_logged_with_its_author() -> None:
    topic = ClaimsTopic()
    worker = Worker(topic)
    worker.start()
    one = b'{"source": "rtsp://192.0.2.7/1"}'
    worker.member.give(share_of(ControlRecord("gate", one, 0, 1)))
    worker.wait_for(lambda: ("add", "gate") in worker.did)
    change = Change("ada", datetime(2026, 5, 1, tzinfo=UTC), {}, {})
    with capture_logs() as logged:
        other = b'{"source": "rtsp://192.0.2.7/1", "alerts": {"open_threshold": 0.7}}'
        worker.member.give(share_of(ControlRecord("gate", other, 0, 2, change)))
        worker.wait_for(lambda: worker.noted.get("gate") == ("ada", ""))
        worker.member.give(share_of(ControlRecord("gate", other.replace(b"7/1", b"7/2"), 0, 3)))
        worker.wait_for(lambda: worker.did.count(("add", "gate")) == 2)
    assert [what for what, _ in worker.did] == ["add", "judge anew", "remove", "release", "add"]
    line = next(line for line in logged if line["event"] == "camera changed")
    assert (line["settings"], line["by"], line["at"]) == ("alerts.open_threshold", "ada", "2026-05-01T00:00:00+00:00")


def share_of(*records: ControlRecord) -> Share:
    return Share(frozenset({0}), frozenset({0}), {record.key: record for record in records})
