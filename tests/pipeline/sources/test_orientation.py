"""All eight ways in which a picture may lie: the model's frame, evidence and thumbnails stand alike."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.evaluation.report.pictures import thumbnails
from pipeline.sources.base import Fit, Frame, FrameSpec
from pipeline.sources.files import FileSource
from pipeline.sources.frame_folder import FrameFolder
from pipeline.sources.orientation import Orientation
from pipeline.sources.scale import Scaler, upright

WIDTH, HEIGHT = 96, 64
#: Grey levels of the quarters of the picture as it is stored: top left, top right, bottom left, bottom right.
QUARTERS = np.array([[250, 170], [90, 10]])

#: (a, b, c, d) of the eight matrices: a point (x, y) is shown at (a x + c y, b x + d y), y downwards.
MATRICES = [
    (1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0),
    (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0),
]  # fmt: skip

#: The same in the order of EXIF's values 1 to 8.
EXIF_MATRICES = [
    (1, 0, 0, 1), (-1, 0, 0, 1), (-1, 0, 0, -1), (1, 0, 0, -1),
    (0, 1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0), (0, -1, 1, 0),
]  # fmt: skip


def shown_quarters(matrix: tuple[int, int, int, int]) -> np.ndarray:
    """The quarters as a person sees them, (2, 2), by the matrix alone."""
    a, b, c, d = matrix
    shown = np.zeros((2, 2), int)
    for row, y in enumerate((-1, 1)):
        for column, x in enumerate((-1, 1)):
            shown[int(b * x + d * y > 0), int(a * x + c * y > 0)] = QUARTERS[row, column]
    return shown


def quarters_of(picture: np.ndarray) -> np.ndarray:
    """The grey in the middle of each quarter of an RGB picture, (2, 2)."""
    height, width, _ = picture.shape
    return picture[height // 4 :: height // 2, width // 4 :: width // 2, 0][:2, :2].astype(int)


def stored_picture() -> np.ndarray:
    return np.kron(QUARTERS, np.ones((HEIGHT // 2, WIDTH // 2), int))[:, :, None].repeat(3, 2).astype(np.uint8)


@pytest.fixture(scope="module")
def plain(ffmpeg, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("orientation")
    Image.fromarray(stored_picture()).save(folder / "picture.png")
    still = ("-loop", "1", "-framerate", "10", "-t", "1", "-i", folder / "picture.png")
    ffmpeg(*still, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0", folder / "plain.mp4")
    return folder / "plain.mp4"


def with_matrix(film: Path, path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """A copy of an MP4 with this matrix in its track's header (ISO/IEC 14496-12 section 8.3.2), version 0."""
    content = bytearray(film.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("matrix", MATRICES)
def test_films(matrix, plain, tmp_path):
    film = with_matrix(plain, tmp_path / "film.mp4", matrix)
    expected = shown_quarters(matrix)
    spec = FrameSpec(48, 48)
    frame = next(item for item in FileSource("cam", film).frames([spec], threading.Event()) if isinstance(item, Frame))
    evidence = upright(frame.native)
    assert (evidence.width, evidence.height) == ((WIDTH, HEIGHT) if matrix[0] else (HEIGHT, WIDTH))
    for picture in (frame.image, evidence.to_ndarray(format="rgb24"), thumbnails(film, [3])[3].rgb):
        assert np.abs(quarters_of(picture) - expected).max() <= 6
    assert Orientation.of(evidence).is_upright, "a picture that was turned is not turned again"


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_photographs(value, suffix, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(stored_picture()).save(tmp_path / f"1.{suffix}", exif=exif)
    expected = shown_quarters(EXIF_MATRICES[value - 1])
    frames = FrameFolder("cam", tmp_path, fps=1).frames([FrameSpec(48, 48)], threading.Event())
    frame = next(item for item in frames if isinstance(item, Frame))
    for picture in (frame.image, upright(frame.native).to_ndarray(format="rgb24")):
        assert np.abs(quarters_of(picture) - expected).max() <= 8


def test_a_crop_is_taken_from_the_upright_picture(plain, tmp_path):
    """Of a picture that is shown 64 wide and 96 high the middle square, and all of it between bars."""
    film = with_matrix(plain, tmp_path / "film.mp4", (0, 1, 1, 0))
    native = next(iter(FileSource("cam", film).frames([FrameSpec(32, 32)], threading.Event()))).native
    boxed = Scaler(FrameSpec(48, 48, Fit.LETTERBOX))(native)
    assert boxed[:, :8].max() == boxed[:, 40:].max() == 0
    assert np.abs(quarters_of(boxed[:, 8:40]) - shown_quarters((0, 1, 1, 0))).max() <= 6
