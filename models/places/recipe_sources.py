"""The data sets that a recipe names: rendered, or read from folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models.code import code_digest
from models.jobs.errors import ConfigError
from models.places import courtyard_set
from models.places.cityscapes import cityscapes
from models.places.courtyard_set import JUDGED, Sampling, courtyard_sets
from models.places.data_set import PlaceSet
from models.places.folder_set import read_folder_set
from models.places.gtsdb import gtsdb
from models.places.place_data import PlaceData
from models.places.recipe import Data, Source
from models.places.tree import read_tree
from models.places.vistas import vistas

_PUBLISHED: dict[str, Callable[..., PlaceSet]] = {"cityscapes": cityscapes, "vistas": vistas, "gtsdb": gtsdb}


class RecipeSources:
    """The data sets of a recipe.

    Args:
        root: folder to which the folders of data sets are relative.

    Raises:
        TreeError: the label tree cannot be used.
        ConfigError: two data sets share days of the courtyard, or nothing says which labels the judged pictures have.
    """

    def __init__(self, data: Data, root: Path) -> None:
        self._data, self._root = data, root
        self._tree = read_tree(data.tree)
        self._seeds = _seeds(data)
        self._sampling = Sampling(data.rendering.pictures, data.rendering.width)
        judged = data.judged
        if judged is not None and judged.layout != "courtyard" and judged.labels is None:
            raise ConfigError("data.judged: labels is missing; expected the data set whose labels the pictures have")
        self.inputs: Mapping[str, Any] = {}
        if self._seeds:
            self.inputs = {
                "seeds": self._seeds,
                "rendering": data.rendering.model_dump(mode="json"),
                "nodes": self._tree.nodes,
                "renderer": code_digest([courtyard_set.__name__]),
            }

    def prepare(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        if self._seeds:
            courtyard_sets(self._tree, self._seeds, folder, sampling=self._sampling, progress=progress)

    def read(self, folder: Path) -> PlaceData:
        data = self._data
        found: dict[str, PlaceSet] = {}
        if self._seeds:
            found = dict(courtyard_sets(self._tree, self._seeds, folder, sampling=self._sampling))
        for name, source in data.sets.items():
            if source.layout != "courtyard":
                found[name] = self._of_files(source, name)
        judged = found.pop(JUDGED, None)
        if data.judged is not None and data.judged.layout != "courtyard":
            assert data.judged.labels is not None  # checked above
            judged = self._of_files(data.judged, data.judged.labels)
        return PlaceData(self._tree, found, judged, _words(data))

    def _of_files(self, source: Source, name: str) -> PlaceSet:
        assert source.folder is not None  # the recipe checks it
        folder = self._root / source.folder
        if source.layout == "folder":
            return read_folder_set(folder, name, self._tree)
        return _PUBLISHED[source.layout](folder, self._tree, name=name, split=source.split)


def _seeds(data: Data) -> dict[str, list[int]]:
    sources = {**data.sets, **({JUDGED: data.judged} if data.judged else {})}
    seeds = {name: list(one.seeds) for name, one in sources.items() if one.layout == "courtyard"}
    owners: dict[int, str] = {}
    for name, own in seeds.items():
        for seed in own:
            if (other := owners.setdefault(seed, name)) != name:
                raise ConfigError(
                    f"data: {other} and {name} both have the courtyard's day {seed}; expected days of their own"
                )
    return seeds


def _words(data: Data) -> str:
    judged = data.judged
    if judged is None:
        return ""
    if judged.layout == "courtyard":
        number = len(judged.seeds) * data.rendering.pictures
        return f"{number} pictures of the courtyard's days {judged.seeds[0]} to {judged.seeds[-1]}"
    return f"split {judged.split} of {judged.labels}" if judged.layout != "folder" else f"pictures of {judged.folder}"
