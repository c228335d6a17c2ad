"""The linear head: scikit-learn's machine in a generator's form, alone and beside generators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from models.detectors.mist import linear_head
from models.detectors.mist.bag import Bag
from models.detectors.mist.generator_recipe import Recipe
from models.detectors.mist.generator_scoring import clip_logits
from models.detectors.mist.generator_training import train_generator
from models.detectors.mist.linear_head import train_linear_head
from models.jobs.errors import TrainingError

WIDTH = 6
RECIPE = Recipe(name="tiny", loss="reference", top_k=2, sub_bags=2, epochs=2, members=2, linear_strength=0.5)


def bags(count=20, seed=0):
    """Bags of 1 to 6 clips; the abnormal ones lean one way. Features differ in their scale."""
    rng = np.random.default_rng(seed)
    scale = np.geomspace(0.1, 10, WIDTH)
    return [
        Bag(np.float32(scale * (rng.normal(size=(1 + i % 6, WIDTH)) + (i % 2) * (np.arange(WIDTH) == 2))), i % 2)
        for i in range(count)
    ]


def prepared(clips, of, unit_length, standardised):
    """Clips as the machine reads them, by the clips ``of`` that it was fitted to."""
    if unit_length:
        clips, of = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (clips, of))
    return (clips - of.mean(0)) / of.std(0, ddof=1) if standardised else clips


@pytest.mark.parametrize(("unit_length", "standardised"), [(True, True), (False, True), (True, False)])
def test_the_logit_is_the_decision_value(unit_length, standardised):
    train = [*bags(), Bag(bags(seed=1)[0].features, 0, weight=0.3)]
    clips = np.concatenate([bag.features for bag in train]).astype(np.float64)
    machine = LinearSVC(C=0.5, dual="auto", random_state=0)
    machine.fit(
        prepared(clips, clips, unit_length, standardised),
        [bag.label for bag in train for _ in bag.features],
        sample_weight=[bag.weight / len(bag.features) for bag in train for _ in bag.features],
    )
    head = train_linear_head(train, strength=0.5, unit_length=unit_length, standardised=standardised)
    others = np.concatenate([bag.features for bag in bags(seed=2)])
    expected = machine.decision_function(prepared(others.astype(np.float64), clips, unit_length, standardised))
    assert expected.min() < 0 < expected.max()
    np.testing.assert_allclose(clip_logits(head, others), expected, rtol=2e-3, atol=2e-3)


def test_a_bag_weighs_as_one_whatever_its_length():
    """A weight of 2 is the bag twice, and clips that are all there twice are a bag of the same weight."""
    others = np.concatenate([bag.features for bag in bags(seed=2)])

    def logits(train):
        return clip_logits(train_linear_head(train, strength=0.5, unit_length=False, standardised=False), others)

    first, *rest = bags()
    plain = logits([first, *rest])
    twice = logits([first, first, *rest])
    assert np.abs(twice - plain).max() > 0.01
    np.testing.assert_allclose(logits([Bag(first.features, first.label, weight=2.0), *rest]), twice, atol=1e-3)
    longer = Bag(np.concatenate([first.features, first.features]), first.label)
    np.testing.assert_allclose(logits([longer, *rest]), plain, atol=1e-3)


def test_both_heads_are_the_mean_of_their_logits_each_by_its_spread():
    train = bags()
    clips, others = (np.concatenate([bag.features for bag in some]) for some in (train, bags(seed=2)))
    one, other, both = (
        train_generator(train, RECIPE.model_copy(update={"heads": heads, "standardise": True}), seed=0)
        for heads in ("generator", "linear", "both")
    )
    expected = [clip_logits(head, others) / np.std(clip_logits(head, clips), ddof=1) for head in (one, other)]
    np.testing.assert_allclose(clip_logits(both, others), np.mean(expected, axis=0), rtol=1e-4, atol=1e-5)
    assert both.architecture.hidden == (one.architecture.hidden[0] + 2, one.architecture.hidden[1] + 1)


def test_a_linear_head_depends_on_no_seed_and_not_on_the_number_of_threads():
    recipe = RECIPE.model_copy(update={"heads": "linear"})
    first = train_generator(bags(), recipe, seed=0).state_dict()
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        again = train_generator(bags(), recipe, seed=1).state_dict()
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())


def test_a_machine_that_does_not_converge_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(linear_head, "_MAX_ITERATIONS", 1)
    with pytest.raises(TrainingError) as refused:
        train_generator(bags(), RECIPE.model_copy(update={"heads": "linear", "linear_strength": 100.0}), seed=0)
    assert str(refused.value) == (
        "the linear head has not converged after 1 iterations (linear_strength 100); "
        "lower recipe.linear_strength, or set recipe.unit_length and recipe.standardise"
    )
