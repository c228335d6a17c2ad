"""`mistwatch train simclr` on a folder of pictures, as an operator meets it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from in_process import called as mistwatch
from picture_archives import write_cifar10, write_stripes

from models.alike.recipe import AlikeRecipe
from models.jobs.recipes import read_recipe

QUICK = {"optimiser": "adam", "epochs": 2, "batch": 16, "learning_rate": 0.01}
RECIPE = {
    "encoder": {"kind": "small", "channels": [4, 4, 8]},
    "weak": {"flip": False},
    "strong": {"flip": False, "changes": 1},
    "contrast": {"values": 8, "optimisation": QUICK},
    "clustering": {"clusters": 3, "neighbours": 3, "optimisation": QUICK},
    "self_labels": {"confidence": 0.4, "optimisation": QUICK},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simclr")
    write_stripes(folder / "stripes", of_each=10)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


def train(folder: Path, *words: object) -> tuple[object, str, str]:
    return mistwatch("train", "simclr", "--config", "recipe.yaml", "--out", "run", *words, folder=folder)


def test_a_folder_of_pictures_is_clustered(folder: Path) -> None:
    status, output, problems = train(folder, "--data", "stripes")
    assert (status, problems) == (
        0,
        "pretext: runs\nbank: runs\nclustering: runs\nself_labels: runs\nproduct: runs\n",
    )
    lines = output.splitlines()
    assert lines[0] == "3 clusters, learned from 21 pictures of stripes"
    assert lines[1].startswith("9 other pictures: class by neighbours right for ")
    assert lines[2].startswith("after clustering: clustering accuracy ")
    assert lines[3].startswith("after self-labelling: clustering accuracy ")
    product = folder / "run" / "product"
    assert lines[4].startswith("run/product/clusters.png: ")
    picture = cv2.imread(str(product / "clusters.png"))
    assert picture is not None
    assert picture.shape == (3 * (20 + 64 + 6), 6 + 12 * 70, 3)
    assert not np.all(picture == 255)


@pytest.mark.parametrize("name", ["simclr-cifar10", "simclr-stl10", "simclr-digits"])
def test_the_committed_recipes_are_valid(root: Path, name: str) -> None:
    recipe = read_recipe(AlikeRecipe, root / "configs" / "train" / f"{name}.yaml")
    assert recipe.name == name
    assert recipe.data.layout == name.partition("-")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "data.folder: the recipe does not say where its pictures are; name their folder: --data DIR"),
        (["--data", "missing"], "missing: no such folder"),
        (["--data", "empty"], "empty: too few pictures (got 0); expected at least 3"),
        (["--data", "unreadable"], "unreadable/c.png: not a picture that can be decoded"),
        (["--data", "sizes"], "sizes/2.png: another size than the pictures before it (got 12×8, not 8×8)"),
        (
            ["--data", "stripes", "--set", "clustering.neighbours=40"],
            "stripes: 21 pictures to learn from are too few for 40",
        ),
        (["--data", "stripes", "--set", "clustering.clusters=1"], "recipe.yaml: clustering.clusters"),
        (["--data", "stripes", "--set", "contrast.form=both"], "recipe.yaml: contrast.form: Input should be"),
        (["--data", "stripes", "--set", "data.layout=cifar10"], "stripes/data_batch_1.bin: missing"),
        (["--data", "stripes", "--set", "data.layout=digits"], "stripes: scikit-learn's digits need no folder"),
        (["--config", "missing.yaml"], "missing.yaml: no such file"),
    ],
)
def test_what_cannot_be_trained_is_reported_and_leaves_no_run(
    folder: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    for name in ("empty", "unreadable", "sizes"):
        (tmp_path / name).mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "unreadable" / name), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "unreadable" / "c.png").write_bytes(b"none")
    for number in range(3):
        cv2.imwrite(str(tmp_path / "sizes" / f"{number}.png"), np.zeros((8, 12 if number == 2 else 8, 3), np.uint8))
    (tmp_path / "stripes").symlink_to(folder / "stripes")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    status, output, problems = train(tmp_path, *words)
    assert (status, output) == (2, "")
    lines = problems.splitlines()
    assert lines[0].startswith(f"mistwatch: {message}")
    assert all(line.startswith("mistwatch: ") or "recipe.yaml: " in line for line in lines)
    assert not (tmp_path / "run").exists()


def test_cifar10_s_layout_trains_as_well(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "data", of_batch=3)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    status, output, _ = train(tmp_path, "--data", "data", "--set", "data.layout=cifar10")
    assert status == 0
    assert output.startswith("3 clusters, learned from 15 pictures of CIFAR-10\n3 other pictures: ")
