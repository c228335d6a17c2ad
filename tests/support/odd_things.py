"""Things in the yard of :mod:`walking_films` that are not walkers."""

from __future__ import annotations

import cv2
import numpy as np
from walking_films import FPS, pictures


def with_a_disc(seconds: float, during: tuple[float, float]) -> list[np.ndarray]:
    """The yard with its walkers, and a striped disc that stands in its upper right for a while."""
    shown = pictures(seconds)
    disc = np.zeros((28, 28), np.uint8)
    cv2.circle(disc, (14, 14), 13, 255, -1)
    stripes = np.where(np.arange(28) // 3 % 2, 255, 0).astype(np.uint8)[None].repeat(28, axis=0)
    for number in range(int(during[0] * FPS), int(during[1] * FPS)):
        part = shown[number][8:36, 120:148]
        part[disc > 0] = stripes[disc > 0]
    return shown
