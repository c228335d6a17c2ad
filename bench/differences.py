"""Compare the results of two revisions: documents, tables of scores, messages of a topic.

A new result may have fields that the old one does not have. Everything else must be equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Differences that a note names; the rest is counted.
NAMED = 3
#: Engines that do not give the same bits every time differ by about 1e-6 (float32).
LARGEST_TOLERANCE = 1e-4
_PUBLISHED_AT = re.compile(rb'"published_at":"[^"]*"')


@dataclass(frozen=True)
class Differences:
    """Changes from an old document or table to a new one.

    Attributes:
        changed: a line for each value that is not the old one, or is missing.
        added: names of fields that the old one does not have.
    """

    changed: tuple[str, ...] = ()
    added: frozenset[str] = frozenset()

    def __add__(self, other: Differences) -> Differences:
        return Differences(self.changed + other.changed, self.added | other.added)

    def within(self, allowed: frozenset[str]) -> bool:
        """Return whether nothing differs but for new fields among ``allowed``."""
        return not self.changed and self.added <= allowed

    def __str__(self) -> str:
        parts = list(self.changed[:NAMED])
        if len(self.changed) > NAMED:
            parts.append(f"and {len(self.changed) - NAMED} more")
        if self.added:
            parts.append(f"new: {', '.join(sorted(self.added))}")
        return "; ".join(parts)


def document_differences(
    old: Any, new: Any, *, tolerance: float = 0.0, place: str = "", field: str = ""
) -> Differences:
    """Compare two JSON values. Objects may gain fields; everything else must be equal, of the same type.

    Args:
        tolerance: largest difference allowed between two floats.
        place: name of the value in the lines about it, with positions in lists.
        field: its name without positions, for :attr:`Differences.added`.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        added = frozenset(_below(field, key) for key in new.keys() - old.keys())
        found = Differences(tuple(f"{_below(place, key)} is missing" for key in old if key not in new), added)
        for key in (key for key in old if key in new):
            names = {"place": _below(place, key), "field": _below(field, key)}
            found += document_differences(old[key], new[key], tolerance=tolerance, **names)
        return found
    if isinstance(old, list) and isinstance(new, list):
        found = Differences()
        if len(old) != len(new):
            found += Differences((f"{place}: {len(new)} items, not {len(old)}",))
        for number, (one, other) in enumerate(zip(old, new, strict=False)):
            found += document_differences(one, other, tolerance=tolerance, place=f"{place}[{number}]", field=field)
        return found
    if type(old) is type(new) is float and abs(old - new) <= tolerance:
        return Differences()
    if type(old) is type(new) and old == new:
        return Differences()
    return Differences((f"{place}: {json.dumps(new)}, not {json.dumps(old)}",))


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def table_differences(old: pa.Table, new: pa.Table, *, tolerance: float = 0.0) -> Differences:
    """Compare two tables of scores, row by row in order. Every column of ``old`` must be in ``new`` with equal values.

    Args:
        tolerance: largest difference allowed between two floats.
    """
    found = Differences(added=frozenset(new.column_names) - frozenset(old.column_names))
    if old.num_rows != new.num_rows:
        return found + Differences((f"{new.num_rows} rows, not {old.num_rows}",))
    for name in old.column_names:
        if name not in new.column_names:
            found += Differences((f"column {name} is missing",))
        elif (line := _column_difference(name, old[name], new[name], tolerance)) is not None:
            found += Differences((line,))
    return found


def _column_difference(name: str, old: pa.ChunkedArray, new: pa.ChunkedArray, tolerance: float) -> str | None:
    if old.type != new.type:
        return f"column {name} is {new.type}, not {old.type}"
    if pa.types.is_floating(old.type) and tolerance:
        unequal = np.abs(old.to_numpy() - new.to_numpy()) > tolerance
    else:
        unequal = ~pc.equal(old, new).to_numpy().astype(bool)
    if not unequal.any():
        return None
    row = int(np.argmax(unequal))
    others = int(unequal.sum()) - 1
    return f"{name} of row {row} is {new[row]}, not {old[row]}" + (f" ({others} more rows)" if others else "")


def tolerance_between(one: pa.Table, other: pa.Table) -> float:
    """Return the largest difference between the scores of two replays by the same code, in either column.

    Returns:
        0 where the clips differ, or the scores by more than :data:`LARGEST_TOLERANCE`: that much would hide a change.
    """
    columns = ("score", "smoothed")
    if not one.drop_columns(columns).equals(other.drop_columns(columns)):
        return 0.0
    wide = [np.abs(one[name].to_numpy().astype(float) - other[name].to_numpy().astype(float)) for name in columns]
    largest = float(np.max(wide, initial=0.0))
    return largest if largest <= LARGEST_TOLERANCE else 0.0


def masked(message: bytes) -> bytes:
    """Return a message of the topic without the time at which it was sent."""
    return _PUBLISHED_AT.sub(b'"published_at":null', message)


@dataclass(frozen=True)
class Message:
    """One message of a topic, without the time at which it was sent."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def message_differences(old: Sequence[Message], new: Sequence[Message]) -> Differences:
    """Compare what two relays sent: the same bytes, in the same order for every key (the camera)."""
    found = Differences()
    for key in sorted({message.key for message in (*old, *new)}):
        before, after = ([one for one in messages if one.key == key] for messages in (old, new))
        name = key.decode(errors="replace")
        if len(before) != len(after):
            found += Differences((f"{name}: {len(after)} messages, not {len(before)}",))
        for number, (one, other) in enumerate(zip(before, after, strict=False)):
            if one.headers != other.headers:
                found += Differences((f"{name}, message {number}: other headers",))
            if one.value != other.value:
                inside = document_differences(json.loads(one.value), json.loads(other.value))
                found += Differences((f"{name}, message {number}: other bytes ({inside})",), inside.added)
    return found
