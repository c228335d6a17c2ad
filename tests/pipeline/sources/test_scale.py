"""Scaling in YUV gives the pictures of scaling straight into RGB, bit for bit."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from pipeline.sources.base import Fit, FrameSpec
from pipeline.sources.scale import Scaler

SUBSAMPLED = ["yuv420p", "yuvj420p", "nv12", "yuv422p", "yuvj422p", "yuyv422"]
OTHERS = ["yuv444p", "yuv420p10le", "gray", "rgb24", "bgra"]


def noise(pixel_format: str, width: int, height: int) -> av.VideoFrame:
    """A picture of random bytes: the hardest case for two ways to round alike."""
    picture = av.VideoFrame(width, height, pixel_format)
    rng = np.random.default_rng(width * height)
    for plane in picture.planes:
        content = rng.integers(0, 256, plane.buffer_size, np.uint8)
        if pixel_format == "yuv420p10le":
            content[1::2] %= 4  # ten bits are two bytes, of which the second has two bits
        plane.update(content.tobytes())
    picture.time_base = Fraction(1, 25)
    return picture


def in_one_step(picture: av.VideoFrame, size: str) -> np.ndarray:
    """The picture as FFmpeg's scaler makes it straight into RGB."""
    graph = av.filter.Graph()
    source = graph.add(
        "buffer",
        video_size=f"{picture.width}x{picture.height}",
        pix_fmt=picture.format.name,
        time_base="1/25",
        colorspace=str(int(picture.colorspace)),
        range=str(int(picture.color_range)),
    )
    scale = graph.add("scale", f"{size}:flags=bilinear")
    graph.link_nodes(source, scale, graph.add("format", "rgb24"), graph.add("buffersink"))
    graph.configure()
    graph.vpush(picture)
    return graph.vpull().to_ndarray()


@pytest.mark.parametrize("pixel_format", [*SUBSAMPLED, *OTHERS])
@pytest.mark.parametrize(
    ("width", "height", "to_width", "to_height"),
    [
        (640, 480, 224, 224),
        (640, 480, 224, 121),
        (641, 361, 340, 256),
        (352, 288, 112, 64),
        (1280, 720, 160, 90),
        (640, 480, 213, 120),  # an odd width
        (224, 160, 224, 224),  # not made smaller
        (64, 48, 224, 224),
        (640, 480, 16, 16),  # too much smaller
    ],
)
def test_pictures_are_those_of_one_step(
    pixel_format: str, width: int, height: int, to_width: int, to_height: int
) -> None:
    picture = noise(pixel_format, width, height)
    image = Scaler(FrameSpec(to_height, to_width))(picture)
    assert np.array_equal(image, in_one_step(picture, f"{to_width}:{to_height}"))


@pytest.mark.parametrize("colours", [Colorspace.ITU709, Colorspace.ITU601, Colorspace.SMPTE240M])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "nv12"])
def test_colours_of_a_stream_are_kept(pixel_format: str, colours: Colorspace) -> None:
    picture = noise(pixel_format, 640, 480)
    picture.colorspace = colours
    assert np.array_equal(Scaler(FrameSpec(224, 224))(picture), in_one_step(picture, "224:224"))


def test_a_crop_is_cut_from_the_same_picture() -> None:
    picture = noise("yuv420p", 640, 360)
    image = Scaler(FrameSpec(120, 160, Fit.CROP))(picture)
    whole = in_one_step(picture, "213:120")
    assert np.array_equal(image, whole[:, 26:186])  # FFmpeg's crop begins at an even column
