"""A camera of a group, decision by decision."""

from __future__ import annotations

import pytest

from pipeline.live.group_member import ControlRecord, Share
from pipeline.live.tenancy import COMPLETE_SECONDS, LINGER_SECONDS, Action, Tenancy

MESSAGE = ControlRecord("gate", b"new", partition=3, offset=7)
OWNED = Share(frozenset({3}), frozenset({3}), {"gate": MESSAGE})
UNREAD = Share(frozenset({3}), frozenset())
REMOVED = Share(frozenset({3}), frozenset({3}))
LOST = Share(frozenset({4}), frozenset({4}))


@pytest.mark.parametrize(
    ("tenancy", "share", "expected"),
    [
        ({}, OWNED, Action.ADD),
        ({"retry_at": 101.0}, OWNED, Action.WAIT),
        ({"retry_at": 100.0}, OWNED, Action.ADD),
        ({"refused": 7}, OWNED, Action.WAIT),
        ({"refused": 6}, OWNED, Action.ADD),
        ({}, LOST, Action.WAIT),
        ({}, REMOVED, Action.WAIT),
        ({"running": b"new"}, OWNED, Action.WAIT),
        ({"running": b"old"}, OWNED, Action.CHANGE),
        ({"running": b"old", "retry_at": 101.0}, OWNED, Action.WAIT),
        ({"running": b"old", "refused": 7}, OWNED, Action.WAIT),
        ({"running": b"old"}, UNREAD, Action.WAIT),
        ({"running": b"old"}, REMOVED, Action.REMOVE),
        ({"running": b"new"}, LOST, Action.WAIT),
        ({"running": b"new", "fenced": True}, LOST, Action.HAND_OVER),
        ({"running": b"new", "fenced": True}, OWNED, Action.HAND_OVER),
        ({"running": b"old", "fenced": True}, REMOVED, Action.HAND_OVER),
        ({"running": b"new", "complete_at": 99.0}, OWNED, Action.COMPLETE),
        ({"running": b"new", "complete_at": 101.0}, OWNED, Action.WAIT),
        ({"running": b"old", "complete_at": 99.0}, OWNED, Action.CHANGE),
        ({"running": b"new", "complete_at": 99.0}, LOST, Action.WAIT),
    ],
)
def test_the_next_action(tenancy: dict[str, object], share: Share, expected: Action) -> None:
    camera = Tenancy("gate", 3, **tenancy)  # type: ignore[arg-type]
    camera.follow(share, 100.0)
    assert camera.next_action(share, 100.0) is expected


def test_a_lost_camera_lingers_until_it_is_claimed_or_its_time_is_over() -> None:
    camera = Tenancy("gate", 3, running=b"new")
    for now in (100.0, 100.0 + LINGER_SECONDS - 0.1):
        camera.follow(LOST, now)
        assert camera.next_action(LOST, now) is Action.WAIT
    assert camera.next_action(LOST, 100.0 + LINGER_SECONDS) is Action.HAND_OVER


def test_a_camera_that_comes_back_in_time_was_never_lost() -> None:
    camera = Tenancy("gate", 3, running=b"new")
    camera.follow(LOST, 100.0)
    camera.follow(OWNED, 105.0)
    assert camera.next_action(OWNED, 105.0) is Action.WAIT
    camera.follow(LOST, 109.0)
    assert camera.next_action(LOST, 100.0 + LINGER_SECONDS) is Action.WAIT


def test_a_message_on_another_partition_moves_the_camera() -> None:
    moved = Share(frozenset({4}), frozenset({4}), {"gate": ControlRecord("gate", b"new", 4, 1)})
    camera = Tenancy("gate", 3, running=b"new")
    camera.follow(moved, 100.0)
    assert camera.partition == 4
    assert camera.next_action(moved, 100.0) is Action.WAIT


def test_times_are_in_order() -> None:
    assert LINGER_SECONDS <= COMPLETE_SECONDS
