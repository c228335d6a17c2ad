"""Alerts folded from their events, filtered, paged and judged."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import console_scene as made
import pytest
from alike_alerts import at as at_angle
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.alerting import AlertState
from pipeline.alerts.judgement import judgement_event
from pipeline.console.alert_book import AlertBook, AlertFilter
from pipeline.console.alert_entry import AlertEntry
from pipeline.errors import UsageError

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BEGIN, UPDATE, END = AlertState.BEGIN, AlertState.UPDATE, AlertState.END


def take(book: AlertBook, *events: Any) -> None:
    for number, event in enumerate(events):
        book.take(event, event.to_json(), NOON.timestamp() + number)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2, 1), (1, 1, 0, 2, 0, 2)])
def test_an_alert_is_the_same_in_whatever_order_its_events_come(order):
    events = made.alert("gate", NOON, seconds=30, states=[BEGIN, UPDATE, END], evidence=["file:///e/gate/a.jpg"])
    book, plain = AlertBook(), AlertBook()
    take(plain, *events)
    take(book, *(events[number] for number in order))
    (one,), (expected,) = book.entries(), plain.entries()
    assert (one.is_open, one.end_reason, one.peak) == (False, "below_threshold", expected.peak)
    assert one.scores == expected.scores
    assert len(one.scores) == 3 * round(30 / made.STEP)
    assert one.evidence == ("file:///e/gate/a.jpg",)


def test_the_worker_of_the_higher_generation_says_whether_an_alert_is_open():
    first = made.alert("gate", NOON, states=[BEGIN, END], generation=3)
    second = made.alert("gate", NOON, states=[BEGIN, UPDATE], generation=4)
    book = AlertBook()
    take(book, first[0], second[1], first[1].marked_late())  # the end of a worker that had lost the camera
    (one,) = book.entries()
    assert one.is_open
    assert one.order == (4, 1)


def test_an_alert_whose_begin_came_too_late_is_marked():
    book = AlertBook()
    take(book, made.alert("gate", NOON, states=[BEGIN], generation=1)[0].marked_late())
    assert next(book.entries()).is_late


def test_an_alert_that_lasts_for_days_is_bounded_and_a_repeated_event_changes_nothing():
    begin, update, end = made.alert("gate", NOON, states=[BEGIN, UPDATE, END])

    def numbered(event: Any, sequence: int) -> Any:
        return event.model_copy(update={"data": event.data.model_copy(update={"sequence": sequence})})

    book = AlertBook()
    take(book, begin, *(numbered(update, number) for number in range(1, 5_000)))
    (one,) = book.entries()
    assert len(one.seen) <= 1_000
    before = (one.is_open, one.order, len(one.scores), one.document, one.updated_at)
    take(book, begin, numbered(update, 1), numbered(update, 3_000), numbered(update, 4_999))
    assert (one.is_open, one.order, len(one.scores), one.document, one.updated_at) == before
    take(book, numbered(end, 5_000))
    assert not one.is_open


def test_a_film_that_another_version_has_added_is_found():
    event = made.alert("gate", NOON, states=[BEGIN])[0]
    raw = event.to_json().replace(b'"data":{', b'"data":{"film":{"uri":"file:///e/gate/a.mp4","seconds":12.5},', 1)
    book = AlertBook()
    book.take(event, raw, NOON.timestamp())
    assert next(book.entries()).film == {"uri": "file:///e/gate/a.mp4", "seconds": 12.5}


def test_of_too_many_alerts_the_newest_stay():
    book = AlertBook(most=5)
    for number in random.Random(1).sample(range(9), 9):
        take(book, *made.alert("gate", NOON + timedelta(minutes=number)))
    assert [entry.at for entry in book.entries()] == [
        (NOON + timedelta(minutes=number)).timestamp() for number in (8, 7, 6, 5, 4)
    ]
    assert book.forgotten == 4
    assert book.unended("gate") == []


names = st.sampled_from(["gate", "yard", "roof"])
entries = st.lists(
    st.tuples(
        st.integers(0, 30),
        names,
        st.sampled_from(["alert", "tamper", "drift"]),
        st.sampled_from(["", "fights"]),
        st.sampled_from([None, True, False]),
        st.sampled_from(["g1", "g2", None]),
        st.sampled_from(["lawn", "Walkway", ""]),
        st.booleans(),
    ),
    max_size=40,
)
filters = st.builds(
    AlertFilter,
    since=st.none() | st.integers(0, 30).map(float),
    until=st.none() | st.integers(0, 30).map(float),
    camera=st.none() | names,
    detector=st.none() | st.just("fights"),
    place=st.none() | st.sampled_from(["walk", "LAWN"]),
    group=st.none() | st.sampled_from(["g1", "g2"]),
    muted=st.none() | st.booleans(),
    kind=st.none() | st.sampled_from(["alert", "tamper"]),
    is_open=st.none() | st.booleans(),
)


@settings(max_examples=50)
@given(entries, filters, st.integers(1, 7))
def test_pages_together_hold_what_a_search_of_everything_finds(lines, condition, limit):
    book = AlertBook()
    known = []
    for number, (at, camera, kind, detector, muted, group, place, is_open) in enumerate(lines):
        entry = AlertEntry(f"{number:04d}", kind, "yard", camera, float(at), detector)
        entry.muted, entry.group, entry.place, entry.is_open = muted, group, place, is_open
        book._entries[entry.id] = entry
        book._order.append((entry.at, entry.id))
        known.append(entry)
    book._order.sort()

    def is_right(one: AlertEntry) -> bool:
        return all(
            [
                condition.since is None or one.at >= condition.since,
                condition.until is None or one.at < condition.until,
                condition.camera is None or one.camera == condition.camera,
                condition.detector is None or one.detector == condition.detector,
                condition.place is None or condition.place.lower() in one.place.lower(),
                condition.group is None or one.group == condition.group,
                condition.muted is None or bool(one.muted) is condition.muted,
                condition.kind is None or one.kind == condition.kind,
                condition.is_open is None or one.is_open is condition.is_open,
            ]
        )

    expected = sorted(filter(is_right, known), key=lambda one: (one.at, one.id), reverse=True)
    found, cursor = [], None
    while True:
        page = book.page(condition, NOON, limit=limit, cursor=cursor)
        found += page.entries
        assert len(page.entries) <= limit
        if (cursor := page.following) is None:
            break
    assert [one.id for one in found] == [one.id for one in expected]


def test_a_page_does_not_move_when_newer_alerts_come():
    book = AlertBook()
    for number in range(6):
        take(book, *made.alert("gate", NOON + timedelta(minutes=number)))
    first = book.page(AlertFilter(), NOON, limit=3)
    take(book, *made.alert("gate", NOON + timedelta(minutes=99)))
    second = book.page(AlertFilter(), NOON, limit=3, cursor=first.following)
    assert [one.at - NOON.timestamp() for one in second.entries] == [120, 60, 0]
    with pytest.raises(UsageError, match="expected that of an earlier page"):
        book.page(AlertFilter(), NOON, limit=3, cursor="somewhere")


def test_the_newest_judgement_in_force_holds_and_that_of_the_alert_before_that_of_its_group():
    book = AlertBook()
    (begin,) = made.alert("gate", NOON, states=[BEGIN], angle=10.0)
    take(book, begin)
    (entry,) = book.entries()

    def judge(verdict: Any, minutes: int, *, group: bool, expires: int | None = None) -> None:
        at = NOON + timedelta(minutes=minutes)
        event = judgement_event(
            site=made.SITE,
            target=begin.data.alert_id,
            camera=None if group else "gate",
            verdict=verdict,
            judged_at=at,
            expires_at=None if expires is None else NOON + timedelta(minutes=expires),
            similarity=0.9,
            embedding_version="alike/1",
            exemplars=[at_angle(0)] if verdict != "withdrawn" else [],
        )
        book.take(event, event.to_json(), at.timestamp())

    later = NOON + timedelta(minutes=30)
    judge("normal", 1, group=True)
    assert book.verdict(entry, later) == "normal"
    judge("real", 3, group=False, expires=40)
    judge("normal", 2, group=False)  # older than what holds
    assert book.verdict(entry, later) == "real"
    assert book.verdict(entry, NOON + timedelta(minutes=50)) == "normal"
    judge("withdrawn", 5, group=True)
    judge("withdrawn", 6, group=False)
    assert book.verdict(entry, later) is None
    judged = AlertFilter(judgement="none")
    assert book.page(judged, later, limit=5).entries == [entry]
