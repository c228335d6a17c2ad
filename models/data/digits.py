"""scikit-learn's handwritten digits: 1797 pictures of 8 × 8 pixels and their labels.

They are the test set of E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits (UCI, 1998), and come with
scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

SIDE = 8  #: of a picture, pixels
#: The highest values, which become 1.
_PIXEL, _LABEL = 16, 9

Items = npt.NDArray[np.float32]  #: (n, D), each value in 0 to 1


@dataclass(frozen=True, slots=True)
class Digits:
    """The n digits.

    Attributes:
        pixels: float32 (n, 64), 0 to 1, ink is 1.
        labels: int64 (n,), 0 to 9.
    """

    pixels: Items
    labels: npt.NDArray[np.int64]

    def items(self, *, label: bool) -> Items:
        """Return the inputs of the network: the pixels and, as a 65th value, the label, each in 0 to 1."""
        if not label:
            return self.pixels
        return np.concatenate([self.pixels, self.labels[:, None].astype(np.float32) / _LABEL], axis=1)


def read_digits() -> Digits:
    """Return all of them, in scikit-learn's order."""
    pixels, labels = load_digits(return_X_y=True)
    return Digits((pixels / _PIXEL).astype(np.float32), labels.astype(np.int64))
