"""Pictures of alerts: a JPEG at the camera's own resolution, in the folder of the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Unpack

import av
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace

from operators.zones import Zone
from pipeline.alerts.evidence_folder import PICTURE, EvidenceError, EvidenceFolder, EvidenceLimits, file_name
from pipeline.alerts.zone_drawing import draw_zones
from pipeline.heat import Heat, draw

__all__ = ["EvidenceError", "EvidenceStore", "encode_jpeg", "file_name", "jfif"]

#: The mjpeg encoder's quantiser, 2 (best) to 31: 85 kB for a street scene of 768×576, written in 5 ms.
_QUANTISER = 2
#: FFmpeg's AVCOL_SPC_* numbers, as frames carry them, and what swscale calls the same thing.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
#: Untagged pictures of more lines than PAL's are taken for HD, whose matrix is BT.709, as players do.
_SD_LINES = 576


class EvidenceStore(EvidenceFolder):
    """Keeps pictures in ``folder``/camera/name.jpg, among the other evidence. Thread-safe.

    Args:
        heat, zones: whether those of a picture are drawn over it.
        limits: of the folder, see :class:`pipeline.alerts.evidence_folder.EvidenceFolder`.

    Raises:
        EvidenceError, ValueError: as EvidenceFolder.
    """

    def __init__(
        self, folder: Path, *, heat: bool = True, zones: bool = True, **limits: Unpack[EvidenceLimits]
    ) -> None:
        super().__init__(folder, **limits)
        self._draws_heat, self._draws_zones = heat, zones

    def save(
        self, frame: av.VideoFrame, *, camera: str, name: str, heat: Heat | None = None, zones: Sequence[Zone] = ()
    ) -> str:
        """Write the picture, or replace the one of this name, and make room for it.

        ``heat`` and ``zones`` are drawn over it, as the store is asked to.

        The file appears complete or not at all. Camera and name may be any text: what a file's name may not hold is
        written as %XX.

        Returns:
            its ``file://`` URI.

        Raises:
            EvidenceError: it cannot be encoded or written, or is larger than the whole quota.
        """
        path = self.path(camera, name, PICTURE)
        picture = encode_jpeg(frame, heat if self._draws_heat else None, zones if self._draws_zones else ())
        return self.put(path, picture, what="picture")


def encode_jpeg(
    frame: av.VideoFrame, heat: Heat | None = None, zones: Sequence[Zone] = (), *, quantiser: int = _QUANTISER
) -> bytes:
    """The picture as JPEG, in its own size: full-range YCbCr of BT.601 in 4:2:0, as JFIF says.

    ``heat`` and ``zones`` are drawn over it. The frame is not changed. 5 ms for 768×576.

    Args:
        quantiser: of the mjpeg encoder, 2 (best) to 31.

    Raises:
        EvidenceError: the encoder refuses it, e.g. more than 65535 pixels wide.
    """
    try:
        picture = jfif(frame, heat, zones)
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
        encoder.time_base = Fraction(1, 1)  # it wants one
        encoder.thread_count = 1
        encoder.options = {"qmin": str(quantiser), "qmax": str(quantiser)}
        packets = [*encoder.encode(picture), *encoder.encode(None)]
    except (FFmpegError, ValueError) as error:
        raise EvidenceError(f"a picture of {frame.width}×{frame.height} cannot be encoded: {error}") from None
    return b"".join(bytes(packet) for packet in packets)


def jfif(frame: av.VideoFrame, heat: Heat | None = None, zones: Sequence[Zone] = ()) -> av.VideoFrame:
    """The picture as a JPEG has it: a new one, ``yuvj420p``, full-range YCbCr of BT.601.

    ``heat`` is drawn over it, and ``zones`` over both.

    Raises:
        av.FFmpegError: it cannot be converted.
        ValueError: see :func:`pipeline.heat.draw`.
    """
    picture = frame.reformat(
        format="yuvj420p",
        src_colorspace=_matrix(frame),
        src_color_range=_range(frame),
        dst_colorspace=Colorspace.ITU601,
        dst_color_range=ColorRange.JPEG,
    )
    if picture is frame:  # nothing to convert: who changes the copy, or encodes it, must not reach the caller's frame
        picture = av.VideoFrame.from_ndarray(frame.to_ndarray(), format="yuvj420p")
    if heat is not None or zones:
        picture.make_writable()
    if heat is not None:
        draw(heat, picture)
    if zones:
        draw_zones(zones, picture)
    return picture


def _matrix(frame: av.VideoFrame) -> Colorspace:
    return _MATRICES.get(frame.colorspace, Colorspace.ITU709 if frame.height > _SD_LINES else Colorspace.ITU601)


def _range(frame: av.VideoFrame) -> ColorRange:
    """Untagged: full for RGB and for the yuvj formats that say so themselves, else limited."""
    if frame.color_range in (ColorRange.MPEG, ColorRange.JPEG):
        return ColorRange(frame.color_range)
    full = frame.format.is_rgb or frame.format.name.startswith("yuvj")
    return ColorRange.JPEG if full else ColorRange.MPEG
