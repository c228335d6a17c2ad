"""Mapillary Vistas, on a stand-in of a few small pictures in the layouts of the original."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.places.masks import MaskError
from models.places.tree import LabelTree, TreeError, read_tree
from models.places.vistas import vistas
from operators.figures.segments import VOID

#: The palette indices of four quarters of a picture, and the nodes that they mean.
QUARTERS = {13: "Road", 20: "Bicyclist", 50: "Traffic Sign (Front)", 65: None}


@pytest.fixture(scope="module")
def tree(root: Path) -> LabelTree:
    return read_tree(root / "configs" / "places" / "meletis-2018.yaml")


def configuration(tree: LabelTree) -> dict:
    labels = tree.data_sets["vistas"].labels
    return {
        "version": "1.1",
        "labels": [
            {"name": f"kind--{label.lower()}", "readable": label, "color": [1, 2, 3], "evaluate": True}
            for label in labels
        ],
    }


def write(
    folder: Path, split: str, name: str, below: str = "labels", indices: tuple[int, ...] = tuple(QUARTERS)
) -> Path:
    """Write a grey picture, and a mask of four quarters whose palette has one colour."""
    pictures, masks = folder / split / "images", folder / split / below
    pictures.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (90, 90, 90)).save(pictures / f"{name}.jpg")
    quarters = np.array(indices, np.uint8).reshape(2, 2).repeat(15, 0).repeat(20, 1)
    mask = Image.fromarray(quarters, "P")
    mask.putpalette([7, 7, 7] * 256)
    mask.save(masks / f"{name}.png")
    return masks / f"{name}.png"


@pytest.mark.parametrize(("file", "below"), [("config.json", "labels"), ("config_v1.2.json", "v1.2/labels")])
def test_pictures_have_the_nodes_of_their_indices(tmp_path: Path, tree: LabelTree, file: str, below: str) -> None:
    (tmp_path / file).write_text(json.dumps(configuration(tree)))
    write(tmp_path, "training", "b-2", below)
    write(tmp_path, "training", "a_1", below)
    write(tmp_path, "validation", "c", below)
    found = vistas(tmp_path, tree)
    assert (found.name, found.of_boxes, len(found)) == ("vistas", False, 2)
    assert len(vistas(tmp_path, tree, split="validation")) == 1
    sample = found.sample(1)
    assert np.abs(sample.picture.astype(int) - 90).max() <= 2  # JPEG
    assert sample.picture.shape == (30, 40, 3)
    expected = [VOID if node is None else tree.nodes.index(node) for node in QUARTERS.values()]
    corners = [
        sample.nodes[rows, columns] for rows in (slice(15), slice(15, 30)) for columns in (slice(20), slice(20, 40))
    ]
    assert [np.unique(corner).tolist() for corner in corners] == [[node] for node in expected]


def test_the_66_names_are_the_published_order(tree: LabelTree, data: Path) -> None:
    """The first 65 classes of the authors' flat list are the labels of Vistas; the last one is void."""
    flat = json.loads((data / "hierarchy" / "training_problem_def.json").read_text())["cids2labels"]
    assert list(tree.data_sets["vistas"].labels) == [*flat[:65], "Unlabeled"]


def test_a_missing_configuration_is_named(tmp_path: Path, tree: LabelTree) -> None:
    write(tmp_path, "training", "a")
    with pytest.raises(MaskError, match=r"configuration is missing; expected config\.json or config_v1\.2\.json"):
        vistas(tmp_path, tree)


def test_labels_of_another_version_are_refused(tmp_path: Path, tree: LabelTree) -> None:
    found = configuration(tree)
    found["labels"][3]["readable"] = "Hedge"
    (tmp_path / "config.json").write_text(json.dumps(found))
    with pytest.raises(TreeError, match=r"data set vistas: label 3 is Fence; expected Hedge as in .*config\.json"):
        vistas(tmp_path, tree)
    found["labels"] *= 2
    (tmp_path / "config.json").write_text(json.dumps(found))
    with pytest.raises(TreeError, match=r"data set vistas: 66 labels; expected the 132 of .*config\.json"):
        vistas(tmp_path, tree)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Invalid JSON"),
        ("[]", "the file: Input should be an object"),
        ('{"labels": [{"name": "a"}]}', r"labels\.0\.readable: Field required"),
        ("[" * 100_000, "Invalid JSON"),
    ],
)
def test_a_bad_configuration_has_one_line(tmp_path: Path, tree: LabelTree, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(MaskError, match=message) as error:
        vistas(tmp_path, tree)
    assert str(error.value).startswith(f"{tmp_path}/config.json: ")
    assert "\n" not in str(error.value)


def test_pictures_without_masks_and_a_split_without_pictures_are_named(tmp_path: Path, tree: LabelTree) -> None:
    (tmp_path / "config.json").write_text(json.dumps(configuration(tree)))
    mask = write(tmp_path, "training", "a")
    mask.unlink()
    with pytest.raises(MaskError, match=r"training/labels/a\.png: no such mask; expected one for .*images/a\.jpg"):
        vistas(tmp_path, tree)
    with pytest.raises(MaskError, match=r"testing/images: no such folder"):
        vistas(tmp_path, tree, split="testing")


def test_an_index_of_version_2_is_refused(tmp_path: Path, tree: LabelTree) -> None:
    (tmp_path / "config.json").write_text(json.dumps(configuration(tree)))
    write(tmp_path, "training", "a", indices=(0, 1, 2, 66))
    with pytest.raises(MaskError, match=r"a\.png: index 66 has no label; expected 0 to 65"):
        vistas(tmp_path, tree).sample(0)
