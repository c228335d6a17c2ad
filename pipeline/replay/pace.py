"""A recording played at the pace of its own clock, as a camera would, or a multiple of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

from pipeline.sources.base import Frame, FrameSpec, Segment, SegmentOver, Source


class Paced:
    """``source``, whose frames come no sooner than their PTS say at ``speed`` times the recording's clock.

    A segment begins when the one before it is over: what a clock that jumps leaves out is not waited for.
    """

    def __init__(self, source: Source, speed: float) -> None:
        self.camera = source.camera
        self.live = source.live
        self._source = source
        self._speed = speed

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`."""
        segment: Segment | None = None
        began, first = 0.0, 0.0
        for item in self._source.frames(specs, stop):
            if isinstance(item, Frame):
                if item.segment != segment:
                    segment, began, first = item.segment, time.monotonic(), item.pts_seconds
                stop.wait(max(0.0, began + (item.pts_seconds - first) / self._speed - time.monotonic()))
            yield item
