"""Published data sets: files that are listed, checked and paired alike, whatever the layout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from models.places.data_set import PlaceSample
from models.places.masks import MaskError, check_size, read_indices, read_picture
from models.places.tree import LabelTree, TreeError
from pipeline.manifests.manifest import listed


class MaskedPictures:
    """Pictures that have a mask of label indices each, as a :class:`~models.places.data_set.PlaceSet`.

    Args:
        name: of the data set in the tree.
        files: the picture and the mask of each sample.
        void: an index of the masks that stands for no label; None: without.

    Raises:
        MaskError: a mask is missing. A line for each.
        TreeError: the tree has no such data set.
    """

    of_boxes = False

    def __init__(
        self, tree: LabelTree, name: str, files: Sequence[tuple[Path, Path]], *, void: int | None = None
    ) -> None:
        missing = [f"{mask}: no such mask; expected one for {picture}" for picture, mask in files if not mask.is_file()]
        if missing:
            raise MaskError(listed(missing, "{} more masks are missing"))
        self.name = name
        self.digest = digest_of(chain.from_iterable(files))
        self._files = files
        self._nodes = tree.node_of_labels(name)
        self._void = void

    def __len__(self) -> int:
        return len(self._files)

    def sample(self, index: int) -> PlaceSample:
        """Return a picture with the nodes of its mask.

        Raises:
            MaskError: one of the files cannot be read, the mask has an index without a label, or its size is not that
                of the picture.
        """
        file, mask = self._files[index]
        picture = read_picture(file)
        nodes = read_indices(mask, self._nodes.tolist(), void=self._void)
        check_size(mask, nodes.shape, file, picture.shape)
        return PlaceSample(picture, nodes.astype("int64"))


def list_pictures(folder: Path, pattern: str) -> list[Path]:
    """Return the pictures of a folder that match a pattern, by name.

    Raises:
        MaskError: the folder is missing or has none.
    """
    if not folder.is_dir():
        raise MaskError(f"{folder}: no such folder; expected the pictures {pattern} in it")
    if not (found := sorted(folder.glob(pattern))):
        raise MaskError(f"{folder}: no pictures; expected {pattern}")
    return found


def check_labels(
    tree: LabelTree, name: str, annotation: Literal["masks", "boxes"], published: Sequence[str], source: str
) -> None:
    """Check that the tree's labels of a data set are the published ones, in their order.

    Args:
        source: the file or list that has the published labels, for the message.

    Raises:
        TreeError: the tree has no such data set, another annotation or other labels.
    """
    tree.node_of_labels(name)  # raises where the tree has no such data set
    own = tree.data_sets[name]
    if own.annotation != annotation:
        raise TreeError(f"data set {name}: has the annotation {own.annotation}; expected {annotation}")
    if len(own.labels) != len(published):
        raise TreeError(f"data set {name}: {len(own.labels)} labels; expected the {len(published)} of {source}")
    for index, (label, expected) in enumerate(zip(own.labels, published, strict=True)):
        if label != expected:
            raise TreeError(f"data set {name}: label {index} is {label}; expected {expected} as in {source}")


def digest_of(files: Iterable[Path]) -> str:
    """Return a digest that changes with the names, the sizes and the times of change of files.

    Their content is not read, because the published sets have up to 18,000 large pictures.

    Raises:
        MaskError: a file is missing.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            state = file.stat()
        except OSError as error:
            raise MaskError(f"{file}: cannot be read: {error.strerror}") from None
        digest.update(f"{file.name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
