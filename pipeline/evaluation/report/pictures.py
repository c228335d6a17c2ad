"""Thumbnails of recordings: single pictures by their number, as small JPEGs, with the model's heat map if wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace

from pipeline.evaluation.report.data import Look
from pipeline.heat import Heat, draw
from pipeline.sources.base import FrameSpec, SourceError
from pipeline.sources.files import FileSource
from pipeline.sources.frame_folder import pictures as pictures_of_folder
from pipeline.sources.frame_folder import read_picture
from pipeline.sources.frame_index import SAME_TIME_SECONDS
from pipeline.sources.orientation import Orientation
from pipeline.sources.recordings import open_recording
from pipeline.sources.scale import Part, Scaler, seen_part
from pipeline.sources.video_streams import choose_video_stream

#: Height of a thumbnail, pixels: twice the size shown on a phone, and 3 to 6 kB.
HEIGHT = 112
#: Largest ratio of width to height, for panoramas.
_WIDEST = 4.0
#: The mjpeg encoder's quantiser, 2 (best) to 31.
_QUANTISER = 6
#: Pictures ahead that are reached by decoding; a seek would decode as many from the key frame before.
_AHEAD = 250


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture, upright.

    Attributes:
        rgb: uint8 (height, width, 3).
        shown_width, shown_height: of the whole picture on a screen, pixels; a panorama is narrower here.
    """

    rgb: npt.NDArray[np.uint8]
    shown_width: int
    shown_height: int

    def jpeg(self, look: Look | None = None) -> bytes:
        """Return the picture as JPEG, with the heat map drawn into it if ``look`` is given."""
        frame = av.VideoFrame.from_ndarray(self.rgb, format="rgb24").reformat(
            format="yuvj420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG
        )
        if look is not None:
            frame.make_writable()
            draw(Heat(look.attention, self._part(look.seen), look.kind), frame)
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
        encoder.time_base = Fraction(1, 1)  # the encoder requires one
        encoder.thread_count = 1
        encoder.options = {"qmin": str(_QUANTISER), "qmax": str(_QUANTISER)}
        return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))

    def _part(self, seen: FrameSpec) -> Part:
        """Return the part of the picture that the model has seen."""
        height, width, _ = self.rgb.shape
        across, down = width / self.shown_width, height / self.shown_height
        part = seen_part(self.shown_width, self.shown_height, seen)
        return Part(part.left * across, part.top * down, part.right * across, part.bottom * down)


def thumbnails(
    path: Path,
    numbers: Sequence[int],
    *,
    fps: float | None = None,
    video_stream: int | None = None,
    height: int = HEIGHT,
    content_hash: str | None = None,
) -> dict[int, Picture]:
    """Return pictures of a recording by their numbers, upright and in their shape on a screen.

    Long films are not decoded completely: their clock gives a picture's position. If the clock of a film jumps back or
    is missing, all pictures before the last requested one are decoded.

    Args:
        numbers: numbers of the pictures, counted from 0 in decoding order; in any order.
        video_stream: see :func:`pipeline.sources.recordings.open_recording`.
        content_hash: required hash of the recording (:attr:`pipeline.sources.recordings.Recording.content_hash`).

    Returns:
        The pictures that could be decoded.

    Raises:
        SourceError: the recording cannot be opened, or has another content.
    """
    wanted = sorted({number for number in numbers if number >= 0})
    recording = open_recording(path, fps=fps, video_stream=video_stream)
    recording.check()
    if content_hash is not None and recording.content_hash != content_hash:
        raise SourceError(f"{path}: not the recording that was scored; replay it again", code="usage")
    found: dict[int, Picture] = {}
    if not isinstance(recording, FileSource):
        files = pictures_of_folder(path)
        for number in wanted:
            with suppress(av.FFmpegError, IndexError):
                found[number] = _small(read_picture(files[number]), None, height)
        return found
    if not wanted:
        return found
    index = recording.frame_index()
    times = index.times if index.segments is None and recording.pictures_bear_times() else None
    with _open(path) as container:
        film = choose_video_stream(container, video_stream)
        film.codec_context.thread_type = "AUTO"
        for number, picture in _picked(container, film, wanted, times):
            with suppress(av.FFmpegError, ValueError):
                found[number] = _small(picture, film.sample_aspect_ratio, height)
    return found


def picture_thumbnail(file: Path, height: int = HEIGHT) -> Picture:
    """Return a picture that is a file of its own. Raises av.FFmpegError: it cannot be decoded."""
    return _small(read_picture(file), None, height)


def _open(path: Path) -> av.container.InputContainer:
    return av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file"})


def _picked(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    wanted: Sequence[int],
    times: npt.NDArray[np.float64] | None,
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield the pictures of these numbers, rising; found by their times, or counted without times."""
    if times is None:
        open_numbers = set(wanted)
        for number, picture in enumerate(_decoded(container, stream)):
            if number in open_numbers:
                yield number, picture
            if number >= wanted[-1]:
                return
        return
    assert stream.time_base is not None
    reached, decoder = -1, _decoded(container, stream)
    for number in wanted:
        if number >= len(times):
            return
        if number - reached > _AHEAD:
            with suppress(av.FFmpegError):  # a format without an index: continue from here
                container.seek(int(times[number] / stream.time_base), stream=stream)
                decoder = _decoded(container, stream)
        for picture in decoder:
            if picture.pts is not None and float(picture.pts * stream.time_base) >= times[number] - SAME_TIME_SECONDS:
                yield number, picture
                break
        reached = number


def _decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Yield the pictures that can be decoded from here on."""
    with suppress(av.FFmpegError):
        for packet in container.demux(stream):
            pictures: list[av.VideoFrame] = []
            with suppress(av.FFmpegError):
                pictures = packet.decode()
            yield from pictures


def _small(picture: av.VideoFrame, pixel_aspect: Fraction | None, height: int) -> Picture:
    shown_width, shown_height = picture.width * float(pixel_aspect or 1), float(picture.height)
    if Orientation.of(picture).swaps_sides:
        shown_width, shown_height = shown_height, shown_width
    width = max(2, round(height * min(shown_width / shown_height, _WIDEST)))
    small = Scaler(FrameSpec(height, width))(picture)
    return Picture(np.ascontiguousarray(small), round(shown_width), round(shown_height))
