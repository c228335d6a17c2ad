"""The times in the names of recorders' files: their patterns, and a recording as its path states it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

#: Longest recording whose end is believed: recorders begin a new file at midnight at the latest.
LONGEST = timedelta(hours=24)

#: Longest recording whose end is six digits without a date: these may as well be microseconds.
_LONGEST_BY_DIGITS = timedelta(hours=6)

#: Patterns of a time, and of a date whose groups have a prefix.
_UNITS = (("hour", r"[01]\d|2[0-3]"), ("minute", r"[0-5]\d"), ("second", r"[0-5]\d"))
DAY = r"(?P<{0}year>19[7-9]\d|20\d\d)(?P<{0}mark>[-_.]?)(?P<{0}month>\d\d)(?P={0}mark)(?P<{0}day>\d\d)"

#: Before or after the time, and not a camera: kinds of recordings, which several cameras share.
KINDS = frozenset(
    {"alarm", "animal", "audio", "capture", "clip", "continuous", "event", "img", "manual", "md", "mdalarm", "mot"}
    | {"motion", "mov", "movie", "nor", "normal", "out", "output", "person", "pet", "pxl", "rec", "record", "recording"}
    | {"ring", "schedule", "seg", "segment", "stream", "timer", "vehicle", "vid", "video"}
)


@dataclass(frozen=True, slots=True)
class Stated:
    """A recording as its path states it.

    Attributes:
        camera: its name as the recorder writes it, in Unicode's form NFC, unique within ``folder``; empty where none is
            named.
        folder: the folder of the recorder, above those of cameras and dates.
        at: time of the first picture, without a zone.
        until: time of its end, without a zone; None where only the start is stated.
        utc: the times are UTC; otherwise they are by the recorder's own clock, in a zone that no name states.
    """

    camera: str
    folder: Path
    at: datetime
    until: datetime | None = None
    utc: bool = False


def clock(prefix: str) -> str:
    """Return the pattern of hours, minutes and seconds with one kind of separator."""
    hour, minute, second = (f"(?P<{prefix}{unit}>{digits})" for unit, digits in _UNITS)
    separator = f"{prefix}between"
    return rf"(?:{hour}(?P<{separator}>[-_.:]?){minute}(?P={separator}){second})"


#: A date and a time. "DST" may precede: Reolink marks summer time so.
MOMENT = re.compile(
    r"(?<![0-9A-Za-z])(?:DST)?"
    + DAY.format("")
    + r"(?P<gap> - |, |[T_. @-]|)"
    + clock("")
    + r"(?P<fraction>(?:\d{6}|\d{3})|[-_.](?:\d{6}|\d{3})(?![0-9A-Ya-z]))?"
    + r"(?P<zone>Z|-?\+\d\d[:_]?\d\d|-\d{4}(?=$|[^0-9A-Za-z]))?"
    + r"(?![0-9A-Za-z])"
)
#: An end after a start; its date may be left out.
END = re.compile(
    r"(?: - |_to_|[-_.])(?:DST)?(?:" + DAY.format("end_") + r"[T_. -]?)?" + clock("end_") + r"(?:\d{3})?(?![0-9A-Za-z])"
)


def end_of(at: datetime, found: re.Match[str]) -> datetime | None:
    """Return the stated end of a recording; None where it cannot be its end."""
    if found["end_year"] is None:
        until = datetime.combine(at.date(), datetime.min.time()) + time_of_day(found, "end_")
        until += timedelta(days=1) if until < at else timedelta()
        longest = LONGEST if found["end_between"] else _LONGEST_BY_DIGITS
    else:
        if (day := date_of(found, "end_")) is None:
            return None
        until = datetime.combine(day, datetime.min.time()) + time_of_day(found, "end_")
        longest = LONGEST
    return until if at < until <= at + longest else None


def date_of(found: re.Match[str], prefix: str = "") -> date | None:
    """Return the date of a match of :data:`DAY`; None if there is no such day."""
    try:
        return date(*(int(found[f"{prefix}{unit}"]) for unit in ("year", "month", "day")))
    except ValueError:
        return None


def time_of_day(found: re.Match[str], prefix: str = "") -> timedelta:
    """Return the time of a match of :func:`clock`, as the time since midnight."""
    hours, minutes, seconds = (int(found[f"{prefix}{unit}"]) for unit, _ in _UNITS)
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)
