"""The one interface behind which every source of frames stands: cameras, recordings, the synthetic scene."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

import av
import numpy as np
import numpy.typing as npt

from pipeline.errors import MistwatchError, UsageError


class Fit(StrEnum):
    """The ways to bring a picture of another aspect ratio to a clip's height and width."""

    STRETCH = "stretch"  #: scaled to both, aspect ratio lost
    CROP = "crop"  #: scaled to cover, centre kept
    LETTERBOX = "letterbox"  #: scaled to fit inside, the rest black


class PictureSize(NamedTuple):
    """The size of an RGB picture, pixels, and how another aspect ratio is brought to it."""

    height: int
    width: int
    fit: Fit


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """The frames that one consumer asks for.

    Attributes:
        height, width: of the RGB picture, pixels.
        fps: frames a second after resampling by PTS; None takes every frame ("native").
    """

    height: int
    width: int
    fit: Fit = Fit.STRETCH
    fps: float | None = None

    @property
    def size(self) -> PictureSize:
        return PictureSize(self.height, self.width, self.fit)


@dataclass(frozen=True, slots=True)
class Segment:
    """An unbroken stretch of one stream: one connection, one clock, one picture size.

    ``id`` is unique for ever for a live camera and reproducible for a recording (hash of the content, ordinal).
    """

    id: str
    camera: str
    live: bool


class TimeSource(StrEnum):
    """The origin of a picture's wall-clock time (``time_source`` of an alert)."""

    RTCP = "rtcp"  #: the camera's clock, from its sender reports
    ARRIVAL = "arrival"  #: the arrival in the worker, smoothed
    FILE = "file"  #: the start of a recording and the PTS in it


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture with its place in time.

    Attributes:
        pts_seconds: presentation time on the stream's own clock; strictly increasing within a segment.
        taken_at: wall-clock time of the picture (UTC): by the clock or the arrival for a live camera
            (:mod:`pipeline.sources.wall_time`), origin + PTS for a recording with a known origin, else None.
        received_at: when this process had the frame (UTC).
        arrived_at: the same on the monotonic clock, seconds: the wall clock may be set, and delays are counted by this.
        images: for each FrameSpec whose resampling keeps this picture: uint8 (H, W, 3) RGB as it asks. Specs of one
            picture size share one array. The source never writes to it again.
        native: the picture as decoded, at the camera's own resolution; a reference, not a copy.
        time_source, time_error_seconds: the origin of ``taken_at`` and its estimated error; None where not known.
        is_corrupt: FFmpeg has marked the picture as damaged. ``native`` may be a copy, which has no such mark.
    """

    segment: Segment
    pts_seconds: float
    taken_at: datetime | None
    received_at: datetime
    images: Mapping[FrameSpec, npt.NDArray[np.uint8]]
    native: av.VideoFrame
    arrived_at: float = field(default_factory=time.monotonic)
    time_source: TimeSource | None = None
    time_error_seconds: float | None = None
    is_corrupt: bool = False

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """The only picture, where a single FrameSpec was asked for. Raises ValueError where there are several."""
        (image,) = self.images.values()
        return image

    @property
    def scaled(self) -> int:
        """Number of pictures that were scaled for this frame: one for each distinct size in ``images``."""
        return len({spec.size for spec in self.images})


class EndReason(StrEnum):
    """Why a segment ended (the reason that alerts and metrics show)."""

    STREAM_END = "stream_end"
    DISCONNECTED = "disconnected"
    CLOCK_JUMP = "clock_jump"
    SIZE_CHANGED = "size_changed"
    SHUTDOWN = "shutdown"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class SegmentOver:
    """Follows the last frame of a segment."""

    segment: Segment
    reason: EndReason


#: Mended by another argument: exit status 2.
_USAGE_CODES = frozenset({"not_found", "not_a_video", "no_video_stream", "usage"})


class SourceError(MistwatchError):
    """A source cannot be opened or read. The text is one line for an operator and never holds credentials.

    Attributes:
        code: short reason code for metrics: ``not_found``, ``not_a_video``, ``no_video_stream``, ``unauthorized``,
            ``certificate``, ``busy``, ``refused``, ``timeout``, ``unreachable``, ``protocol``, ``stream_end``,
            ``decode``, ``changed``, ``usage``, ``decoder_crashed``.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code
        self.exit_status = (UsageError if code in _USAGE_CODES else MistwatchError).exit_status


class Source(Protocol):
    """A camera or a recording.

    Attributes:
        live: True if time goes on without us: such a source may lose clips, a recording never does.
    """

    camera: str
    live: bool

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """Yield frames, and a SegmentOver after each segment's last frame, until the recording's end or ``stop``.

        Each picture is decoded once, and scaled once for each distinct size among the ``specs`` that keep it. A picture
        that no spec keeps is not yielded.

        A live source never ends by itself, but for a synthetic scene of stated length: it reconnects, for ever.
        ``stop`` ends it within the read limit; the open segment is then closed with reason ``shutdown``.

        Raises:
            SourceError: a recording that cannot be opened or decoded at all. A live source reports its outages
                to the callback it was built with, and raises only for what no retry can mend (``usage``).
        """
        ...
