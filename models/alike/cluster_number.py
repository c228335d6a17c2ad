"""The number of clusters, chosen without labels on samples that are held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from models.alike.bank import Features
from models.jobs.errors import TrainingError

#: Share of the samples that is held out, and most of them whose pairs are compared.
_HELD_OUT, _COMPARED = 0.2, 10_000


def silhouettes(features: Features, numbers: Sequence[int], seed: int) -> dict[int, float]:
    """Return the silhouette of held-out samples for each number of clusters, −1 to 1.

    k-means finds the clusters on four fifths of the features. The silhouette is that of the other fifth: the mean of
    (b − a) / max(a, b), with a and b a sample's mean cosine distance to its own cluster and to the next one. It is −1
    where the held-out samples fall into fewer than two clusters.

    Args:
        features: of the training samples, (n, D), of length 1.
        seed: of the division and of k-means.

    Raises:
        TrainingError: there are too few samples.
    """
    order = np.random.default_rng(seed).permutation(len(features))
    held = order[: min(round(_HELD_OUT * len(order)), _COMPARED)]
    learned = order[round(_HELD_OUT * len(order)) :]
    if max(numbers) >= min(len(held), len(learned)):
        raise TrainingError(
            f"clustering.clusters: a choice up to {max(numbers)} needs more than that many held-out samples (got "
            f"{len(held)}, a fifth of {len(features)}); give fewer clusters, or more samples"
        )
    found = {}
    for number in numbers:
        means = KMeans(number, n_init=10, random_state=seed).fit(features[learned])
        clusters = means.predict(features[held])
        several = 1 < len(np.unique(clusters)) < len(held)
        found[number] = float(silhouette_score(features[held], clusters, metric="cosine")) if several else -1.0
    return found
