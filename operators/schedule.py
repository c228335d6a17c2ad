"""Weekly schedules by the clock on the wall: is an instant within the hours?

Hours are local: ``08:00-18:00`` begins when the clocks of the time zone show 08:00, in winter and in summer. Where the
clocks go forward, hours that lie in the skipped time do not occur. Where they go back, the repeated time is within the
hours both times.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_DAY = 24 * 60
_WEEK = 7 * _DAY


@dataclass(frozen=True, slots=True)
class Hours:
    """Minutes from the midnight that begins a day: from ``begins`` on, before ``ends``.

    Attributes:
        begins: in [0, 1440).
        ends: up to 1440 is the same day; beyond it, the next day.

    Raises:
        ValueError: hours that do not begin within their day, or last nothing or longer than 24 hours.
    """

    begins: int
    ends: int

    def __post_init__(self) -> None:
        if not (0 <= self.begins < _DAY and self.begins < self.ends <= self.begins + _DAY):
            raise ValueError(f"hours begin within their day and last up to 24 hours, got {self.begins} to {self.ends}")

    def __str__(self) -> str:
        ends = self.ends if self.ends <= _DAY else self.ends - _DAY
        return f"{_clock(self.begins)}-{_clock(ends)}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """The hours of each weekday, in one time zone.

    Attributes:
        hours: by weekday, see ``WEEKDAYS``; a weekday that is left out has none. Hours over midnight belong to the day
            on which they begin.

    Raises:
        ValueError: an unknown weekday, no hours at all, or hours that overlap.
    """

    timezone: tzinfo
    hours: Mapping[str, tuple[Hours, ...]]

    def __post_init__(self) -> None:
        if unknown := [day for day in self.hours if day not in WEEKDAYS]:
            raise ValueError(f"unknown weekday {unknown[0]}; expected {' or '.join(WEEKDAYS)}")
        spans = sorted(
            (WEEKDAYS.index(day) * _DAY + hours.begins, WEEKDAYS.index(day) * _DAY + hours.ends, f"{day} {hours}")
            for day, listed in self.hours.items()
            for hours in listed
        )
        if not spans:
            raise ValueError("a schedule needs hours on one weekday or more")
        first_begins, first_ends, first = spans[0]
        again = (first_begins + _WEEK, first_ends + _WEEK, first)  # Sunday's hours may reach into Monday
        for (_, ends, before), (begins, _, after) in itertools.pairwise([*spans, again]):
            if begins < ends:
                raise ValueError(f"the hours {before} and {after} overlap; join them, or end the first ones earlier")

    def holds_at(self, instant: datetime) -> bool:
        """Return whether an instant, an aware datetime, lies within the hours."""
        local = instant.astimezone(self.timezone)
        today = local.weekday()
        minute = local.hour * 60 + local.minute
        return self._within(today, minute) or self._within((today - 1) % 7, minute + _DAY)

    def _within(self, weekday: int, minute: int) -> bool:
        return any(hours.begins <= minute < hours.ends for hours in self.hours.get(WEEKDAYS[weekday], ()))


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
