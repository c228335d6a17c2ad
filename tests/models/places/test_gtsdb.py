"""GTSDB, on a stand-in of a few small pictures in the layout of the original."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.places.gtsdb import LABELS, gtsdb
from models.places.masks import MaskError
from models.places.tree import LabelTree, TreeError, read_tree
from operators.figures.segments import VOID

LINES = """\
00001.ppm;2;3;5;6;13
00001.ppm;0;0;19;9;38
00599.ppm;39;29;39;29;42
00600.ppm;1;1;2;2;0
"""


@pytest.fixture(scope="module")
def tree(root: Path) -> LabelTree:
    return read_tree(root / "configs" / "places" / "meletis-2018.yaml")


def write(folder: Path, lines: str = LINES, pictures: tuple[int, ...] = (0, 1, 599, 600)) -> Path:
    for number in pictures:
        Image.new("RGB", (40, 30), (number % 256, 1, 2)).save(folder / f"{number:05}.ppm")
    (folder / "gt.txt").write_text(lines)
    return folder


def test_boxes_include_their_last_row_and_column(tmp_path: Path, tree: LabelTree) -> None:
    """A small "give way" of 4 × 4 pixels lies over a "keep right" of 20 × 10."""
    found = gtsdb(write(tmp_path), tree)
    assert (found.name, found.of_boxes, len(found)) == ("gtsdb", True, 2)
    sample = found.sample(0)
    assert sample.picture[0, 0].tolist() == [1, 1, 2]
    expected = np.full((30, 40), VOID)
    expected[0:10, 0:20] = tree.nodes.index("m_keep_right")
    expected[3:7, 2:6] = tree.nodes.index("o_give_away")
    assert sample.nodes.dtype == np.int64
    assert sample.nodes.tolist() == expected.tolist()


def test_a_box_of_one_pixel_in_the_corner_is_inside(tmp_path: Path, tree: LabelTree) -> None:
    nodes = gtsdb(write(tmp_path), tree).sample(1).nodes
    assert np.argwhere(nodes != VOID).tolist() == [[29, 39]]
    assert tree.nodes[nodes[29, 39]] == "o_restr_end_ovrtkng_t"


def test_picture_600_is_the_first_of_the_test_split(tmp_path: Path, tree: LabelTree) -> None:
    found = gtsdb(write(tmp_path), tree, split="test")
    assert len(found) == 1
    assert found.sample(0).nodes[1:3, 1:3].tolist() == [[tree.nodes.index("p_limit_20")] * 2] * 2


def test_only_pictures_of_the_split_must_be_there(tmp_path: Path, tree: LabelTree) -> None:
    folder = write(tmp_path, pictures=(1, 599))
    assert len(gtsdb(folder, tree)) == 2
    with pytest.raises(MaskError, match=r"gt\.txt: line 4: no picture 00600\.ppm in the folder"):
        gtsdb(folder, tree, split="test")


def test_the_43_names_are_the_authors_in_their_order(tree: LabelTree, data: Path) -> None:
    flat = json.loads((data / "hierarchy" / "training_problem_def.json").read_text())["cids2labels"]
    assert list(LABELS) == flat[65:108]
    assert tree.data_sets["gtsdb"].labels == LABELS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "00001.ppm;2;3;5;6",
            r"malformed \(got '00001\.ppm;2;3;5;6'\); expected 00000\.ppm;left;top;right;bottom;class",
        ),
        ("00001.ppm;2;3;5;6;13;0", "malformed"),
        ("00001.ppm;2;x;5;6;13", "malformed"),
        ("00001.ppm;-2;3;5;6;13", "malformed"),
        ("00001.ppm;2.5;3;5;6;13", "malformed"),
        ("../../01.ppm;2;3;5;6;13", "malformed"),
        ("", "malformed"),
        ("00001.ppm;2;3;5;6;43", r"unknown class \(got 43\); expected 0 to 42"),
        ("00001.ppm;6;3;5;6;1", r"inverted box \(got 6;3;5;6\); expected left ≤ right and top ≤ bottom"),
        ("00001.ppm;2;7;5;6;1", r"inverted box"),
        ("00002.ppm;2;3;5;6;1", r"no picture 00002\.ppm in the folder"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, tree: LabelTree, line: str, message: str) -> None:
    write(tmp_path, f"00001.ppm;2;3;5;6;13\n{line}\n00001.ppm;2;3;5;6;13\n")
    with pytest.raises(MaskError, match=message) as error:
        gtsdb(tmp_path, tree)
    assert str(error.value).startswith(f"{tmp_path}/gt.txt: line 2: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("2;3;40;6", r"box \[2, 3, 41, 7\] lies partly outside the picture; expected .* within 40×30 pixels"),
        ("2;3;5;30", r"box \[2, 3, 6, 31\] lies partly outside the picture"),
    ],
)
def test_a_box_outside_of_its_picture_is_named(tmp_path: Path, tree: LabelTree, box: str, message: str) -> None:
    found = gtsdb(write(tmp_path, f"00001.ppm;0;0;1;1;13\n00001.ppm;{box};13\n"), tree)
    with pytest.raises(MaskError, match=rf"00001\.ppm: {message}"):
        found.sample(0)


def test_many_bad_lines_are_shortened(tmp_path: Path, tree: LabelTree) -> None:
    write(tmp_path, "bad\n" * 25)
    with pytest.raises(MaskError) as error:
        gtsdb(tmp_path, tree)
    lines = str(error.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "15 more lines are bad"


def test_a_missing_list_an_empty_one_and_an_unknown_split_are_named(tmp_path: Path, tree: LabelTree) -> None:
    with pytest.raises(MaskError, match=r"gt\.txt: no such file; expected a line for each traffic sign"):
        gtsdb(tmp_path, tree)
    write(tmp_path, "00001.ppm;2;3;5;6;13\n")
    with pytest.raises(MaskError, match=r"no pictures of the split test; expected lines for 00600\.ppm to 00899\.ppm"):
        gtsdb(tmp_path, tree, split="test")
    with pytest.raises(MaskError, match=r"unknown split \(got val\); expected train or test"):
        gtsdb(tmp_path, tree, split="val")
    (tmp_path / "gt.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(MaskError, match=r"gt\.txt: cannot be read as text"):
        gtsdb(tmp_path, tree)


def test_a_data_set_of_masks_is_refused(tmp_path: Path, tree: LabelTree) -> None:
    with pytest.raises(TreeError, match="data set vistas: has the annotation masks; expected boxes"):
        gtsdb(write(tmp_path), tree, name="vistas")


def test_a_damaged_picture_is_named(tmp_path: Path, tree: LabelTree) -> None:
    found = gtsdb(write(tmp_path), tree)
    (tmp_path / "00001.ppm").write_bytes(b"P6 40 30 255 ")
    with pytest.raises(MaskError, match=r"00001\.ppm: cannot be read as a picture"):
        found.sample(0)
