"""Scores of the training videos by generators that have not seen them."""

from __future__ import annotations

import numpy as np

from models.detectors.mist.bag import Bag
from models.detectors.mist.generator_recipe import Recipe
from models.detectors.mist.generator_scoring import clip_logits
from models.detectors.mist.generator_training import train_generator
from models.detectors.mist.stages.labels import out_of_fold_logits


def test_out_of_fold_logits_come_from_the_other_folds():
    rng = np.random.default_rng(0)
    bags = [Bag(rng.normal(size=(3 + i % 4, 5)).astype(np.float32) + i % 2, i % 2) for i in range(12)]
    folds = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    recipe = Recipe(name="t", loss="paper", sub_bags=2, sub_bag_clips=2, batch=4, epochs=3)
    found = out_of_fold_logits(bags, folds, recipe, seed=5)
    for fold in folds:
        generator = train_generator([bag for i, bag in enumerate(bags) if i not in fold], recipe, seed=5)
        for i in fold:
            assert np.array_equal(found[i], clip_logits(generator, bags[i].features))
