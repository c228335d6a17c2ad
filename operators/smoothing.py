"""Moving averages of clip scores: the causal one for live use, and the centred one for labels and for papers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from operators.chain_state import ChainState
from operators.checks import whole_number
from operators.scores import ClipScore, HoleCount, ScoreItem, SegmentEnd, SmoothedScore, is_other_model


def delay_clips(kernel: int) -> float:
    """Return the delay of the causal average of ``kernel`` clips behind the scores, in clips: (kernel − 1) / 2.

    It is the mean age of the averaged scores: a slow rise appears this much later than in the raw scores. After a step
    from 0 to ``h`` the average needs ``ceil(kernel · threshold / h)`` clips to reach a threshold, at most ``kernel``.
    """
    whole_number("kernel", kernel, least=1)
    return (kernel - 1) / 2


def delay_seconds(kernel: int, stride: int, fps: float) -> float:
    """Return :func:`delay_clips` in seconds of the stream, for a clip every ``stride`` frames at ``fps`` frames/s.

    >>> delay_seconds(5, 16, 25.0)
    1.28

    Raises:
        ValueError: a kernel or stride below 1, or a rate that is not above 0.
    """
    whole_number("stride", stride, least=1)
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a number above 0, got {fps!r}")
    return delay_clips(kernel) * stride / fps


class CausalMovingAverage:
    """The mean of the newest ``kernel`` clips of one camera, past clips only: ``s'_i = mean(s_j, i − k < j ≤ i)``.

    The mean covers those of the last ``kernel`` ordinals that have a score, so a hole has no weight; at a segment's
    start, with fewer scores, it is their mean. It restarts after a hole of more than ``max_hole`` clips, at another
    segment, and at another model or model version: scores of two versions are never averaged. It is
    :func:`delay_clips` behind the scores.

    Gated clips do not count: the ordinals are those of the other clips, and a gated clip has the value of the last real
    one. So one real score weighs 1/k, however long it is held, and the values of the real clips are those of a stream
    without the gated ones.

    A value always lies between the least and the greatest of the scores it averages, to the last bit: equal scores
    average to themselves, so a threshold that the scores meet is met by the average too.
    """

    def __init__(self, kernel: int, max_hole: int) -> None:
        """Raise ValueError unless ``kernel`` (clips) is at least 1 and ``max_hole`` (clips) at least 0."""
        whole_number("kernel", kernel, least=1)
        whole_number("max_hole", max_hole, least=0)
        self._kernel = kernel
        self._max_hole = max_hole
        self._window: deque[tuple[int, float]] = deque()  # (place, score) of the last `kernel` places; at most k
        self._place = 0  # of the newest real clip: its ordinal, gated clips not counted
        self._newest: ClipScore | None = None  # of this segment
        self._value: float | None = None  # of the newest clip
        self._holes = HoleCount()

    def push(self, item: ScoreItem) -> SmoothedScore | None:
        """Take the next item in order; return the smoothed score of a ClipScore, None for a Hole or a SegmentEnd.

        Raises:
            ValueError: a clip that does not come after the one before it in the same segment.
        """
        if isinstance(item, SegmentEnd):
            self._restart()
        if not isinstance(item, ClipScore):
            return None  # a hole shows in the next clip's ordinal
        if self._newest is not None and self._must_restart(self._newest, item):
            self._restart()
        value = self._held(item) if item.gated else self._add(item)
        self._holes.take(item)
        self._newest, self._value = item, value
        return SmoothedScore(item, value)

    @property
    def window(self) -> tuple[tuple[int, float], ...]:
        """Return the scores that the average covers: (clips before the newest real one, score), oldest first."""
        return tuple((self._place - place, score) for place, score in self._window)

    def resume(self, state: ChainState, index: int, lost: int) -> None:
        """Continue from the state of another average, with the clip of ordinal ``index`` of a new segment.

        The clips lost in between have their places, so they have no weight.

        Args:
            lost: number of them.
        """
        self._restart()
        self._window.extend((self._place - age, score) for age, score in state.window)
        self._place += lost
        self._value, self._holes = state.smoothed, HoleCount(index)

    def change(self, kernel: int) -> None:
        """Average the newest ``kernel`` clips from the next one on; the scores so far keep their places.

        A longer kernel fills up with the clips that come: older scores are not kept.

        Raises:
            ValueError: a kernel below 1.
        """
        whole_number("kernel", kernel, least=1)
        self._kernel = kernel

    def _restart(self) -> None:
        self._window.clear()
        self._newest, self._value, self._holes = None, None, HoleCount()

    def _held(self, clip: ClipScore) -> float:
        return clip.score if self._value is None else self._value

    def _add(self, clip: ClipScore) -> float:
        self._place += 1 + self._holes.before(clip.index)
        while self._window and self._window[0][0] <= self._place - self._kernel:
            self._window.popleft()
        self._window.append((self._place, clip.score))
        return _mean([score for _, score in self._window])

    def _must_restart(self, last: ClipScore, clip: ClipScore) -> bool:
        if clip.segment != last.segment:
            return True
        if clip.index <= last.index:
            raise ValueError(
                f"camera {clip.camera}: clip {clip.index} of segment {clip.segment} came after clip {last.index}"
            )
        if is_other_model(last, clip):
            return True
        return not clip.gated and self._holes.before(clip.index) > self._max_hole


def causal(scores: npt.ArrayLike, kernel: int) -> npt.NDArray[np.float64]:
    """Return the values of :class:`CausalMovingAverage` for a whole segment without holes, scores of any range.

    Args:
        scores: shape (N,), N ≥ 1, one score a clip.
        kernel: number of clips; 1 changes nothing.

    Returns:
        Shape (N,), float64, a new array.

    Raises:
        ValueError: scores that are not one row of at least one number, or a kernel below 1.
    """
    whole_number("kernel", kernel, least=1)
    row = _one_row(scores).tolist()
    return np.array([_mean(row[max(0, newest + 1 - kernel) : newest + 1]) for newest in range(len(row))])


def centred(scores: npt.ArrayLike, kernel: int, *, passes: int = 1) -> npt.NDArray[np.float64]:
    """Smooth a whole video as MIST does: a box filter of ``kernel`` clips, edges replicated.

    A pass is ``s'_i = 1/k · Σ s_{i+d}, |d| ≤ (k − 1)/2``, the first and the last score repeated beyond the ends. The
    paper describes one pass, its public reference makes two. The filter looks passes · (k − 1)/2 clips into the
    future: for labels and for comparison with papers, never live.

    Args:
        scores: shape (N,), N ≥ 1, one score a clip.
        kernel: odd number of clips; 1 changes nothing.
        passes: number of passes, at least 1.

    Returns:
        Shape (N,), float64, a new array.

    Raises:
        ValueError: scores that are not one row of at least one number, a kernel that is even or below 1, or fewer than
            one pass.
    """
    whole_number("kernel", kernel, least=1)
    whole_number("passes", passes, least=1)
    if kernel % 2 == 0:
        raise ValueError(f"kernel of a centred average must be odd, got {kernel}")
    smoothed = _one_row(scores)
    for _ in range(passes):
        padded = np.pad(smoothed, kernel // 2, mode="edge")
        smoothed = np.lib.stride_tricks.sliding_window_view(padded, kernel).mean(axis=-1)
    return smoothed


def min_max(scores: npt.ArrayLike, *, least_clips: int = 2, least_range: float = 0.0) -> npt.NDArray[np.float64]:
    """Stretch a video's scores to [0, 1]: ``(s − min s) / (max s − min s)``, unless they are too few or too flat.

    For a video of three clips, or one whose scores hardly differ, stretching turns noise into a certain anomaly. Such a
    video (fewer than ``least_clips`` clips, or max − min at most ``least_range``) is returned unchanged.

    Args:
        scores: shape (N,), N ≥ 1.
        least_clips: videos with fewer clips stay unchanged. MIST's reference uses 2.
        least_range: videos whose scores span at most this stay unchanged; at 0, only constant ones.

    Returns:
        Shape (N,), float64, a new array.

    Raises:
        ValueError: scores that are not one row of at least one number; a negative ``least_range``.
    """
    if not least_range >= 0:
        raise ValueError(f"least_range must be at least 0, got {least_range!r}")
    row = _one_row(scores)
    low, high = row.min(), row.max()
    if row.size < least_clips or high - low <= least_range:
        return row
    return np.asarray((row - low) / (high - low), dtype=np.float64)


def _mean(scores: Sequence[float]) -> float:
    # fsum is exact before its one rounding, so errors do not accumulate over a day. The division may still round past
    # the greatest score by one bit, hence the bounds.
    return float(min(max(math.fsum(scores) / len(scores), min(scores)), max(scores)))


def _one_row(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return a finite float64 copy of shape (N,), N ≥ 1."""
    row = np.array(scores, dtype=np.float64)
    if row.ndim != 1 or row.size == 0:
        raise ValueError(f"scores must be one row of at least one number, got shape {row.shape}")
    if not np.isfinite(row).all():
        raise ValueError("scores must be finite numbers, got NaN or infinity among them")
    return row
