"""GTSDB, the German Traffic Sign Detection Benchmark (S. Houben et al. 2013): street scenes with boxes around signs.

Layout: pictures ``00000.ppm`` to ``00899.ppm`` in one folder, and ``gt.txt`` beside them with a line for each sign::

    00000.ppm;774;411;815;446;11        # picture; left; top; right; bottom; class

Columns and rows count from 0. The last ones belong to the sign: its page names them the rightmost column and the
downmost row of the region. The first 600 pictures are for training, and the others for tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from models.places.boxes import Box, painted
from models.places.data_set import PlaceSample, PlaceSet
from models.places.masks import MaskError, read_picture
from models.places.published import check_labels, digest_of
from models.places.tree import LabelTree
from pipeline.manifests.manifest import listed

#: The paper's names of the 43 classes, by their number.
LABELS = (
    "p_limit_20",
    "p_limit_30",
    "p_limit_50",
    "p_limit_60",
    "p_limit_70",
    "p_limit_80",
    "o_restriction_ends_80",
    "p_limit_100",
    "p_limit_120",
    "p_no_overtaking",
    "p_no_overtaking_truck",
    "d_priority_next_inter",
    "o_priority_road",
    "o_give_away",
    "o_stop",
    "p_no_traffic_both",
    "p_no_trucks",
    "o_no_entry",
    "d_danger",
    "d_bend_left",
    "d_bend_right",
    "d_bend",
    "d_uneven_road",
    "d_slippery_road",
    "d_road_narrows",
    "d_construction",
    "d_traffic_signal",
    "d_pedestrian_crossing",
    "d_school_crossing",
    "d_cycles_crossing",
    "d_snow",
    "d_animals",
    "o_restriction_ends",
    "m_go_right",
    "m_go_left",
    "m_go_straight",
    "m_go_right_straight",
    "m_go_left_straight",
    "m_keep_right",
    "m_keep_left",
    "m_roundabout",
    "o_restr_end_ovrtkng",
    "o_restr_end_ovrtkng_t",
)

FILE = "gt.txt"

#: Numbers of the first and after the last picture, by split.
_SPLITS = {"train": (0, 600), "test": (600, 900)}

_LINE = re.compile(r"(?P<picture>(?P<number>[0-9]{5})\.ppm)(?P<box>(;[0-9]{1,5}){4});(?P<label>[0-9]{1,5})")


class _SignPictures:
    """Pictures with boxes around traffic signs."""

    of_boxes = True

    def __init__(self, tree: LabelTree, name: str, boxes: Mapping[Path, list[tuple[int, Box]]], listing: Path) -> None:
        self.name = name
        self.digest = digest_of([listing, *boxes])
        self._boxes = list(boxes.items())
        self._nodes = tree.node_of_labels(name)

    def __len__(self) -> int:
        return len(self._boxes)

    def sample(self, index: int) -> PlaceSample:
        """Return a picture with the nodes of its boxes.

        Raises:
            MaskError: the picture cannot be read, or boxes do not lie inside it; a line for each.
        """
        file, signs = self._boxes[index]
        picture = read_picture(file)
        nodes = [int(self._nodes[label]) for label, _ in signs]
        return PlaceSample(picture, painted([box for _, box in signs], nodes, picture.shape[:2], file))


def gtsdb(folder: Path, tree: LabelTree, *, name: str = "gtsdb", split: str = "train") -> PlaceSet:
    """Return the pictures of a split that show a sign; nothing can be learned from the others.

    Args:
        folder: holds the pictures and ``gt.txt``.
        name: of the data set in the tree.
        split: ``train`` or ``test``.

    Raises:
        TreeError: the tree has other labels.
        MaskError: the split is unknown, ``gt.txt`` cannot be read or has a bad line, or pictures are missing. A line
            for each problem.
    """
    check_labels(tree, name, "boxes", LABELS, "the paper's list")
    if split not in _SPLITS:
        raise MaskError(f"{folder}: unknown split (got {split}); expected {' or '.join(_SPLITS)}")
    listing = folder / FILE
    boxes: dict[Path, list[tuple[int, Box]]] = {}
    problems = []
    for number, line in enumerate(_read_lines(listing), 1):
        place = f"{listing}: line {number}"
        if (found := _LINE.fullmatch(line)) is None:
            problems.append(f"{place}: malformed (got {line[:80]!r}); expected 00000.ppm;left;top;right;bottom;class")
            continue
        label, (left, top, right, bottom) = int(found["label"]), map(int, found["box"][1:].split(";"))
        if label >= len(LABELS):
            problems.append(f"{place}: unknown class (got {label}); expected 0 to {len(LABELS) - 1}")
        elif left > right or top > bottom:
            problems.append(f"{place}: inverted box (got {found['box'][1:]}); expected left ≤ right and top ≤ bottom")
        elif int(found["number"]) in range(*_SPLITS[split]):
            picture = folder / found["picture"]
            if picture not in boxes and not picture.is_file():
                problems.append(f"{place}: no picture {picture.name} in the folder")
            boxes.setdefault(picture, []).append((label, (left, top, right + 1, bottom + 1)))
    if problems:
        raise MaskError(listed(problems, "{} more lines are bad"))
    if not boxes:
        first, after = _SPLITS[split]
        raise MaskError(
            f"{listing}: no pictures of the split {split}; expected lines for {first:05}.ppm to {after - 1:05}.ppm"
        )
    return _SignPictures(tree, name, dict(sorted(boxes.items())), listing)


def _read_lines(listing: Path) -> list[str]:
    try:
        return listing.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        raise MaskError(f"{listing}: no such file; expected a line for each traffic sign") from None
    except (OSError, UnicodeDecodeError) as error:
        raise MaskError(f"{listing}: cannot be read as text: {error}") from None
