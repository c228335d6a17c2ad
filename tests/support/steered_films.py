"""Films whose first pixel reaches the tiny model unchanged, and steers it; see ``brightness_model.py``."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


def steered(path: Path, *stretches: tuple[int, tuple[int, int, int], int]) -> Path:
    """A film of the tiny model's clips, each stretch (frames, the first pixel, the others' grey)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "bgr0"
        for frames, first, grey in stretches:
            picture = np.full((16, 16, 3), grey, np.uint8)
            picture[0, 0] = first
            for _ in range(frames):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path
