"""The counting itself: what is missing, repeated, out of order or illegal is found."""

from __future__ import annotations

import pytest
from delivery_counts import Message, count, illegal_alerts

LEDGER = [("gate", "a/0"), ("yard", "y/0"), ("gate", "a/1"), ("gate", "b/0")]


def message(camera: str, identity: str, state: str = "update") -> Message:
    return Message(camera, identity, f"mistwatch.alert.{state}", 0.0, b"")


def topic(*ids: str) -> list[Message]:
    return [message("yard" if identity.startswith("y") else "gate", identity) for identity in ids]


def test_everything_that_arrives_in_order_is_well() -> None:
    counts = count(LEDGER, topic("y/0", "a/0", "a/1", "b/0"))
    assert (counts.accepted, counts.arrived, counts.duplicates) == (4, 4, 0)
    assert (counts.missing, counts.disordered, counts.unlogged) == (0, 0, 0)


def test_a_missing_event_is_found_unless_the_outbox_has_it() -> None:
    assert count(LEDGER, topic("a/0", "a/1", "b/0")).missing == 1
    assert count(LEDGER, topic("a/0", "a/1", "b/0"), kept=["y/0"]).missing == 0


def test_a_repetition_is_a_duplicate_and_not_out_of_order() -> None:
    counts = count(LEDGER, topic("a/0", "y/0", "a/1", "a/0", "b/0"))
    assert (counts.arrived, counts.duplicates, counts.disordered) == (5, 1, 0)


@pytest.mark.parametrize("ids", [("a/1", "a/0", "b/0", "y/0"), ("b/0", "a/0", "a/1", "y/0")])
def test_a_first_arrival_before_an_earlier_one_is_out_of_order(ids: tuple[str, ...]) -> None:
    assert count(LEDGER, topic(*ids)).disordered > 0


def test_an_event_that_the_ledger_lacks_counts_as_accepted() -> None:
    counts = count(LEDGER, topic("a/0", "y/0", "a/1", "b/0", "b/1"))
    assert (counts.accepted, counts.unlogged) == (5, 1)


def test_legal_alerts_have_no_problems() -> None:
    events = [
        ("a/0", "begin"),
        ("a/1", "update"),
        ("a/1", "update"),
        ("a/2", "end"),
        ("b/0", "begin"),
        ("b/2.1", "end"),
    ]
    assert illegal_alerts(message("gate", identity, state) for identity, state in events) == []


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([("a/0", "begin")], "a of gate has not ended"),
        ([("a/1", "end")], "a/1 of gate is the end of an alert that has not begun"),
        ([("a/0", "begin"), ("a/2", "end")], "a/2 of gate follows a/0"),
        ([("a/0", "begin"), ("b/0", "begin"), ("b/1", "end")], "b/0 of gate begins while a is open"),
    ],
)
def test_illegal_alerts_are_named(events: list[tuple[str, str]], problem: str) -> None:
    assert problem in illegal_alerts(message("gate", identity, state) for identity, state in events)
