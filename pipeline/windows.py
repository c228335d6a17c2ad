"""Clip windows: the stretches of a stream of frames that are sent to be scored."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Annotated, Self

import av
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from operators.scores import ClipKey
from pipeline.sources.base import Fit, Frame, FrameSpec, Segment, SegmentOver, TimeSource
from pipeline.sources.timeline import FORWARD_LIMIT_SECONDS

if TYPE_CHECKING:
    from operators.background import SceneKind

#: Length of the last frame of a clip where neither its neighbours nor its container state it, seconds.
#: It happens to one frame only: the first of a segment, in clips of a single frame.
UNKNOWN_PERIOD_SECONDS = 0.04

#: Frames of a clip may be so many of its periods apart, where that is longer than a pause of any recording.
_LONGEST_SPACING_PERIODS = 2.0


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """The shape of a clip: ``frames`` pictures of ``height`` × ``width`` RGB, a new clip every ``stride`` frames.

    ``fps`` None means native: every frame of the stream, whatever its rate. A stride below ``frames`` makes clips
    overlap, one above it leaves frames out between them.

    Raises:
        ValueError: a value that no clip can have; the text names it and what was expected.
    """

    frames: int = 16
    stride: int = 16
    height: int = 224
    width: int = 224
    fit: Fit = Fit.STRETCH
    fps: float | None = None

    def __post_init__(self) -> None:
        for name in ("frames", "stride", "height", "width"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"clip {name} must be a whole number of at least 1, got {value!r}")
        if self.fit not in list(Fit):
            raise ValueError(f"clip fit must be one of {', '.join(Fit)}, got {self.fit!r}")
        object.__setattr__(self, "fit", Fit(self.fit))  # a plain "crop" is welcome, and equal to Fit.CROP from here on
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"clip fps must be above 0, or None for the stream's own rate, got {self.fps!r}")

    @property
    def frame_spec(self) -> FrameSpec:
        return FrameSpec(self.height, self.width, self.fit, self.fps)

    @property
    def nbytes(self) -> int:
        """Size of one clip's pixels, bytes."""
        return self.frames * self.height * self.width * 3


class StoredClip(BaseModel):
    """The settings of a clip as model cards, calibrations and run folders store them.

    ``fps`` is None for the stream's own rate, which files call ``native``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    frames: int = Field(ge=1)
    stride: int = Field(ge=1)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    fit: Fit
    fps: Annotated[
        Annotated[float, Field(gt=0)] | None,
        BeforeValidator(lambda value: None if value == "native" else value),
        PlainSerializer(lambda fps: "native" if fps is None else fps, return_type=float | str),
    ]

    @classmethod
    def from_spec(cls, spec: ClipSpec) -> Self:
        """Return the stored form of ``spec``."""
        return cls(**dataclasses.asdict(spec))

    @property
    def spec(self) -> ClipSpec:
        """The same for the cutter of clips."""
        return ClipSpec(self.frames, self.stride, self.height, self.width, self.fit, self.fps)


@dataclass(frozen=True, slots=True)
class ClipWindow:
    """A clip with its place in time: one camera, one segment.

    Attributes:
        index: its ordinal in the segment, from 0.
        start: PTS of the first frame, seconds.
        end: PTS of the last frame plus one frame period, seconds.
        started_at, ended_at: wall-clock of the first and the last frame (UTC), None when unknown.
        time_source, time_error_seconds: the origin of these two, and the larger of their estimated errors; None where
            not known.
        captured_at: when this process had the last frame (UTC).
        captured_monotonic: the same on the monotonic clock, seconds.
        began_monotonic: when this process had the first frame, on the same clock; None where it does not count.
        pixels: uint8 (T, H, W, 3) RGB, C-contiguous, owned by the window.
        middle: the native picture of the middle frame (ordinal T // 2).
        scene: uint8 (H, W, 3) RGB, the standing scene that the clip is scored against, by a model that reads one. Clips
            may share it. None: the model reads none, or takes the median of the clip.
        scene_kind: the kind of scene that is kept for the clip's camera; None: none. ``scene`` is of this kind.
        mask: the cells of the model's HEAT that are ignored: uint8 (h, w), not 0. None: nothing is ignored, or it is
            replaced in ``pixels``.
        hidden: the pixels of those places, bool (H, W), for a model that takes no such mask; None without one.
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
    captured_monotonic: float = field(default_factory=time.monotonic)
    began_monotonic: float | None = None
    scene: npt.NDArray[np.uint8] | None = None
    scene_kind: SceneKind | None = None
    mask: npt.NDArray[np.uint8] | None = None
    hidden: npt.NDArray[np.bool] | None = None
    time_source: TimeSource | None = None
    time_error_seconds: float | None = None

    @property
    def key(self) -> ClipKey:
        return ClipKey(self.segment.id, self.index)


@dataclass(frozen=True, slots=True)
class _Held:
    """A frame in the ring: without the large native picture."""

    pts_seconds: float
    taken_at: datetime | None
    arrived_at: float
    time_error_seconds: float | None
    image: npt.NDArray[np.uint8]


def longest_spacing(spec: ClipSpec) -> float:
    """Return the longest time between two frames of one clip, seconds; after a longer one clips start again."""
    return max(FORWARD_LIMIT_SECONDS, _LONGEST_SPACING_PERIODS / spec.fps if spec.fps is not None else 0.0)


class WindowCutter:
    """Cuts one camera's frames into clips; a clip never spans two segments, a tail shorter than a clip is discarded.

    Nor does a clip span a pause (:func:`longest_spacing`), which in sparse footage is between any two frames.

    Frames that the resampling for these clips does not keep are passed over.

    Cost, with P = height × width × 3 bytes a picture:

    * copied: a frame's P bytes once for every clip that it belongs to, and nothing else. That is P bytes a frame
      at stride = frames (150 528 at 224 × 224), P × frames / stride on average at any other stride; a frame that
      falls between two clips is not touched. (``tests/pipeline/test_windows.py`` counts, ``bench/sources.py`` times.)
    * held: references to the last ``frames`` pictures, of P bytes and the scaler's row padding each (768 bytes a row
      instead of 672 at a width of 224), and the native pictures of the middles of the clips that are not yet
      complete: ceil(frames / 2 / stride) of them at most, one at stride = frames. The clips handed out belong to
      the receiver.
    """

    def __init__(self, spec: ClipSpec) -> None:
        self.spec = spec
        self._longest_spacing = longest_spacing(spec)
        self._wanted = spec.frame_spec
        self.clips = 0  #: clips cut from the segment that is open, or was the last to be
        self._segment: Segment | None = None
        self._ring: deque[_Held] = deque(maxlen=spec.frames)
        self._middles: deque[av.VideoFrame] = deque()  # of the clips that are not yet complete
        self._seen = 0  # frames of the segment so far, since its latest pause
        self._spacings: deque[float] = deque(maxlen=max(spec.frames - 1, 1))  # seconds between its last frames

    def push(self, item: Frame | SegmentOver) -> ClipWindow | SegmentOver | None:
        """Take the next item of the source; give the clip that it completes, the segment's end, or None.

        Raises:
            ValueError: a frame of another size than the clips', or not later than the one before.
        """
        if isinstance(item, SegmentOver):
            self._open(None)
            return item
        spec = self.spec
        image = item.images.get(self._wanted)
        if item.segment is not self._segment and item.segment != self._segment:
            self._open(item.segment)
        if image is None:
            return None
        shape = (spec.height, spec.width, 3)
        if image.shape != shape:
            raise ValueError(f"camera {item.segment.camera}: expected frames of shape {shape}, got {image.shape}")
        if self._ring:
            spacing = item.pts_seconds - self._ring[-1].pts_seconds
            if not spacing > 0:
                raise ValueError(
                    f"camera {item.segment.camera}: a frame at {item.pts_seconds} s after one at "
                    f"{self._ring[-1].pts_seconds} s of the same segment"
                )
            if spacing > self._longest_spacing:
                self._start_again()
            else:
                self._spacings.append(spacing)
        ordinal = self._seen
        self._seen += 1
        self._ring.append(_Held(item.pts_seconds, item.taken_at, item.arrived_at, item.time_error_seconds, image))
        if ordinal >= spec.frames // 2 and (ordinal - spec.frames // 2) % spec.stride == 0:
            self._middles.append(item.native)
        if ordinal + 1 < spec.frames or (ordinal + 1 - spec.frames) % spec.stride:
            return None
        return self._cut(item)

    def _open(self, segment: Segment | None) -> None:
        self._segment = segment
        self._start_again()
        if segment is not None:
            self.clips = 0

    def _start_again(self) -> None:
        self._ring.clear()
        self._middles.clear()
        self._spacings.clear()
        self._seen = 0

    def _cut(self, last: Frame) -> ClipWindow:
        spec = self.spec
        pixels = np.empty((spec.frames, spec.height, spec.width, 3), dtype=np.uint8)
        for row, held in zip(pixels, self._ring, strict=True):
            row[...] = held.image
        first = self._ring[0]
        index = self.clips
        self.clips += 1
        errors = [one.time_error_seconds for one in (first, last) if one.time_error_seconds is not None]
        return ClipWindow(
            segment=last.segment,
            index=index,
            start=first.pts_seconds,
            end=last.pts_seconds + self._period(last),
            started_at=first.taken_at,
            ended_at=last.taken_at,
            captured_at=last.received_at,
            pixels=pixels,
            middle=self._middles.popleft(),
            captured_monotonic=last.arrived_at,
            began_monotonic=first.arrived_at,
            time_source=last.time_source,
            time_error_seconds=max(errors) if errors else None,
        )

    def _period(self, last: Frame) -> float:
        """Return how long the clip's last frame lasts, seconds.

        The grid's period where the frames were resampled; the median of the clip's own spacings at native rate (a
        lost frame does not disturb it), and also where the stream turns out slower than the grid.
        """
        own = median(self._spacings) if self._spacings else self._stated(last)
        if self.spec.fps is not None and own <= 1.5 / self.spec.fps:
            return 1.0 / self.spec.fps
        return own

    def _stated(self, last: Frame) -> float:
        """The duration that the container states, for the one frame that has no neighbour yet."""
        if self.spec.fps is not None:
            return 1.0 / self.spec.fps
        duration, time_base = last.native.duration, last.native.time_base
        return float(duration * time_base) if duration and time_base else UNKNOWN_PERIOD_SECONDS


def cut(items: Iterable[Frame | SegmentOver], spec: ClipSpec) -> Iterator[ClipWindow | SegmentOver]:
    """The clips of a stream of frames, and the ends of its segments, in order; see :class:`WindowCutter`."""
    cutter = WindowCutter(spec)
    for item in items:
        if (cutting := cutter.push(item)) is not None:
            yield cutting
