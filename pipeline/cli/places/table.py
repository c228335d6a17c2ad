"""A place map in lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.alerts.place_map import PlaceMap


def share_lines(place_map: PlaceMap) -> list[str]:
    """Return a heading, and a line for each class with its share of the picture, the largest first."""
    heading = (
        f"{place_map.camera}: median of {place_map.pictures} pictures, {place_map.learned_at:%Y-%m-%d %H:%M}Z, "
        f"by {place_map.version}"
    )
    return [heading, *(f"{share:6.1%}  {class_name(place_map, node)}" for node, share in place_map.shares.items())]


def class_name(place_map: PlaceMap, node: int) -> str:
    """Return a class in words: its path, and whether it is a thing."""
    return " > ".join(place_map.nodes[node]) + (" (thing)" if node in place_map.things else "")
