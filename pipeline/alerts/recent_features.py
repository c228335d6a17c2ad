"""The features of a camera's latest clips, by their place in time."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

#: Clips of a camera whose features are kept, 7 kB each with 1856 values. An alert's update comes up to
#: ``update_every_seconds`` after its peak.
_KEPT_CLIPS = 256
#: Documents round times to microseconds.
_ROUNDING_SECONDS = 1e-5


class Moment(NamedTuple):
    """A clip's place: its segment, and the PTS of its beginning and end, seconds."""

    segment: str
    start: float
    end: float


class _Described(NamedTuple):
    moment: Moment
    features: Floats
    version: str


class RecentFeatures:
    """The features of a camera's latest clips, for the alerts of all its detectors. Not thread-safe."""

    def __init__(self, kept: int = _KEPT_CLIPS) -> None:
        self._clips: deque[_Described] = deque(maxlen=kept)
        self._left: dict[str, float] = {}  # by segment, the latest end of a clip that is not kept any more

    def add(self, moment: Moment, features: Floats, version: str = "") -> None:
        """Take the features of a clip, float32 (D,).

        Args:
            version: names the model that made them; features of two versions are never mixed.
        """
        if len(self._clips) == self._clips.maxlen:
            oldest = self._clips[0].moment
            self._left = {oldest.segment: max(self._left.get(oldest.segment, oldest.end), oldest.end)}
        self._clips.append(_Described(moment, features, version))

    def at(self, moment: Moment, *, final: bool = False) -> Floats | None:
        """Return the features that describe a moment; None where they are not there yet.

        They are those of the clip that shares most of it, averaged with those of the clip before where the two share at
        least half: the noise of a single clip then counts less. They are there once a clip of the segment ends with the
        moment or after it.

        Args:
            final: no more clips come; take what is there.

        Raises:
            LookupError: no clip shares the moment, and none will.
        """
        same = [one for one in self._clips if one.moment.segment == moment.segment]
        passed = bool(same) and max(one.moment.end for one in same) >= moment.end - _ROUNDING_SECONDS
        if not (passed or final):
            if self._left.get(moment.segment, moment.end) > moment.end:
                raise LookupError(f"no clip describes {moment}")
            return None
        best = max(same, key=lambda one: _shared(one.moment, moment), default=None)
        if best is None or not _shared(best.moment, moment) > 0:
            raise LookupError(f"no clip describes {moment}")
        clip = best.moment
        half = (clip.end - clip.start) / 2 - _ROUNDING_SECONDS
        earlier = [
            one
            for one in same
            if one.moment.start < clip.start and _shared(one.moment, clip) >= half and one.version == best.version
        ]
        if not earlier:
            return best.features
        before = max(earlier, key=lambda one: one.moment.start).features
        return np.asarray((best.features + before) / 2, np.float32)


def _shared(one: Moment, other: Moment) -> float:
    """Return the length of what two moments of a segment share, seconds; below 0 where they are apart."""
    return min(one.end, other.end) - max(one.start, other.start)
