"""Checks of settings: the message names the setting, what is allowed and what was received."""

from __future__ import annotations

import math


def whole_number(name: str, value: object, *, least: int) -> None:
    """Raise ValueError unless ``value`` is an int (not a bool) of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def seconds(name: str, value: object, *, zero_allowed: bool = False) -> None:
    """Raise ValueError unless ``value`` is a finite, positive number (or zero, if that is allowed)."""
    allowed = "a number of seconds of at least 0" if zero_allowed else "a number of seconds above 0"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    if value < 0 or (value == 0 and not zero_allowed):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def threshold(name: str, value: object, *, most: float = 1.0, most_name: str = "1") -> None:
    """Raise ValueError unless ``value`` is a number in (0, ``most``]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
        raise ValueError(f"{name} must be a number above 0 and at most {most_name}, got {value!r}")
