"""A data set of a label tree in a folder of its own.

DIR/pictures/NAME.png     or .jpg, .jpeg
DIR/masks/NAME.png        of a data set with masks: indices of its labels, as a palette or 8-bit grey; 255 is void
DIR/classes.json          optional, beside masks: ``{"classes": [label, …]}``, as `mistwatch synth --masks` writes it
DIR/boxes.json            of a data set with boxes: ``{"NAME.png": [{"label": …, "box": [left, top, right, bottom]}]}``

The labels of ``classes.json`` must be those of the tree's data set. A picture without objects has an empty list. Sizes
of masks, labels and boxes are checked before a picture is decoded.
Pictures are taken as they are stored: a note of the camera that one should be turned is not followed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from models.places.boxes import Box, check_boxes, painted
from models.places.data_set import PlaceSample
from models.places.masks import MaskError, check_size, read_indices, read_picture, size_of
from models.places.published import check_labels
from models.places.tree import LabelTree
from operators.figures.segments import VOID
from pipeline.courtyard.masks import CLASSES_FILE
from pipeline.manifests.manifest import listed

#: Index of a pixel without a label in a mask.
VOID_INDEX = 255

_SUFFIXES = (".jpeg", ".jpg", ".png")
_MORE = "{} more lines like these"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    label: str
    box: Annotated[list[float], Field(min_length=4, max_length=4)]


class _Classes(BaseModel):
    """Labels of the masks, by index; other keys are passed over."""

    classes: list[str]


_BOXES: TypeAdapter[dict[str, list[_Entry]]] = TypeAdapter(dict[str, list[_Entry]])


@dataclass(frozen=True)
class FolderSet:
    """Pictures of a folder, as a :class:`models.places.data_set.PlaceSet`; read when they are asked for.

    Attributes:
        name: of the data set in the tree.
        of_boxes: whether boxes annotate its pictures.
        digest: hash of the files and of the nodes that the labels mean.
        pictures: the files, by name.
    """

    name: str
    of_boxes: bool
    digest: str
    pictures: tuple[Path, ...]
    _node_of_labels: tuple[int, ...]
    _masks: tuple[Path, ...]
    _boxes: tuple[tuple[Sequence[Box], Sequence[int]], ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, index: int) -> PlaceSample:
        """Return a picture with the node of each pixel.

        Raises:
            models.places.masks.MaskError: picture or mask cannot be read, or a mask has an index without a label.
        """
        picture = read_picture(self.pictures[index])
        if self.of_boxes:
            boxes, nodes = self._boxes[index]
            return PlaceSample(picture, painted(boxes, nodes, picture.shape[:2], self.pictures[index]))
        mask = read_indices(self._masks[index], self._node_of_labels, void=VOID_INDEX)
        check_size(self._masks[index], mask.shape, self.pictures[index], picture.shape)
        return PlaceSample(picture, mask.astype(np.int64))


def read_folder_set(folder: Path, name: str, tree: LabelTree) -> FolderSet:
    """Return the pictures of a folder as a data set of the tree. Reads each file once, for the digest.

    Raises:
        MaskError: pictures, masks or boxes are missing or do not fit together; a line for each problem that names the
            file, for the first ten of them.
        models.places.tree.TreeError: the tree has no such data set, or other labels than ``classes.json``.
    """
    nodes = tree.node_of_labels(name)
    labels = tree.data_sets[name].labels
    of_boxes = tree.data_sets[name].annotation == "boxes"
    pictures = _files(folder / "pictures", _SUFFIXES)
    if not pictures:
        raise MaskError(f"{folder / 'pictures'}: no pictures; expected files named *.png or *.jpg")
    masks: tuple[Path, ...] = ()
    boxes: tuple[tuple[Sequence[Box], Sequence[int]], ...] = ()
    if of_boxes:
        boxes = _boxes_of(folder / "boxes.json", pictures, labels, nodes)
        read = [*pictures, folder / "boxes.json"]
    else:
        if (published := _labels_of(folder / CLASSES_FILE)) is not None:
            check_labels(tree, name, "masks", published, str(folder / CLASSES_FILE))
        masks = _masks_of(folder / "masks", pictures)
        read = [*pictures, *masks]
    return FolderSet(name, of_boxes, _digest(folder, read, nodes), pictures, tuple(nodes.tolist()), masks, boxes)


def _files(folder: Path, suffixes: Sequence[str]) -> tuple[Path, ...]:
    """Return the files with these suffixes by name; hidden ones do not count."""
    try:
        return tuple(
            sorted(
                file for file in folder.iterdir() if file.suffix.lower() in suffixes and not file.name.startswith(".")
            )
        )
    except FileNotFoundError:
        raise MaskError(f"{folder}: no such folder; see the layout of data sets in docs/OPERATIONS.md") from None
    except OSError as error:
        raise MaskError(f"{folder}: cannot be read: {error.strerror}") from None


def _masks_of(folder: Path, pictures: Sequence[Path]) -> tuple[Path, ...]:
    there = set(_files(folder, (".png",)))
    masks = tuple(folder / f"{picture.stem}.png" for picture in pictures)
    problems = [
        f"{mask}: {number} pictures have this mask; expected one picture of this name"
        for mask, number in Counter(masks).items()
        if number > 1
    ]
    for picture, mask in zip(pictures, masks, strict=True):
        try:
            if mask in there:
                check_size(mask, size_of(mask), picture, size_of(picture))
            else:
                problems.append(f"{picture}: its mask {mask} is missing; add it, or remove the picture")
        except MaskError as error:
            problems.append(str(error))
    problems += [f"{mask}: a mask without its picture; remove it" for mask in sorted(there - set(masks))]
    if problems:
        raise MaskError(listed(problems, _MORE))
    return masks


def _labels_of(file: Path) -> Sequence[str] | None:
    """Return the labels that a file states for the indices of masks; None where it is missing."""
    try:
        return _Classes.model_validate_json(file.read_bytes()).classes
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MaskError(f"{file}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise MaskError(f"{file}: {where}: {problem['msg']}; expected the labels of the masks as classes") from None


def _boxes_of(
    file: Path, pictures: Sequence[Path], labels: Sequence[str], nodes: npt.NDArray[np.int64]
) -> tuple[tuple[Sequence[Box], Sequence[int]], ...]:
    entries = _read_boxes(file)
    names = {picture.name for picture in pictures}
    problems = [f"{file}: {name}: no such picture; remove the entry" for name in entries if name not in names]
    found = []
    for picture in pictures:
        if picture.name not in entries:
            problems.append(f"{file}: {picture.name}: has no entry; add one, which is [] for a picture without objects")
            continue
        own = entries[picture.name]
        problems += [
            f"{file}: {picture.name}: unknown label (got {one.label}); expected one of {', '.join(labels)}"
            for one in own
            if one.label not in labels
        ]
        boxes: list[Box] = [(one.box[0], one.box[1], one.box[2], one.box[3]) for one in own]
        try:
            check_boxes(boxes, size_of(picture), picture)
        except MaskError as error:
            problems += str(error).splitlines()
        means = [int(nodes[labels.index(one.label)]) if one.label in labels else VOID for one in own]
        found.append((boxes, means))
    if problems:
        raise MaskError(listed(problems, _MORE))
    return tuple(found)


def _read_boxes(file: Path) -> Mapping[str, Sequence[_Entry]]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except FileNotFoundError:
        raise MaskError(f"{file}: no such file; expected the boxes of each picture") from None
    except OSError as error:
        raise MaskError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise MaskError(f"{file}: cannot be read as JSON: {' '.join(str(error).split())}") from None
    try:
        return _BOXES.validate_python(values)
    except ValidationError as error:
        lines = [
            f"{file}: {'.'.join(str(part) for part in problem['loc']) or 'the file'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise MaskError(listed(lines, _MORE)) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose keys stand once; Python silently keeps the last of several."""
    if twice := [key for key, number in Counter(key for key, _ in pairs).items() if number > 1]:
        raise ValueError(f"key {twice[0]!r} stands twice")
    return dict(pairs)


def _digest(folder: Path, read: Sequence[Path], nodes: npt.NDArray[np.int64]) -> str:
    digest = hashlib.sha256(repr(nodes.tolist()).encode())
    for file in read:
        digest.update(str(file.relative_to(folder)).encode())
        try:
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        except OSError as error:
            raise MaskError(f"{file}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()
