"""Clip windows: what is cut out of a stream of frames and sent to be scored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import av
import numpy as np
import numpy.typing as npt

from operators.scores import ClipKey
from pipeline.sources.base import Fit, FrameSpec, Segment


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """The shape of a clip: ``frames`` pictures of ``height`` × ``width`` RGB, a new clip every ``stride`` frames.

    ``fps`` None means native: every frame of the stream, whatever its rate.
    """

    frames: int = 16
    stride: int = 16
    height: int = 224
    width: int = 224
    fit: Fit = Fit.STRETCH
    fps: float | None = None

    @property
    def frame_spec(self) -> FrameSpec:
        return FrameSpec(self.height, self.width, self.fit, self.fps)


@dataclass(frozen=True, slots=True)
class ClipWindow:
    """A clip with its place in time: one camera, one segment.

    Attributes:
        segment: the segment it was cut from.
        index: its ordinal in the segment, from 0.
        start: PTS of the first frame, seconds.
        end: PTS of the last frame plus one frame period, seconds.
        started_at, ended_at: wall-clock of the first and the last frame (UTC), None when unknown.
        captured_at: when this process had the last frame (UTC).
        pixels: uint8 (T, H, W, 3) RGB, C-contiguous, owned by the window.
        middle: the native picture of the middle frame (ordinal T // 2).
        middle_pts: its PTS, seconds.
    """

    segment: Segment
    index: int
    start: float
    end: float
    started_at: datetime | None
    ended_at: datetime | None
    captured_at: datetime
    pixels: npt.NDArray[np.uint8]
    middle: av.VideoFrame
    middle_pts: float

    @property
    def key(self) -> ClipKey:
        return ClipKey(self.segment.id, self.index)
