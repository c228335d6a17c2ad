"""The linear head on principal components: the algebra by an oracle, and what it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from models.alike.clips import head
from models.alike.clips.head import Components
from models.alike.clips.recipe import HeadRecipe
from models.alike.recipe import ContrastRecipe, Optimisation
from models.alike.served.embedder import Embedder
from models.jobs.errors import TrainingError

QUICK = ContrastRecipe(values=4, optimisation=Optimisation(epochs=30, batch=32, learning_rate=0.05))


def views_of(samples: int = 64, views: int = 4, features: int = 20, *, noise: float = 0.3) -> np.ndarray:
    """Each sample has a place of its own in four directions; its views differ in all others."""
    draw = np.random.default_rng(0)
    own = np.zeros((samples, 1, features))
    own[..., :4] = draw.normal(size=(samples, 1, 4))
    return (own + noise * draw.normal(size=(samples, views, features)) + 5).astype(np.float32)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_components_by_an_oracle(power: float) -> None:
    values = views_of()
    found = Components.of(values, HeadRecipe(components=6, power=power))
    flat = values.reshape(-1, 20).astype(float)
    standard = (values[:, 0] - flat.mean(0)) / np.maximum(flat.std(0), 0.1 * flat.std(0).mean())
    covariance = np.cov(standard.T) * (len(standard) - 1)
    variances, directions = np.linalg.eigh(covariance)  # another way to the same components
    scaled = directions[:, ::-1][:, :6] / np.sqrt(variances[::-1][:6]) ** power
    expected = ((values - flat.mean(0)) / np.maximum(flat.std(0), 0.1 * flat.std(0).mean())) @ scaled
    expected /= expected.std()
    projected = found.project(values)
    signs = np.sign((projected * expected).sum(axis=(0, 1)))  # a component has no direction of its own
    assert projected == pytest.approx(expected * signs, abs=1e-3)
    assert projected.std() == pytest.approx(1, abs=1e-3)


def test_the_embedder_computes_what_the_layer_computes_on_components() -> None:
    values = views_of()
    found = Components.of(values, HeadRecipe(components=6))
    layer = torch.nn.Linear(6, 4)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(layer(torch.from_numpy(found.project(values[:, 0]))), dim=1).numpy()
    assert Embedder(found.followed_by(layer)).embed(values[:, 0]) == pytest.approx(expected, abs=1e-5)


def test_the_layer_reads_what_the_views_of_a_sample_share(tmp_path: Path) -> None:
    values = views_of(256, noise=0.8)
    recipe = ContrastRecipe(values=4, optimisation=Optimisation(epochs=60, batch=64, learning_rate=0.2))
    head.compute(tmp_path, values, HeadRecipe(components=20, dropout=0), recipe, 0, lambda _done: None)
    weight = load_file(tmp_path / "embedder.safetensors")["weight_0"]
    # By the construction the first 4 of 20 features are the sample's, and the others are noise of each view.
    assert (weight[:, :4] ** 2).sum() > 0.8 * (weight**2).sum()


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    files = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        folder = tmp_path / name
        folder.mkdir()
        head.compute(folder, views_of(), HeadRecipe(components=8), QUICK, seed, lambda _done: None)
        files.append((folder / "embedder.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.full((8, 3, 5), np.nan, np.float32), "some features are not finite"),
        (np.ones((8, 3, 5), np.float32), "the features of all stretches are equal"),
        (views_of(1), "1 stretches make fewer than 0 principal components"),
    ],
)
def test_features_that_nothing_can_be_learned_from(values: np.ndarray, problem: str) -> None:
    with pytest.raises(TrainingError, match=problem):
        Components.of(values, HeadRecipe())
