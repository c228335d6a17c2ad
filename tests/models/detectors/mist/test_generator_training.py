"""Training on small synthetic features: it learns, it is reproducible to the bit, and it refuses what it cannot use."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.detectors.mist.bag import Bag
from models.detectors.mist.generator_recipe import Recipe
from models.detectors.mist.generator_scoring import clip_logits, clip_scores
from models.detectors.mist.generator_training import train_generator
from models.jobs.errors import TrainingError

WIDTH = 8
RECIPES = [
    Recipe(name="paper", loss="paper", sub_bags=4, sub_bag_clips=2, batch=8, epochs=40),
    Recipe(
        name="reference", loss="reference", top_k=2, sub_bags=4, sub_bag_clips=2, batch=8, epochs=40, standardise=True
    ),
    Recipe(
        name="adamw", loss="reference", top_k=2, sub_bags=4, optimiser="adamw", learning_rate=1e-3, batch=8, epochs=40
    ),
    Recipe(
        name="both-heads",
        loss="reference",
        top_k=2,
        sub_bags=4,
        batch=8,
        epochs=40,
        standardise=True,
        heads="both",
        linear_strength=0.1,
    ),
]


def synthetic(seed: int, count: int = 16) -> list[Bag]:
    """Videos of 1 to 20 clips of noise; in the abnormal ones about a third of the clips, in a row, leans one way."""
    rng = np.random.default_rng(seed)
    bags = []
    for ordinal in range(count):
        label, length = ordinal % 2, int(rng.integers(1, 21))
        features = rng.normal(size=(length, WIDTH)).astype(np.float32)
        if label:
            start = int(rng.integers(0, max(length - length // 3, 1)))
            features[start : start + max(length // 3, 1), 0] += 6.0
        bags.append(Bag(features, label))
    return bags


def weights(generator):
    return {name: tensor.numpy().tobytes() for name, tensor in generator.state_dict().items()}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_learns_where_the_abnormal_clips_are(recipe):
    generator = train_generator(synthetic(0), recipe, seed=0)
    seen_as = {True: [], False: []}
    for bag in synthetic(1, count=40):
        for clip, score in zip(bag.features, clip_scores(generator, bag.features), strict=True):
            seen_as[bool(clip[0] > 4)].append(score)
    assert np.median(seen_as[True]) > np.median(seen_as[False]) + 0.4


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_same_seed_gives_the_same_bits(recipe):
    first = weights(train_generator(synthetic(0), recipe, seed=7))
    torch.rand(3)  # whoever draws random numbers in between changes nothing
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        assert weights(train_generator(synthetic(0), recipe, seed=7)) == first
    finally:
        torch.set_num_threads(threads)
    assert weights(train_generator(synthetic(0), recipe, seed=8)) != first


def test_training_leaves_the_random_numbers_of_others_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train_generator(synthetic(0), RECIPES[0], seed=1)
    assert torch.equal(torch.rand(2), expected)


def test_standardisation_is_that_of_the_training_clips():
    bags = synthetic(0)
    clips = np.concatenate([bag.features for bag in bags])
    generator = train_generator(bags, RECIPES[1].model_copy(update={"epochs": 1}), seed=0)
    np.testing.assert_allclose(generator.mean, clips.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(generator.scale, 1 / clips.std(0, ddof=1), rtol=1e-4)


def test_a_feature_that_never_varied_cannot_drown_the_others():
    bags = [
        Bag(np.concatenate([bag.features, np.ones((len(bag.features), 1), np.float32)], 1), bag.label)
        for bag in synthetic(0)
    ]
    generator = train_generator(bags, RECIPES[1].model_copy(update={"epochs": 1}), seed=0)
    typical = generator.scale[:-1].mean().item()
    assert typical < generator.scale[-1].item() < 200 * typical


def test_members_are_trained_apart_and_laid_side_by_side():
    recipe = RECIPES[1].model_copy(update={"members": 4, "epochs": 5, "unit_length": True})
    seen = []
    generator = train_generator(synthetic(0), recipe, seed=0, progress=seen.append)
    assert generator.architecture.hidden == (512, 32)
    assert generator.architecture.unit_length
    assert seen == list(range(1, 21))
    blocks = generator.narrow.weight.detach().reshape(4, 8, 4, 128)
    for i in range(4):
        for j in range(4):
            assert bool(blocks[i, :, j].any()) == (i == j)
    assert not torch.equal(blocks[0, :, 0], blocks[1, :, 1])


@pytest.mark.parametrize("heads", ["generator", "linear", "both"])
def test_further_normal_videos_are_learned_by_their_weight(heads):
    """Their features resemble the abnormal ones and have a further direction that distinguishes them."""
    recipe = RECIPES[-1].model_copy(update={"heads": heads})
    further = [bag.features + np.float32(4) * np.eye(WIDTH, dtype=np.float32)[[0, 1]].sum(0) for bag in synthetic(2)]
    means = []
    for weight in (None, 0.05, 1.0):
        more = [Bag(features, 0, weight=weight) for features in further] if weight is not None else []
        generator = train_generator([*synthetic(0), *more], recipe, seed=0)
        means.append(np.mean([clip_scores(generator, features).mean() for features in further]))
    assert means[0] > means[1] > means[2]


def test_mirror_images_are_trained_on_as_further_videos():
    bags, images = synthetic(0), synthetic(1)
    both = [Bag(bag.features, bag.label, image.features) for bag, image in zip(bags, images, strict=True)]
    together = train_generator([*bags, *images], RECIPES[1], seed=0)
    assert weights(train_generator(both, RECIPES[1], seed=0)) == weights(together)


def test_progress_counts_the_epochs():
    seen = []
    train_generator(synthetic(0), RECIPES[0].model_copy(update={"epochs": 3}), seed=0, progress=seen.append)
    assert seen == [1, 2, 3]


def in_a_cell(bags: list[Bag], cells: int, seed: int = 5) -> list[Bag]:
    """Each clip as one cell among others of noise."""
    rng = np.random.default_rng(seed)
    placed = []
    for bag in bags:
        grid = rng.normal(size=(len(bag.features), cells, WIDTH)).astype(np.float32)
        grid[np.arange(len(grid)), rng.integers(0, cells, len(grid))] = bag.features
        placed.append(Bag(grid, bag.label))
    return placed


def test_learns_what_is_small_in_the_picture():
    recipe = RECIPES[1].model_copy(update={"epochs": 80})
    generator = train_generator(in_a_cell(synthetic(0), cells=5), recipe, seed=0)
    seen_as = {True: [], False: []}
    for bag in in_a_cell(synthetic(1, count=40), cells=5, seed=6):
        for clip, score in zip(bag.features, clip_scores(generator, bag.features), strict=True):
            seen_as[bool(clip[:, 0].max() > 4)].append(score)
    assert np.median(seen_as[True]) > np.median(seen_as[False]) + 0.4


def test_a_clip_is_as_abnormal_as_its_worst_cell():
    grid = in_a_cell(synthetic(0), cells=3)
    generator = train_generator(grid, RECIPES[1], seed=0)
    for of in (clip_scores, clip_logits):
        for bag in grid:
            cells = [of(generator, np.ascontiguousarray(bag.features[:, cell])) for cell in range(3)]
            assert of(generator, bag.features) == pytest.approx(np.max(cells, axis=0), rel=1e-5)


def test_a_grid_of_one_cell_is_the_clip():
    bags = synthetic(0)
    whole = train_generator(bags, RECIPES[1], seed=3)
    grid = train_generator([Bag(bag.features[:, None], bag.label) for bag in bags], RECIPES[1], seed=3)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(grid.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("bags", "complaint"),
    [
        ([Bag(np.zeros((2, 4), np.float32), 1)] * 3, r"got 0 normal \(label 0\) and 3 abnormal \(label 1\)"),
        ([Bag(np.zeros((2, 4), np.float32), 0)] * 2, r"got 2 normal \(label 0\) and 0 abnormal"),
        ([], "got 0 normal"),
        ([Bag(np.zeros((2, 4), np.float32), 0), Bag(np.zeros((2, 5), np.float32), 1)], "different widths"),
        ([Bag(np.zeros((2, 3, 4), np.float32), 0), Bag(np.zeros((2, 5, 4), np.float32), 1)], "different widths"),
        ([Bag(np.zeros((2, 4), np.float32), 0), Bag(np.zeros((2, 5, 4), np.float32), 1)], "different widths"),
        ([Bag(np.zeros((2, 4), np.float32), 0), Bag(np.full((2, 4), np.nan, np.float32), 1)], "not finite"),
    ],
)
def test_what_cannot_be_trained_on(bags, complaint):
    with pytest.raises(TrainingError, match=complaint):
        train_generator(bags, RECIPES[0], seed=0)


def test_a_loss_that_is_no_number_ends_the_training():
    recipe = RECIPES[0].model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match=r"epoch 2: the loss is not finite: the learning rate 1e\+30 is"):
        train_generator(synthetic(0), recipe, seed=0)


def test_weights_that_are_no_numbers_are_not_a_generator():
    """The loss of the only step is a number; the decay then multiplies the weights by 1 - 1e40, float32's -inf."""
    recipe = RECIPES[2].model_copy(update={"epochs": 1, "learning_rate": 1e20, "weight_decay": 1e20})
    with pytest.raises(TrainingError, match=r"epoch 1: the weights are not finite: the learning rate 1e\+20"):
        train_generator(synthetic(0), recipe, seed=0)
