"""Masks: small ones by hand, and the figures of three real ones against a count of their own."""

from __future__ import annotations

import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.places.masks import ColourList, MaskError, read_colours, read_indices
from models.places.tree import read_tree
from operators.figures.segments import AMBIGUOUS, VOID, count_segments, segment_figures

RED, GREY, BLACK = (255, 0, 0), (170, 170, 170), (0, 0, 0)
DRAWN = ColourList(("rider", "manhole", "pothole", "void"), (RED, GREY, GREY, BLACK))


def painted(file: Path, rows: list[list[tuple[int, int, int]]]) -> Path:
    Image.fromarray(np.array(rows, np.uint8)).save(file)
    return file


def indexed(file: Path, rows: list[list[int]]) -> Path:
    picture = Image.fromarray(np.array(rows, np.uint8), "P")
    picture.putpalette([7, 7, 7] * 256)  # equal colours: the indices alone differ
    picture.save(file)
    return file


def png(file: Path, bits: int, kind: int, row: bytes, width: int) -> Path:
    """Write a PNG of one row by its specification; ``kind`` is 0 for grey and 3 for a palette of equal colours."""
    header = struct.pack(">IIBBBBB", width, 1, bits, kind, 0, 0, 0)
    palette = [(b"PLTE", bytes(3 * 2**bits))] if kind == 3 else []
    chunks = [(b"IHDR", header), *palette, (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return file


class TestIndices:
    def test_stand_for_their_labels(self, tmp_path: Path) -> None:
        file = indexed(tmp_path / "mask.png", [[0, 1], [2, 0]])
        assert read_indices(file, [5, 3, VOID]).tolist() == [[5, 3], [VOID, 5]]

    def test_without_a_label_are_refused(self, tmp_path: Path) -> None:
        file = indexed(tmp_path / "mask.png", [[0, 66]])
        with pytest.raises(MaskError, match=r"mask\.png: index 66 has no label; expected 0 to 65"):
            read_indices(file, range(66))

    @pytest.mark.parametrize(
        ("bits", "row", "indices"),
        [(1, 0b0110_0000, [0, 1, 1]), (2, 0b00_01_10_11, [0, 1, 2, 3]), (4, 0x2B, [2, 11]), (8, 0x0C, [12])],
    )
    def test_of_a_palette_may_have_fewer_bits(self, tmp_path: Path, bits: int, row: int, indices: list[int]) -> None:
        file = png(tmp_path / "mask.png", bits, 3, bytes([row]), len(indices))
        assert read_indices(file, range(20, 36)).tolist() == [[20 + index for index in indices]]

    def test_of_grey_have_eight_bits(self, tmp_path: Path) -> None:
        assert read_indices(png(tmp_path / "mask.png", 8, 0, b"\x02\x0b", 2), range(20, 36)).tolist() == [[22, 31]]

    @pytest.mark.parametrize(("bits", "row"), [(1, b"\x00"), (2, b"\x00"), (4, b"\x00"), (16, b"\x00\x00")])
    def test_of_grey_with_other_bits_are_refused(self, tmp_path: Path, bits: int, row: bytes) -> None:
        """Also where the mask has only index 0, which no scaling changes."""
        file = png(tmp_path / "mask.png", bits, 0, row, 1)
        with pytest.raises(MaskError) as error:
            read_indices(file, range(256))
        expected = f"{file}: grey of {bits} bits a pixel; expected 8, or a palette; save it with 8 bits"
        assert str(error.value) == expected

    def test_a_picture_of_colours_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MaskError, match=r"not a mask of indices \(got mode RGB\); expected a palette or grey"):
            read_indices(painted(tmp_path / "mask.png", [[RED]]), [0])


class TestColours:
    def test_stand_for_classes(self, tmp_path: Path) -> None:
        file = painted(tmp_path / "mask.png", [[RED, BLACK]])
        assert read_colours(file, DRAWN, [4, 1, 2, VOID]).tolist() == [[4, VOID]]

    def test_of_two_classes_are_refused_with_their_names(self, tmp_path: Path) -> None:
        file = painted(tmp_path / "mask.png", [[RED, GREY], [GREY, BLACK]])
        with pytest.raises(MaskError) as error:
            read_colours(file, DRAWN, [0, 1, 2, VOID])
        assert str(error.value) == (
            f"{file}: colour (170, 170, 170) stands for several classes (manhole, pothole; 2 pixels); expected one; "
            "leave these pixels out, or read a mask of indices"
        )

    def test_of_two_classes_are_left_out_on_request(self, tmp_path: Path) -> None:
        file = painted(tmp_path / "mask.png", [[RED, GREY]])
        assert read_colours(file, DRAWN, [0, 1, 2, VOID], leave_out=True).tolist() == [[0, AMBIGUOUS]]

    def test_of_two_names_with_one_class_are_clear(self, tmp_path: Path) -> None:
        file = painted(tmp_path / "mask.png", [[RED, GREY]])
        assert read_colours(file, DRAWN, [0, 1, 1, VOID]).tolist() == [[0, 1]]

    def test_that_do_not_occur_are_not_refused(self, tmp_path: Path) -> None:
        assert read_colours(painted(tmp_path / "mask.png", [[RED]]), DRAWN, [0, 1, 2, VOID]).tolist() == [[0]]

    def test_without_a_class_are_refused(self, tmp_path: Path) -> None:
        file = painted(tmp_path / "mask.png", [[RED, (81, 0, 81)]])
        with pytest.raises(MaskError, match=r"colour \(81, 0, 81\) stands for no class \(1 pixels\)"):
            read_colours(file, DRAWN, [0, 1, 2, VOID], leave_out=True)

    def test_a_mask_of_indices_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MaskError, match="not a mask of colours"):
            read_colours(indexed(tmp_path / "mask.png", [[0]]), DRAWN, [0, 1, 2, VOID])


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), (b"text", "cannot be read as a picture")])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "mask.png"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(MaskError, match=rf"mask\.png: {message}"):
        read_indices(file, [0])


@pytest.mark.parametrize(
    ("names", "colours", "message"),
    [
        (("a", "b"), (RED,), "a colour for each of 2 names, got 1"),
        (("a",), ((256, 0, 0),), r"colour of a must be three values from 0 to 255, got \(256, 0, 0\)"),
    ],
)
def test_an_unusable_list_is_refused(names: tuple[str, ...], colours: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ColourList(names, colours)


def counted_by_hand(truth: Path, given: Path, flat: dict) -> tuple[float, float, int, int]:
    """Mean pixel accuracy, mean IoU, void and ambiguous pixels of classes of Vistas, without tree and tables."""
    names = [*flat["cids2labels"][:65], "void"]
    meanings: dict[int, set[str]] = {}
    for at, (red, green, blue) in enumerate(flat["cids2colors"]):
        name = "Traffic Sign (Front)" if 65 <= at < 108 else "void" if at == 108 else names[at]
        meanings.setdefault((red * 256 + green) * 256 + blue, set()).add(name)
    own = np.asarray(Image.open(truth)).astype(np.int64)
    colours = np.asarray(Image.open(given)).astype(np.int64) @ np.array([65536, 256, 1])
    joint, numbers = np.unique(own * 2**24 + colours, return_counts=True)
    right, true, claimed = dict.fromkeys(names, 0), dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    void = ambiguous = 0
    for pair, number in zip(joint.tolist(), numbers.tolist(), strict=True):
        name, possible = names[pair >> 24], meanings[pair & 0xFFFFFF]
        if len(possible) > 1:
            ambiguous += number
        elif name == "void":
            void += number
        else:
            (guess,) = possible
            true[name] += number
            claimed[guess] += number
            right[name] += number * (name == guess)
    kinds = names[:65]
    accuracy = [right[name] / true[name] for name in kinds if true[name]]
    unions = [(right[name], true[name] + claimed[name] - right[name]) for name in kinds]
    iou = [part / whole for part, whole in unions if whole]
    return math.fsum(accuracy) / len(accuracy), math.fsum(iou) / len(iou), void, ambiguous


@pytest.mark.parametrize("number", [1, 2, 3])
def test_figures_of_a_real_picture_equal_an_independent_count(root: Path, data: Path, number: int) -> None:
    folder = data / "hierarchy"
    truth = folder / "sample_results" / "2" / f"ground_truth_{number}.png"
    given = folder / "sample_results" / "2" / f"predictions_{number}.png"
    flat = json.loads((folder / "training_problem_def.json").read_text())

    tree = read_tree(root / "configs" / "places" / "meletis-2018.yaml")
    names, class_of_node = tree.classes_at(2)
    of_names = [VOID if name == "Unlabeled" else class_of_node[tree.index[name]] for name in flat["cids2labels"]]
    of_labels = [VOID if node == VOID else class_of_node[node] for node in tree.node_of_labels("vistas")]
    drawn = ColourList(flat["cids2labels"], [tuple(colour) for colour in flat["cids2colors"]])
    with pytest.raises(MaskError, match=r"Lane Marking - General, Snow; \d+ pixels"):
        read_colours(given, drawn, of_names)
    counts = count_segments(
        read_indices(truth, of_labels), read_colours(given, drawn, of_names, leave_out=True), len(names)
    )
    figures = segment_figures(counts)

    accuracy, iou, void, ambiguous = counted_by_hand(truth, given, flat)
    assert (counts.void, counts.ambiguous) == (void, ambiguous)
    assert figures.mean_accuracy == pytest.approx(accuracy, rel=1e-12)
    assert figures.mean_iou == pytest.approx(iou, rel=1e-12)
    assert counts.ambiguous > 0
