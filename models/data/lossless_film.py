"""Pictures in a film without loss: FFV1 in Matroska, every picture by itself; half to a third of their raw size."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

#: Times have no meaning in such a film.
_RATE = 10


class LosslessFilm:
    """A writer of such a film; the same pictures give the same bytes. It is complete after :meth:`close`.

    Args:
        height, width: of the pictures, pixels.

    Raises:
        OSError: it cannot be written. So do the methods.
    """

    def __init__(self, file: Path, height: int, width: int) -> None:
        # Without the flag, Matroska has a random identity.
        self._container: Any = av.open(str(file), "w", format="matroska", options={"fflags": "+bitexact"})
        self._stream = self._container.add_stream("ffv1", rate=_RATE, options={"level": "3"})
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "bgr0"
        self._stream.codec_context.thread_count = 1
        self._written = 0

    def add(self, picture: npt.NDArray[np.uint8]) -> int:
        """Append a picture, uint8 (H, W, 3) RGB, and return its ordinal."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format="bgr0")
        frame.pts, frame.time_base = self._written, Fraction(1, _RATE)
        self._container.mux(self._stream.encode(frame))
        self._written += 1
        return self._written - 1

    def close(self) -> None:
        """Finish the film."""
        self._container.mux(self._stream.encode())
        self._container.close()


def pictures_of(file: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the pictures, uint8 (H, W, 3) RGB, that :class:`LosslessFilm` wrote. Raises OSError."""
    with av.open(str(file)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
