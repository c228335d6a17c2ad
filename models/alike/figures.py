"""Figures of clusters against labels that the clustering has never seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

Ordinals = npt.NDArray[np.int64]


def clustering_accuracy(labels: Ordinals, clusters: Ordinals) -> float:
    """Return the share of samples in the cluster of their label, for the best assignment of clusters to labels.

    Each label gets at most one cluster and each cluster at most one label (Hungarian method). Samples of a cluster
    without a label count as wrong.

    Args:
        labels, clusters: ordinals, (n,) each, of any numbers of labels and clusters.

    Raises:
        ValueError: there are no samples, or the two have different lengths.
    """
    _check(labels, clusters)
    counts = contingency_matrix(labels, clusters)
    of_label, of_cluster = linear_sum_assignment(counts, maximize=True)
    return float(counts[of_label, of_cluster].sum() / len(labels))


def matched_labels(labels: Ordinals, clusters: Ordinals) -> dict[int, int]:
    """Return the label of each cluster that has one in the assignment of :func:`clustering_accuracy`.

    Raises:
        ValueError: there are no samples, or the two have different lengths.
    """
    _check(labels, clusters)
    counts = contingency_matrix(labels, clusters)
    of_label, of_cluster = linear_sum_assignment(counts, maximize=True)
    known, found = np.unique(labels), np.unique(clusters)
    return {int(found[c]): int(known[i]) for i, c in zip(of_label, of_cluster, strict=True)}


def clustering_figures(labels: Ordinals, clusters: Ordinals) -> dict[str, float]:
    """Return ``accuracy``, ``nmi`` and ``ari`` of clusters, and the number of ``clusters`` that have members.

    ``nmi`` is the mutual information of labels and clusters over the mean of their entropies, 0 to 1. ``ari`` is the
    adjusted Rand index: 1 for equal partitions, and 0 on average for random ones.

    Raises:
        ValueError: there are no samples, or the two have different lengths.
    """
    return {
        "accuracy": clustering_accuracy(labels, clusters),
        "nmi": float(normalized_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
        "clusters": len(np.unique(clusters)),
    }


def _check(labels: Ordinals, clusters: Ordinals) -> None:
    if labels.ndim != 1 or labels.shape != clusters.shape or not len(labels):
        raise ValueError(f"expected one label and one cluster a sample, got {labels.shape} and {clusters.shape}")
