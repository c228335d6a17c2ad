"""From a clip's features to its embedding: a small trained head, in numpy.

This file is copied into every exported version folder of an embedding model, so it needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

CENTRE, SPREAD = "centre", "spread"
EMBEDDER_FILE = "embedder.npz"  #: the arrays of an embedder in a version folder

#: Lengths below this have no direction.
_SHORTEST = 1e-12


class Embedder:
    """Standardised features through linear layers with ReLU between them, scaled to length 1.

    Args:
        arrays: ``centre`` and ``spread``, float32 (D,), of the features that it was trained on; for each layer k from
            0, ``weight_k``, float32 (outputs, inputs), and ``bias_k``, float32 (outputs,).

    Raises:
        ValueError: arrays are missing, do not fit together, or are not finite.
    """

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        count = sum(name.startswith("weight_") for name in arrays)
        names = [CENTRE, SPREAD, *(f"{part}_{layer}" for layer in range(count) for part in ("weight", "bias"))]
        if missing := [name for name in names if name not in arrays] or ["weight_0"] * (not count):
            raise ValueError(f"an embedder needs the array {missing[0]}")
        values = {name: np.asarray(arrays[name], np.float32) for name in names}
        if not all(np.isfinite(array).all() for array in values.values()):
            raise ValueError("an embedder's arrays must be finite")
        self._centre, self._spread = values[CENTRE], values[SPREAD]
        if self._centre.ndim != 1 or self._spread.shape != self._centre.shape or (self._spread <= 0).any():
            raise ValueError("centre and spread must be (D,), and spread above 0")
        self._layers = [(values[f"weight_{layer}"], values[f"bias_{layer}"]) for layer in range(count)]
        width = self.inputs
        for weight, bias in self._layers:
            if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
                raise ValueError(f"a layer after {width} values has weights {weight.shape} and biases {bias.shape}")
            width = len(bias)
        self.outputs = width  #: length of an embedding

    @property
    def inputs(self) -> int:
        """Return the number of features of a clip."""
        return len(self._centre)

    def embed(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the embeddings of N clips, float32 (N, E), each of length 1.

        Args:
            features: float32 (N, D).

        Raises:
            ValueError: the features have another shape, are not finite, or have no direction after the last layer.
        """
        values = self.standardised(features)
        for layer, (weight, bias) in enumerate(self._layers):
            values = np.maximum(values, 0.0) if layer else values
            values = values @ weight.T + bias
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        if (lengths < _SHORTEST).any():
            raise ValueError("the features have an embedding without a direction")
        return np.ascontiguousarray(values / lengths, np.float32)

    def standardised(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return features as the first layer reads them, (N, D) → (N, D). Raises ValueError: as :meth:`embed`."""
        if features.ndim != 2 or features.shape[1] != self.inputs or not np.isfinite(features).all():
            raise ValueError(f"features must be finite (N, {self.inputs}), got {features.dtype} {features.shape}")
        values: npt.NDArray[np.float32] = (features - self._centre) / self._spread
        return values
