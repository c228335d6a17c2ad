"""Films of a made camera: a textured yard in which squares walk, faster in the lower half; and films to be refused."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

HEIGHT, WIDTH = 96, 160
FPS = 10
#: Squares: row of its top, side, pixels a frame.
WALKERS = ((16, 16, 1.0), (52, 32, 1.5))
RUNNER = (52, 32, 4.5)
#: Parts of a pixel by which they move.
_FINE = 4


def yard(seed: int = 0) -> np.ndarray:
    """A background, uint8 (H, W): blotches with edges."""
    coarse = np.random.default_rng(seed).integers(40, 200, (HEIGHT // 8, WIDTH // 8), dtype=np.uint8)
    return np.kron(coarse, np.ones((8, 8), np.uint8))


def pictures(
    seconds: float, *, seed: int = 0, running: Sequence[tuple[float, float]] = (), pace: float = 1.0
) -> list[np.ndarray]:
    """Pictures, uint8 (H, W): two walkers that cross again and again.

    Args:
        running: stretches in which the lower one runs, seconds.
        pace: of the walkers, in their usual speeds.
    """
    background = yard(seed).repeat(_FINE, axis=1)
    blotches = np.random.default_rng(100).integers(0, 255, (8, 8), dtype=np.uint8)
    cloth = cv2.resize(blotches, (32, 32), interpolation=cv2.INTER_CUBIC).repeat(_FINE, axis=1)  # smooth, as flow needs
    drawn = np.random.default_rng(101)
    places = [0.0 for _ in WALKERS]
    found = []
    for number in range(int(seconds * FPS)):
        picture = background.copy()
        runs = any(start <= number / FPS < end for start, end in running)
        for which, walker in enumerate(WALKERS):
            top, side, speed = RUNNER if runs and which == 1 else walker
            # People do not walk alike.
            places[which] += pace * speed * drawn.uniform(0.85, 1.15)
            left, width = int(_FINE * (places[which] % (WIDTH + side) - side)), _FINE * side
            visible = slice(max(left, 0), min(left + width, _FINE * WIDTH))
            picture[top : top + side, visible] = cloth[:side, visible.start - left : visible.stop - left]
        found.append(picture.reshape(HEIGHT, WIDTH, _FINE).mean(axis=2).astype(np.uint8))
    return found


def write(path: Path, shown: Sequence[np.ndarray], fps: int = FPS, times: Sequence[float] | None = None) -> Path:
    """Write pictures as a film.

    Args:
        times: of the pictures, seconds; None: evenly, ``fps`` a second.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast"})
        stream.height, stream.width = shown[0].shape
        stream.pix_fmt = "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(np.repeat(picture[:, :, None], 3, axis=2), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(1000 * times[number]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_two(folder: Path, seconds: float, border: float) -> Path:
    """Write two films of the yard into ``folder``: the first ``border`` of so many seconds, and the rest."""
    shown = pictures(seconds)
    write(folder / "1.mp4", shown[: int(border * FPS)])
    write(folder / "2.mp4", shown[int(border * FPS) :])
    return folder
