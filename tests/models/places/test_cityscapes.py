"""Cityscapes, on a stand-in of a few small pictures in the layout of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.places.cityscapes import LABELS, cityscapes
from models.places.masks import MaskError
from models.places.tree import LabelTree, TreeError, read_tree
from operators.figures.segments import VOID

WIDTH, HEIGHT = 40, 30

#: By the ids of the data set: 7 road, 9 parking, 20 traffic sign, 23 sky, 25 rider, 18 group of poles, 0 unlabelled.
BARS = [7, 9, 20, 23, 25, 18, 0, 33]
NODES = ["driveable", "driveable", "Traffic Sign (Front)", "Sky", "rider", None, None, "Bicycle"]


@pytest.fixture(scope="module")
def tree(root: Path) -> LabelTree:
    return read_tree(root / "configs" / "places" / "meletis-2018.yaml")


def write(folder: Path, split: str, town: str, name: str, grey: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """Write a picture of one grey, and a mask of eight bars, five pixels wide each."""
    pictures, masks = folder / "leftImg8bit" / split / town, folder / "gtFine" / split / town
    pictures.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, 1, 2)).save(pictures / f"{name}_leftImg8bit.png")
    mask = np.repeat(np.array(BARS, np.uint8), WIDTH // len(BARS))[None].repeat(HEIGHT, 0)
    Image.fromarray(mask, "L").save(masks / f"{name}_gtFine_labelIds.png")
    for other in ("color", "instanceIds"):  # beside the masks in the original
        Image.new("L", (WIDTH, HEIGHT)).save(masks / f"{name}_gtFine_{other}.png")
    return masks / f"{name}_gtFine_labelIds.png"


def test_pictures_have_the_nodes_of_their_ids(tmp_path: Path, tree: LabelTree) -> None:
    write(tmp_path, "train", "bonn", "bonn_000001_000019", 20)
    write(tmp_path, "train", "aachen", "aachen_000000_000019", 10)
    write(tmp_path, "val", "lindau", "lindau_000000_000019", 30)
    found = cityscapes(tmp_path, tree)
    assert (found.name, found.of_boxes, len(found)) == ("cityscapes", False, 2)
    assert [int(found.sample(index).picture[0, 0, 0]) for index in range(2)] == [10, 20]
    sample = found.sample(0)
    assert sample.picture.shape == (HEIGHT, WIDTH, 3)
    assert sample.nodes.dtype == np.int64
    expected = [VOID if node is None else tree.nodes.index(node) for node in NODES]
    for at, node in enumerate(expected):
        assert (sample.nodes[:, 5 * at : 5 * at + 5] == node).all()
    assert cityscapes(tmp_path, tree, split="val").sample(0).picture[0, 0].tolist() == [30, 1, 2]


def test_the_digest_changes_with_a_mask(tmp_path: Path, tree: LabelTree) -> None:
    mask = write(tmp_path, "train", "bonn", "bonn_0", 20)
    before = cityscapes(tmp_path, tree).digest
    assert cityscapes(tmp_path, tree).digest == before
    Image.new("L", (WIDTH, HEIGHT), 7).save(mask)
    assert cityscapes(tmp_path, tree).digest != before


def test_the_published_ids_are_those_of_the_tree(tree: LabelTree) -> None:
    assert tree.data_sets["cityscapes"].labels == LABELS
    assert (len(LABELS), LABELS[7], LABELS[19], LABELS[33]) == (34, "road", "traffic light", "bicycle")


def test_another_tree_is_refused(tmp_path: Path, tree: LabelTree) -> None:
    sets = dict(tree.data_sets)
    labels = list(LABELS)
    labels[7], labels[8] = labels[8], labels[7]
    sets["cityscapes"] = sets["cityscapes"].model_copy(update={"labels": tuple(labels)})
    other = LabelTree(tree.classifiers, sets)
    with pytest.raises(TreeError, match="label 7 is sidewalk; expected road as in the data set's ids"):
        cityscapes(tmp_path, other)
    with pytest.raises(TreeError, match="data set vistas: 66 labels; expected the 34 of the data set's ids"):
        cityscapes(tmp_path, tree, name="vistas")
    with pytest.raises(TreeError, match="data set gtsdb: has the annotation boxes; expected masks"):
        cityscapes(tmp_path, tree, name="gtsdb")
    with pytest.raises(TreeError, match="data set streets: unknown to the label tree"):
        cityscapes(tmp_path, tree, name="streets")


def test_a_missing_folder_and_an_empty_one_are_named(tmp_path: Path, tree: LabelTree) -> None:
    with pytest.raises(MaskError, match=r"leftImg8bit/train: no such folder"):
        cityscapes(tmp_path, tree)
    (tmp_path / "leftImg8bit" / "train" / "bonn").mkdir(parents=True)
    with pytest.raises(MaskError, match=r"leftImg8bit/train: no pictures; expected \*/\*_leftImg8bit\.png"):
        cityscapes(tmp_path, tree)


def test_missing_masks_have_a_line_each(tmp_path: Path, tree: LabelTree) -> None:
    masks = [write(tmp_path, "train", "bonn", f"bonn_{number}", 20) for number in range(3)]
    for mask in masks[1:]:
        mask.unlink()
    with pytest.raises(MaskError) as error:
        cityscapes(tmp_path, tree)
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [str(mask) for mask in masks[1:]]
    assert lines[0].endswith(f"no such mask; expected one for {tmp_path}/leftImg8bit/train/bonn/bonn_1_leftImg8bit.png")


def test_a_mask_of_another_size_is_named(tmp_path: Path, tree: LabelTree) -> None:
    mask = write(tmp_path, "train", "bonn", "bonn_0", 20, size=(20, 15))
    found = cityscapes(tmp_path, tree)
    with pytest.raises(MaskError) as error:
        found.sample(0)
    assert str(error.value) == (
        f"{mask}: another size than its picture (got 40×30); expected 20×15 as in "
        f"{tmp_path}/leftImg8bit/train/bonn/bonn_0_leftImg8bit.png"
    )


def test_an_id_without_a_label_is_refused(tmp_path: Path, tree: LabelTree) -> None:
    mask = write(tmp_path, "train", "bonn", "bonn_0", 20)
    Image.new("L", (WIDTH, HEIGHT), 34).save(mask)
    with pytest.raises(MaskError, match=r"labelIds\.png: index 34 has no label; expected 0 to 33, or 255 for void"):
        cityscapes(tmp_path, tree).sample(0)


def test_licence_plates_are_void(tmp_path: Path, tree: LabelTree) -> None:
    """Their id is −1, which is 255 in a byte."""
    mask = write(tmp_path, "train", "bonn", "bonn_0", 20)
    Image.new("L", (WIDTH, HEIGHT), 255).save(mask)
    assert (cityscapes(tmp_path, tree).sample(0).nodes == VOID).all()


@pytest.mark.parametrize("part", ["picture", "mask"])
def test_a_damaged_file_is_named(tmp_path: Path, tree: LabelTree, part: str) -> None:
    mask = write(tmp_path, "train", "bonn", "bonn_0", 20)
    file = mask if part == "mask" else tmp_path / "leftImg8bit" / "train" / "bonn" / "bonn_0_leftImg8bit.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(MaskError, match=f"{file.name}: cannot be read as a picture"):
        cityscapes(tmp_path, tree).sample(0)
