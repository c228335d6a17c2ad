"""Training of a head: its result, its schedule, and what a kill or a mistake does to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.detectors.classifier import head_training
from models.detectors.classifier.head_training import scores_of, train_head
from models.detectors.classifier.networks import PooledHead
from models.detectors.classifier.recipe import HeadRecipe
from models.jobs.checkpoints import CHECKPOINT_FILE, CURVES
from models.jobs.errors import TrainingError

RECIPE = HeadRecipe(epochs=12, batch=8, dropout=0.3)


def features(pictures: int = 60, views: int = 2, apart: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features, float32 (n, 1 + views, 6), of two classes that differ in the first value; every third is abnormal."""
    drawn = np.random.default_rng(seed)
    truth = (np.arange(pictures) % 3 == 0).astype(np.int64)
    values = drawn.normal(size=(pictures, 1 + views, 6))
    values[..., 0] += apart * truth[:, None]
    return values.astype(np.float32), truth


def trained(folder: Path, recipe: HeadRecipe = RECIPE, **more: object) -> tuple[PooledHead, int]:
    read, truth = features()
    head = PooledHead(6, 2, recipe.dropout)
    chosen = {"seed": 0} | more
    epochs = train_head(head, read, truth, range(40), range(40, 60), recipe, 2, folder=folder, **chosen)
    return head, epochs


def test_it_learns_what_a_logistic_regression_does(tmp_path: Path) -> None:
    """Without dropout and decay, the same linear function: another library's, with the same class weights."""
    read, truth = features(300, apart=3.0)
    recipe = HeadRecipe(
        epochs=40, batch=50, learning_rate=0.05, dropout=0, weight_decay=0, patience=40, plateau_epochs=40
    )
    head = PooledHead(6, 2)
    train_head(head, read, truth, range(200), range(200, 300), recipe, 2, 0, tmp_path)
    views = read[:200, 1:].reshape(-1, 6)
    oracle = LogisticRegression(C=1e6, class_weight="balanced").fit(views, truth[:200].repeat(2))
    wanted = oracle.predict_proba(read[200:, 0])
    found = scores_of(head, read, range(200, 300))
    assert wanted[:, 1].std() > 0.3
    # The training stops at the best epoch of the validation, before its weights are as large.
    assert np.abs(found - wanted).mean() < 0.03
    logits, others = (np.log(values[:, 1] / values[:, 0]) for values in (found, wanted))
    assert np.corrcoef(logits, others)[0, 1] > 0.99


def test_a_killed_training_continues_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, epochs = trained(tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(done: int) -> None:
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        trained(tmp_path / "killed", progress=kill)
    continued = []
    head, again = trained(tmp_path / "killed", progress=continued.append)
    assert continued[0] == 5
    assert again == epochs
    for name, values in whole.state_dict().items():
        assert torch.equal(values, head.state_dict()[name]), name
    # A finished training costs nothing.
    finished, _ = trained(tmp_path / "killed", progress=lambda _: pytest.fail("it has trained again"))
    assert torch.equal(finished.linear.weight, whole.linear.weight)


def test_it_stops_without_progress_and_takes_the_best_epoch(tmp_path: Path) -> None:
    """With a rate that is far too high, the loss of the validation soon only rises."""
    recipe = HeadRecipe(epochs=100, batch=8, learning_rate=3.0, patience=4, plateau_epochs=50, dropout=0)
    _, epochs = trained(tmp_path, recipe)
    events = EventAccumulator(str(tmp_path / CURVES))
    events.Reload()
    losses = [event.value for event in events.Scalars("validation/loss")]
    assert len(losses) == epochs + 4 < 100
    assert min(range(len(losses)), key=losses.__getitem__) == epochs - 1


def test_the_rate_falls_on_a_plateau_of_the_accuracy(tmp_path: Path) -> None:
    recipe = HeadRecipe(epochs=20, batch=8, patience=20, plateau="accuracy", plateau_epochs=2, factor=0.1)
    trained(tmp_path, recipe)
    events = EventAccumulator(str(tmp_path / CURVES))
    events.Reload()
    accuracies, rates = (
        [event.value for event in events.Scalars(name)] for name in ("validation/accuracy", "training/learning_rate")
    )
    best, since, rate = -1.0, 0, recipe.learning_rate
    for accuracy, found in zip(accuracies, rates, strict=True):
        best, since = (accuracy, 0) if accuracy > best else (best, since + 1)
        if since > recipe.plateau_epochs:
            rate, since = rate * recipe.factor, 0
        assert found == pytest.approx(max(rate, 1e-20), rel=1e-3, abs=1e-8)
    assert rates[-1] < recipe.learning_rate


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    recipe = HeadRecipe(epochs=60, batch=8, learning_rate=1e30, dropout=0)
    with pytest.raises(TrainingError, match=r"epoch \d+: the .*loss is (nan|inf)"):
        trained(tmp_path, recipe)


def test_a_checkpoint_of_another_training(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(TrainingError, match=f"{CHECKPOINT_FILE}: belongs to another training"):
        trained(tmp_path, seed=1)


def test_a_value_that_hardly_varies_is_not_magnified() -> None:
    read, _ = features()
    read[..., 3] = 5 + 1e-4 * read[..., 3]
    head = PooledHead(6, 2)
    head_training._standardise(head, read, range(40))
    assert float(head.scale[3]) < 20 * float(head.scale[0])
    np.testing.assert_allclose(head.mean, read[:40].reshape(-1, 6).mean(0), atol=1e-5)
