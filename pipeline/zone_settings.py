"""Zones and schedules of a camera, as a site's file has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from operators.schedule import WEEKDAYS, Hours, Schedule
from operators.zones import Zone, check_polygon, left_over
from pipeline.names import Name

#: A share of the picture: ignore zones that leave less of it leave nothing to watch.
_LEAST_WATCHED = 0.01


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, OSError, ValueError):  # not in the database, a folder of it, not a relative path
        raise ValueError("unknown time zone; expected a name such as Europe/Berlin or UTC") from None
    return name


def _hours(text: str) -> Hours:
    """Return the hours of ``HH:MM-HH:MM``; an end that is not after the beginning is on the next day."""
    found = re.fullmatch(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)", text, re.ASCII)
    expected = "expected HH:MM-HH:MM, from 00:00 to 24:00, such as 08:00-18:00 or 22:00-06:00"
    if found is None:
        raise ValueError(f"not hours of a day; {expected}")
    hour, minute, to_hour, to_minute = map(int, found.groups())
    begins, ends = hour * 60 + minute, to_hour * 60 + to_minute
    if begins >= 24 * 60 or ends > 24 * 60:
        raise ValueError(f"not hours of a day; {expected}")
    if begins == ends:
        raise ValueError("the hours end when they begin; for a whole day write 00:00-24:00")
    return Hours(begins, ends if begins < ends else ends + 24 * 60)


def _checked_hours(text: str) -> str:
    _hours(text)
    return text


def _checked_points(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    check_polygon(points)
    return points


_DayHours = tuple[Annotated[str, AfterValidator(_checked_hours)], ...] | None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScheduleSettings(_Strict):
    """Hours in which alerts matter. A day's own hours replace those of ``weekdays`` or ``weekend``."""

    timezone: Annotated[str, AfterValidator(_time_zone)] = Field(description="time zone of the hours: Europe/Berlin")
    weekdays: _DayHours = Field(None, description="hours from Monday to Friday: [08:00-18:00], [22:00-06:00], …")
    weekend: _DayHours = Field(None, description="hours on Saturday and Sunday")
    monday: _DayHours = None
    tuesday: _DayHours = None
    wednesday: _DayHours = None
    thursday: _DayHours = None
    friday: _DayHours = None
    saturday: _DayHours = None
    sunday: _DayHours = None

    @model_validator(mode="after")
    def _makes_a_schedule(self) -> ScheduleSettings:
        self.schedule()
        return self

    def schedule(self) -> Schedule:
        """Return the schedule."""
        hours = {}
        for number, day in enumerate(WEEKDAYS):
            own: _DayHours = getattr(self, day)
            general = self.weekdays if number < 5 else self.weekend
            hours[day] = tuple(map(_hours, (general if own is None else own) or ()))
        return Schedule(ZoneInfo(self.timezone), hours)


class ZoneSettings(_Strict):
    """One zone of a camera's picture."""

    points: Annotated[tuple[tuple[float, float], ...], Field(max_length=100), AfterValidator(_checked_points)] = Field(
        description="corners [x, y] in order, in shares of the picture from its top left: [[0, 0.5], [1, 0.5], [1, 1]]"
    )
    ignore: bool = Field(False, description="whatever moves in the zone is left out before the score")
    schedule: ScheduleSettings | None = Field(
        None, description="alerts whose zones all lie outside their schedules are muted; default: always inside"
    )

    @model_validator(mode="after")
    def _either_ignored_or_scheduled(self) -> ZoneSettings:
        if self.ignore and self.schedule is not None:
            raise ValueError("an ignore zone raises no alerts, so it cannot have a schedule; remove one of the two")
        return self


def _checked_zones(zones: dict[str, ZoneSettings]) -> dict[str, ZoneSettings]:
    ignored = [zone for zone in zones_of(zones) if zone.ignore]
    if ignored and left_over(ignored) < _LEAST_WATCHED:
        named = f"zone {ignored[0].name} covers" if len(ignored) == 1 else "zones together cover"
        raise ValueError(f"the ignore {named} the whole picture, nothing is left to watch; make room")
    return zones


Zones = Annotated[dict[Name, ZoneSettings], AfterValidator(_checked_zones)]


def zones_of(settings: Mapping[str, ZoneSettings]) -> tuple[Zone, ...]:
    """Return the zones, in the file's order."""
    return tuple(Zone(name, zone.points, zone.ignore) for name, zone in settings.items())
