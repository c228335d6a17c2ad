"""Pictures of a made camera, with and without a red box in its yard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import av.container
import cv2
import numpy as np

HEIGHT, WIDTH = 96, 128
#: Place of the box: rows and columns.
BOX = (slice(48, 80), slice(80, 112))


def yard(seed: int, *, box: bool = False) -> np.ndarray:
    """A picture, uint8 (H, W, 3) RGB: blotches, which are the same in all pictures, in changing light."""
    coarse = np.random.default_rng(7).integers(60, 180, (HEIGHT // 8, WIDTH // 8), dtype=np.uint8)
    drawn = np.random.default_rng(seed)
    picture = np.kron(coarse, np.ones((8, 8)))[..., None] * drawn.uniform(0.7, 1.1, 3)
    picture += drawn.normal(0, 6, picture.shape)
    if box:
        down, right = drawn.integers(-6, 7, 2)
        rows, columns = (slice(part.start + by, part.stop + by) for part, by in zip(BOX, (down, right), strict=True))
        picture[rows, columns] = np.array((210, 30, 30)) + drawn.normal(0, 6, (32, 32, 3))
    return picture.clip(0, 255).astype(np.uint8)


def write(file: Path, picture: np.ndarray) -> Path:
    """Write a picture, RGB, in the format of the file's name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), picture[..., ::-1])
    return file


def write_classes(folder: Path, *, normal: int = 10, anomaly: int = 10) -> Path:
    """Write folders ``normal`` and ``anomaly`` of so many pictures below ``folder``, and return it."""
    for number in range(normal):
        write(folder / "normal" / f"{number}.png", yard(number))
    for number in range(anomaly):
        write(folder / "anomaly" / f"{number}.png", yard(100 + number, box=True))
    return folder


def write_film(path: Path, shown: Sequence[np.ndarray], fps: int = 10) -> Path:
    """Write pictures, uint8 (H, W, 3) RGB, as a film."""
    with av.open(str(path), "w") as container:
        write_stream(container, shown, fps)
    return path


def write_stream(container: av.container.OutputContainer, shown: Sequence[np.ndarray], fps: int = 10) -> None:
    """Write pictures as the only stream of a film."""
    stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast", "bf": "0"})
    stream.height, stream.width, _ = shown[0].shape
    stream.pix_fmt = "yuv420p"
    for picture in shown:
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    container.mux(stream.encode())
