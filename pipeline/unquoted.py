"""Texts without quotes that YAML takes for something else: 0123 is a number, yes is true, 2024-05-01 is a date."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

#: Problems of pydantic that mean: not a text.
_NOT_TEXT = frozenset({"string_type", "path_type"})


def explain_unquoted(problem: Mapping[str, Any]) -> str | None:
    """Return the cause of one of pydantic's problems where a text lacks its quotes; None for any other problem.

    The value is not shown: it may be a password, and is not what was written.
    """
    if problem["type"] not in _NOT_TEXT or (kind := _kind(problem.get("input"))) is None:
        return None
    return f"YAML reads this as {kind}, not as text; put it in quotes"


def _kind(value: object) -> str | None:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return "a date" if isinstance(value, date) else None
