"""The head that makes embeddings: by hand, against torch's layers, and refused where its arrays do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_embedder import embedded_by_torch, make_arrays

from models.alike.served.embedder import Embedder


def test_an_embedding_worked_out_by_hand() -> None:
    """(5, 1) is standardised to (2, 0.5); the first layer gives (2.5, -1.5), ReLU (2.5, 0), the second (2.5, 6)."""
    arrays = {
        "centre": np.array([1, 0], np.float32),
        "spread": np.array([2, 2], np.float32),
        "weight_0": np.array([[1, 1], [-1, 1]], np.float32),
        "bias_0": np.zeros(2, np.float32),
        "weight_1": np.array([[1, 7], [2, 7]], np.float32),
        "bias_1": np.array([0, 1], np.float32),
    }
    found = Embedder(arrays).embed(np.array([[5, 1]], np.float32))
    np.testing.assert_allclose(found, [[2.5 / 6.5, 6 / 6.5]], rtol=1e-6)


@given(
    st.integers(1, 5), st.integers(1, 9), st.lists(st.integers(2, 12), min_size=1, max_size=3), st.integers(0, 10**6)
)
def test_embeddings_are_those_of_torchs_layers(clips: int, inputs: int, widths: list[int], seed: int) -> None:
    arrays = make_arrays(inputs=inputs, widths=tuple(widths), seed=seed)
    features = np.random.default_rng(seed + 1).uniform(0, 1, (clips, inputs)).astype(np.float32)
    embedder = Embedder(arrays)
    assert (embedder.inputs, embedder.outputs) == (inputs, widths[-1])
    found = embedder.embed(features)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.flags.writeable
    np.testing.assert_allclose(found, embedded_by_torch(arrays, features), atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_a_clips_embedding_does_not_depend_on_its_batch() -> None:
    embedder = Embedder(make_arrays())
    features = np.random.default_rng(1).uniform(0, 1, (6, 4)).astype(np.float32)
    alone = np.concatenate([embedder.embed(features[row : row + 1]) for row in range(6)])
    np.testing.assert_allclose(embedder.embed(features), alone, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"centre": None}, "an embedder needs the array centre"),
        ({"bias_1": None}, "an embedder needs the array bias_1"),
        ({"weight_0": None}, "an embedder needs the array weight_0"),  # one layer of two is left, under another number
        ({"weight_0": None, "weight_1": None, "bias_0": None, "bias_1": None}, "an embedder needs the array weight_0"),
        ({"spread": np.zeros(4)}, "centre and spread must be (D,), and spread above 0"),
        ({"spread": np.ones(3)}, "centre and spread must be (D,), and spread above 0"),
        ({"centre": np.ones((4, 1))}, "centre and spread must be (D,), and spread above 0"),
        ({"weight_0": np.ones((16, 5))}, "a layer after 4 values has weights (16, 5) and biases (16,)"),
        ({"bias_1": np.ones(7)}, "a layer after 16 values has weights (8, 16) and biases (7,)"),
        ({"bias_0": np.full(16, np.nan)}, "an embedder's arrays must be finite"),
        ({"weight_1": np.full((8, 16), np.inf)}, "an embedder's arrays must be finite"),
    ],
)
def test_arrays_that_make_no_embedder_are_refused(changes: dict[str, np.ndarray | None], message: str) -> None:
    arrays = {name: array for name, array in (make_arrays() | changes).items() if array is not None}
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the message is compared below
        Embedder(arrays)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "features",
    [np.ones((2, 5)), np.ones(4), np.ones((1, 2, 4)), np.array([[1, np.nan, 1, 1]]), np.array([[1, np.inf, 1, 1]])],
)
def test_features_of_another_shape_or_not_finite_are_refused(features: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"features must be finite \(N, 4\), got float32 \("):
        Embedder(make_arrays()).embed(features.astype(np.float32))


def test_features_without_a_direction_are_refused() -> None:
    """The centre itself, through layers without biases, ends at 0."""
    arrays = {name: np.zeros_like(array) if "bias" in name else array for name, array in make_arrays().items()}
    with pytest.raises(ValueError, match="an embedding without a direction"):
        Embedder(arrays).embed(arrays["centre"][None])
