"""The heat maps of a camera's latest clips, for alerts of its detectors that have none."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operators.heat_kind import HeatKind
from pipeline.alerts.recent_features import Moment
from pipeline.heat import Heat
from pipeline.sources.base import FrameSpec
from pipeline.sources.scale import seen_part

#: Clips whose maps are kept: half a minute of one detector at two clips a second; 6 kB each with 30 × 53 cells.
_KEPT_CLIPS = 64


class _Seen(NamedTuple):
    moment: Moment
    values: npt.NDArray[np.float32]
    kind: HeatKind
    frames: FrameSpec


class RecentHeat:
    """The heat maps of one camera's latest clips, of any detector. Not thread-safe."""

    def __init__(self) -> None:
        self._clips: deque[_Seen] = deque(maxlen=_KEPT_CLIPS)

    def add(self, moment: Moment, values: npt.NDArray[np.float32], kind: HeatKind, frames: FrameSpec) -> None:
        """Take the map of a clip, float32 (h, w), whose frames were made as ``frames`` says."""
        self._clips.append(_Seen(moment, values, kind, frames))

    def at(self, moment: Moment, width: int, height: int) -> Heat | None:
        """Return the map of the clip that shares most of a moment, the latest of several; None where none shares it.

        Args:
            width, height: of the camera's upright picture, pixels.
        """
        best = max(self._clips, key=lambda one: (_shared(one.moment, moment), one.moment.end), default=None)
        if best is None or not _shared(best.moment, moment) > 0:
            return None
        return Heat(best.values, seen_part(width, height, best.frames), best.kind)


def _shared(one: Moment, other: Moment) -> float:
    """Return the length of what two moments share, seconds; not above 0 where they are apart."""
    return min(one.end, other.end) - max(one.start, other.start) if one.segment == other.segment else 0.0
