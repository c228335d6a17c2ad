"""Turns and mirrors by which a picture stands upright: the one place that reads a display matrix."""

from __future__ import annotations

import struct
from typing import NamedTuple, SupportsBytes, cast

import av
from av.sidedata.sidedata import SideDataContainer


class Orientation(NamedTuple):
    """One of the eight ways in which a picture may lie, as what makes it upright; FFmpeg's rules for a display matrix.

    Attributes:
        transpose: argument of FFmpeg's filter of that name, by which rows become columns; None: they stay rows.
        mirror: whether left and right change places.
        upside_down: whether top and bottom do.
    """

    transpose: str | None = None
    mirror: bool = False
    upside_down: bool = False

    @classmethod
    def of(cls, picture: av.VideoFrame) -> Orientation:
        """Read the display matrix: [a, b, u, c, d, v, x, y, w], 16.16 fixed point; angles between are rounded."""
        try:
            # Not picture.side_data, which ties the frame into a cycle: megabytes would wait for the collector.
            data = SideDataContainer(picture).get("DISPLAYMATRIX")  # type: ignore[call-arg]  # the stub lacks it
        except ValueError:  # EXIF is beside it, which PyAV 18 has no name for: without mirrors, then
            return cls.turned(picture.rotation)
        if data is None:
            return cls()
        a, b, _, c, d = struct.unpack_from("=5i", bytes(cast("SupportsBytes", data)))
        if abs(a) >= abs(b):
            return cls(mirror=a < 0, upside_down=d < 0)
        if b > 0:
            return cls(transpose="cclock_flip" if c > 0 else "clock")
        return cls(transpose="clock_flip" if c < 0 else "cclock")

    @classmethod
    def turned(cls, degrees: int) -> Orientation:
        """Return that of a picture that was turned counterclockwise by a multiple of 90°."""
        if abs(degrees) == 90:
            return cls(transpose="cclock" if degrees > 0 else "clock")
        return cls(mirror=abs(degrees) == 180, upside_down=abs(degrees) == 180)

    @property
    def is_upright(self) -> bool:
        """Return whether the picture is upright already."""
        return self == Orientation()

    @property
    def swaps_sides(self) -> bool:
        """Return whether width and height are exchanged in the upright picture."""
        return self.transpose is not None

    @property
    def filters(self) -> list[tuple[str, str | None]]:
        """FFmpeg's filters that make the picture upright, in their order."""
        steps: list[tuple[str, str | None]] = []
        if self.transpose is not None:
            steps.append(("transpose", self.transpose))
        if self.mirror:
            steps.append(("hflip", None))
        if self.upside_down:
            steps.append(("vflip", None))
        return steps
