"""From a decoded picture to the small RGB one that is scored: one FFmpeg filter graph, for the kept frames only."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple, cast

import av
import av.filter
import numpy as np
import numpy.typing as npt

from pipeline.sources.base import Fit, FrameSpec
from pipeline.sources.orientation import Orientation

#: The scaler's algorithm. FFmpeg's bilinear takes in every source pixel when it scales down, so nothing aliases; the
#: pictures are within 2 grey levels of those of Debian's ``ffmpeg -vf scale=W:H:flags=bilinear,format=rgb24``.
SCALER_FLAGS = "bilinear"

#: Pictures of these formats are scaled in YUV and converted to RGB when they are small, with exact rounding: the same
#: pictures bit for bit, for three quarters of the time. FFmpeg has no fast code that scales straight into RGB. The same
#: without exact rounding takes less than half of the time, but moved scores of the ``fights`` model by up to 0.02.
_SUBSAMPLED = frozenset({"yuv420p", "yuvj420p", "nv12", "yuv422p", "yuvj422p", "yuyv422"})
_EXACT_FLAGS = f"{SCALER_FLAGS}+accurate_rnd"

#: How many times smaller in height and width the two ways were compared in, for all picture sizes.
_LEAST_SHRINKING, _MOST_SHRINKING = 1.25, 16.0


class Part(NamedTuple):
    """A rectangle of a picture, pixels; it may reach beyond the picture."""

    left: float
    top: float
    right: float
    bottom: float


def seen_part(width: int, height: int, spec: FrameSpec) -> Part:
    """Return the part of an upright picture of this size that the frames of ``spec`` show.

    With a crop it is less than the picture, with a letterbox more: its bars lie outside. Pixels are taken for square:
    a picture does not state their shape. Where they are not, a crop or letterbox is off by as much as they are.
    """
    if spec.fit is Fit.STRETCH:
        return Part(0, 0, width, height)
    factors = (width / spec.width, height / spec.height)
    pixel = min(factors) if spec.fit is Fit.CROP else max(factors)
    half_width, half_height = spec.width * pixel / 2, spec.height * pixel / 2
    return Part(width / 2 - half_width, height / 2 - half_height, width / 2 + half_width, height / 2 + half_height)


def upright(picture: av.VideoFrame) -> av.VideoFrame:
    """A native picture as people hold it: turned by its display matrix, the picture itself where it has none."""
    orientation = Orientation.of(picture)
    return picture if orientation.is_upright else turned(picture, orientation)


def turned(picture: av.VideoFrame, orientation: Orientation) -> av.VideoFrame:
    """The picture made upright, without the display matrix, which no longer holds."""
    graph = _graph(picture, [*orientation.filters, ("sidedata", "mode=delete")], threads=1)
    graph.vpush(picture)
    return graph.vpull()


def _graph(picture: av.VideoFrame, filters: list[tuple[str, str | None]], threads: int) -> av.filter.Graph:
    """A configured graph for pictures like this one."""
    graph = av.filter.Graph()
    graph.threads = threads
    source = graph.add(
        "buffer",
        video_size=f"{picture.width}x{picture.height}",
        pix_fmt=picture.format.name,
        time_base=str(picture.time_base or Fraction(1, 90_000)),
        pixel_aspect="1/1",  # the filters reckon with the true one where it matters
        colorspace=str(int(picture.colorspace)),
        range=str(int(picture.color_range)),
    )
    graph.link_nodes(source, *(graph.add(name, arguments) for name, arguments in filters), graph.add("buffersink"))
    graph.configure()
    return graph


def _is_scaled_in_yuv(picture: av.VideoFrame, width: int, height: int) -> bool:
    """Return whether scaling in YUV gives the same pictures; with an odd width the colours would lie elsewhere."""
    shrinking = (picture.width / width, picture.height / height)
    return (
        picture.format.name in _SUBSAMPLED
        and width % 2 == 0
        and min(shrinking) >= _LEAST_SHRINKING
        and max(shrinking) <= _MOST_SHRINKING
    )


class Scaler:
    """Scales and converts pictures to uint8 (height, width, 3) RGB as the spec asks.

    Phone videos are turned upright by their display matrix (multiples of 90°, mirrors), and where pixels are not
    square, crop and letterbox go by the shape on the screen. The graph is rebuilt when the size, format, colours or
    matrix of the pictures change.

    Args:
        pixel_aspect: width over height of one pixel, as the stream states it; None means square.
        threads: of the filter graph; 1 where many streams share the cores.
    """

    def __init__(self, spec: FrameSpec, pixel_aspect: Fraction | None = None, threads: int = 1) -> None:
        self._spec = spec
        self._pixel_aspect = pixel_aspect or Fraction(1)  # 0 means unknown
        self._threads = threads
        self._key: tuple[object, ...] | None = None
        self._graph: av.filter.Graph | None = None

    def __call__(self, picture: av.VideoFrame) -> npt.NDArray[np.uint8]:
        """The picture as uint8 (height, width, 3) RGB: a view of a buffer of its own (rows padded), never reused.

        Raises:
            av.FFmpegError: a picture that FFmpeg cannot convert.
        """
        key = (
            picture.width,
            picture.height,
            picture.format.name,
            picture.time_base,
            picture.colorspace,
            picture.color_range,
            orientation := Orientation.of(picture),
        )
        if self._graph is None or key != self._key:
            self._graph = _graph(picture, self._filters(picture, orientation), self._threads)
            self._key = key
        self._graph.vpush(picture)
        return cast("npt.NDArray[np.uint8]", self._graph.vpull().to_ndarray())

    def _filters(self, picture: av.VideoFrame, orientation: Orientation) -> list[tuple[str, str | None]]:
        """The filters between buffer and sink; turning comes last, when the picture is small."""
        width, height = self._spec.width, self._spec.height
        if orientation.swaps_sides:
            width, height = height, width
        scaled_width, scaled_height = self._scaled_size(picture, width, height)
        size = f"{scaled_width}:{scaled_height}"
        steps: list[tuple[str, str | None]]
        if _is_scaled_in_yuv(picture, scaled_width, scaled_height):
            exact = ("scale", f"{size}:flags={_EXACT_FLAGS}")
            steps = [exact, ("format", "yuv422p"), exact, ("format", "rgb24")]
        else:
            steps = [("scale", f"{size}:flags={SCALER_FLAGS}"), ("format", "rgb24")]
        if self._spec.fit is Fit.CROP:
            steps.append(("crop", f"{width}:{height}"))
        elif self._spec.fit is Fit.LETTERBOX:
            steps.append(("pad", f"{width}:{height}:(ow-iw)/2:(oh-ih)/2:black"))
        return steps + orientation.filters

    def _scaled_size(self, picture: av.VideoFrame, width: int, height: int) -> tuple[int, int]:
        """To what size the whole picture is scaled, pixels, before it is cropped or padded to width × height."""
        if self._spec.fit is Fit.STRETCH:
            return width, height
        shown_width = picture.width * self._pixel_aspect
        factors = (width / shown_width, Fraction(height, picture.height))
        if self._spec.fit is Fit.CROP:
            factor = max(factors)
            return max(width, round(shown_width * factor)), max(height, round(picture.height * factor))
        factor = min(factors)
        return (
            min(width, max(1, round(shown_width * factor))),
            min(height, max(1, round(picture.height * factor))),
        )
