"""Mapillary Vistas with its 66 labels (G. Neuhold et al. 2017): street scenes with masks.

Layout of the versions 1.0 and 1.1, and of the labels of version 1.2, which the archive of version 2.0 contains::

    config.json                        config_v1.2.json
    SPLIT/images/NAME.jpg              SPLIT/images/NAME.jpg
    SPLIT/labels/NAME.png              SPLIT/v1.2/labels/NAME.png

Masks hold palette indices of the list ``labels`` of the configuration. Pictures of the split ``testing`` are published
without labels. The 124 labels of version 2.0 are not those of the paper and are not read.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from models.places.data_set import PlaceSet
from models.places.masks import MaskError
from models.places.published import MaskedPictures, check_labels, list_pictures
from models.places.tree import LabelTree

#: Configuration files, each with the folder of its masks below that of the split.
_CONFIGURATIONS = (("config.json", Path("labels")), ("config_v1.2.json", Path("v1.2") / "labels"))


class _Label(BaseModel):
    """A label of the configuration; ``readable`` is its name for people, such as ``Ground Animal``."""

    readable: str


class _Configuration(BaseModel):
    labels: list[_Label]


def vistas(folder: Path, tree: LabelTree, *, name: str = "vistas", split: str = "training") -> PlaceSet:
    """Return the pictures of a split.

    Args:
        folder: holds the configuration and the splits.
        name: of the data set in the tree.
        split: ``training`` or ``validation``.

    Raises:
        TreeError: the tree has other labels than the configuration.
        MaskError: the configuration cannot be read, or pictures or masks are missing; a line for each.
    """
    found = [(folder / file, below) for file, below in _CONFIGURATIONS if (folder / file).is_file()]
    if not found:
        names = " or ".join(file for file, _ in _CONFIGURATIONS)
        raise MaskError(f"{folder}: the data set's configuration is missing; expected {names}")
    configuration, below = found[0]
    check_labels(tree, name, "masks", _labels(configuration), str(configuration))
    masks = folder / split / below
    pictures = list_pictures(folder / split / "images", "*.jpg")
    return MaskedPictures(tree, name, [(picture, masks / f"{picture.stem}.png") for picture in pictures])


def _labels(file: Path) -> list[str]:
    """Return the readable names of a configuration's labels, by index."""
    try:
        found = _Configuration.model_validate_json(file.read_bytes())
    except OSError as error:
        raise MaskError(f"{file}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise MaskError(f"{file}: {where}: {problem['msg']}; expected a list of labels with readable names") from None
    return [label.readable for label in found.labels]
