"""Effects of day and camera on a painted picture: light, clouds' shadows, lamp, rain, noise, the time stamp."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import cv2
import numpy as np

from pipeline.courtyard.layout import LAMP, Day
from pipeline.courtyard.paint import Picture
from pipeline.courtyard.settings import Box
from pipeline.courtyard.view import Floats, View

_GAIN_ONE = 128  # of 8 bits: gains up to 2
_COARSE = (64, 36)  # size of the clouds' picture: small is enough for soft edges
_MARGIN = 64  # pixels by which the noise tile exceeds the picture; it is shifted within them
_STREAKS = 3  # pictures of rain; each frame takes a part of one of them
_STAMP = "CAM 01  COURTYARD"  # below the time; another seed is another day of the same camera
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42  # at a width of 640 pixels


class Exposure:
    """A camera that exposes the pictures of one courtyard."""

    def __init__(self, view: View, today: Day, seed: int) -> None:
        self._day, self._seed = today, seed
        width, height = view.width, view.height
        self._size = width / 640
        rng = np.random.default_rng([seed, 12])
        rough = np.pad(rng.normal(0, 1, (128, 128)).astype(np.float32), 32, mode="wrap")
        clouds = cv2.GaussianBlur(rough, (0, 0), 9)[32:-32, 32:-32]  # its edges fit together
        self._clouds = np.clip(clouds / float(clouds.std()) - 0.4, 0, 1.2)
        self._drift = (float(rng.uniform(1.0, 3.0)), float(rng.uniform(-1.0, 1.0)))  # coarse pixels a second
        self._waves = [(float(rng.uniform(19, 71)), float(rng.uniform(0, 6))) for _ in range(2)]
        noise = rng.normal(0, today.noise, (height + _MARGIN, width + _MARGIN, 1))
        noise = noise + rng.normal(0, today.noise / 2, (height + _MARGIN, width + _MARGIN, 3))
        self._brighter = np.clip(noise, 0, 255).astype(np.uint8)
        self._darker = np.clip(-noise, 0, 255).astype(np.uint8)
        self._rain = [_streaks(rng, width, height) for _ in range(_STREAKS)]
        self._glow = _glow(view)
        self._midnight = datetime(2026, 1, 1) + timedelta(days=int(rng.integers(365)))

    def expose(self, picture: Picture, number: int, seconds: float, *, lamp: float, rain: float) -> Picture:
        """Return the picture that leaves the camera as frame ``number``; lamp and rain are 0 … 1."""
        height, width = picture.shape[:2]
        shift = np.array([[1, 0, self._drift[0] * seconds], [0, 1, self._drift[1] * seconds]], np.float32)
        clouds = cv2.warpAffine(
            self._clouds, shift, _COARSE, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP
        )
        slow = 1 + sum(0.035 * math.sin(2 * math.pi * seconds / period + phase) for period, phase in self._waves)
        gain = (slow * (1 - 0.16 * rain)) * (1 - 0.6 * self._day.shade * clouds)
        gains = (gain[:, :, None] * (np.array(self._day.light) * _GAIN_ONE)).clip(0, 255).astype(np.uint8)
        full = cv2.resize(gains, (width, height), interpolation=cv2.INTER_LINEAR)
        picture = cv2.multiply(cv2.GaussianBlur(picture, (3, 3), 0), full, scale=1 / _GAIN_ONE)

        # Seeded by the frame: the same frame always has the same noise.
        rng = np.random.default_rng([self._seed, 13, number])
        top, left = (int(part) for part in rng.integers(0, _MARGIN, 2))
        if lamp:
            picture = cv2.addWeighted(picture, 1.0, self._glow, lamp, 0)
        if rain:
            down, aside = int(rng.integers(0, height)), int(rng.integers(0, width))
            streaks = self._rain[int(rng.integers(_STREAKS))][down : down + height, aside : aside + width]
            picture = cv2.addWeighted(picture, 1 - 0.10 * rain, cv2.merge([streaks] * 3), 0.55 * rain, 10 * rain)
        window = np.s_[top : top + height, left : left + width]
        picture = cv2.subtract(cv2.add(picture, self._brighter[window]), self._darker[window])
        self._stamp(picture, seconds)
        return picture

    def _stamp(self, picture: Picture, seconds: float) -> None:
        for text, at, (left, top, right, bottom) in self.stamps(seconds):
            picture[top:bottom, left:right] //= 3  # keeps the text readable on any background
            cv2.putText(picture, text, at, _FONT, _FONT_SCALE * self._size, (240, 240, 240), 1, cv2.LINE_AA)

    def stamps(self, seconds: float) -> list[tuple[str, tuple[int, int], Box]]:
        """Return each text of the time stamp, its place and its box, pixels."""
        now = self._midnight + timedelta(seconds=self._day.clock + seconds)
        found = []
        for text, (x, y) in ((f"{now:%Y-%m-%d %H:%M:%S}", (8, 18)), (_STAMP, (8, 352))):
            at = (round(x * self._size), round(y * self._size))
            (width, height), below = cv2.getTextSize(text, _FONT, _FONT_SCALE * self._size, 1)
            found.append((text, at, (at[0] - 3, at[1] - height - 3, at[0] + width + 3, at[1] + below)))
        return found


def _streaks(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Return the rain of one exposure, on a sheet of twice the picture's sides."""
    sheet = np.zeros((2 * height, 2 * width), np.uint8)
    size = width / 640
    for _ in range(1400):
        x, y = int(rng.integers(0, 2 * width)), int(rng.integers(0, 2 * height))
        length = float(rng.uniform(7, 20)) * size
        end = (round(x + 0.18 * length), round(y + length))
        cv2.line(sheet, (x, y), end, int(rng.uniform(110, 220)), max(1, round(size)), cv2.LINE_AA)
    return cv2.GaussianBlur(sheet, (3, 3), 0)  # type: ignore[no-any-return]


def _glow(view: View) -> Picture:
    """Return the lamp's light: a ball about the lamp and a pool on the ground."""
    x, z = LAMP
    inward = x - math.copysign(0.85, x)
    (head, foot), (scale, _) = view.project(np.array([(inward, 4.25, z), (inward, 0.0, z)]))
    rows, columns = np.mgrid[0 : view.height, 0 : view.width].astype(np.float32)
    reach = float(scale)

    def blob(centre: Floats, wide: float, high: float) -> Floats:
        """Return a soft spot about a pixel, ``wide`` × ``high`` metres."""
        across, along = (columns - centre[0]) / (wide * reach), (rows - centre[1]) / (high * reach)
        spot: Floats = np.exp(-(across**2 + along**2) / 2)
        return spot

    light = 150 * blob(head, 0.5, 0.5) + 46 * blob(foot, 2.4, 0.8)
    glow: Picture = (light[:, :, None] * np.array((1.0, 0.9, 0.66))).clip(0, 255).astype(np.uint8)
    return glow
