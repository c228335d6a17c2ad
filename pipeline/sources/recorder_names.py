"""Camera and time of a recording, read from its path in the layouts of common recorders.

    ch01_20240501180000.264                                  Hikvision
    2024-05-01/001/dav/18/18.00.00-18.00.10[M][0@0][0].dav   Dahua, Amcrest, Lorex
    2024-05-01/18/front_door/07.32.mp4                       Frigate, in UTC
    front/2024-05-01/18-00-00.mp4                            motionEye, ZLMediaKit
    gate/2024-05-01_18-00-00-000000.mp4                      MediaMTX

Generally: a date and a time in the name, written year, month, day, hour, minute, second; or a date in the folders and
the rest in the name. Month and day in another order are read in one layout alone, UniFi's, as they are ambiguous
elsewhere. A date without a time, and a number that may be a counter, state nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

#: Longest recording whose end is believed: recorders begin a new file at midnight at the latest.
_LONGEST = timedelta(hours=24)

#: Longest recording whose end is six digits without a date: these may as well be microseconds.
_LONGEST_BY_DIGITS = timedelta(hours=6)


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


def stated(path: Path) -> Stated | None:
    """Return the camera and the time that ``path`` states, or None. Nothing is opened.

    >>> stated(Path("/nvr/front/2024-05-01/18-00-00.mp4")).at.isoformat()
    '2024-05-01T18:00:00'
    >>> stated(Path("clip_001.mp4")) is None
    True
    """
    found = _in_name(path) or _in_deep_folders(path) or _in_folders(path)
    return found and replace(found, camera=unicodedata.normalize("NFC", found.camera))


# -- date and time in the file's name


def _clock(prefix: str) -> str:
    """Return the pattern of hours, minutes and seconds with one kind of separator."""
    hour, minute, second = (f"(?P<{prefix}{unit}>{digits})" for unit, digits in _UNITS)
    separator = f"{prefix}between"
    return rf"(?:{hour}(?P<{separator}>[-_.:]?){minute}(?P={separator}){second})"


_UNITS = (("hour", r"[01]\d|2[0-3]"), ("minute", r"[0-5]\d"), ("second", r"[0-5]\d"))
_DAY = r"(?P<{0}year>19[7-9]\d|20\d\d)(?P<{0}mark>[-_.]?)(?P<{0}month>\d\d)(?P={0}mark)(?P<{0}day>\d\d)"

#: The text before a date may end in "DST": Reolink marks summer time so.
_MOMENT = re.compile(
    r"(?<![0-9A-Za-z])(?:DST)?"
    + _DAY.format("")
    + r"(?P<gap> - |, |[T_. @-]|)"
    + _clock("")
    + r"(?P<fraction>(?:\d{6}|\d{3})|[-_.](?:\d{6}|\d{3})(?![0-9A-Ya-z]))?"
    + r"(?P<zone>Z|-?\+\d\d[:_]?\d\d|-\d{4}(?=$|[^0-9A-Za-z]))?"
    + r"(?![0-9A-Za-z])"
)
_END = re.compile(
    r"(?: - |_to_|[-_.])(?:DST)?(?:"
    + _DAY.format("end_")
    + r"[T_. -]?)?"
    + _clock("end_")
    + r"(?:\d{3})?(?![0-9A-Za-z])"
)

#: UniFi Protect's export: "Front Door - 2-9-2020, 11.21.12pm", the month first.
_UNIFI = re.compile(
    r"(?<!\d)(?P<month>\d{1,2})-(?P<day>\d{1,2})-(?P<year>20\d\d), "
    r"(?P<hour>1[0-2]|0?[1-9])\.(?P<minute>[0-5]\d)\.(?P<second>[0-5]\d) ?(?P<half>[ap])m(?![A-Za-z])",
    re.IGNORECASE,
)

#: Before or after the time, and not a camera: kinds of recordings, which several cameras share.
_KINDS = frozenset(
    {"alarm", "animal", "audio", "capture", "clip", "continuous", "event", "img", "manual", "md", "mdalarm", "mot"}
    | {"motion", "mov", "movie", "nor", "normal", "out", "output", "person", "pet", "pxl", "rec", "record", "recording"}
    | {"ring", "schedule", "seg", "segment", "stream", "timer", "vehicle", "vid", "video"}
)
#: Reolink: main or sub stream of the camera whose folder is above.
_REOLINK = re.compile(r"Rec(?P<stream>[MS])\d\d", re.IGNORECASE)


def _in_name(path: Path) -> Stated | None:
    stem = path.stem
    for found in _UNIFI.finditer(stem):
        if (at := _unifi_time(found)) is not None:
            return _named(path, stem[: found.start()], stem[found.end() :], at)
    for found in _MOMENT.finditer(stem):
        if found["gap"] == "" and (found["mark"] or found["between"]):
            continue  # without a gap only where all is digits
        if (day := _date(found)) is None:
            continue
        at = datetime.combine(day, datetime.min.time()) + _time_of_day(found)
        rest = stem[found.end() :]
        digits, until = (found["fraction"] or "").lstrip("-_."), None
        if digits and len(digits) == 6 and not found["between"] and not found["fraction"][0].isdigit():
            rest, digits = stem[found.start("fraction") :], ""  # 180000_180010 rather than microseconds
        at += timedelta(seconds=float(f"0.{digits or 0}"))
        utc = stem[: found.start()].upper() == "PXL_"  # the Pixel phones' names are in UTC
        if (zone := found["zone"]) and (zone[0] != "-" or zone[1] == "+" or found["gap"] == "T"):
            at, utc = _to_utc(at, zone), True
        if (end := _END.match(rest)) is not None:
            until = _end(at, end)
            rest = rest[end.end() :] if until is not None else rest
        return _named(path, stem[: found.start()], rest, at, until, utc=utc)
    return None


def _named(
    path: Path, before: str, after: str, at: datetime, until: datetime | None = None, *, utc: bool = False
) -> Stated:
    """Return a recording whose camera is in its name, or else in the folders above."""
    folders = _undated(path.parent)
    before, after = (text.strip(" ._-,@#") for text in (before, after))
    stream = _REOLINK.fullmatch(before)
    if stream is None:
        if before and before.lower() not in _KINDS:
            return Stated(before, folders, at, until, utc)
        if _is_name(after):
            return Stated(after, folders, at, until, utc)
    camera = folders.name or before
    if stream is not None and stream["stream"].upper() == "S" and folders.name:
        camera += "-sub"  # otherwise the same pictures twice would be one camera's
    return Stated(camera, folders.parent, at, until, utc)


def _is_name(text: str) -> bool:
    """Return whether the text after a time names a camera: not a counter, a random id or a kind of recording."""
    words = [word for word in re.split(r"[^\w]+|_", text) if word]
    return (
        any(word[0].isalpha() for word in words)
        and not re.search(r"\d{4}", text)
        and not any(word.lower() in _KINDS for word in words)
        and not any(re.fullmatch(r"[0-9A-Fa-f]{4,}", word) and re.search(r"\d|[A-F]", word) for word in words)
    )


def _unifi_time(found: re.Match[str]) -> datetime | None:
    if (day := _date(found)) is None:
        return None
    hour = int(found["hour"]) % 12 + (12 if found["half"].lower() == "p" else 0)
    return datetime(day.year, day.month, day.day, hour, int(found["minute"]), int(found["second"]))


def _to_utc(at: datetime, zone: str) -> datetime:
    if zone == "Z":
        return at
    digits = re.sub(r"\D", "", zone)
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    if offset >= timedelta(hours=24):
        return at
    ahead = timezone(offset if "+" in zone else -offset)
    return at.replace(tzinfo=ahead).astimezone(UTC).replace(tzinfo=None)


def _end(at: datetime, found: re.Match[str]) -> datetime | None:
    """Return the stated end of a recording; None where it cannot be its end."""
    if found["end_year"] is None:
        until = datetime.combine(at.date(), datetime.min.time()) + _time_of_day(found, "end_")
        until += timedelta(days=1) if until < at else timedelta()
        longest = _LONGEST if found["end_between"] else _LONGEST_BY_DIGITS
    else:
        if (day := _date(found, "end_")) is None:
            return None
        until = datetime.combine(day, datetime.min.time()) + _time_of_day(found, "end_")
        longest = _LONGEST
    return until if at < until <= at + longest else None


def _date(found: re.Match[str], prefix: str = "") -> date | None:
    try:
        return date(*(int(found[f"{prefix}{unit}"]) for unit in ("year", "month", "day")))
    except ValueError:
        return None


def _time_of_day(found: re.Match[str], prefix: str = "") -> timedelta:
    hours, minutes, seconds = (int(found[f"{prefix}{unit}"]) for unit, _ in _UNITS)
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


# -- date in the folders

_YEAR, _PAIR = r"(?P<year>19[7-9]\d|20\d\d)", r"\d\d"
_MONTH_DAY = rf"(?P<month>{_PAIR})(?P<day>{_PAIR})"
#: Folders of one day, from their last parts: (number of parts, pattern of the parts joined by "/").
_DAYS = tuple(
    (pattern.count("/") + 1, re.compile(pattern))
    for pattern in (
        _DAY.format(""),
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

_WHOLE_TIME = re.compile(r"(?:(?P<camera>.*[^0-9A-Za-z])??)" + _clock("") + r"(?P<rest>(?:[^0-9A-Za-z].*)?)")
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


def _in_folders(path: Path) -> Stated | None:
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
        at = start + _time_of_day(whole)
        end = _END.match(whole["rest"])
        until = _end(at, end) if end is not None else None
        if not whole["between"] and not (hours or found.compact or until):
            return None  # six digits may be a counter
        named = (whole["camera"] or "").strip(" ._-")
        return Stated(named if named and named.lower() not in _KINDS else camera, folder, at, until)
    if hour is None:
        return None
    start += timedelta(hours=hour)
    if (exacq := _EXACQ.fullmatch(path.stem)) is not None:
        after = timedelta(minutes=int(exacq["minute"]), seconds=int(exacq["second"]))
        return Stated(exacq["camera"], folder, start + after)
    if (inside := _IN_HOUR.fullmatch(path.stem)) is None:
        return None
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
    above = _undated(found.above)
    return above.name, above.parent


def _by_epoch(stem: str, found: _Day) -> Stated | None:
    """Return a recording named by its seconds or milliseconds since 1970, if its folder's date agrees to a day."""
    if (epochs := _EPOCHS.fullmatch(stem)) is None or (place := _place(found, [])) is None:
        return None
    at = _from_epoch(epochs["start"])
    if abs(at.date() - found.day) > timedelta(days=1):
        return None
    until = _from_epoch(epochs["end"]) if epochs["end"] else None
    return Stated(*place, at, until if until is not None and at < until <= at + _LONGEST else None, utc=True)


def _from_epoch(digits: str) -> datetime:
    """Return seconds (10 digits) or milliseconds (13) since 1970 as a time in UTC, without its zone."""
    return datetime(1970, 1, 1) + timedelta(seconds=int(digits[:10]), milliseconds=int(digits[10:] or 0))


def _in_deep_folders(path: Path) -> Stated | None:
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
            if (day := _date(found)) is not None:
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


def _undated(folder: Path) -> Path:
    """Return the nearest folder, from this one upwards, that is not one of dates, hours or a recorder's structure."""
    here = folder
    while here.name:
        day = _day_above_hour(here)
        if day is not None:
            here = day
        elif _MOMENT.match(here.name) or here.name.lower() in _STRUCTURE:
            here = here.parent
        else:
            return here
    return folder if folder.name.lower() in _STRUCTURE else here


def _day_above_hour(folder: Path) -> Path | None:
    """Return the folder above a day's, or above a day's and an hour's; None if ``folder`` is neither."""
    for here in (folder, folder.parent) if _HOUR.fullmatch(folder.name) else (folder,):
        for above, found in _days(here):
            if _date(found) is not None:
                return above
    return None
