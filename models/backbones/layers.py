"""Layers of I3D whose pooled maps can be features. Needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

WIDTHS = {"mixed_4f": 832, "mixed_5b": 832, "mixed_5c": 1024}  #: channels of each layer, from early to late

#: Layers of one grid, that of the last block, which may make up the late map, side by side.
LateLayers = Annotated[tuple[Literal["mixed_5b", "mixed_5c"], ...], Field(min_length=1)]

#: A choice of layers, in the order of their features.
Layers = Annotated[tuple[Literal["mixed_4f", "mixed_5b", "mixed_5c"], ...], Field(min_length=1)]
