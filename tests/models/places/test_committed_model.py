"""The committed model of the courtyard: its files, and the places and things of days that it has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from models.card import BUILT_IN
from models.places.courtyard_set import JUDGED, Sampling, courtyard_sets
from models.places.decision import decide
from models.places.judging import count_pixels, figures_by_level
from models.places.recipe import PlacesRecipe
from models.places.trained import load_places
from models.places.tree import read_tree

FOLDER = BUILT_IN / "places-courtyard"


@pytest.fixture(scope="module")
def model():
    return load_places(FOLDER)


def test_its_tree_and_its_settings_are_the_committed_ones(root: Path, model) -> None:
    card, _ = model
    assert card.tree == read_tree(root / "configs" / "places" / "courtyard.yaml")
    recipe = yaml.safe_load((root / "configs" / "train" / "places-courtyard.yaml").read_text(encoding="utf-8"))
    assert card.recipe == PlacesRecipe.model_validate(recipe).settings()
    assert card.name == FOLDER.name
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 6_000_000


def test_it_finds_the_places_and_things_of_unseen_days(model, tmp_path: Path) -> None:
    """The levels lie well below the card's figures: six days vary more than twenty."""
    card, network = model

    class Served:
        def decide(self, pictures: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                return decide(card.tree, network(pictures))

    days = courtyard_sets(card.tree, {JUDGED: range(37000, 37006)}, tmp_path, sampling=Sampling(6, 640))[JUDGED]
    found = figures_by_level(card.tree, count_pixels(Served(), card.tree, days, card.size))
    last = found["levels"][-1]
    accuracy = {name: one["accuracy"] for name, one in last["classes"].items()}
    assert np.mean([accuracy[name] for name in ("paving", "walkway", "path", "lawn", "wall", "door")]) > 0.9
    assert accuracy["person"] > 0.7
    assert last["mean_iou"] > 0.6
    assert found["only_boxed"]["mean_iou"] > 0.45
