"""Fitting a memory bank to a sample of normal patches, of which a few may be of incidents."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.covariance import ledoit_wolf

from models.detectors.memory_bank.distances import Gaussian, Neighbours, Normality, Patches
from models.detectors.memory_bank.recipe import MemoryBankRecipe

#: Times that the Gaussian is fitted again without the farthest patches.
_ROUNDS = 3
#: Dimensions into which patches are projected to choose the coreset, for its speed.
_PROJECTED = 32


def fit(patches: Patches, recipe: MemoryBankRecipe) -> Normality:
    """Fit what the recipe asks for to a sample of patches, (n, C)."""
    gaussian, kept = fit_gaussian(patches, trimmed=recipe.trimmed)
    if recipe.distance == "gaussian":
        return gaussian
    usual = patches[kept]
    return Neighbours(usual[coreset(usual, recipe.bank)])


def fit_gaussian(patches: Patches, *, trimmed: float) -> tuple[Gaussian, npt.NDArray[np.bool_]]:
    """Fit one distribution to the patches, without the farthest ``trimmed`` of them.

    The covariance is shrunk as O. Ledoit and M. Wolf do (A well-conditioned estimator for large-dimensional covariance
    matrices, 2004), because the channels of a network depend on one another.

    Returns:
        the distribution, and the patches that it was fitted to, bool (n,).
    """
    kept = np.ones(len(patches), np.bool_)
    gaussian = _gaussian(patches)
    for _ in range(_ROUNDS if trimmed else 0):
        distances = gaussian.distances(patches)
        kept = distances <= np.quantile(distances, 1 - trimmed)
        gaussian = _gaussian(patches[kept])
    return gaussian, kept


def _gaussian(patches: Patches) -> Gaussian:
    wide = patches.astype(np.float64)
    mean = wide.mean(axis=0)
    covariance, _ = ledoit_wolf(wide - mean, assume_centered=True)
    # Channels that never change would have no inverse.
    covariance += np.eye(len(mean)) * max(1e-6 * float(np.trace(covariance)) / len(mean), 1e-12)
    # C = L Lᵀ, so that (L⁻¹)ᵀ L⁻¹ is its inverse.
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    return Gaussian(mean.astype(np.float32), np.ascontiguousarray(whitening, np.float32))


def coreset(patches: Patches, size: int) -> npt.NDArray[np.int64]:
    """Choose patches that leave none of the others far from all of them: ordinals, (at most ``size``,).

    Greedily, as PatchCore does: the next one is always that which is farthest from those chosen (O. Sener, S. Savarese,
    Active learning for convolutional neural networks, ICLR 2018). Distances are those after a random projection.
    """
    if len(patches) <= size:
        return np.arange(len(patches))
    drawn = np.random.default_rng(0).standard_normal((patches.shape[1], _PROJECTED)).astype(np.float32)
    small = (patches - patches.mean(axis=0)) @ drawn
    squares = (small * small).sum(axis=1)
    chosen = [int(squares.argmin())]
    nearest = np.full(len(small), np.inf, np.float32)
    while len(chosen) < size:
        last = small[chosen[-1]]
        nearest = np.minimum(nearest, squares - 2 * (small @ last) + last @ last)
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)
