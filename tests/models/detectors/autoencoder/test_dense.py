"""The fully connected autoencoder: its layers by hand, and what it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.detectors.autoencoder.dense import DenseAutoencoder, errors, train_dense
from models.jobs.errors import TrainingError

SETTINGS = {"epochs": 20, "batch": 10, "learning_rate": 0.01, "seed": 0}


def items(number: int, seed: int) -> np.ndarray:
    """Items of 12 values that depend on 2."""
    random = np.random.default_rng(seed)
    mixed = random.random((number, 2)) @ np.random.default_rng(9).random((2, 12))
    return (mixed / 2).astype(np.float32)


def test_the_layers_are_those_of_the_textbook() -> None:
    layers = [layer for layer in DenseAutoencoder((65, 48, 32, 8)).modules() if isinstance(layer, torch.nn.Linear)]
    assert [layer.in_features for layer in layers] == [65, 48, 32, 8, 32, 48]
    assert layers[-1].out_features == 65


def test_a_reconstruction_and_its_error_by_hand() -> None:
    network = DenseAutoencoder((2, 1))
    inner, outer = (layer for layer in network.modules() if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        inner.weight.copy_(torch.tensor([[1.0, -1.0]]))
        outer.weight.copy_(torch.tensor([[2.0], [0.0]]))
        for layer in (inner, outer):
            layer.bias.zero_()
    given = np.array([[0.75, 0.25], [1, 1]], np.float32)
    first = 1 / (1 + np.exp(-2 * np.tanh(0.5)))
    wanted = [((first - 0.75) ** 2 + 0.25**2) / 2, 0.25]
    np.testing.assert_allclose(errors(network, given), wanted, rtol=1e-5)


def test_what_depends_on_two_values_is_learned_and_what_does_not_stands_out(tmp_path: Path) -> None:
    network, loss = train_dense(items(200, 0), (8, 2), file=tmp_path / "last.pt", **SETTINGS)
    usual, odd = items(40, 1), np.random.default_rng(2).permuted(items(40, 3), axis=1)
    assert loss < 0.3 * items(200, 0).var(axis=0).mean()
    assert np.median(errors(network, odd)) > np.quantile(errors(network, usual), 0.9)


def test_a_stopped_training_ends_in_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    def stop(epochs: int) -> None:
        if epochs == 11:
            raise Stopped

    monkeypatch.setattr("models.detectors.autoencoder.dense._KEPT_EVERY", 37)  # within an epoch of 20 steps
    given, files = items(200, 0), [tmp_path / name for name in ("1.pt", "2.pt")]
    whole, _ = train_dense(given, (8, 2), file=files[0], **SETTINGS)
    with pytest.raises(Stopped):
        train_dense(given, (8, 2), file=files[1], progress=stop, **SETTINGS)
    done: list[int] = []
    resumed, _ = train_dense(given, (8, 2), file=files[1], progress=done.append, **SETTINGS)
    assert done == list(range(10, 21))  # from step 185
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])


def test_a_loss_that_is_not_finite_is_one_line(tmp_path: Path) -> None:
    given = items(40, 0)
    given[3, 3] = np.inf
    with pytest.raises(TrainingError, match=r"^the loss of step \d+ is not finite; lower learning_rate \(got 0\.01\)$"):
        train_dense(given, (8, 2), file=tmp_path / "last.pt", **SETTINGS)
