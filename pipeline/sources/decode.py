"""The core that every source shares: decoded pictures in, frames and segments out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

from pipeline.sources.base import EndReason, Frame, FrameSpec, PictureSize, Segment, SegmentOver
from pipeline.sources.frame_index import FrameLog
from pipeline.sources.resample import RuleFor, resampler
from pipeline.sources.scale import Scaler
from pipeline.sources.timeline import Timeline, Verdict

#: When a picture was taken: from its PTS (seconds) and the moment this process had it; None where it is unknown.
WallClock = Callable[[float, datetime], datetime | None]


def received(_pts_seconds: float, received_at: datetime) -> datetime:
    """The wall clock of a live stream: a picture was taken when it was received."""
    return received_at


class FramePump:
    """Cuts one connection's (or recording's) pictures into segments, resamples them and scales those it keeps.

    Consumers that ask for different rates are resampled apart; those that ask for one size share the scaled picture.

    Args:
        segment_id: names the n-th segment of this connection or recording, from 0.
        wall_clock: gives the time at which a picture was taken.
        nominal_fps: the rate that the stream states, if it does.
        pixel_aspect: width over height of one pixel; None means square.
        log: where every picture's time is written down, if anywhere; a live camera's would grow for ever.
        rule: makes the rule of resampling to so many frames a second, at the start of each segment.
    """

    def __init__(
        self,
        camera: str,
        *,
        live: bool,
        specs: Sequence[FrameSpec],
        segment_id: Callable[[int], str],
        wall_clock: WallClock,
        nominal_fps: float | None = None,
        pixel_aspect: Fraction | None = None,
        threads: int = 1,
        log: FrameLog | None = None,
        rule: RuleFor = resampler,
    ) -> None:
        self.pictures = 0  #: decoded so far
        self.scaled = 0  #: pictures made of them by the scaler
        self.dropped = 0  #: pictures without a usable PTS
        self.jumps = 0  #: of the stream's clock
        self.last_pts_seconds: float | None = None
        self._camera = camera
        self._live = live
        self._specs = tuple(dict.fromkeys(specs))
        self._segment_id = segment_id
        self._wall_clock = wall_clock
        self._timeline = Timeline(nominal_fps)
        self._scalers = {spec.size: Scaler(spec, pixel_aspect, threads) for spec in self._specs}
        self._log = log
        self._rule = rule
        self._segment: Segment | None = None
        self._segments = 0
        self._size: tuple[int, int] | None = None

    def push(self, picture: av.VideoFrame, pts_seconds: float | None) -> Iterator[Frame | SegmentOver]:
        """Take the next decoded picture; yields at most the end of the old segment and one frame.

        Raises:
            av.FFmpegError: a picture that FFmpeg cannot convert.
        """
        self.pictures += 1
        verdict = self._timeline.judge(pts_seconds)
        if verdict is Verdict.DROP:
            self.dropped += 1
            self._log_picture(None)
            return
        assert pts_seconds is not None
        self.last_pts_seconds = pts_seconds
        size = (picture.width, picture.height)
        if verdict is not Verdict.GO_ON:
            self.jumps += 1
            yield from self.end(EndReason.CLOCK_JUMP)
        elif size != self._size:
            yield from self.end(EndReason.SIZE_CHANGED)  # nothing before the first picture
        self._size = size
        first = self._segment is None
        if self._segment is None:
            self._segment = Segment(self._segment_id(self._segments), self._camera, self._live)
            self._segments += 1
            self._resamplers = {fps: self._rule(fps) for fps in {spec.fps for spec in self._specs}}
        self._log_picture(pts_seconds, first=first)
        kept = {fps for fps, rule in self._resamplers.items() if rule.keep(pts_seconds)}
        if not kept:
            return
        received_at = datetime.now(UTC)
        yield Frame(
            segment=self._segment,
            pts_seconds=pts_seconds,
            taken_at=self._wall_clock(pts_seconds, received_at),
            received_at=received_at,
            images=self._scaled([spec for spec in self._specs if spec.fps in kept], picture),
            native=picture,
        )

    def end(self, reason: EndReason) -> Iterator[SegmentOver]:
        """Close the open segment, if there is one."""
        if self._segment is not None:
            segment, self._segment = self._segment, None
            yield SegmentOver(segment, reason)

    def _scaled(self, specs: Sequence[FrameSpec], picture: av.VideoFrame) -> dict[FrameSpec, npt.NDArray[np.uint8]]:
        """The picture for each of the specs, scaled once for each distinct size."""
        images: dict[PictureSize, npt.NDArray[np.uint8]] = {}
        for spec in specs:
            if spec.size not in images:
                images[spec.size] = self._scalers[spec.size](picture)
                self.scaled += 1
        return {spec: images[spec.size] for spec in specs}

    def _log_picture(self, pts_seconds: float | None, *, first: bool = False) -> None:
        if self._log is not None:
            self._log.picture(pts_seconds, first=first)
