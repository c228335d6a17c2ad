"""Distances from normal patches, against SciPy's; and what is remembered of a sample that has incidents in it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from models.detectors.memory_bank.distances import Gaussian, Neighbours, cell_distances, from_arrays
from models.detectors.memory_bank.fitting import coreset, fit, fit_gaussian
from models.detectors.memory_bank.recipe import MemoryBankRecipe


def drawn(count: int, width: int = 8, seed: int = 0) -> np.ndarray:
    """Patches whose channels depend on one another and are far from 0."""
    rng = np.random.default_rng(seed)
    mixing = np.eye(width) + 0.2 * np.random.default_rng(100).normal(size=(width, width))
    return (rng.normal(size=(count, width)) @ mixing + 30).astype(np.float32)


def test_the_nearest_neighbour_is_scipys() -> None:
    bank, patches = drawn(400, seed=1), drawn(90, seed=2)
    expected = cdist(patches.astype(np.float64), bank.astype(np.float64)).min(axis=1)
    np.testing.assert_allclose(Neighbours(bank).distances(patches), expected, rtol=1e-4, atol=1e-3)


def test_a_remembered_patch_is_at_no_distance() -> None:
    bank = drawn(400)
    assert Neighbours(bank).distances(bank).max() < 0.02


def test_the_distance_from_the_distribution_is_mahalanobis() -> None:
    """With 20,000 patches of 8 channels, hardly anything is left to shrink."""
    sample, patches = drawn(20_000, seed=3), drawn(50, seed=4)
    gaussian, kept = fit_gaussian(sample, trimmed=0)
    inverse = np.linalg.inv(np.cov(sample.T.astype(np.float64)))
    expected = cdist(patches, sample.mean(axis=0, dtype=np.float64)[None], "mahalanobis", VI=inverse)[:, 0]
    np.testing.assert_allclose(gaussian.distances(patches), expected, rtol=0.02)
    assert kept.all()


@pytest.mark.parametrize(("count", "width"), [(1, 152), (1350, 152), (25, 600)])
def test_a_distance_does_not_depend_on_how_many_are_computed(count: int, width: int) -> None:
    """Against one product in double precision: patches of one part, of several and a rest, and wide ones."""
    patches = drawn(count, width)
    gaussian = Gaussian(patches.mean(axis=0) - 1, drawn(width, width, seed=1) / 30)
    mean, whitening = (array.astype(np.float64) for array in gaussian.arrays().values())
    expected = np.linalg.norm((patches - mean) @ whitening, axis=1)
    np.testing.assert_allclose(gaussian.distances(patches), expected, rtol=1e-5)


def test_a_channel_that_never_changes_is_no_obstacle() -> None:
    sample = np.concatenate([drawn(500), np.full((500, 1), 5, np.float32)], axis=1)
    gaussian, _ = fit_gaussian(sample, trimmed=0)
    assert np.isfinite(gaussian.distances(sample)).all()


@pytest.mark.parametrize("distance", ["gaussian", "neighbours"])
def test_a_few_incidents_in_the_sample_stay_strange(distance: str) -> None:
    """1 % of the patches are of something else; trimmed are 2 %."""
    incident = drawn(1, seed=9) + 40
    usual = drawn(4950, seed=5)
    sample = np.concatenate([usual, np.repeat(incident, 50, axis=0) + drawn(50, seed=6) / 100])
    recipe = MemoryBankRecipe(distance=distance, sample=5000, bank=500, trimmed=0.02)  # type: ignore[arg-type]
    normality = fit(sample, recipe)
    assert normality.distances(incident)[0] > 3 * normality.distances(usual).max()


def test_the_coreset_takes_the_farthest_one_each_time() -> None:
    """Three heaps, far apart: the first three are of one each, and the heap of a single patch is among them."""
    heaps = np.concatenate([drawn(200), drawn(200) + 1000, drawn(1) - 1000])
    chosen = coreset(heaps, 3)
    assert {0 if at < 200 else 1 if at < 400 else 2 for at in chosen} == {0, 1, 2}
    assert len(set(coreset(heaps, 100).tolist())) == 100


def test_the_coreset_leaves_no_patch_far_from_it() -> None:
    """Half of the radius that the same number of random patches leaves, at most 0.8 of it."""
    patches = drawn(3000, seed=7)
    chosen = patches[coreset(patches, 300)]
    at_random = patches[np.random.default_rng(1).permutation(3000)[:300]]
    assert cdist(patches, chosen).min(axis=1).max() < 0.8 * cdist(patches, at_random).min(axis=1).max()


def test_a_small_sample_is_remembered_whole() -> None:
    np.testing.assert_array_equal(coreset(drawn(40), 50), np.arange(40))


@pytest.mark.parametrize("normality", [Neighbours(drawn(30)), fit_gaussian(drawn(300), trimmed=0.01)[0]])
def test_it_is_read_back_from_its_arrays(normality: Neighbours | Gaussian) -> None:
    patches = drawn(20, seed=8)
    again = from_arrays({**normality.arrays(), "levels": np.zeros(2)})
    np.testing.assert_array_equal(again.distances(patches), normality.distances(patches))


def test_cells_keep_their_places() -> None:
    bank = np.zeros((1, 2), np.float32)
    descriptors = np.zeros((2, 3, 4), np.float32)
    descriptors[:, 2, 1] = 3, 4
    found = cell_distances(Neighbours(bank), descriptors)
    assert found[2, 1] == 5
    assert found.sum() == 5


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gaussian(np.zeros(3, np.float32), np.zeros((3, 2), np.float32)),
        lambda: Gaussian(np.full(3, np.nan, np.float32), np.eye(3, dtype=np.float32)),
        lambda: Neighbours(np.zeros((0, 3), np.float32)),
        lambda: Neighbours(np.full((2, 3), np.inf, np.float32)),
    ],
)
def test_arrays_that_cannot_be_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"expected|finite"):
        make()  # type: ignore[operator]
