"""The schedule and the batches of a training."""

from __future__ import annotations

from pathlib import Path

import fresh_process
import numpy as np
import pytest
import torch
from torch import nn

from models.alike.recipe import Optimisation
from models.alike.training import fit
from models.alike.training_module import learning_rate
from models.jobs.errors import TrainingError


def test_the_cosine_by_hand():
    of = Optimisation(epochs=4, learning_rate=0.4)
    assert learning_rate(of, 0) == pytest.approx(0.4)
    assert learning_rate(of, 2) == pytest.approx(0.4e-3 + (0.4 - 0.4e-3) / 2)
    assert learning_rate(of, 4) == pytest.approx(0.4e-3)
    assert learning_rate(Optimisation(epochs=4, learning_rate=0.4, schedule="constant"), 3) == 0.4


class Slope:
    """The mean of a weight times what was drawn for the samples."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.seen: list[list[int]] = []
        self.drawn: list[float] = []

    def batch(self, ordinals, draw):
        self.seen.append(ordinals.tolist())
        self.drawn += [float(draw.random()), float(torch.rand(()))]
        return (torch.from_numpy(ordinals).float(),)

    def losses(self, network, batch):
        return {"loss": network(batch[0][:, None]).mean(), "largest": batch[0].max()}

    def watch(self, network, epoch):
        return {"weight": network.weight.item()}


def new_network() -> nn.Linear:
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    return network


def test_steps_of_gradient_descent_by_hand(tmp_path):
    """Two samples 0 and 1 in one batch: the slope is 1/2, the rate 0.1 and then about half of it."""
    optimisation = Optimisation(epochs=2, batch=8, learning_rate=0.1, momentum=0, weight_decay=0)
    network = new_network()
    history = fit(network, Slope(2), optimisation, seed=0, folder=tmp_path, identity="a")
    rates = [0.1, 0.1 * (0.001 + 0.999 / 2)]
    weights = [1 - 0.1 / 2, 1 - sum(rates) / 2]
    assert [row["weight"] for row in history] == pytest.approx(weights)
    assert [row["loss"] for row in history] == pytest.approx([1 / 2, weights[0] / 2])
    assert [row["largest"] for row in history] == [1, 1]
    assert [row["epoch"] for row in history] == [1, 2]
    assert network.weight.item() == pytest.approx(weights[1])


def test_each_epoch_has_another_order_and_no_incomplete_batch(tmp_path):
    task = Slope(10)
    fit(new_network(), task, Optimisation(epochs=3, batch=4), seed=0, folder=tmp_path, identity="a")
    assert [len(batch) for batch in task.seen] == [4] * 6
    epochs = [task.seen[at] + task.seen[at + 1] for at in (0, 2, 4)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert len(set(task.drawn)) == len(task.drawn)


def test_the_caller_s_random_numbers_stay_as_they_were(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    network = new_network()
    torch.manual_seed(5)
    fit(network, Slope(4), Optimisation(epochs=1, batch=2), seed=0, folder=tmp_path, identity="a")
    assert torch.equal(torch.rand(3), expected)


def test_another_seed_draws_other_batches(tmp_path):
    seen = []
    for seed in (0, 0, 1):
        task = Slope(50)
        fit(
            new_network(),
            task,
            Optimisation(epochs=1, batch=50),
            seed=seed,
            folder=tmp_path / str(len(seen)),
            identity="",
        )
        seen.append((task.seen, task.drawn))
    assert seen[0] == seen[1] != seen[2]


def test_one_sample_is_too_few(tmp_path):
    with pytest.raises(TrainingError, match=r"too few samples to learn from \(got 1\)"):
        fit(new_network(), Slope(1), Optimisation(), seed=0, folder=tmp_path, identity="a")
    assert not np.any(list(tmp_path.iterdir()))


def weights_by_workers(folder: str) -> list[float]:
    weights = []
    for workers in (0, 2):
        network = new_network()
        optimisation = Optimisation(epochs=2, batch=3, learning_rate=0.1, workers=workers)
        fit(network, Slope(10), optimisation, seed=4, folder=Path(folder) / str(workers), identity="a")
        weights.append(network.weight.item())
    return weights


def test_the_result_does_not_depend_on_the_workers(tmp_path):
    weights = fresh_process.called(weights_by_workers, str(tmp_path))
    assert weights[0] == weights[1] != 1.0
