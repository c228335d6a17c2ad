"""Figures of clusters against values worked out by hand, and against a search of all assignments."""

from __future__ import annotations

from itertools import permutations
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.alike.figures import clustering_accuracy, clustering_figures, matched_labels

LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2])


def test_equal_partitions_with_other_names_are_perfect():
    clusters = np.array([7, 7, 7, 0, 0, 0, 3, 3])
    assert clustering_figures(LABELS, clusters) == pytest.approx({"accuracy": 1, "nmi": 1, "ari": 1, "clusters": 3})
    assert matched_labels(LABELS, clusters) == {7: 0, 0: 1, 3: 2}


def test_the_accuracy_by_hand():
    # Cluster 0 holds two of label 0 and all three of label 1; cluster 1 one of label 0 and both of label 2.
    clusters = np.array([0, 0, 1, 0, 0, 0, 1, 1])
    # Best: cluster 0 is label 1 (3), cluster 1 is label 2 (2), and label 0 has none.
    assert clustering_accuracy(LABELS, clusters) == pytest.approx(5 / 8)
    assert matched_labels(LABELS, clusters) == {0: 1, 1: 2}


def test_a_cluster_too_many_has_no_label():
    clusters = np.array([0, 0, 3, 1, 1, 1, 2, 2])
    assert clustering_accuracy(LABELS, clusters) == pytest.approx(7 / 8)


def test_the_information_and_the_index_by_hand():
    # Four samples: labels (0,0,1,1), clusters (0,0,0,1). I = H(labels) - H(labels | clusters).
    entropies = log(2), -(3 / 4 * log(3 / 4) + 1 / 4 * log(1 / 4))
    conditional = 3 / 4 * -(2 / 3 * log(2 / 3) + 1 / 3 * log(1 / 3))
    found = clustering_figures(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
    assert found["nmi"] == pytest.approx((entropies[0] - conditional) / (sum(entropies) / 2))
    # Pairs together in both: 1; expected 2 · 3 / 6 = 1; so the index is 0.
    assert found["ari"] == pytest.approx(0.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=25))
def test_no_assignment_is_better(pairs):
    labels, clusters = (np.array(values) for values in zip(*pairs, strict=True))
    best = max(np.mean(np.array(order)[clusters] == labels) for order in permutations(range(4)))
    assert clustering_accuracy(labels, clusters) == pytest.approx(best)


def test_one_cluster_of_one_label_is_perfect():
    assert clustering_accuracy(np.zeros(3, np.int64), np.zeros(3, np.int64)) == 1.0


@pytest.mark.parametrize("clusters", [np.zeros(7, np.int64), np.zeros((8, 1), np.int64)])
def test_unequal_lengths(clusters):
    with pytest.raises(ValueError, match="expected one label and one cluster a sample"):
        clustering_figures(LABELS, clusters)
