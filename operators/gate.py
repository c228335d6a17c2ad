"""The motion gate: a clip in which nothing moves is not sent to be scored.

The measure is cheap: the grey means of cells of 8 × 8 pixels in four frames of the clip. Two differences count for each
cell. Within the clip, a frame against the mean of the four: quick movement. Across clips, that mean against the picture
of the last clip that was sent: movement too slow to show within a clip, and things left behind or taken away. Before
both, one gain and one offset are taken out of the whole picture, so that slow light, exposure and lamps that flicker do
not count. A gain that light does not have, from a covered lens, smoke or lamps that go out, is movement itself.

Each cell has its own noise, learned from the footage: rain, leaves, a screen or a coarse codec raise it where they are.
A cell moves where a difference exceeds its noise several times. The noise follows slowly and has a ceiling, so that a
person who stays does not become noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from operators.checks import whole_number

#: Side of a cell, pixels: noise averages out, a hand does not.
_CELL = 8
#: Frames of a clip that are looked at, at most; of 1.28 s one every 0.4 s.
_FRAMES = 4
#: Grey of red, green and blue (ITU-R BT.601).
_GREY = (0.299, 0.587, 0.114)
#: A cell's noise is this quantile of its differences: half of the clips may show something without becoming noise.
_QUANTILE = 0.5
#: Change of a noise by one clip, as a share of it: tenfold after 230 clips (5 minutes) in which it was exceeded.
_NOISE_STEP = 0.01
#: Least and greatest noise of a cell, levels of 255. The ceiling keeps a person who stays in motion visible.
_LEAST_NOISE, _MOST_NOISE = 0.25, 1.5
#: A cell moves where a difference is this many times its noise, and at least so many levels of 255.
_TIMES_NOISE, _LEAST_LEVELS = 8.0, 3.0
#: A cell's noise counts as at least this share of the usual cell's: of 800 cells some were calm by chance.
_USUAL_SHARE = 0.7
#: Gains of the whole picture that light and exposure have from one clip sent to the next; others are movement.
_LEAST_GAIN, _MOST_GAIN = 0.4, 2.5
#: Cells that must move: a single one may be a pixel fault or a fly.
_CELLS = 2

#: Pictures of fewer cells cannot be levelled.
_LEAST_CELLS = 16

_Cells = npt.NDArray[np.float32]  # (..., rows, columns): grey means, levels of 255


class Why(StrEnum):
    """Why a clip is sent, or not."""

    LEARNING = "learning"  #: the noise of the camera is not known yet
    MOTION = "motion"  #: something moves, or has changed since the last clip that was sent
    HANGOVER = "hangover"  #: something moved a moment ago
    FLOOR = "floor"  #: nothing moves; one in that many is sent anyway
    TOO_SMALL = "too small"  #: the picture has too few cells to tell movement from light
    STILL = "still"  #: nothing moves: not sent


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """Settings of a :class:`MotionGate`.

    Attributes:
        floor: of clips in which nothing moves, one in this many is sent.
        hangover: clips that are sent after the last one with motion, so that the average and the end of an alert come
            of real scores: at least the kernel of the average. With more than ``max_hole`` of the chain, a movement
            none of whose clips got a score ends the holding (:class:`operators.holding.ScoreHold`).
        learning: clips at a segment's start that are all sent, and from which the noise is learned.

    Raises:
        ValueError: invalid value; the message names the setting, the value and what is allowed.
    """

    floor: int = 64
    hangover: int = 8
    learning: int = 16

    def __post_init__(self) -> None:
        whole_number("floor", self.floor, least=1)
        whole_number("hangover", self.hangover, least=1)
        whole_number("learning", self.learning, least=2)


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The decision about a clip.

    Attributes:
        sent: it is to be scored.
        motion: the strength of its motion; at least 1 counts as motion. 0 while the noise is learned.
    """

    sent: bool
    motion: float
    why: Why


class MotionGate:
    """Decides for each clip of one camera and detector whether it is sent. Pass every clip once, in order.

    A decision depends on this footage up to the clip alone, never on scores or clocks: a replay decides as the live
    camera did.

    Cost: 1 ms of a core for a clip of 224 × 224 pixels, whatever its frames. Memory: a few arrays of the size of the
    grid (28 × 28).

    Pure and not thread-safe.
    """

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self._segment: str | None = None
        self._shape: tuple[int, ...] = ()
        self._measure: _Measure | None = None
        self._scene = _Scene()
        self._since_motion = 0  # clips since the last with motion, it included
        self._since_sent = 0  # clips gated since the last that was sent

    def retune(self, settings: GateSettings) -> None:
        """Decide the following clips by ``settings``; what is learned of the camera stays."""
        self._settings = settings

    def push(
        self, segment: str, pixels: npt.NDArray[np.uint8], hidden: npt.NDArray[np.bool_] | None = None
    ) -> GateDecision:
        """Take the next clip; return whether it is sent.

        Args:
            segment: the clip's segment; a new one is learned anew.
            pixels: uint8 (T, H, W, 3) RGB.
            hidden: bool (H, W), pixels that do not count (ignore zones); a cell is left out if half of it is hidden.

        Raises:
            ValueError: pixels of another type or shape.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
            raise ValueError(f"clip must be uint8 (T, H, W, 3), got {pixels.dtype} {pixels.shape}")
        if self._measure is None or pixels.shape[1:] != self._shape:
            self._measure, self._shape = _Measure(pixels.shape[1], pixels.shape[2]), pixels.shape[1:]
            self._segment = None
        if segment != self._segment:
            self._segment, self._scene = segment, _Scene()
            self._since_motion = self._since_sent = 0
        if self._measure.count < _LEAST_CELLS:
            return GateDecision(True, math.inf, Why.TOO_SMALL)
        seen = None if hidden is None else self._measure.seen(hidden)
        return self._decide(self._measure.cells(pixels), seen)

    def _decide(self, cells: _Cells, seen: npt.NDArray[np.bool_] | None) -> GateDecision:
        motion = self._scene.compare(cells, seen)
        self._since_motion = 0 if motion >= 1 else self._since_motion + 1
        if self._scene.clips < self._settings.learning:
            why, motion = Why.LEARNING, 0.0
        elif motion >= 1:
            why = Why.MOTION
        elif self._since_motion <= self._settings.hangover:
            why = Why.HANGOVER
        elif self._since_sent + 1 >= self._settings.floor:
            why = Why.FLOOR
        else:
            why = Why.STILL
        sent = why is not Why.STILL
        self._since_sent = 0 if sent else self._since_sent + 1
        self._scene.learn(sent=sent, fast=why is Why.LEARNING)
        return GateDecision(sent, motion, why)


@dataclass(slots=True)
class _Scene:
    """The picture last sent and the noise of each cell, in one segment.

    Attributes:
        clips: learned so far.
    """

    clips: int = 0
    _sent: _Cells | None = None  # (rows, columns), of the last clip that was sent
    _mean: _Cells | None = None  # of the newest clip
    _differences: _Cells | None = None  # (2, rows, columns): within the newest clip, and from the last sent
    _noise: _Cells | None = None  # of both
    _early: list[_Cells] = field(default_factory=list)  # differences while the noise is not known

    def compare(self, cells: _Cells, seen: npt.NDArray[np.bool_] | None) -> float:
        """Take the next clip, (frames, rows, columns); return the strength of its motion."""
        mean = cells.mean(axis=0)
        sent = mean if self._sent is None else self._sent
        left, gains = _levelled(np.concatenate([cells, mean[None]]), np.stack([mean] * len(cells) + [sent]))
        residues = np.abs(left)
        self._mean = mean
        self._differences = np.stack([residues[:-1].max(axis=0), residues[-1]])
        if self._noise is None:
            return 0.0
        usual = _USUAL_SHARE * _middle(self._noise.reshape(2, -1))[..., None]
        limits = np.maximum(_TIMES_NOISE * np.maximum(self._noise, usual), _LEAST_LEVELS)
        strength = (self._differences / limits).max(axis=0)
        if seen is not None:
            strength = strength[seen]
        if strength.size < _CELLS:
            return 0.0
        if gains.min() < _LEAST_GAIN or gains.max() > _MOST_GAIN:
            return math.inf
        return float(np.partition(strength, -_CELLS, axis=None)[-_CELLS])

    def learn(self, *, sent: bool, fast: bool) -> None:
        """Learn the noise of the clip compared last.

        Args:
            sent: it is sent; the next clips are compared with it.
            fast: the noise is not known before it.
        """
        assert self._differences is not None
        assert self._mean is not None
        if sent:
            self._sent = self._mean
        self.clips += 1
        if fast or self._noise is None:
            self._early.append(self._differences)
            noise = np.quantile(np.stack(self._early), _QUANTILE, axis=0).astype(np.float32)
        else:
            self._early.clear()
            noise = self._noise * np.where(self._differences > self._noise, 1 + _NOISE_STEP, 1 / (1 + _NOISE_STEP))
        self._noise = np.clip(noise, _LEAST_NOISE, _MOST_NOISE)


class _Measure:
    """Means of the cells of pictures of one size."""

    def __init__(self, height: int, width: int) -> None:
        self._height, self._width = height, width
        self._rows, self._columns = max(1, height // _CELL), max(1, width // _CELL)
        self._side = min(_CELL, height)
        self.count = self._rows * self._columns
        of_column = np.minimum(np.arange(width) * self._columns // width, self._columns - 1)
        self._starts = np.searchsorted(of_column, np.arange(self._columns))
        self._areas = (self._side * np.bincount(of_column)).astype(np.float32)
        self._of_column = of_column

    def cells(self, pixels: npt.NDArray[np.uint8]) -> _Cells:
        """Return the means of some frames of a clip, (frames, rows, columns)."""
        step = max(1, -(-(len(pixels) - 1) // (_FRAMES - 1)))
        bands = self._bands(pixels[::step].reshape(-1, self._height, self._width * 3))
        # No product of matrices: BLAS would wake its threads for it, and their waiting costs ten times the sum.
        sums = np.add.reduceat(bands.reshape(*bands.shape[:2], self._width, 3), self._starts, axis=2, dtype=np.uint32)
        red, green, blue = np.moveaxis(sums.astype(np.float32), -1, 0)
        means: _Cells = (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue) / self._areas
        return means

    def seen(self, hidden: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return the cells of which less than half is hidden, bool (rows, columns)."""
        bands = self._bands(hidden.astype(np.uint8)[None])[0]
        shares = np.stack([bands[:, self._of_column == column].mean(axis=1) for column in range(self._columns)], 1)
        return shares < self._side / 2

    def _bands(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
        """Return the sums over the rows of each band of cells, (frames, rows of cells, width · channels).

        Rows that are left over at the bottom edge are not looked at: fewer than a cell has.
        """
        whole = rows[:, : self._rows * self._side].reshape(len(rows), self._rows, self._side, -1)
        sums: npt.NDArray[np.uint16] = whole.sum(axis=2, dtype=np.uint16)
        return sums


def _middle(rows: _Cells) -> _Cells:
    """Return the middle one of each row, (n, 1): a median without the mean of two."""
    at = rows.shape[1] // 2
    return np.partition(rows, at, axis=1)[:, at : at + 1]


def _levelled(pictures: _Cells, others: _Cells) -> tuple[_Cells, _Cells]:
    """Return what is left of pictures, (n, rows, columns), after one gain and offset of the whole of each other one.

    The gains, (n, 1), are returned too.

    Fitted by least squares, twice: the second time without the cells that deviate, where something moves.
    """
    count = len(pictures)
    picture, other = pictures.reshape(count, -1), others.reshape(count, -1)
    counted = np.ones_like(picture)
    for _ in range(2):
        total = counted.sum(axis=1, keepdims=True)
        mean, of_other = (
            (counted * picture).sum(1, keepdims=True) / total,
            (counted * other).sum(1, keepdims=True) / total,
        )
        centred = other - of_other
        spread = (counted * centred * centred).sum(axis=1, keepdims=True)
        gain = ((counted * centred * (picture - mean)).sum(1, keepdims=True) + total) / (spread + total)
        left = picture - mean - gain * centred
        size = np.abs(left)
        counted = (size <= 3 * _middle(size) + 1e-3).astype(np.float32)
    residues: _Cells = left.reshape(pictures.shape)
    return residues, gain
