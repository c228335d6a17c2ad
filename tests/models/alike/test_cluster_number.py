"""The number of clusters, chosen without labels."""

from __future__ import annotations

import numpy as np
import pytest

from models.alike.bank import unit_length
from models.alike.cluster_number import silhouettes
from models.jobs.errors import TrainingError


def around(centres: int, of_each: int, spread: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    axes = np.eye(8)[np.arange(centres * of_each) % centres]
    return unit_length(axes + spread * rng.standard_normal(axes.shape))


@pytest.mark.parametrize("centres", [3, 5])
def test_the_number_of_tight_groups_is_found(centres):
    found = silhouettes(around(centres, 40, 0.05), (2, 3, 4, 5, 6, 7), seed=0)
    assert max(found, key=found.get) == centres
    assert found[centres] > 0.9


def test_two_clusters_by_hand():
    """Held-out samples at two right-angled axes: a = 0 and b = 1, so the silhouette is 1."""
    features = unit_length(np.eye(2)[np.arange(40) % 2])
    assert silhouettes(features, (2,), seed=0)[2] == pytest.approx(1.0)


def test_too_few_held_out_samples_are_refused():
    with pytest.raises(TrainingError, match=r"a choice up to 9 needs more.*\(got 4, a fifth of 20\)"):
        silhouettes(around(2, 10, 0.1), (2, 9), seed=0)
