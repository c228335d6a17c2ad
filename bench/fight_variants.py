"""Recipes for fights that benches compare: that of 0.2.0, the present one, and the present one without each part."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.progress import Progress, TaskID

from models.backbones.layers import WIDTHS
from models.data.extraction import FeaturesError
from models.detectors.mist.bag import Bag
from models.detectors.mist.config import MistConfig, read_mist_config
from models.detectors.mist.footage import Footage, Seen
from pipeline.manifests.manifest import Video

ROOT = Path(__file__).resolve().parent.parent

#: Keys that decide which clips the backbone sees and against which scene; layers, heads and bags are cut from the same.
_SEEN = {"clip", "training_stride", "contrast", "mirrored", "backbone"}


@dataclass(frozen=True)
class Variant:
    """A recipe as changes to the present one, ``key=value`` each."""

    name: str
    changes: tuple[str, ...] = ()

    def config(self, file: Path, changes: Sequence[str] = ()) -> MistConfig:
        """Return the recipe of ``file`` with ``changes``, and then this variant's."""
        return read_mist_config(file, [*changes, *self.changes])


RECIPE = Variant("recipe")
BEFORE = Variant(
    "stage 1 of 0.2.0",
    (
        "contrast=null",
        "clip.fps=native",
        "clip.stride=16",
        "training_stride=8",
        "layers=[mixed_5c]",
        "mirrored=true",
        "recipe.heads=generator",
        "extra_normals=null",
    ),
)
WITHOUT_EXTRA = Variant("without ordinary footage", ("extra_normals=null",))
RAW = Variant("without contrast and ordinary footage", ("contrast=null", "extra_normals=null"))
REVERTED = (
    RAW,
    Variant("with mirror images", ("mirrored=true",)),
    Variant("mixed_5c alone", ("layers=[mixed_5c]",)),
    Variant("mixed_5b alone", ("layers=[mixed_5b]",)),
    Variant("the generator alone", ("recipe.heads=generator",)),
    Variant("the linear head alone", ("recipe.heads=linear",)),
    Variant("both heads", ("recipe.heads=both",)),
    WITHOUT_EXTRA,
)


def recipe_parser(description: str) -> argparse.ArgumentParser:
    """Return a command line with the options that name the fights and the recipe."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "fights")
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "train" / "fights.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the recipe; may be repeated"
    )
    return parser


def different(variants: Sequence[Variant], file: Path, changes: Sequence[str]) -> list[Variant]:
    """Return the variants that differ from the recipe: one that it already equals would be judged twice."""
    recipe = RECIPE.config(file, changes)
    return [variant for variant in variants if variant.config(file, changes) != recipe]


@dataclass(frozen=True)
class Dataset:
    """Videos with their bags, and the bags of ordinary footage by the place that it shows."""

    videos: list[Video]
    bags: list[Bag]
    ordinary: dict[str, list[Bag]]

    def part(self, chosen: Sequence[int]) -> Dataset:
        """Return some of the videos, with all ordinary footage."""
        return Dataset([self.videos[i] for i in chosen], [self.bags[i] for i in chosen], self.ordinary)

    def only(self, paths: set[Path]) -> Dataset:
        """Return the videos of these paths, with all ordinary footage."""
        return self.part([i for i, video in enumerate(self.videos) if video.path in paths])

    def extra(self, without: str | None = None) -> list[Bag]:
        """Return the bags of ordinary footage of all places but one."""
        return [bag for place, bags in self.ordinary.items() if place != without for bag in bags]

    @property
    def labels(self) -> list[int]:
        return [video.label for video in self.videos]

    @property
    def groups(self) -> list[str]:
        return [video.group for video in self.videos]


def place_of(video: Video) -> str:
    """Return the place that ordinary footage shows: each film of ``cctv`` one of its own, all of another folder one."""
    folder = video.path.parent
    if folder.name == "cctv":
        return video.path.name
    return f"{folder.parent.name}/{folder.name}"


def by_place(videos: Sequence[Video]) -> dict[str, list[Video]]:
    """Return the videos of each place, in order."""
    found: dict[str, list[Video]] = {}
    for video in videos:
        found.setdefault(place_of(video), []).append(video)
    return found


class Clips:
    """The clips of a recipe's videos; recipes that differ only in layers read the same entries of the cache.

    Args:
        config: the recipe.
        base: another one whose features are used where they hold this one's.
    """

    def __init__(self, config: MistConfig, base: MistConfig) -> None:
        shares = config.model_dump(include=_SEEN) == base.model_dump(include=_SEEN)
        wide = config
        if shares and set(config.layers) <= set(base.layers):
            wide = config.model_copy(update={"layers": base.layers})
        self.footage = Footage(wide)
        ends = np.cumsum([WIDTHS[layer] for layer in wide.layers])
        columns = {layer: np.arange(end - WIDTHS[layer], end) for layer, end in zip(wide.layers, ends, strict=True)}
        self.columns = np.concatenate([columns[layer] for layer in config.layers])
        self._uses_extra = config.extra_normals is not None

    def dataset(self, videos: Sequence[Video], ordinary: Sequence[Video], show: Callable[[int, int], None]) -> Dataset:
        """Return the videos that have a clip with their bags, from the cache or computed.

        Args:
            ordinary: cut into bags where the recipe has ``extra_normals``.

        Raises:
            FeaturesError: a video cannot be read.
        """
        further = list(ordinary) if self._uses_extra else []
        self.fill(videos, further, show)
        used = [video for video in videos if len(self.footage.clips(video))]
        known = [video for video in further if len(self.footage.clips(video))]
        bags = self.footage.bags(used)
        pieces = {place: self.footage.bags(used, of_place)[len(used) :] for place, of_place in by_place(known).items()}
        return Dataset(
            used,
            [self._narrowed(bag) for bag in bags],
            {place: [self._narrowed(bag) for bag in found] for place, found in pieces.items()},
        )

    def fill(
        self,
        videos: Sequence[Video],
        ordinary: Sequence[Video],
        show: Callable[[int, int], None],
        live: Sequence[Video] = (),
    ) -> None:
        """Compute what the cache lacks.

        Args:
            ordinary: footage whose clips are wanted as the training cuts them.
            live: videos whose clips are wanted as they are cut live.

        Raises:
            FeaturesError: a video cannot be read.
        """
        if failed := self.footage.fill(videos, live, ordinary, progress=show):
            raise FeaturesError("\n".join(failed.values()))

    def narrowed(self, seen: Seen) -> Seen:
        """Return clips with the features of the recipe's layers alone."""
        return replace(seen, features=seen.features[:, self.columns])

    def _narrowed(self, bag: Bag) -> Bag:
        mirrored = bag.mirrored[:, self.columns] if bag.mirrored is not None else None
        return replace(bag, features=bag.features[:, self.columns], mirrored=mirrored)


class Work:
    """Progress of named parts of the work, a bar each."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, part: str) -> Callable[[int, int], None]:
        """Return the callback of one part: (done, total)."""

        def show(done: int, total: int) -> None:
            if part not in self._tasks:
                self._tasks[part] = self._bars.add_task(part, total=total)
            self._bars.update(self._tasks[part], completed=done, total=total)

        return show
