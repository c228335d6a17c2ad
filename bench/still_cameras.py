"""Films of a camera before which nothing moves, each with something that is not movement: for ``bench/gate.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.float32]  # (H, W, 3), levels of 255

FPS = 25
#: Bits a second of 320 × 240: a good camera, and one whose compression flickers.
FINE, COARSE = 1_500_000, 60_000


def _still(scene: Picture, _second: float, rng: np.random.Generator) -> Picture:
    return scene + _noise(scene, 2.0, rng)


def _noisy(scene: Picture, _second: float, rng: np.random.Generator) -> Picture:
    return scene + _noise(scene, 8.0, rng)


def _rain(scene: Picture, _second: float, rng: np.random.Generator) -> Picture:
    """Streaks of rain: 80 in each frame, brighter than what is behind them."""
    streaks = np.zeros(scene.shape[:2], np.float32)
    height, width = scene.shape[:2]
    for x, y in rng.integers((0, 0), (width, height), (80, 2)).tolist():
        cv2.line(streaks, (x, y), (x + 2, y + 16), float(rng.uniform(15, 45)), 1, cv2.LINE_AA)
    return scene + streaks[..., None] + _noise(scene, 2.0, rng)


def _leaves(scene: Picture, second: float, rng: np.random.Generator) -> Picture:
    """A quarter of the picture whose texture sways by up to two pixels, in gusts."""
    gust = 0.6 + 0.4 * np.sin(second / 7)
    sway = 2 * gust * np.sin(2 * np.pi * second / 1.3)
    half, across = scene.shape[0] // 2, scene.shape[1] // 2
    part = scene[:half, :across]
    moved = scene.copy()
    shift = np.array([[1, 0, sway], [0, 1, sway / 2]], np.float32)
    moved[:half, :across] = cv2.warpAffine(part, shift, part.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    return moved + _noise(scene, 2.0, rng)


def _slow_light(scene: Picture, second: float, rng: np.random.Generator) -> Picture:
    """Daylight that rises and falls by a third within two minutes."""
    return scene * np.float32(1 - 0.33 * np.sin(np.pi * second / 120) ** 2) + _noise(scene, 2.0, rng)


def _exposure(scene: Picture, second: float, rng: np.random.Generator) -> Picture:
    """An exposure that is corrected by a tenth every 7 s."""
    return scene * (0.9 if int(second / 7) % 2 else 1.0) + _noise(scene, 2.0, rng)


def _lamp(scene: Picture, second: float, rng: np.random.Generator) -> Picture:
    """A lamp that flickers by 8 % at a beat of the mains and the frame rate."""
    return scene * np.float32(1 + 0.08 * np.sin(2 * np.pi * 3.7 * second)) + _noise(scene, 2.0, rng)


def _headlights(scene: Picture, second: float, rng: np.random.Generator) -> Picture:
    """The light of a car that sweeps over the walls for 2 s, every 20 s, at night."""
    night = scene * np.float32(0.35)
    at = (second % 20) / 2
    if at < 1:
        width = scene.shape[1]
        across = np.arange(width, dtype=np.float32) - at * width
        night *= 1 + 1.5 * np.exp(-((across / 45) ** 2))[None, :, None]
    return night + _noise(scene, 3.0, rng)


#: What happens before each camera, and the bits a second at which it is encoded.
CAMERAS: dict[str, tuple[Callable[[Picture, float, np.random.Generator], Picture], int]] = {
    "still": (_still, FINE),
    "noise": (_noisy, FINE),
    "coarse compression": (_noisy, COARSE),
    "rain": (_rain, FINE),
    "leaves": (_leaves, FINE),
    "slow light": (_slow_light, FINE),
    "exposure": (_exposure, FINE),
    "lamp": (_lamp, FINE),
    "headlights": (_headlights, FINE),
}


def _noise(scene: Picture, levels: float, rng: np.random.Generator) -> Picture:
    """Sensor noise of a standard deviation of ``levels``, the same in the three colours."""
    return levels * rng.standard_normal((*scene.shape[:2], 1), dtype=np.float32)


def write(film: Path, camera: str, scene: Picture, seconds: float, seed: int) -> None:
    """Write a camera's film, H.264 at 25 frames a second.

    Args:
        scene: (H, W, 3), what the camera sees; both sides even.
    """
    effect, bits = CAMERAS[camera]
    draft = film.with_name(f"{film.stem}.part.mp4")
    draft.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(draft), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "g": str(10 * FPS)})
        stream.height, stream.width, stream.pix_fmt = *scene.shape[:2], "yuv420p"
        stream.bit_rate, stream.time_base = bits, Fraction(1, FPS)
        for picture in _pictures(effect, scene, seconds, seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    draft.replace(film)


def _pictures(
    effect: Callable[[Picture, float, np.random.Generator], Picture], scene: Picture, seconds: float, seed: int
) -> Iterator[npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    for frame in range(round(seconds * FPS)):
        yield np.clip(effect(scene, frame / FPS, rng), 0, 255).round().astype(np.uint8)


def scene_of(film: Path, width: int, height: int) -> Picture:
    """Return what a film shows without its moving parts: the median of frames from all over it."""
    pictures = []
    with av.open(str(film)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % 10 == 0:
                pictures.append(frame.reformat(width, height, "rgb24").to_ndarray())
    return np.median(np.stack(pictures[:60]), axis=0).astype(np.float32)
