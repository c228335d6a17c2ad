"""One file of an archive in its place on the clock of all: its times, and rules of resampling that cross its border."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from pipeline.sources.archive_clock import Border
from pipeline.sources.files import FileSource
from pipeline.sources.resample import Rule, RuleFor, resampler

#: Two sums of the same times differ by less. Seconds.
TIE_SECONDS = 1e-6


class PlacedFile:
    """A file in its place on the clock of all, while it is read.

    Args:
        rules: of resampling, by frames a second, as they stand at the end of the file before.
        open_film: opens the file with the rules that it is given. Raises SourceError.
    """

    def __init__(
        self, border: Border, rules: dict[float | None, Rule], open_film: Callable[[RuleFor], FileSource]
    ) -> None:
        self.border = border
        self.rules = dict(rules)  #: of resampling, as they stand at its end
        self.shown: list[int] = []  #: ordinals of its segments that have a frame
        self.opened: list[int] = []  #: those among them that are not the continuation of the file before
        self.jumps = 0  #: of its own clock
        self.first: float = float("nan")  #: time of its first picture, by its own clock
        self._begun: set[float | None] = set()
        self._latest = float("-inf")  # time of the latest picture, by its own clock
        self.film = open_film(self.rule)

    def rule(self, fps: float | None) -> Rule:
        """Return the rule of resampling for the file's next segment: at a border that abuts, the one that goes on."""
        is_first = fps not in self._begun
        self._begun.add(fps)
        if not (is_first and self.border.abuts and fps in self.rules):
            self.rules[fps] = resampler(fps)
        return _Shifted(self.rules[fps], self.at, self.border.end_before if is_first else float("-inf"))

    def at(self, pts_seconds: float) -> float:
        """Return the place of a picture on the clock of all files, seconds."""
        if self.first != self.first:
            earliest = float(self.film.seen.times[0])  # a picture that could not be decoded counts
            self.first = earliest if np.isfinite(earliest) else pts_seconds
        return self.border.start + (pts_seconds - self.first)

    def times(self, pts_seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the same for all of its pictures."""
        finite = np.where(np.isfinite(pts_seconds), pts_seconds, self.first)
        times: npt.NDArray[np.float64] = self.border.start + (finite - self.first)
        return times

    def wall_at(self, pts_seconds: float) -> datetime | None:
        """Return the wall-clock time of a picture; None once the file's own clock was set back."""
        self._latest = max(self._latest, pts_seconds)
        if self.border.wall is None or pts_seconds < self._latest:
            return None
        return self.border.wall + timedelta(seconds=pts_seconds - self.first)


class _Shifted:
    """A rule of resampling on the clock of all files; pictures before ``since`` were watched already."""

    def __init__(self, rule: Rule, at: Callable[[float], float], since: float) -> None:
        self._rule = rule
        self._at = at
        self._since = since - TIE_SECONDS

    def keep(self, pts_seconds: float) -> bool:
        """See :class:`pipeline.sources.resample.Rule`."""
        at = self._at(pts_seconds)
        return at >= self._since and self._rule.keep(at)
