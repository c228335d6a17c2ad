"""Abnormal frames of a video as intervals, the form in which a manifest has them.

:func:`operators.figures.videos.abnormal_frames` is the inverse, from intervals to a label for each frame.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def intervals_of(labels: npt.ArrayLike) -> tuple[tuple[int, int], ...]:
    """Return the runs of non-zero labels, each as [first, end), frames counted from 0.

    Args:
        labels: (frames,), of the frames in decoding order.
    """
    bounded = np.concatenate([[False], np.asarray(labels) != 0, [False]])
    edges = np.flatnonzero(bounded[1:] != bounded[:-1]).tolist()
    return tuple(zip(edges[::2], edges[1::2], strict=True))
