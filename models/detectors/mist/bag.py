"""The bags of multiple instance learning: videos as rows of features, with one label each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Bag:
    """A video as the generator's training sees it.

    Attributes:
        features: float32 (n, inputs), of its clips, n ≥ 1; or (n, cells, inputs), of the cells of a grid over each
            clip's picture (:func:`models.data.maps.pooled`), for small things in it. A clip is then as abnormal as its
            worst cell: one more level of the multiple instances.
        label: 0 or 1.
        mirrored: as ``features``, of the mirrored video: trained on as one more video, never scored.
        weight: of a normal bag in the loss, relative to the others.
    """

    features: npt.NDArray[np.float32]
    label: int
    mirrored: npt.NDArray[np.float32] | None = None
    weight: float = 1.0
