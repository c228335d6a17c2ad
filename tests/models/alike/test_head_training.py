"""A projection head on precomputed views."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.alike.bank import Bank, neighbours_accuracy
from models.alike.head_training import train_head
from models.alike.recipe import ContrastRecipe, Optimisation
from models.jobs.checkpoints import CHECKPOINT_FILE
from models.jobs.errors import TrainingError

RECIPE = ContrastRecipe(hidden=32, values=16, optimisation=Optimisation(epochs=30, batch=40, learning_rate=0.2))


def drawn_views() -> tuple[np.ndarray, np.ndarray]:
    """Eighty samples of eight kinds: 8 values of the kind, and 24 louder ones that differ from view to view."""
    rng = np.random.default_rng(0)
    kinds = np.arange(80) % 8
    own = np.eye(8)[kinds][:, None, :] + 0.2 * rng.standard_normal((80, 1, 8))
    noise = 3 * rng.standard_normal((80, 4, 24))
    views = np.concatenate([np.broadcast_to(own, (80, 4, 8)), noise], axis=2)
    return views.astype(np.float32), kinds


def accuracy(features: np.ndarray, kinds: np.ndarray) -> float:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return neighbours_accuracy(Bank(unit.astype(np.float32)).mined(3).ordinals, kinds)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("head")
    return train_head(drawn_views()[0], RECIPE, seed=1, folder=folder), folder


def test_it_learns_what_the_views_share(trained):
    views, kinds = drawn_views()
    with torch.no_grad():
        embedded = trained[0](torch.from_numpy(views[:, 0])).numpy()
    assert embedded.shape == (80, 16)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)
    assert accuracy(views[:, 0], kinds) < 0.3
    assert accuracy(embedded, kinds) > 0.6


def test_a_stopped_training_continues_to_the_same_bits(trained, tmp_path):
    views, _ = drawn_views()

    class Stopped(Exception):
        pass

    def stop(epochs: int) -> None:
        if epochs == 11:
            raise Stopped

    with pytest.raises(Stopped):
        train_head(views, RECIPE, seed=1, folder=tmp_path, progress=stop)
    done: list[int] = []
    head = train_head(views, RECIPE, seed=1, folder=tmp_path, progress=done.append)
    assert done == list(range(12, 31))
    expected = trained[0].state_dict()
    assert all(torch.equal(values, expected[name]) for name, values in head.state_dict().items())
    train_head(views, RECIPE, seed=1, folder=tmp_path, progress=done.append)
    assert done[-1] == 30, "a finished training runs no epoch"
    assert len(done) == 19


def test_a_checkpoint_of_other_views_is_refused(trained, tmp_path):
    views, _ = drawn_views()
    (tmp_path / CHECKPOINT_FILE).write_bytes((trained[1] / CHECKPOINT_FILE).read_bytes())
    with pytest.raises(TrainingError, match="belongs to another training"):
        train_head(views + 1, RECIPE, seed=1, folder=tmp_path)


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (np.zeros((5, 1, 3), np.float32), r"got features of shape \(5, 1, 3\).*at least 2 views"),
        (np.zeros((1, 2, 3), np.float32), "at least 2 samples"),
        (np.zeros((5, 3), np.float32), r"expected \(N, V, D\)"),
        (np.full((5, 2, 3), np.nan, np.float32), "not finite"),
        (np.ones((5, 2, 3), np.float32), "are equal"),
    ],
)
def test_unusable_views_are_one_line(views, message, tmp_path):
    with pytest.raises(TrainingError, match=message):
        train_head(views, RECIPE, seed=0, folder=tmp_path)


def test_a_rate_that_is_too_high_is_named(tmp_path):
    recipe = RECIPE.model_copy(update={"optimisation": Optimisation(epochs=3, batch=40, learning_rate=1e30)})
    with pytest.raises(TrainingError, match=r"lower learning_rate \(1e\+30\)"):
        train_head(drawn_views()[0], recipe, seed=0, folder=tmp_path)
