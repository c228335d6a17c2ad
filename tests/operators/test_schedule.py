"""Schedules by the clock on the wall, over changes of daylight-saving time in four time zones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from operators.schedule import WEEKDAYS, Hours, Schedule


def hours(text: str) -> Hours:
    begins, ends = (int(clock[:2]) * 60 + int(clock[3:]) for clock in text.split("-"))
    return Hours(begins, ends if ends > begins else ends + 24 * 60)


def schedule(zone: str, **days: str) -> Schedule:
    return Schedule(ZoneInfo(zone), {day: tuple(map(hours, text.split())) for day, text in days.items()})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def spans(plan: Schedule, begins: str, days: int = 1) -> Iterator[tuple[str, str]]:
    """Yield the stretches inside, looked for minute by minute: begin and end in UTC, ``HH:MM``."""
    now, inside, since = utc(begins), False, utc(begins)
    for minute in range(days * 24 * 60 + 1):
        now = utc(begins) + timedelta(minutes=minute)
        holds = plan.holds_at(now)
        if holds and not inside:
            since = now
        if inside and not holds:
            yield f"{since:%H:%M}", f"{now:%H:%M}"
        inside = holds


def test_an_ordinary_day_from_its_first_second_to_its_last() -> None:
    plan = schedule("UTC", monday="08:00-18:00")  # 5 January 2026 is a Monday
    for moment, inside in {
        "2026-01-05T07:59:59.999": False,
        "2026-01-05T08:00:00": True,
        "2026-01-05T17:59:59.999": True,
        "2026-01-05T18:00:00": False,
        "2026-01-06T09:00:00": False,
    }.items():
        assert plan.holds_at(utc(moment)) is inside, moment


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    plan = schedule("UTC", friday="22:00-06:00")  # 9 January 2026 is a Friday
    assert list(spans(plan, "2026-01-05T00:00", days=7)) == [("22:00", "06:00")]
    assert plan.holds_at(utc("2026-01-09T22:00"))
    assert plan.holds_at(utc("2026-01-10T05:59"))


def test_sunday_night_reaches_into_monday() -> None:
    plan = schedule("UTC", sunday="22:00-06:00")
    assert plan.holds_at(utc("2026-01-05T05:59"))  # a Monday
    assert not plan.holds_at(utc("2026-01-05T06:00"))
    assert plan.holds_at(utc("2026-01-11T22:00"))


def test_a_whole_day_and_two_that_meet_at_midnight() -> None:
    plan = schedule("UTC", monday="00:00-24:00", tuesday="00:00-08:00 08:00-09:00")
    assert list(spans(plan, "2026-01-04T12:00", days=3)) == [("00:00", "09:00")]


# Berlin: on 29 March 2026 02:00 CET (01:00 UTC) becomes 03:00 CEST; on 25 October 03:00 CEST (01:00 UTC) becomes
# 02:00 CET. Both are Sundays.
@pytest.mark.parametrize(
    ("own", "day", "expected"),
    [
        # 02:15 to 02:45 does not occur.
        pytest.param("02:15-02:45", "2026-03-28T22:00", [], id="skipped hour"),
        # 01:30 CET is 00:30 UTC. At 01:00 UTC it is 03:00 already, which is past 02:30.
        pytest.param("01:30-02:30", "2026-03-28T22:00", [("00:30", "01:00")], id="end in the skipped hour"),
        # 02:30 never comes; the first moment past it is 03:00 CEST, 01:00 UTC. 03:30 CEST is 01:30 UTC.
        pytest.param("02:30-03:30", "2026-03-28T22:00", [("01:00", "01:30")], id="beginning in the skipped hour"),
        # 01:00 CET is 00:00 UTC, 04:00 CEST is 02:00 UTC: two hours instead of three.
        pytest.param("01:00-04:00", "2026-03-28T22:00", [("00:00", "02:00")], id="around the skipped hour"),
        # 02:15 to 02:45 CEST is 00:15 to 00:45 UTC; then in CET once more, 01:15 to 01:45 UTC.
        pytest.param("02:15-02:45", "2026-10-24T22:00", [("00:15", "00:45"), ("01:15", "01:45")], id="repeated hour"),
        # 01:00 CEST is 23:00 UTC, 04:00 CET is 03:00 UTC: four hours instead of three.
        pytest.param("01:00-04:00", "2026-10-24T22:00", [("23:00", "03:00")], id="around the repeated hour"),
        # 01:30 CEST is 23:30 UTC. 02:30 CEST (00:30 UTC) ends it; from 02:00 CET (01:00 UTC) on it is before 02:30
        # once more, until 01:30 UTC.
        pytest.param(
            "01:30-02:30", "2026-10-24T22:00", [("23:30", "00:30"), ("01:00", "01:30")], id="end in the repeated hour"
        ),
    ],
)
def test_berlin(own: str, day: str, expected: list[tuple[str, str]]) -> None:
    assert list(spans(schedule("Europe/Berlin", sunday=own), day)) == expected


def test_a_night_in_berlin_is_an_hour_shorter_or_longer() -> None:
    plan = schedule("Europe/Berlin", saturday="22:00-06:00")
    # 22:00 CET is 21:00 UTC, 06:00 CEST is 04:00 UTC.
    assert list(spans(plan, "2026-03-28T12:00")) == [("21:00", "04:00")]
    # 22:00 CEST is 20:00 UTC, 06:00 CET is 05:00 UTC.
    assert list(spans(plan, "2026-10-24T12:00")) == [("20:00", "05:00")]


# New York: on 8 March 2026 02:00 EST (07:00 UTC) becomes 03:00 EDT; on 1 November 02:00 EDT (06:00 UTC) becomes
# 01:00 EST. Both are Sundays.
@pytest.mark.parametrize(
    ("own", "day", "expected"),
    [
        pytest.param("02:00-03:00", "2026-03-08T00:00", [], id="skipped hour"),
        # 01:00 EST is 06:00 UTC, 04:00 EDT is 08:00 UTC.
        pytest.param("01:00-04:00", "2026-03-08T00:00", [("06:00", "08:00")], id="around the skipped hour"),
        # 01:15 to 01:45 EDT is 05:15 to 05:45 UTC, in EST 06:15 to 06:45 UTC.
        pytest.param("01:15-01:45", "2026-11-01T00:00", [("05:15", "05:45"), ("06:15", "06:45")], id="repeated hour"),
        # The whole local day is 25 hours: 04:00 UTC (00:00 EDT) to 05:00 UTC (00:00 EST).
        pytest.param("00:00-24:00", "2026-11-01T00:00", [("04:00", "05:00")], id="a day of 25 hours"),
    ],
)
def test_new_york(own: str, day: str, expected: list[tuple[str, str]]) -> None:
    assert list(spans(schedule("America/New_York", sunday=own), day, days=2)) == expected


# Lord Howe moves its clocks by half an hour: on 4 October 2026 02:00 (+10:30, 15:30 UTC of 3 October) becomes 02:30
# (+11); on 5 April 02:00 (+11, 15:00 UTC of 4 April) becomes 01:30 (+10:30). Both are Sundays there.
@pytest.mark.parametrize(
    ("own", "day", "expected"),
    [
        pytest.param("02:05-02:25", "2026-10-03T12:00", [], id="skipped half hour"),
        # 01:45 (+10:30) is 15:15 UTC, 02:45 (+11) is 15:45 UTC: half an hour instead of one.
        pytest.param("01:45-02:45", "2026-10-03T12:00", [("15:15", "15:45")], id="around the skipped half hour"),
        # 01:40 to 01:50 (+11) is 14:40 to 14:50 UTC, and in +10:30 15:10 to 15:20 UTC.
        pytest.param(
            "01:40-01:50", "2026-04-04T12:00", [("14:40", "14:50"), ("15:10", "15:20")], id="repeated half hour"
        ),
        # 01:00 (+11) is 14:00 UTC, 03:00 (+10:30) is 16:30 UTC: two and a half hours instead of two.
        pytest.param("01:00-03:00", "2026-04-04T12:00", [("14:00", "16:30")], id="around the repeated half hour"),
    ],
)
def test_lord_howe(own: str, day: str, expected: list[tuple[str, str]]) -> None:
    assert list(spans(schedule("Australia/Lord_Howe", sunday=own), day)) == expected


@pytest.mark.parametrize("day", ["2026-03-29T00:00", "2026-10-25T00:00", "2026-11-01T00:00"])
def test_kolkata_has_no_change(day: str) -> None:
    """+5:30 throughout the year: 02:00 to 03:00 on Sunday is 20:30 to 21:30 UTC on Saturday."""
    plan = schedule("Asia/Kolkata", sunday="02:00-03:00")
    before = (utc(day) - timedelta(days=1)).strftime("%Y-%m-%dT12:00")
    assert list(spans(plan, before)) == [("20:30", "21:30")]


@pytest.mark.parametrize(
    ("days", "problem"),
    [
        ({}, "a schedule needs hours on one weekday or more"),
        ({"monday": ()}, "a schedule needs hours on one weekday or more"),
        ({"mon": (Hours(0, 60),)}, f"unknown weekday mon; expected {' or '.join(WEEKDAYS)}"),
        (
            {"monday": (Hours(480, 600), Hours(540, 660))},
            "the hours monday 08:00-10:00 and monday 09:00-11:00 overlap; join them, or end the first ones earlier",
        ),
        (
            {"friday": (Hours(1320, 1800),), "saturday": (Hours(300, 400),)},
            "the hours friday 22:00-06:00 and saturday 05:00-06:40 overlap; join them, or end the first ones earlier",
        ),
        (
            {"sunday": (Hours(1320, 1800),), "monday": (Hours(0, 1440),)},
            "the hours sunday 22:00-06:00 and monday 00:00-24:00 overlap; join them, or end the first ones earlier",
        ),
    ],
)
def test_a_schedule_that_contradicts_itself_is_refused(days: dict[str, tuple[Hours, ...]], problem: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(problem)}$"):
        Schedule(UTC, days)


@pytest.mark.parametrize(("begins", "ends"), [(-1, 60), (1440, 1500), (60, 60), (60, 30), (60, 1501)])
def test_hours_begin_in_their_day_and_last_at_most_one(begins: int, ends: int) -> None:
    with pytest.raises(ValueError, match="hours begin within their day"):
        Hours(begins, ends)
