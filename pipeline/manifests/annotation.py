"""Which frames of a video are abnormal: as a label for each frame, and as a manifest's intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.manifests.manifest import ManifestError, Video


def frame_labels(video: Video, frames: int) -> npt.NDArray[np.uint8]:
    """What a manifest says of each frame.

    Args:
        video: of a manifest.
        frames: how many it has, in the order in which they are decoded.

    Returns:
        uint8 (frames,), 1 abnormal, 0 normal.

    Raises:
        ManifestError: the video is abnormal and nobody says when, or an interval reaches past its end.
    """
    if video.label and not video.intervals:
        raise ManifestError(f"{video.path}: abnormal, and no intervals say when; no frame can be labelled")
    labels = np.zeros(frames, np.uint8)
    for first, end in video.intervals:
        if end > frames:
            raise ManifestError(past_the_end(video, frames))
        labels[int(first) : int(end)] = 1
    return labels


def past_the_end(video: Video, frames: int) -> str:
    """The line that says that a video's intervals reach past its end."""
    first, end = max(video.intervals, key=lambda interval: interval[1])
    return f"{video.path}: interval [{first}, {end}] reaches past the end: the video has {frames} frames"


def intervals_of(labels: npt.ArrayLike) -> tuple[tuple[int, int], ...]:
    """The runs of non-zero labels, each as [first, end), frames counted from 0; :func:`frame_labels` undoes it.

    Args:
        labels: (frames,).
    """
    bounded = np.concatenate([[False], np.asarray(labels) != 0, [False]])
    edges = np.flatnonzero(bounded[1:] != bounded[:-1]).tolist()
    return tuple(zip(edges[::2], edges[1::2], strict=True))
