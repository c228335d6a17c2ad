"""Cameras and times in the folders of recorders: a date, and the rest in the file's name.

    2024-05-01/001/dav/18/18.00.00-18.00.10[M][0@0][0].dav   Dahua, Amcrest, Lorex
    2024-05-01/18/front_door/07.32.mp4                       Frigate, in UTC
    front/2024-05-01/18-00-00.mp4                            motionEye, ZLMediaKit

A folder between the date's and the file names the camera, else the one above the date's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from pipeline.sources.recorder_times import (
    DAY,
    END,
    KINDS,
    LONGEST,
    MOMENT,
    Stated,
    clock,
    date_of,
    end_of,
    time_of_day,
)

_YEAR, _PAIR = r"(?P<year>19[7-9]\d|20\d\d)", r"\d\d"
_MONTH_DAY = rf"(?P<month>{_PAIR})(?P<day>{_PAIR})"
#: Folders of one day, from their last parts: (number of parts, pattern of the parts joined by "/").
_DAYS = tuple(
    (pattern.count("/") + 1, re.compile(pattern))
    for pattern in (
        DAY.format(""),
        rf"{_YEAR}{_MONTH_DAY}(?:AM|PM)",
        rf"{_YEAR}{_MONTH_DAY}_?(?P<hour>[01]\d|2[0-3])",
        rf"{_YEAR}Y(?P<month>{_PAIR})M(?P<day>{_PAIR})D(?P<hour>[01]\d|2[0-3])H",  # Yi
        rf"{_YEAR}/(?P<month>{_PAIR})/(?P<day>{_PAIR})",
        rf"{_YEAR}-(?P<month>{_PAIR})/(?P<day>{_PAIR})",
        rf"{_YEAR}(?P<month>{_PAIR})/(?P<day>{_PAIR})",
        rf"{_YEAR}/{_MONTH_DAY}",
    )
)
_COMPACT = re.compile(r"\d{8}(?:AM|PM)?")
_HOUR = re.compile(r"[01]\d|2[0-3]")
#: Folders that recorders make between their own, the camera's and the date's.
_STRUCTURE = frozenset({"alarm", "dav", "jpg", "mp4", "mp4record", "period", "record"})

_WHOLE_TIME = re.compile(r"(?:(?P<camera>.*[^0-9A-Za-z])??)" + clock("") + r"(?P<rest>(?:[^0-9A-Za-z].*)?)")
_IN_HOUR = re.compile(
    r"(?P<minute>[0-5]\d)(?:[-_.](?P<second>[0-5]\d)|M(?P<yi>[0-5]\d)S(?P<rest>\d\d|_\d{10})?)?", re.I
)
_EXACQ = re.compile(r"(?P<minute>[0-5]\d)(?P<second>[0-5]\d)-(?P<camera>[0-9A-Fa-f]{8})")
_EPOCHS = re.compile(r"(?P<start>1\d{9}(?:\d{3})?)(?:_(?P<end>1\d{9}(?:\d{3})?))?(?:_\d+)?")


@dataclass(frozen=True, slots=True)
class _Day:
    """Folders of a day above a file.

    Attributes:
        hour: hour that is part of the day's folder.
        compact: the date is eight digits.
        below: the folders between the day's and the file, from the outer to the inner one.
    """

    above: Path
    day: date
    hour: int | None
    compact: bool
    below: tuple[str, ...]


def in_folders(path: Path) -> Stated | None:
    """Return what a path states whose folders have the date and whose name has the time; None if they do not."""
    if (found := _day_above(path.parent)) is None:
        return None
    by_epoch = _by_epoch(path.stem, found)
    if by_epoch is not None:
        return by_epoch
    start = datetime.combine(found.day, datetime.min.time())
    whole = _WHOLE_TIME.fullmatch(path.stem)
    hours = [part for part in found.below if _HOUR.fullmatch(part)]
    if whole is not None:
        hours = [part for part in hours if part == whole["hour"]]
    hour = found.hour if found.hour is not None else int(hours[0]) if hours else None
    place = _place(found, hours[:1])
    if place is None:
        return None
    camera, folder = place
    if whole is not None:
        at = start + time_of_day(whole)
        end = END.match(whole["rest"])
        until = end_of(at, end) if end is not None else None
        if not whole["between"] and not (hours or found.compact or until):
            return None  # six digits may be a counter
        named = (whole["camera"] or "").strip(" ._-")
        return Stated(named if named and named.lower() not in KINDS else camera, folder, at, until)
    if hour is None:
        return None
    start += timedelta(hours=hour)
    if (exacq := _EXACQ.fullmatch(path.stem)) is not None:
        after = timedelta(minutes=int(exacq["minute"]), seconds=int(exacq["second"]))
        return Stated(exacq["camera"], folder, start + after)
    if (inside := _IN_HOUR.fullmatch(path.stem)) is None:
        return None
    if (inside["second"] or inside["yi"]) is None and (found.hour is not None or len(found.below) > 1):
        return None  # two digits are a minute in an hour's folder below a day's (Wyze), and may be a counter elsewhere
    at = start + timedelta(minutes=int(inside["minute"]), seconds=int(inside["second"] or inside["yi"] or 0))
    rest = inside["rest"] or ""
    if rest.startswith("_"):  # Xiaomi: the folder's hour is that of the maker's zone, the number is right
        return Stated(camera, folder, _from_epoch(rest[1:]), utc=True)
    until = at + timedelta(seconds=int(rest)) if int(rest or 0) else None
    # Frigate counts in UTC since it writes YYYY-MM-DD/HH/CAMERA; before, its YYYY-MM/DD/HH/CAMERA was local.
    utc = len(found.below) == 2 and found.below[0] == hours[0] and inside["second"] is not None
    return Stated(camera, folder, at, until, utc and _DAYS[0][1].fullmatch(path.parents[2].name) is not None)


def _place(found: _Day, hours: list[str]) -> tuple[str, Path] | None:
    """Return the camera and the recorder's folder; None if several folders below the date may name the camera."""
    others = [part for part in found.below if part.lower() not in _STRUCTURE]
    for hour in hours:
        others.remove(hour)
    if len(others) > 1:
        return None
    if others:
        return others[0], found.above
    above = undated(found.above)
    return above.name, above.parent


def _by_epoch(stem: str, found: _Day) -> Stated | None:
    """Return a recording named by its seconds or milliseconds since 1970, if its folder's date agrees to a day."""
    if (epochs := _EPOCHS.fullmatch(stem)) is None or (place := _place(found, [])) is None:
        return None
    at = _from_epoch(epochs["start"])
    if abs(at.date() - found.day) > timedelta(days=1):
        return None
    until = _from_epoch(epochs["end"]) if epochs["end"] else None
    return Stated(*place, at, until if until is not None and at < until <= at + LONGEST else None, utc=True)


def _from_epoch(digits: str) -> datetime:
    """Return seconds (10 digits) or milliseconds (13) since 1970 as a time in UTC, without its zone."""
    return datetime(1970, 1, 1) + timedelta(seconds=int(digits[:10]), milliseconds=int(digits[10:] or 0))


def in_deep_folders(path: Path) -> Stated | None:
    """Read ZoneMinder's deep layout: ``MONITOR/YY/MM/DD/HH/MM/SS/EVENT-video.mp4``."""
    parts = path.parent.parts
    if len(parts) < 7 or not re.fullmatch(r"\d+-video", path.stem):
        return None
    if not all(re.fullmatch(r"\d\d", part) for part in parts[-6:]):
        return None
    year, month, day, hour, minute, second = (int(part) for part in parts[-6:])
    try:
        at = datetime(2000 + year, month, day, hour, minute, second)
    except ValueError:
        return None
    return Stated(parts[-7], Path(*parts[:-7]), at)


def _day_above(folder: Path) -> _Day | None:
    """Return the nearest folders of a day among the last few."""
    below: list[str] = []
    for here in (folder, *folder.parents)[:5]:
        for above, found in _days(here):
            if (day := date_of(found)) is not None:
                hour = found.groupdict().get("hour")
                compact = _COMPACT.fullmatch(found[0]) is not None
                return _Day(above, day, int(hour) if hour else None, compact, tuple(reversed(below)))
        below.append(here.name)
    return None


def _days(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    parts = folder.parts
    for count, pattern in _DAYS:
        if len(parts) >= count and (found := pattern.fullmatch("/".join(parts[-count:]))):
            yield Path(*parts[:-count]), found


def undated(folder: Path) -> Path:
    """Return the nearest folder, from this one upwards, that is not one of dates, hours or a recorder's structure."""
    here = folder
    while here.name:
        day = _day_above_hour(here)
        if day is not None:
            here = day
        elif MOMENT.match(here.name) or here.name.lower() in _STRUCTURE:
            here = here.parent
        else:
            return here
    return folder if folder.name.lower() in _STRUCTURE else here


def _day_above_hour(folder: Path) -> Path | None:
    """Return the folder above a day's, or above a day's and an hour's; None if ``folder`` is neither."""
    for here in (folder, folder.parent) if _HOUR.fullmatch(folder.name) else (folder,):
        for above, found in _days(here):
            if date_of(found) is not None:
                return above
    return None
