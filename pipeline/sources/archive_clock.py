"""The clock of an archive: the one axis of time on which the files of one camera lie, and the borders between them.

A file states its start in its name, as a rule to the second, rounded down. Where files follow without a gap, the start
that the lengths of the files so far lead to and the stated one differ by less than a second. The estimate of the wall
clock follows the stated starts slowly: names are rounded and come late when a network does, and the clocks of camera
and recorder drift apart by seconds a day. A difference that grows to more than a second nevertheless is a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

#: Resolution of names that state whole seconds.
SECOND = timedelta(seconds=1)

#: Recorders that name files with fractions of a second take the moment at which a picture came over the network.
JITTER_SECONDS = 0.2

#: The clocks of a camera and its recorder may differ by this part of a file's length: quartz without a network time.
DRIFT = 1e-4

#: The estimate takes over this part of each difference. Pictures that are lost at every border are so found when they
#: come to more than a quarter of a second each.
FOLLOW = 0.25


@dataclass(frozen=True, slots=True)
class Border:
    """The place of a file on the clock.

    Attributes:
        start: of its first picture, seconds of the clock.
        end_before: of what was watched before it; pictures before that have been seen already. Seconds.
        abuts: the pictures go on without a gap.
        gap_seconds: between the two files; below 0 where they overlap, None where it is not known. 0 where they abut,
            and for the first file.
        after: wall-clock time at which the gap or the overlap begins; None where it is not known.
        wall: wall-clock time of the file's first picture; None where no name states one.
    """

    start: float = 0.0
    end_before: float = 0.0
    abuts: bool = False
    gap_seconds: float | None = 0.0
    after: datetime | None = None
    wall: datetime | None = None


class ArchiveClock:
    """Places one file after the other: :meth:`border` before a file is read, :meth:`leave` with its real length.

    Args:
        resolution: of the stated starts; zero where they have fractions of a second.
    """

    def __init__(self, resolution: timedelta = SECOND) -> None:
        self._resolution = resolution.total_seconds()
        self._has_begun = False
        self._is_known = True  # the end of what was read
        self._end = 0.0
        self._wall: datetime | None = None  # of the end
        self._tolerance = 0.0

    def border(self, at: datetime | None) -> Border:
        """Return the place of the next file, which changes nothing: a file may turn out to hold no picture.

        Args:
            at: its stated start (UTC), None where none is stated; it then follows without a gap.
        """
        if not self._has_begun:
            return Border(wall=at)
        if at is None or self._wall is None:
            wall = at or (self._wall if self._is_known else None)
            return Border(self._end, self._end, self._is_known, 0.0 if self._is_known else None, wall=wall)
        late = (at - self._wall).total_seconds()
        if abs(late) < self._resolution + self._tolerance:
            return Border(self._end, self._end, True, 0.0, wall=self._wall + timedelta(seconds=FOLLOW * late))
        if not self._is_known:
            return Border(self._end + max(late, 0.0), self._end, False, None, None, at)
        return Border(self._end + late, self._end, False, late, min(self._wall, at), at)

    def leave(self, border: Border, seconds: float, period_seconds: float, *, is_known: bool = True) -> None:
        """Note the real length of the file that was placed at ``border``.

        Args:
            seconds: from its first picture to the end of its last.
            period_seconds: of one of its pictures.
            is_known: its own clock never jumped; otherwise its end is believed only where the next name agrees.
        """
        end = border.start + seconds
        if self._has_begun and end <= self._end:
            return  # all of it was watched already
        self._has_begun, self._is_known = True, is_known
        self._end = end
        self._wall = border.wall + timedelta(seconds=seconds) if border.wall is not None else None
        self._tolerance = max(period_seconds, 0.0 if self._resolution else JITTER_SECONDS) + DRIFT * seconds

    def lose(self) -> None:
        """Note that the place of the next file is not known: what is before it could not be read."""
        self._is_known = False
