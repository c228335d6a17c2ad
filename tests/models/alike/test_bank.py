"""The memory bank against an exhaustive search, and votes worked out by hand."""

from __future__ import annotations

from math import cos, exp, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.alike.bank import ABOUT_FILE, FILE, Bank, neighbours_accuracy, unit_length
from models.jobs.errors import TrainingError
from models.tensors import TensorsError


def at_angles(*angles: float) -> np.ndarray:
    return np.array([[cos(angle), sin(angle)] for angle in angles], np.float32)


def drawn(seed: int, samples: int, values: int = 8) -> np.ndarray:
    return unit_length(np.random.default_rng(seed).standard_normal((samples, values)))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(1, 10), st.integers(0, 2**31))
def test_mined_neighbours_equal_an_exhaustive_search(samples, k, seed):
    features = drawn(seed, samples)
    k = min(k, samples - 1)
    found = Bank(features).mined(k)
    similarities = features.astype(np.float64) @ features.T.astype(np.float64)
    for i in range(samples):
        others = sorted((j for j in range(samples) if j != i), key=lambda j: -similarities[i, j])
        assert found.ordinals[i].tolist() == others[:k]
        np.testing.assert_allclose(found.similarities[i], similarities[i, others[:k]], atol=1e-6)


@pytest.mark.parametrize("copies", [2, 5, 40])
def test_copies_do_not_let_the_sample_itself_through(copies):
    features = np.concatenate([np.repeat(drawn(0, 1), copies, axis=0), drawn(1, 10)])
    found = Bank(features).mined(4)
    assert not (found.ordinals == np.arange(len(features))[:, None]).any()
    assert all(len(set(row)) == 4 for row in found.ordinals.tolist())
    # The copies of a sample are its nearest neighbours.
    near = found.ordinals[:copies, : min(copies - 1, 4)]
    assert (near < copies).all()


def test_too_few_samples_for_the_neighbours():
    with pytest.raises(TrainingError, match=r"20 of each sample need at least 21 samples \(got 20\)"):
        Bank(drawn(0, 20)).mined(20)
    assert Bank(drawn(0, 21)).mined(20).ordinals.shape == (21, 20)


def test_votes_are_weighted_by_similarity():
    """One very near sample of class 1 outvotes two far ones of class 0, unless the temperature is high."""
    bank = Bank(at_angles(0.1, 1.2, -1.2), np.array([1, 0, 0]))
    query = at_angles(0.0)
    near, far = exp(cos(0.1) / 0.1), 2 * exp(cos(1.2) / 0.1)
    assert near > far
    assert bank.classify(query).tolist() == [1]
    assert exp(cos(0.1) / 5) < 2 * exp(cos(1.2) / 5)
    assert bank.classify(query, temperature=5.0).tolist() == [0]
    assert bank.classify(query, k=1, temperature=5.0).tolist() == [1]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**31))
def test_the_classification_equals_one_written_out(samples, k, seed):
    labels = np.random.default_rng(seed).integers(0, 4, samples)
    features, queries = drawn(seed, samples), drawn(seed + 1, 5)
    found = Bank(features, labels).classify(queries, k)
    for query, predicted in zip(queries, found, strict=True):
        similarities = features.astype(np.float64) @ query.astype(np.float64)
        nearest = sorted(range(samples), key=lambda i: -similarities[i])[:k]
        votes = [sum(exp(similarities[i] / 0.1) for i in nearest if labels[i] == c) for c in range(4)]
        assert votes[predicted] == pytest.approx(max(votes))


def test_a_low_temperature_does_not_overflow():
    bank = Bank(at_angles(0.0, 1.0), np.array([1, 0]))
    assert bank.classify(at_angles(0.1), temperature=1e-4).tolist() == [1]


def test_the_neighbours_accuracy_by_hand():
    ordinals, labels = np.array([[1, 2], [0, 2], [3, 0], [2, 1]]), np.array([0, 0, 1, 1])
    assert neighbours_accuracy(ordinals, labels) == pytest.approx(4 / 8)
    assert neighbours_accuracy(ordinals[:1], labels, np.array([1])) == pytest.approx(1 / 2)


@pytest.mark.parametrize("labels", [None, np.arange(30) % 3])
def test_a_bank_comes_back_as_it_was(tmp_path, labels):
    bank = Bank(drawn(2, 30), labels)
    bank.save(tmp_path)
    found = Bank.load(tmp_path)
    np.testing.assert_array_equal(found.features, bank.features)
    np.testing.assert_array_equal(found.mined(5).ordinals, bank.mined(5).ordinals)
    assert (found.labels is None) if labels is None else (found.labels == labels).all()


def test_a_damaged_bank_is_refused(tmp_path):
    Bank(drawn(2, 30)).save(tmp_path)
    data = bytearray((tmp_path / FILE).read_bytes())
    data[-1] ^= 1
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(TensorsError, match="SHA-256"):
        Bank.load(tmp_path)
    (tmp_path / ABOUT_FILE).unlink()
    with pytest.raises(FileNotFoundError):
        Bank.load(tmp_path)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((2, 3), np.float32), None, "of length 1"),
        (np.array([[1, np.nan]], np.float32), None, "of length 1"),
        (np.zeros((0, 3), np.float32), None, "at least one sample"),
        (np.eye(3), None, "float32"),
        (np.eye(3, dtype=np.float32), np.array([0, 1]), "3 ordinals"),
        (np.eye(3, dtype=np.float32), np.array([0, 1, -1]), "ordinals from 0"),
    ],
)
def test_unusable_features(features, labels, message):
    with pytest.raises(ValueError, match=message):
        Bank(features, labels)


def test_unusable_queries():
    bank = Bank(drawn(0, 5))
    with pytest.raises(ValueError, match="must have 8 values, got 4"):
        bank.nearest(drawn(0, 1, 4), 1)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        bank.nearest(drawn(0, 1), 0)
    with pytest.raises(ValueError, match="needs labels"):
        bank.classify(drawn(0, 1))
    with pytest.raises(ValueError, match="finite and not 0"):
        unit_length(np.zeros((1, 3)))
