"""Moved: the camera shows another view, for good.

The standing picture of the last seconds is compared with the usual one in 12 regions, each by the correlation of the
cells' structure and of their grey without shade. Things that move or park change some regions; light changes grey, and
hardly structure. A moved camera changes all of them. It is reported when

* most regions differ, and the same picture shifted by at least two cells (3 % of the width) matches again: 10 s;
* or most regions differ, nothing matches, and the new view stands still: 60 s.

A knocked camera that swings back within that time is not reported.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.tamper.holding import Lasting
from operators.tamper.look import COLUMNS, ROWS, Floats, Look, structure, without_shade
from operators.tamper.usual import TEXTURED, Usual

#: Share of regions that must differ from the usual picture.
THRESHOLD = 0.7
#: The share below which the view is the usual one again.
END_THRESHOLD = 0.4
SHIFTED_SECONDS, OTHER_VIEW_SECONDS, END_SECONDS = 10.0, 60.0, 10.0
#: Footage over which the standing picture of now is averaged, seconds.
NOW_SECONDS = 8.0
#: Cells by which a picture must be shifted to count as moved.
LEAST_SHIFT = 2

_DOWN, _ACROSS = 3, 4  # regions
_LEAST_REGIONS = 4  # regions with structure; fewer say nothing
_ALIKE = 0.4  # correlation of a region that shows the same
_SHIFTED_ALIKE, _SHIFTED_BETTER = 0.45, 0.2  # of the whole, at the best shift, and above that without shift
_STANDING = 0.7  # correlation of the new view with itself, some seconds earlier


class Moved:
    """The share of the regions that differ from the usual picture; :attr:`measure` is 0 to 1.

    Memory: six maps. Pure and not thread-safe.
    """

    threshold = THRESHOLD

    def __init__(self) -> None:
        self._lasting = Lasting(OTHER_VIEW_SECONDS, END_SECONDS)
        self._grey: Floats | None = None
        self._structure: Floats = np.zeros((ROWS, COLUMNS), np.float32)
        self._slow: Floats = np.zeros((ROWS, COLUMNS), np.float32)  # standing structure, a little older
        self.measure = 0.0

    @property
    def is_open(self) -> bool:
        """Return whether the camera is moved."""
        return self._lasting.is_open

    @property
    def is_suspect(self) -> bool:
        """Return whether the newest look should not be learned from."""
        return self.is_open or self._lasting.is_pending

    @property
    def is_unlike(self) -> bool:
        """Return whether the newest look differs from the usual picture by more than an end allows."""
        return self.measure >= END_THRESHOLD

    def push(self, look: Look, step_seconds: float, usual: Usual) -> bool:
        """Take the next look; return whether the state changes with it."""
        self._average(look, step_seconds)
        if not (usual.is_known and usual.has_texture):
            return False
        assert self._grey is not None
        fine, fine_usual = without_shade(self._grey), without_shade(usual.grey)
        alike, judged = _alike_regions(self._structure, usual.structure, fine, fine_usual)
        if judged < _LEAST_REGIONS:
            return False
        self.measure = 1 - alike / judged
        differs = self.measure >= THRESHOLD
        shifted = differs and is_shifted(fine, fine_usual)
        stands = differs and _correlation(self._structure, self._slow) >= _STANDING
        return self._lasting.push(
            step_seconds,
            raised=differs and (shifted or stands),
            cleared=self.measure < END_THRESHOLD,
            begin_seconds=SHIFTED_SECONDS if shifted else None,
        )

    def close(self) -> None:
        """End it."""
        self._lasting.close()

    def _average(self, look: Look, step_seconds: float) -> None:
        now = structure(look.detail)
        if self._grey is None:
            self._grey, self._structure, self._slow = look.grey.copy(), now, now.copy()
            return
        weight = np.float32(min(1.0, step_seconds / NOW_SECONDS))
        self._grey += weight * (look.grey - self._grey)
        self._structure += weight * (now - self._structure)
        self._slow += weight * (self._structure - self._slow)


def is_shifted(now: Floats, usual: Floats) -> bool:
    """Return whether one picture is the other, shifted by at least :data:`LEAST_SHIFT` cells; both without shade."""
    padded = (ROWS * 2, COLUMNS * 2)
    product = np.fft.irfft2(np.fft.rfft2(now, padded) * np.conj(np.fft.rfft2(usual, padded)), padded)
    ones = np.ones((ROWS, COLUMNS), np.float32)
    energy = np.fft.irfft2(np.fft.rfft2(now**2, padded) * np.conj(np.fft.rfft2(ones, padded)), padded)
    energy_usual = np.fft.irfft2(np.fft.rfft2(ones, padded) * np.conj(np.fft.rfft2(usual**2, padded)), padded)
    norm = np.sqrt(np.maximum(energy, 0) * np.maximum(energy_usual, 0))
    far_down, far_across = ROWS // 2, COLUMNS // 2  # at least a quarter of the picture overlaps
    down = np.r_[0 : far_down + 1, -far_down:0]
    across = np.r_[0 : far_across + 1, -far_across:0]
    window = np.ix_(down, across)
    correlations = product[window] / np.maximum(norm[window], 1e-3)
    best = np.unravel_index(int(correlations.argmax()), correlations.shape)
    shift = max(abs(int(down[best[0]])), abs(int(across[best[1]])))
    found = float(correlations[best])
    return shift >= LEAST_SHIFT and found >= _SHIFTED_ALIKE and found >= float(correlations[0, 0]) + _SHIFTED_BETTER


def _alike_regions(now: Floats, usual: Floats, fine: Floats, fine_usual: Floats) -> tuple[int, int]:
    """Return the number of regions that are alike, and of those with structure."""
    regions = _regions(usual)
    judged = (regions >= TEXTURED).mean(axis=1) >= 0.05
    alike = np.maximum(_correlations(_regions(now), regions), _correlations(_regions(fine), _regions(fine_usual)))
    return int((alike[judged] >= _ALIKE).sum()), int(judged.sum())


def _regions(cells: Floats) -> Floats:
    """Return the cells of each region in a row: (12, 192)."""
    cut = cells.reshape(_DOWN, ROWS // _DOWN, _ACROSS, COLUMNS // _ACROSS)
    return cut.transpose(0, 2, 1, 3).reshape(_DOWN * _ACROSS, -1)


def _correlations(one: Floats, other: Floats) -> npt.NDArray[np.float32]:
    one = one - one.mean(axis=1, keepdims=True)
    other = other - other.mean(axis=1, keepdims=True)
    norm = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.asarray((one * other).sum(axis=1) / np.maximum(norm, 1e-3), np.float32)


def _correlation(one: Floats, other: Floats) -> float:
    return float(_correlations(one.reshape(1, -1), other.reshape(1, -1))[0])
