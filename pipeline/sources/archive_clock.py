"""The clock of an archive: the one axis of time on which the files of one camera lie, and the borders between them.

A file states its start in its name, as a rule to the second, rounded down. So the real start lies within a second, and
each file that follows without a gap narrows down where in it. A border abuts if the end of the pictures before it and
the stated start of the next file can be the same moment, give or take one picture. By that much the wall clock may also
be corrected at each border: a camera's clock and its recorder's drift apart, by seconds a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

#: Resolution of names that state whole seconds.
SECOND = timedelta(seconds=1)

#: Recorders that name files with fractions of a second take the moment at which a picture came over the network.
JITTER = timedelta(seconds=0.2)


@dataclass(frozen=True, slots=True)
class WallTime:
    """A moment that is known to lie between two others (UTC)."""

    earliest: datetime
    latest: datetime

    def __add__(self, seconds: float) -> WallTime:
        later = timedelta(seconds=seconds)
        return WallTime(self.earliest + later, self.latest + later)

    @property
    def middle(self) -> datetime:
        return self.earliest + (self.latest - self.earliest) / 2

    def within(self, other: WallTime) -> WallTime:
        """Return the part of it that lies in the other one; where none does, the nearest moment of the other one."""
        earliest = min(max(self.earliest, other.earliest), other.latest)
        return WallTime(earliest, max(min(self.latest, other.latest), earliest))


@dataclass(frozen=True, slots=True)
class Border:
    """The place of a file on the clock.

    Attributes:
        start: of its first picture, seconds of the clock.
        end_before: of what was watched before it; pictures before that have been seen already. Seconds.
        abuts: the pictures go on without a gap.
        gap_seconds: between the two files; below 0 where they overlap, None where it is not known. 0 where they abut,
            and for the first file.
        after: wall-clock time at which the gap begins; None where it is not known.
        wall: wall-clock time of the file's first picture; None where no name states one.
    """

    start: float = 0.0
    end_before: float = 0.0
    abuts: bool = False
    gap_seconds: float | None = 0.0
    after: datetime | None = None
    wall: WallTime | None = None


class ArchiveClock:
    """Places one file after the other: :meth:`border` before a file is read, :meth:`leave` with its real length.

    Args:
        resolution: of the stated starts; zero where they have fractions of a second.
    """

    def __init__(self, resolution: timedelta = SECOND) -> None:
        self._resolution = resolution
        self._has_begun = False
        self._is_known = True  # the end of what was read
        self._end = 0.0
        self._wall: WallTime | None = None  # of the end
        self._period = 0.0

    def border(self, at: datetime | None) -> Border:
        """Return the place of the next file, which changes nothing: a file may turn out to hold no picture.

        Args:
            at: its stated start (UTC), None where none is stated; it then follows without a gap.
        """
        stated = WallTime(at, at + self._resolution) if at is not None else None
        if not self._has_begun:
            return Border(wall=stated)
        if stated is None or self._wall is None:
            wall = stated if stated is not None or not self._is_known else self._wall
            return Border(self._end, self._end, self._is_known, 0.0 if self._is_known else None, wall=wall)
        if self._is_known and self._meet(self._wall, stated):
            return Border(self._end, self._end, True, 0.0, wall=self._wall.within(stated))
        gap = (stated.middle - self._wall.middle).total_seconds()
        known = gap if self._is_known else None
        start = self._end + (gap if self._is_known else max(gap, 0.0))
        return Border(start, self._end, False, known, self._wall.earliest, stated)

    def _meet(self, end: WallTime, stated: WallTime) -> bool:
        allowed = timedelta(seconds=self._period)
        if not self._resolution:
            allowed = max(allowed, JITTER)
        return stated.earliest - end.latest < allowed and end.earliest - stated.latest < allowed

    def leave(self, border: Border, seconds: float, period_seconds: float, *, is_known: bool = True) -> None:
        """Note the real length of the file that was placed at ``border``.

        Args:
            seconds: from its first picture to the end of its last.
            period_seconds: of one of its pictures.
            is_known: its own clock is sound; otherwise the real time of its end is not known.
        """
        end = border.start + seconds
        if self._has_begun and end <= self._end:
            return  # all of it was watched already
        self._has_begun, self._is_known = True, is_known
        self._end, self._period = end, period_seconds
        self._wall = border.wall + seconds if border.wall is not None else None

    def lose(self) -> None:
        """Note that the place of the next file is not known: what is before it could not be read."""
        self._is_known = False
