"""Data sets in a folder: small ones by hand, the masks that `mistwatch synth` writes, and a line for each mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.places.folder_set import FolderSet, read_folder_set
from models.places.masks import MaskError
from models.places.tree import LabelTree, TreeError, read_tree
from operators.figures.segments import VOID
from pipeline.courtyard.masks import write_masks
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.segments import CLASSES
from pipeline.courtyard.settings import SceneSettings

V = VOID
PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
MASK = [[0, 1, 2], [3, 255, 1]]
BOXES: dict[str, Any] = {
    "a.png": [{"label": "van", "box": [0, 0, 3, 2]}, {"label": "bus", "box": [1, 0, 2, 1.5]}],
    "b.png": [],
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> LabelTree:
    file = tmp_path_factory.mktemp("tree") / "tree.yaml"
    file.write_text(
        """
classifiers:
  root: [way, sky, car]
  car: [van, bus]
data_sets:
  dense: {annotation: masks, labels: [nothing, sky, way, car], means: {nothing: null}}
  objects: {annotation: boxes, labels: [bus, van, blurred], means: {blurred: null}}
"""
    )
    return read_tree(file)


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    for part in ("pictures", "masks"):
        (tmp_path / part).mkdir()
    for name in ("b", "a"):
        Image.fromarray(PICTURE).save(tmp_path / "pictures" / f"{name}.png")
        Image.fromarray(np.array(MASK, np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


@pytest.fixture
def objects(dense: Path) -> Path:
    write_boxes(dense, BOXES)
    return dense


def write_boxes(folder: Path, boxes: Any) -> None:
    (folder / "boxes.json").write_text(json.dumps(boxes))


class TestMasks:
    def test_stand_for_the_nodes_of_their_labels(self, dense: Path, tree: LabelTree) -> None:
        found = read_folder_set(dense, "dense", tree)
        assert (found.name, found.of_boxes, len(found)) == ("dense", False, 2)
        assert [file.name for file in found.pictures] == ["a.png", "b.png"]
        sample = found.sample(0)
        assert np.array_equal(sample.picture, PICTURE)
        assert sample.nodes.dtype == np.int64
        way, sky, car = (tree.index[name] for name in ("way", "sky", "car"))
        assert sample.nodes.tolist() == [[V, sky, way], [car, V, sky]]

    def test_may_be_palettes_of_any_picture(self, dense: Path, tree: LabelTree) -> None:
        mask = Image.fromarray(np.array(MASK, np.uint8), "P")
        mask.putpalette([9, 9, 9] * 256)
        mask.save(dense / "masks" / "c.png")
        Image.fromarray(PICTURE).convert("L").save(dense / "pictures" / "c.JPG")
        found = read_folder_set(dense, "dense", tree)
        assert np.array_equal(found.sample(2).nodes, found.sample(0).nodes)
        assert found.sample(2).picture.shape == (2, 3, 3)

    def test_an_index_without_a_label_is_named_when_it_is_read(self, dense: Path, tree: LabelTree) -> None:
        Image.fromarray(np.array([[0, 1, 2], [4, 254, 1]], np.uint8)).save(dense / "masks" / "b.png")
        with pytest.raises(MaskError) as error:
            read_folder_set(dense, "dense", tree).sample(1)
        expected = "index 254 has no label; expected 0 to 3, or 255 for void"
        assert str(error.value) == f"{dense / 'masks' / 'b.png'}: {expected}"

    def test_of_synth_are_a_data_set(self, tmp_path: Path, root: Path) -> None:
        shown = Courtyard(SceneSettings(seed=5, fps=2, seconds=4))
        write_masks(shown, tmp_path / "film.masks", 2)
        text = (root / "configs" / "places" / "courtyard.yaml").read_text()
        labels = ", ".join(CLASSES)
        assert f"labels: [{labels}]\n" in (root / "docs" / "OPERATIONS.md").read_text()
        (tmp_path / "tree.yaml").write_text(f"{text}  all: {{annotation: masks, labels: [{labels}]}}\n")
        tree = read_tree(tmp_path / "tree.yaml")
        found = read_folder_set(tmp_path / "film.masks", "all", tree)
        assert len(found) == 2
        for at, frame in enumerate((0, 4)):
            sample, segments = found.sample(at), shown.segments(frame)
            assert np.array_equal(sample.picture, shown.frame(frame))
            for index, name in enumerate(CLASSES):
                assert np.array_equal(sample.nodes == tree.index[name], segments == index)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("coarse", "data set coarse: 7 labels; expected the 15 of {0}/classes.json"),
            ("mixed", "data set mixed: label 1 is path; expected walkway as in {0}/classes.json"),
        ],
    )
    def test_of_synth_are_refused_as_a_data_set_with_other_labels(
        self, tmp_path: Path, root: Path, name: str, message: str
    ) -> None:
        """Index 1 is the walkway there, and the building in "coarse"."""
        folder = tmp_path / "film"
        write_masks(Courtyard(SceneSettings(seed=5, fps=2, seconds=1)), folder, 1)
        text = (root / "configs" / "places" / "courtyard.yaml").read_text()
        labels = ", ".join([CLASSES[0], CLASSES[2], CLASSES[1], *CLASSES[3:]])
        (tmp_path / "tree.yaml").write_text(f"{text}  mixed: {{annotation: masks, labels: [{labels}]}}\n")
        with pytest.raises(TreeError) as error:
            read_folder_set(folder, name, read_tree(tmp_path / "tree.yaml"))
        assert str(error.value) == message.format(folder)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{}", "classes: Field required; expected the labels of the masks as classes"),
            ('{"classes": [1]}', "classes.0: Input should be a valid string"),
            ("[" * 100_000, "the file: Invalid JSON: recursion limit exceeded"),
        ],
    )
    def test_with_an_unreadable_list_of_labels_are_refused(
        self, dense: Path, tree: LabelTree, text: str, message: str
    ) -> None:
        (dense / "classes.json").write_text(text)
        assert_refused(dense, "dense", tree, f"{{0}}/classes.json: {message}")


class TestBoxes:
    def test_are_painted(self, objects: Path, tree: LabelTree) -> None:
        found = read_folder_set(objects, "objects", tree)
        assert (found.name, found.of_boxes, len(found)) == ("objects", True, 2)
        van, bus = tree.index["van"], tree.index["bus"]
        assert found.sample(0).nodes.tolist() == [[van, bus, van], [van, van, van]]
        assert (found.sample(1).nodes == VOID).all()

    def test_of_void_say_nothing(self, objects: Path, tree: LabelTree) -> None:
        write_boxes(objects, BOXES | {"b.png": [{"label": "blurred", "box": [0, 0, 1, 1]}]})
        assert (read_folder_set(objects, "objects", tree).sample(1).nodes == VOID).all()


class TestTheDigest:
    def test_changes_with_each_file(self, objects: Path, tree: LabelTree) -> None:
        def digests() -> tuple[str, str]:
            return read_folder_set(objects, "dense", tree).digest, read_folder_set(objects, "objects", tree).digest

        dense, boxes = digests()
        assert digests() == (dense, boxes)
        Image.fromarray(np.zeros((2, 3), np.uint8)).save(objects / "masks" / "a.png")
        assert digests()[0] != dense
        assert digests()[1] == boxes
        write_boxes(objects, BOXES | {"b.png": [{"label": "van", "box": [0, 0, 1, 1]}]})
        assert digests()[1] != boxes
        dense, boxes = digests()
        Image.fromarray(PICTURE + 1).save(objects / "pictures" / "a.png")
        assert dense != digests()[0]
        assert boxes != digests()[1]


def of_other_size(folder: Path) -> None:
    Image.fromarray(np.zeros((3, 2), np.uint8)).save(folder / "masks" / "a.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "masks" / "b.png").unlink(),
            "{0}/pictures/b.png: its mask {0}/masks/b.png is missing; add it, or remove the picture",
        ),
        (
            of_other_size,
            "{0}/masks/a.png: another size than its picture (got 2×3); expected 3×2 as in {0}/pictures/a.png",
        ),
        (
            lambda folder: (folder / "pictures" / "b.png").unlink(),
            "{0}/masks/b.png: a mask without its picture; remove it",
        ),
        (
            lambda folder: Image.fromarray(PICTURE).save(folder / "pictures" / "a.jpg"),
            "{0}/masks/a.png: 2 pictures have this mask; expected one picture of this name",
        ),
        (
            lambda folder: (folder / "masks" / "a.png").write_bytes(b"text"),
            "{0}/masks/a.png: cannot be read as a picture: cannot identify image file '{0}/masks/a.png'",
        ),
        (
            lambda folder: (folder / "masks").rename(folder / "labels"),
            "{0}/masks: no such folder; see the layout of data sets in docs/OPERATIONS.md",
        ),
        (
            lambda folder: [file.unlink() for file in (folder / "pictures").iterdir()],
            "{0}/pictures: no pictures; expected files named *.png or *.jpg",
        ),
    ],
)
def test_masks_that_do_not_fit_are_one_clear_line(
    dense: Path, tree: LabelTree, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(dense)
    assert_refused(dense, "dense", tree, message)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({"a.png": []}, "{0}/boxes.json: b.png: has no entry; add one, which is [] for a picture without objects"),
        (BOXES | {"c.png": []}, "{0}/boxes.json: c.png: no such picture; remove the entry"),
        (
            BOXES | {"b.png": [{"label": "tram", "box": [0, 0, 1, 1]}]},
            "{0}/boxes.json: b.png: unknown label (got tram); expected one of bus, van, blurred",
        ),
        (
            BOXES | {"b.png": [{"label": "bus", "box": [0, 0, 4, 1]}]},
            "{0}/pictures/b.png: box [0, 0, 4, 1] lies partly outside the picture; expected [left, top, right, bottom] "
            "within 3×2 pixels; correct it, or remove it",
        ),
        (
            BOXES | {"b.png": [{"label": "bus", "box": [0, 0, float("nan"), 1]}]},
            "{0}/pictures/b.png: box [0, 0, nan, 1] has sides that are not finite numbers; expected [left, top, right, "
            "bottom] within 3×2 pixels; correct it, or remove it",
        ),
        (
            BOXES | {"b.png": [{"label": "bus", "box": [0, 0, 1]}]},
            "{0}/boxes.json: b.png.0.box: List should have at least 4 items after validation, not 3",
        ),
        (
            BOXES | {"b.png": [{"label": "bus", "box": [0, 0, True, 1]}]},
            "{0}/boxes.json: b.png.0.box.2: Input should be a valid number",
        ),
        ([], "{0}/boxes.json: the file: Input should be a valid dictionary"),
    ],
)
def test_boxes_that_do_not_fit_are_one_clear_line(objects: Path, tree: LabelTree, boxes: Any, message: str) -> None:
    write_boxes(objects, boxes)
    assert_refused(objects, "objects", tree, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "{0}/boxes.json: no such file; expected the boxes of each picture"),
        ('{"a.png": [], "a.png": []}', "{0}/boxes.json: cannot be read as JSON: key 'a.png' stands twice"),
        ("[" * 100_000, "{0}/boxes.json: cannot be read as JSON: maximum recursion depth exceeded"),
    ],
)
def test_an_unreadable_file_of_boxes_is_one_clear_line(
    objects: Path, tree: LabelTree, text: str | None, message: str
) -> None:
    if text is None:
        (objects / "boxes.json").unlink()
    else:
        (objects / "boxes.json").write_text(text)
    assert_refused(objects, "objects", tree, message)


def test_of_many_mistakes_the_first_ten_are_listed(objects: Path, tree: LabelTree) -> None:
    write_boxes(objects, BOXES | {f"{number}.png": [] for number in range(30)})
    with pytest.raises(MaskError) as error:
        read_folder_set(objects, "objects", tree)
    lines = str(error.value).splitlines()
    assert (len(lines), lines[-1]) == (11, "20 more lines like these")


def test_an_unknown_data_set_is_refused(objects: Path, tree: LabelTree) -> None:
    with pytest.raises(TreeError, match="data set night: unknown to the label tree"):
        read_folder_set(objects, "night", tree)


def assert_refused(folder: Path, name: str, tree: LabelTree, message: str) -> None:
    with pytest.raises(MaskError) as error:
        read_folder_set(folder, name, tree)
    (line,) = str(error.value).splitlines()
    assert line.startswith(message.format(folder))
    assert error.value.exit_status == 2


def test_a_truncated_picture_is_named_when_it_is_read(dense: Path, tree: LabelTree) -> None:
    rng = np.random.default_rng(0)
    picture = dense / "pictures" / "a.png"
    Image.fromarray(rng.integers(0, 256, (2, 3, 3), dtype=np.uint8)).save(picture)
    picture.write_bytes(picture.read_bytes()[:50])
    found: FolderSet = read_folder_set(dense, "dense", tree)
    with pytest.raises(MaskError, match=r"a\.png: cannot be read as a picture"):
        found.sample(0)
