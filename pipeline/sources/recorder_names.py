"""Camera and time of a recording, read from its path in the layouts of common recorders.

    ch01_20240501180000.264               Hikvision
    gate/2024-05-01_18-00-00-000000.mp4   MediaMTX
    front/2024-05-01/18-00-00.mp4         motionEye; for more, see pipeline.sources.recorder_folders

Generally: a date and a time in the name, written year, month, day, hour, minute, second; or a date in the folders and
the rest in the name. Month and day in another order are read in one layout alone, UniFi's, as they are ambiguous
elsewhere. A date without a time, and a number that may be a counter, state nothing.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from pipeline.clocks import in_utc
from pipeline.sources.recorder_folders import in_deep_folders, in_folders, undated
from pipeline.sources.recorder_times import END, KINDS, MOMENT, Stated, date_of, end_of, time_of_day


def stated(path: Path) -> Stated | None:
    """Return the camera and the time that ``path`` states, or None. Nothing is opened.

    >>> stated(Path("/nvr/front/2024-05-01/18-00-00.mp4")).at.isoformat()
    '2024-05-01T18:00:00'
    >>> stated(Path("clip_001.mp4")) is None
    True
    """
    found = _in_name(path) or in_deep_folders(path) or in_folders(path)
    return found and replace(found, camera=unicodedata.normalize("NFC", found.camera))


#: Phones, drones, and the folder of the standard for cameras (DCF): clips of places that have nothing in common.
_HAND_HELD = re.compile(r"(?:DJI|IMG|MVIMG|PXL|VID)_20\d{6}")
_HAND_HELD_FOLDER = "DCIM"


def is_hand_held(path: Path) -> bool:
    """Return whether a phone or another camera that is carried names its clips so: they are not of one view.

    >>> is_hand_held(Path("VID_20240501_180000.mp4"))
    True
    """
    return _HAND_HELD.match(path.stem) is not None or _HAND_HELD_FOLDER in path.parts


#: UniFi Protect's export: "Front Door - 2-9-2020, 11.21.12pm", the month first.
_UNIFI = re.compile(
    r"(?<!\d)(?P<month>\d{1,2})-(?P<day>\d{1,2})-(?P<year>20\d\d), "
    r"(?P<hour>1[0-2]|0?[1-9])\.(?P<minute>[0-5]\d)\.(?P<second>[0-5]\d) ?(?P<half>[ap])m(?![A-Za-z])",
    re.IGNORECASE,
)

#: Dashcams: the lens (front, rear, interior, telephoto) after a counter (VIOFO) or a mode (BlackVue).
_LENS = re.compile(r"(?:\d{3,}P?|[EMNP])(?P<lens>[FIRT])")

#: Reolink: main or sub stream of the camera whose folder is above.
_REOLINK = re.compile(r"Rec(?P<stream>[MS])\d\d", re.IGNORECASE)


def _in_name(path: Path) -> Stated | None:
    stem = path.stem
    for found in _UNIFI.finditer(stem):
        if (at := _unifi_time(found)) is not None:
            return _named(path, stem[: found.start()], stem[found.end() :], at)
    for found in MOMENT.finditer(stem):
        if found["gap"] == "" and (found["mark"] or found["between"]):
            continue  # without a gap only where all is digits
        if (day := date_of(found)) is None:
            continue
        at = datetime.combine(day, datetime.min.time()) + time_of_day(found)
        rest = stem[found.end() :]
        digits, until = (found["fraction"] or "").lstrip("-_."), None
        if digits and len(digits) == 6 and not found["between"] and not found["fraction"][0].isdigit():
            rest, digits = stem[found.start("fraction") :], ""  # 180000_180010 rather than microseconds
        at += timedelta(seconds=float(f"0.{digits or 0}"))
        utc = stem[: found.start()].upper() == "PXL_"  # the Pixel phones' names are in UTC
        if (zone := found["zone"]) and (zone[0] != "-" or zone[1] == "+" or found["gap"] == "T"):
            at, utc = _to_utc(at, zone), True
        if (end := END.match(rest)) is not None:
            until = end_of(at, end)
            rest = rest[end.end() :] if until is not None else rest
        return _named(path, stem[: found.start()], rest, at, until, utc=utc)
    return None


def _named(
    path: Path, before: str, after: str, at: datetime, until: datetime | None = None, *, utc: bool = False
) -> Stated:
    """Return a recording whose camera is in its name, or else in the folders above."""
    folders = undated(path.parent)
    before, after = (text.strip(" ._-,@#") for text in (before, after))
    stream = _REOLINK.fullmatch(before)
    if stream is None:
        if before and before.lower() not in KINDS:
            return Stated(before, folders, at, until, utc)
        if _is_name(after) and _LENS.fullmatch(after) is None:
            return Stated(after, folders, at, until, utc)
    camera = folders.name or before
    if (lens := _LENS.fullmatch(after)) is not None:
        return Stated(f"{camera}-{lens['lens']}".lstrip("-"), folders.parent, at, until, utc)
    if stream is not None and stream["stream"].upper() == "S" and folders.name:
        camera += "-sub"  # otherwise the same pictures twice would be one camera's
    return Stated(camera, folders.parent, at, until, utc)


def _is_name(text: str) -> bool:
    """Return whether the text after a time names a camera: not a counter, a random id or a kind of recording."""
    words = [word for word in re.split(r"[^\w]+|_", text) if word]
    return (
        any(word[0].isalpha() for word in words)
        and not re.search(r"\d{4}", text)
        and not any(word.lower() in KINDS for word in words)
        and not any(re.fullmatch(r"[0-9A-Fa-f]{4,}", word) and re.search(r"\d|[A-F]", word) for word in words)
    )


def _unifi_time(found: re.Match[str]) -> datetime | None:
    if (day := date_of(found)) is None:
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
    try:
        return in_utc(at.replace(tzinfo=ahead)).replace(tzinfo=None)
    except ValueError:
        return at
