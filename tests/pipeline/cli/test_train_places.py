"""`mistwatch train places` on small folders, as an operator meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from in_process import called as mistwatch
from PIL import Image

from models.jobs.recipes import read_recipe
from models.places.recipe import PlacesRecipe
from models.places.recipe_sources import RecipeSources
from models.places.trained import load_places

TREE = {
    "classifiers": {"root": ["field", "square"], "square": ["red", "blue"]},
    "data_sets": {
        "coarse": {"annotation": "masks", "labels": ["field", "square"]},
        "colours": {"annotation": "boxes", "labels": ["red", "blue"]},
        "fine": {"annotation": "masks", "labels": ["field", "red", "blue"]},
    },
    "things": ["square"],
}
RECIPE = {
    "name": "squares",
    "data": {
        "tree": "tree.yaml",
        "sets": {name: {"layout": "folder", "folder": name} for name in TREE["data_sets"]},
        "judged": {"layout": "folder", "folder": "fine", "labels": "fine"},
    },
    "channels": 8,
    "shares": {"coarse": 1, "colours": 1, "fine": 1},
    "views": {"size": [32, 48], "crop": [32, 32]},
    "optimisation": {"steps": 3, "learning_rate": 0.01, "kept_every": 2},
}
COLOURS = [(200, 30, 30), (30, 30, 200)]


def write_folder(folder: Path, kind: str) -> None:
    """Pictures with one square each: red or blue by turns."""
    (folder / "pictures").mkdir(parents=True)
    boxes = {}
    for number in range(4):
        picture, mask = np.full((32, 48, 3), 120, np.uint8), np.zeros((32, 48), np.uint8)
        picture[8:24, 8:24] = COLOURS[number % 2]
        mask[8:24, 8:24] = 1 if kind == "coarse" else 1 + number % 2
        Image.fromarray(picture).save(folder / "pictures" / f"{number}.png")
        boxes[f"{number}.png"] = [{"label": ("red", "blue")[number % 2], "box": [8, 8, 24, 24]}]
        if kind != "colours":
            (folder / "masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    if kind == "colours":
        (folder / "boxes.json").write_text(json.dumps(boxes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in TREE["data_sets"]:
        write_folder(tmp_path / "sets" / name, name)
    (tmp_path / "tree.yaml").write_text(yaml.safe_dump(TREE))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path


def train(folder: Path, *words: object) -> tuple[object, str, str]:
    return mistwatch(
        "train", "places", "--config", "recipe.yaml", "--data", "sets", "--out", "run", *words, folder=folder
    )


def test_data_sets_in_folders_are_learned(folder: Path) -> None:
    status, output, problems = train(folder)
    assert (status, problems) == (0, "pictures: runs\ntraining: runs\njudging: runs\nproduct: runs\n")
    lines = output.splitlines()
    assert lines[0] == "squares: a hierarchical network, 3 steps, pictures: 4 of coarse, 4 of colours, 4 of fine"
    assert lines[1].startswith("level 1, 2 classes: mean accuracy ")
    assert lines[2].startswith("level 2, 3 classes: mean accuracy ")
    assert lines[3] == "run/product/places.md: the figures of each class, and judged pictures"
    card, network = load_places(folder / "run" / "product")
    assert (card.name, card.judged, list(network.classifiers)) == ("squares", "pictures of fine", ["root", "square"])
    assert train(folder)[2].count("unchanged") == 4
    picture = folder / "sets" / "coarse" / "pictures" / "0.png"
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(picture)
    assert train(folder)[2] == "pictures: unchanged\ntraining: runs\njudging: runs\nproduct: runs\n"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"root": ["field", "square"], "square": ["red", "blue"], "red": ["red", "x"]}, "node red: "),
        ({"root": ["field", "square", "sea"], "square": ["red", "blue"]}, "class sea: has no dense labels; "),
        ({"root": ["field", "square"], "square": ["red", "blue", "green"]}, "class green: nothing supervises it; "),
    ],
)
def test_a_label_tree_that_cannot_be_used(folder: Path, change: dict[str, list[str]], line: str) -> None:
    (folder / "tree.yaml").write_text(yaml.safe_dump({**TREE, "classifiers": change}))
    status, output, problems = train(folder)
    assert (status, output) == (2, "")
    assert problems.startswith(f"mistwatch: tree.yaml: {line}")
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("optimisation.steps=null", "recipe.yaml: optimisation: Value error, expected either steps or epochs"),
        ("views.zoom=[0.5, 1]", "recipe.yaml: views: Value error, zoom must rise, from 1 or more (got 0.5 to 1)"),
        (
            "views.crop=[64, 32]",
            "recipe.yaml: views: Value error, crop must lie within size (got (64, 32) in (32, 48))",
        ),
        (
            "data.judged.folder=null",
            "recipe.yaml: data.judged: Value error, layout folder: expected a folder (got None)",
        ),
        ("data.judged.labels=null", "data.judged: labels is missing; expected the data set whose labels"),
        ("shares={coarse: 1}", "data set colours: has no share of a batch; expected it among shares"),
        ("kind=deep", "recipe.yaml: kind: "),
    ],
)
def test_a_recipe_that_cannot_be_used(folder: Path, change: str, line: str) -> None:
    status, _, problems = train(folder, "--set", change)
    assert status == 2
    assert line in problems.replace("pictures: runs\n", "")
    assert "Traceback" not in problems


def test_a_missing_mask_is_one_line(folder: Path) -> None:
    (folder / "sets" / "coarse" / "masks" / "2.png").unlink()
    status, _, problems = train(folder)
    assert status == 2
    assert len(problems.replace("pictures: runs\n", "").splitlines()) == 1
    assert "2.png" in problems


@pytest.mark.parametrize("name", ["places-courtyard", "places-meletis-2018"])
def test_the_committed_recipes_are_valid(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(root)
    recipe = read_recipe(PlacesRecipe, root / "configs" / "train" / f"{name}.yaml")
    assert recipe.name == name
    sources = RecipeSources(recipe.data, root)
    assert set(recipe.shares) == set(recipe.data.sets)
    assert ("seeds" in sources.inputs) == (name == "places-courtyard")


def test_two_sets_do_not_share_a_day_of_the_courtyard(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    status, _, problems = mistwatch(
        "train", "places", "--config", "configs/train/places-courtyard.yaml", "--out", "/nonexistent/run",
        "--set", "data.judged.first_seed=31010", folder=root,
    )  # fmt: skip
    assert status == 2
    assert "data: coarse and judged both have the courtyard's day 31010; expected days of their own" in problems
