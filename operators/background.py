"""The standing scene: the picture of a camera without its moving parts, for models that read one.

One object serves one camera and detector. It takes each clip in order and gives the picture that the clip is scored
against. There are two kinds: the median of the clip (:class:`HeldScene`), in which a person who lies still disappears
at once, and that of the last minutes (:class:`Background`), in which that person stays visible.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from operators.checks import seconds, whole_number
from operators.median import median_picture

Picture = npt.NDArray[np.uint8]  #: uint8 (H, W, 3)
_Means = npt.NDArray[np.float32]  # (rows, columns, 3): the mean of each block and channel

#: Side of the blocks by which two pictures are compared, pixels: noise averages out, a hand does not.
_BLOCK = 8
#: Mean absolute difference of a block up to which the scene stands still, levels of 255. The medians of 16 frames of a
#: camera with a standard deviation of 2 levels differ by less. At a tolerance of 2 levels a score of a film with people
#: changed by 0.024.
HELD_TOLERANCE = 1.0
#: Difference of a block's mean, in any channel, above which the block shows something else, levels of 255.
_OTHER_LEVELS = 12.0
#: Share of blocks that show something else above which the whole picture does.
_MOST = 0.5
#: Gains closer to 1 are not applied: the running median follows a light that changes so slowly.
_LEAST_GAIN_CHANGE = 0.03
#: Gains beyond this factor are not a change of light.
_GREATEST_GAIN = 4.0
#: Added to means before they are divided, levels: in the dark a quotient of noise says nothing.
_PEDESTAL = 4.0
#: Time after which a picture that differs in most blocks is another scene, seconds: a lorry has passed by then.
_OTHER_SCENE_SECONDS = 20.0


class SceneKind(StrEnum):
    """The standing scene that a served model reads (parameter ``scene`` of its configuration)."""

    CLIP = "clip"  #: the median of the clip, see :class:`HeldScene`
    BACKGROUND = "background"  #: the median of the last minutes, see :class:`Background`


class StandingScene(Protocol):
    """The standing scene of one camera for one detector."""

    def push(self, segment: str, start: float, frames: npt.NDArray[np.uint8]) -> Picture | None:
        """Take the next clip; return the picture to score it against, None where the clip's own median serves.

        A picture is given again as the same object as long as it is the same. It is read-only.

        Args:
            segment: the clip's segment; a new segment begins with a new scene.
            start: PTS of the clip's first frame, seconds; not before the last clip's.
            frames: uint8 (T, H, W, 3).

        Raises:
            ValueError: frames of another type or shape.
        """
        ...


def standing_scene(kind: SceneKind) -> StandingScene:
    """Return the keeper of one camera's standing scene for a model that reads this kind."""
    return HeldScene() if kind is SceneKind.CLIP else Background()


class HeldScene:
    """The median of a clip, held while the scene stands still.

    As long as the median of each clip differs from the held picture by at most ``tolerance`` in every block of 8 × 8,
    the held picture is given again, bit for bit. A server computes the features of a picture once, so those clips cost
    no more than clips without a scene. Every clip is compared with the held picture itself, so small changes add up and
    are noticed.

    Cost: 1 ms for a clip of 25 × 224 × 224. Memory: one picture.

    Args:
        tolerance: greatest mean absolute difference of a block, levels of 255; 0 holds equal pictures alone.

    Raises:
        ValueError: a negative tolerance.
    """

    def __init__(self, tolerance: float = HELD_TOLERANCE) -> None:
        if not tolerance >= 0:
            raise ValueError(f"tolerance must be at least 0 levels, got {tolerance!r}")
        self._tolerance = tolerance
        self._segment: str | None = None
        self._held: Picture | None = None

    def push(self, segment: str, start: float, frames: npt.NDArray[np.uint8]) -> Picture:
        """See :meth:`StandingScene.push`; there is always a picture."""
        median = median_picture(frames)
        held = self._held
        if segment == self._segment and held is not None and held.shape == median.shape:
            difference = np.maximum(median, held) - np.minimum(median, held)
            if float(_block_means(difference).mean(axis=2).max()) <= self._tolerance:
                return held
        self._segment, self._held = segment, _frozen(median)
        return self._held


@dataclass(frozen=True, slots=True)
class BackgroundSettings:
    """Settings of a :class:`Background`.

    Attributes:
        seconds: the time that the samples span.
        samples: number of pictures whose median is taken.
        known_after: number of samples after which the background is given.

    Raises:
        ValueError: a span that is not above 0, fewer than 1 sample, or a background that would never be known.
    """

    seconds: float = 240.0
    samples: int = 24
    known_after: int = 8

    def __post_init__(self) -> None:
        seconds("seconds", self.seconds)
        whole_number("samples", self.samples, least=1)
        whole_number("known_after", self.known_after, least=1)
        if self.known_after > self.samples:
            raise ValueError(f"known_after must be at most samples ({self.samples}), got {self.known_after}")

    @property
    def spacing(self) -> float:
        """Seconds of the stream between two samples, at least."""
        return self.seconds / self.samples


@dataclass(frozen=True, slots=True)
class _Sample:
    start: float
    picture: Picture
    means: _Means


class Background:
    """The background: the median of pictures of the last minutes.

    A sample is the median of a clip, without its moving parts, taken every ``settings.spacing`` seconds of the stream.
    The background is the median of the last ``settings.samples``.

    **Becoming part of it.** An object that comes to rest is part of the background when half of the samples show it:
    with the default settings after 110 to 130 s. In the first minutes there are fewer samples, and it takes as long as
    the background had been learned before, but at least 70 s. An object that lies there before the background is known
    is part of it from the start. An object of the background that leaves is seen as missing for as long.

    **Light.** Every sample is brought to the light of the newest by a gain for each channel (the median over blocks),
    at each sample and as soon as most of the picture differs. So clouds and a camera's exposure leave no trace. A
    change that no gain explains (lamps that light parts of the picture, infrared at night, a camera that was moved, a
    cut) makes most blocks differ, and no background is given meanwhile. After 20 s, learning begins again, and the
    background is known 70 s after the change. A lorry that fills the picture for a shorter time is forgotten. A camera
    that keeps panning has no background.

    **Segments and pauses.** Learning begins again with another segment, and after a pause longer than
    ``settings.seconds``. Shorter pauses within a segment change nothing.

    Cost: 1 ms for a clip of 25 × 224 × 224, 2 to 10 ms more for a sample (10 where the light has changed). Memory:
    ``settings.samples`` + 1 pictures, 3.8 MB at 224 × 224.
    """

    def __init__(self, settings: BackgroundSettings | None = None) -> None:
        self._settings = settings or BackgroundSettings()
        self._segment: str | None = None
        self._last_start = 0.0  # of the clip before
        self._samples: deque[_Sample] = deque(maxlen=self._settings.samples)
        self._picture: Picture | None = None  # the median of the samples; None before the first
        self._means: _Means | None = None  # of it
        self._other_since: float | None = None  # since when most of the picture has shown something else

    def push(self, segment: str, start: float, frames: npt.NDArray[np.uint8]) -> Picture | None:
        """See :meth:`StandingScene.push`; None until the background is known, and while most of the picture differs."""
        picture = median_picture(frames)
        means = _block_means(picture)
        if self._must_restart(segment, start, picture):
            self._samples.clear()
            self._segment, self._other_since = segment, None
        self._last_start = start
        sample = _Sample(start, picture, means)
        is_due = not self._samples or start - self._samples[-1].start >= self._settings.spacing
        if is_due:
            self._samples.append(sample)
        if is_due or self._shows_other(means):
            self._build(means)
        if self._shows_other(means):
            if self._other_since is None:
                self._other_since = start
            if start - self._other_since < _OTHER_SCENE_SECONDS:
                return None
            self._forget_before(self._other_since)
            if not self._samples:  # they are farther apart than that
                self._samples.append(sample)
            self._build(means)
        self._other_since = None
        return self._picture if len(self._samples) >= self._settings.known_after else None

    def _must_restart(self, segment: str, start: float, picture: Picture) -> bool:
        if segment != self._segment or not self._samples:
            return True
        is_long_pause = start - self._last_start > self._settings.seconds
        return is_long_pause or picture.shape != self._samples[-1].picture.shape

    def _shows_other(self, means: _Means) -> bool:
        """Return whether most of a picture differs from the background."""
        assert self._means is not None
        other = (np.abs(means - self._means) > _OTHER_LEVELS).any(axis=2)
        return bool(other.mean() > _MOST)

    def _build(self, light: _Means) -> None:
        """Take the median of all samples, in the light of the picture with these means."""
        built = median_picture(np.stack([_relit(sample, light) for sample in self._samples]))
        if self._picture is None or not np.array_equal(built, self._picture):
            self._picture, self._means = _frozen(built), _block_means(built)

    def _forget_before(self, start: float) -> None:
        while self._samples and self._samples[0].start < start:
            self._samples.popleft()


def _relit(sample: _Sample, light: _Means) -> Picture:
    """Return a sample as it would look in the light of another picture, whose means these are."""
    gains = np.median((light + _PEDESTAL) / (sample.means + _PEDESTAL), axis=(0, 1))
    if np.abs(gains - 1.0).max() <= _LEAST_GAIN_CHANGE:
        return sample.picture
    gains = np.clip(gains, 1 / _GREATEST_GAIN, _GREATEST_GAIN)
    levels = np.arange(256.0)[:, np.newaxis]
    table = np.clip(np.rint((levels + _PEDESTAL) * gains - _PEDESTAL), 0, 255).astype(np.uint8)  # (256, 3)
    return np.stack([table[sample.picture[..., channel], channel] for channel in range(3)], axis=-1)


def _block_means(picture: Picture) -> _Means:
    """Return the mean of each block and channel, float32 (rows, columns, 3); blocks at the far edges may be smaller."""
    height, width, _ = picture.shape
    tops, lefts = np.arange(0, height, _BLOCK), np.arange(0, width, _BLOCK)
    sums = np.add.reduceat(np.add.reduceat(picture, tops, axis=0, dtype=np.uint32), lefts, axis=1)
    rows, columns = np.diff(tops, append=height), np.diff(lefts, append=width)
    means: _Means = (sums / (rows[:, np.newaxis] * columns)[..., np.newaxis]).astype(np.float32)
    return means


def _frozen(picture: Picture) -> Picture:
    picture.flags.writeable = False
    return picture
