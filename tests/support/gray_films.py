"""Films of plain grey pictures: what a clip of them looks like is one number a frame, and can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from models.data.extraction import Engine


def write_film(path: Path, greys: Sequence[int], *, height: int = 32, width: int = 48, fps: int = 25) -> Path:
    """A lossless film: frame k is all of ``greys[k]``."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        stream.codec_context.time_base = Fraction(1, fps)
        for ordinal, grey in enumerate(greys):
            picture = av.VideoFrame.from_ndarray(np.full((height, width, 3), grey, np.uint8), format="rgb24")
            picture.pts = ordinal
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def mean_grey(width: int = 1, *, name: str = "mean-grey", batch: int = 1) -> Engine:
    """An engine whose features are a clip's mean grey, ``width`` times."""
    return Engine(
        name, batch, lambda clips: (np.repeat(clips.mean((1, 2, 3, 4), np.float32)[:, None], width, 1).astype("f4"),)
    )
