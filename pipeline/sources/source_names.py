"""Names for sources that an operator names by their locations alone.

A file is called by its stem, a URL by its host and path. Where two sources would have one name, the parts in which they
differ are added: a folder, a suffix, the channel in a query. Names are public, so credentials are never part of them.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import parse_qsl, unquote

from pipeline.names import LONGEST_NAME, name_from, shortened
from pipeline.printable import storable
from pipeline.sources.credentials import redact, split

#: Longest name before a number is added, characters.
_LONGEST = LONGEST_NAME - 8
#: Folders above a file that its name may have.
_FOLDERS = 4

#: Parameters of a URL that say which picture is meant. All others may be credentials, whatever they are called.
_TELLING = re.compile(
    r"(?:(?:video|media|live|input)_?)?"
    r"(?:cam(?:era)?|ch(?:an(?:nel)?|nl?|n)?|dev(?:ice)?|index|idx|input|lens|monitor|no|nr|num(?:ber)?|profile|sensor"
    r"|source|src|stream|sub(?:type|stream)?|track|type|unit|view)"
    r"(?:_?(?:id|idx|index|name|no|nr|num(?:ber)?|type))?",
    re.IGNORECASE,
)
_VALUE = re.compile(r"[\w.-]{1,16}")
#: ``/user=admin_password=…_channel=2_stream=0.sdp``: parameters in the path, of which numbers alone are believed.
_IN_PATH = re.compile(r"(?:^|[_&;/?])(?P<key>[A-Za-z]+)=(?P<value>\d{1,4})(?=$|[_&;/?.])")


def source_names(locations: Sequence[str]) -> list[str]:
    """Return a name for each location, all different.

    >>> source_names(["rtsp://10.0.0.5/live?channel=1", "rtsp://10.0.0.5/live?channel=2"])
    ['10.0.0.5-live-channel-1', '10.0.0.5-live-channel-2']
    >>> source_names(["gate/1.mp4", "yard/1.mp4", "yard/2.mp4"])
    ['gate-1', 'yard-1', '2']
    """
    streams = [_stream(location) for location in locations]
    choices = [
        _names_of_file(location) if own is None else _names_of_stream(own, streams)
        for location, own in zip(locations, streams, strict=True)
    ]
    levels = [0] * len(choices)
    while True:
        names = [choice[level] for choice, level in zip(choices, levels, strict=True)]
        borne = Counter(names)
        longer = [at for at, name in enumerate(names) if borne[name] > 1 and levels[at] + 1 < len(choices[at])]
        if not longer:
            return _numbered([_short_again(name, names, choices) for name in names])
        for at in longer:
            levels[at] += 1


def _short_again(name: str, names: Sequence[str], choices: Sequence[Sequence[str]]) -> str:
    """Return the shortest name of the sources that nothing tells apart, if several have this one."""
    members = [at for at, other in enumerate(names) if other == name]
    if len(members) > 1:
        others = {choice for at, own in enumerate(choices) if at not in members for choice in own}
        for choice in choices[members[0]]:
            if choice not in others and all(choice in choices[at] for at in members):
                return choice
    return name


@dataclass(frozen=True, slots=True)
class _Stream:
    """A URL without its credentials: host and path, and what may tell it from others there."""

    place: str
    parameters: dict[str, str]


def _stream(location: str) -> _Stream | None:
    scheme, is_url, rest = location.partition("://")
    if not is_url or scheme.lower() == "file":
        return None
    found = split(location)
    # Where it is ambiguous, no host is asked.
    bare = redact(location).rpartition("@")[2] if found.is_ambiguous else found.redacted.partition("://")[2]
    place, _, query = bare.partition("#")[0].partition("?")
    place = unquote(place)
    believed = [(key, value) for key, value in parse_qsl(query) if scheme == "synthetic" or _TELLING.fullmatch(key)]
    if "=" in place:  # some cameras want user and password in the path
        place = place.split("/")[0]
        numbers = _IN_PATH.finditer(unquote(rest))
        believed += [(one["key"], one["value"]) for one in numbers if _TELLING.fullmatch(one["key"])]
    return _Stream(place, {"": scheme} | {key: value for key, value in believed if _VALUE.fullmatch(value)})


def _names_of_stream(own: _Stream, everyone: Sequence[_Stream | None]) -> list[str]:
    """Return host and path, then with the parameters in which other sources of this host and path differ."""
    others = [one.parameters for one in everyone if one is not None and one.place == own.place]
    differing = [key for key in own.parameters if len({other.get(key) for other in others}) > 1]
    told_apart = name_from("-".join(f"{key}-{own.parameters[key]}" for key in differing))
    names = [_fitting(own.place), *([_fitting(own.place, told_apart)] if told_apart else [])]
    return [*names, _fitting_end(f"{own.place}-{told_apart}")]


def _names_of_file(location: str) -> list[str]:
    """Return the stem, then the name with its suffix, then both with more and more of the folders."""
    path = location.partition("://")[2] if "://" in location else location
    parts = PurePath(os.path.abspath(unquote(path) if path != location else path)).parts[1:]  # noqa: PTH100 ("..")
    names = []
    for first in range(len(parts) - 1, max(len(parts) - 2 - _FOLDERS, -1), -1):
        whole = "-".join(parts[first:])
        names += [whole.removesuffix(PurePath(parts[-1]).suffix), whole]
    return [_fitting(name) for name in names] + [_fitting_end(names[-1])]


def _fitting(text: str, end: str = "") -> str:
    """Return a name of limited length from ``text`` and the name ``end``."""
    end = shortened(end, _LONGEST // 2)
    start = shortened(name_from(storable(text)) or "camera", _LONGEST - len(end) - 1)
    return f"{start}-{end}" if end else start


def _fitting_end(text: str) -> str:
    """Return a name of limited length that keeps the end of ``text``."""
    return name_from(name_from(storable(text))[-_LONGEST:]) or "camera"


def _numbered(names: Sequence[str]) -> list[str]:
    """Return the names with a number after those that are still the same."""
    found: list[str] = []
    for name in names:
        number, numbered = 1, name
        while numbered in found or (number > 1 and numbered in names):
            number += 1
            numbered = f"{name}-{number}"
        found.append(numbered)
    return found
