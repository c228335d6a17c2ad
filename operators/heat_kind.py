"""The meaning of the values of a heat map, which a served model states in its configuration."""

from __future__ import annotations

from enum import StrEnum


class HeatKind(StrEnum):
    """The meaning of a heat map's values."""

    ATTENTION = "attention"  #: relative: only the shape of one map means something
    ANOMALY = "anomaly"  #: absolute: values can be compared between clips
