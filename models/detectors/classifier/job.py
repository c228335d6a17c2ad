"""The job that trains a classifier: from labelled pictures to a product that can be served.

    pictures ─► features ─► folds ─► product
                   └──────► head ─────┘

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
The figures and thresholds are of pictures by heads that had not seen their group (``folds``). Pictures of split test
reach ``product`` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.backbones import vgg16, weights
from models.card import read_card
from models.code import code_digest
from models.data.npy_rows import Rows
from models.detectors.classifier.card import ClassifierCard
from models.detectors.classifier.examples import ExampleSet
from models.detectors.classifier.head_training import scores_of
from models.detectors.classifier.networks import (
    CHANNELS,
    Head,
    LinearLayersHead,
    PictureClassifier,
    PooledHead,
    VGGMaps,
    load_maps,
)
from models.detectors.classifier.recipe import ClassifierRecipe
from models.detectors.classifier.stages import features, folds, head, pictures, product
from models.detectors.classifier.stages.pictures import Row
from models.detectors.classifier.weights import PUBLISHED
from models.jobs.checkpoints import own_random_numbers
from models.jobs.rows import read_json
from models.jobs.stages import Done, Stages
from pipeline.manifests.folds import TEST, VALIDATION
from pipeline.manifests.manifest import open_video
from pipeline.printable import storable

Progress = Callable[[str, int, int], None]  #: (stage, how much of it is done, total)
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job.

    Attributes:
        product: folder of the model.
        mistakes: the pictures whose own class was least probable, the worst first; see :mod:`.stages.product`. Their
            ``source`` is the ordinal of a file or a video of the examples.
    """

    product: Path
    card: ClassifierCard
    mistakes: list[dict[str, Any]]


def train_classifier(
    examples: ExampleSet,
    recipe: ClassifierRecipe,
    out: Path,
    *,
    seed: int = 0,
    skip_bad: bool = False,
    report: Report = lambda _line: None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Run the job, as far as it is not up to date. Missing published weights are fetched.

    Args:
        out: the run's folder; made when missing.
        skip_bad: leave out pictures and videos that cannot be decoded, and report them.
        report: called with a line for each stage, and for what may mislead the training.

    Raises:
        TrainingError: pictures cannot be used or divided, or a loss is not finite.
        models.backbones.vgg16.VGG16FileError: the file of weights cannot be used.
        models.backbones.weights.WeightsError: the published weights cannot be had.
        SourceError: a video cannot be read.
        StageError: another job is running in ``out``.
        OSError: ``out`` cannot be written.
    """
    convolutions = _Convolutions(recipe, seed)
    if recipe.weights is None:
        weights.fetch_with_progress(PUBLISHED[recipe.backbone], report)
    stages = Stages(out, report=report)
    with stages.alone():
        job = _Job(examples, recipe, convolutions, stages, seed, report, progress)
        return job.run(skip_bad=skip_bad)


class _Convolutions:
    """The parts of the network as they are before the training, loaded when they are first needed."""

    def __init__(self, recipe: ClassifierRecipe, seed: int) -> None:
        self._recipe, self._seed = recipe, seed
        self._tensors = None if recipe.weights is None else vgg16.read_file(recipe.weights)

    @property
    def identity(self) -> str:
        """Hash of all weights."""
        if self._tensors is None:
            return weights.published(PUBLISHED[self._recipe.backbone]).tensors_sha256
        return weights.tensors_digest({name: tensor.numpy() for name, tensor in self._tensors.items()})

    def maps(self) -> Any:
        """Return the convolutions."""
        if self._tensors is None:
            return load_maps(self._recipe.backbone)
        convolutions, _ = vgg16.from_file(self._tensors, 2)
        return VGGMaps(convolutions).eval()

    def new_head(self, classes: int) -> Head:
        """Return a head as it is before the training."""
        with own_random_numbers(self._seed, devices=()):
            if self._recipe.head.kind == "linear_layers":
                assert self._tensors is not None
                return LinearLayersHead(vgg16.from_file(self._tensors, classes)[1])
            return PooledHead(CHANNELS[self._recipe.backbone], classes, self._recipe.head.dropout)


class _Job:
    """The stages of one job."""

    def __init__(
        self,
        examples: ExampleSet,
        recipe: ClassifierRecipe,
        convolutions: _Convolutions,
        stages: Stages,
        seed: int,
        report: Report,
        progress: Progress,
    ) -> None:
        self._examples, self._recipe, self._convolutions = examples, recipe, convolutions
        self._stages, self._seed, self._report, self._progress = stages, seed, report, progress
        self._classes = examples.classes
        self._settings = recipe.model_dump(mode="json")

    def run(self, *, skip_bad: bool) -> Outcome:
        first = self._pictures(skip_bad)
        stored, rows = pictures.read(first.folder)
        second = self._features(first, stored)
        read = features.read(second.folder)
        known = [at for at, row in enumerate(rows) if row.split != TEST]
        third = self._folds(second, read, rows, known)
        fourth = self._head(second, read, rows, known)
        last = self._product((first, second, third, fourth), stored, read, rows, known)
        card = read_card(last.folder, ClassifierCard)
        return Outcome(last.folder, card, read_json(last.folder / product.MISTAKES_FILE))

    def _pictures(self, skip_bad: bool) -> Done:
        examples, recipe = self._examples, self._recipe
        total = len(examples.files) + len(examples.videos)

        def work(draft: Path) -> None:
            pictures.compute(
                draft,
                examples,
                recipe,
                skip_bad=skip_bad,
                progress=lambda done: self._progress("pictures", done, total),
                report=self._report,
            )

        inputs = {
            "files": [[storable(str(one.path)), one.class_name, one.group, one.content] for one in examples.files],
            "videos": [
                [storable(str(one.path)), open_video(one).content_hash, one.label, one.intervals, one.group, one.split]
                for one in examples.videos
            ],
            "stored": recipe.stored,
            "examples": recipe.examples.model_dump(mode="json", include={"fps", "most_of_each", "normal"}),
            "skip_bad": skip_bad,
        }
        return self._run("pictures", pictures.__name__, inputs, work)

    def _features(self, first: Done, stored: Rows) -> Done:
        recipe = self._recipe

        def work(draft: Path) -> None:
            features.compute(
                draft,
                stored,
                self._convolutions.maps(),
                self._convolutions.new_head(len(self._classes)),
                recipe,
                self._seed,
                lambda done: self._progress("features", done, len(stored)),
            )

        inputs = {
            "pictures": first.digest,
            "weights": self._convolutions.identity,
            "recipe": [self._settings[key] for key in ("backbone", "height", "width", "augmentation")],
            "kind": recipe.head.kind,
        }
        return self._run("features", features.__name__, inputs, work)

    def _folds(self, second: Done, read: Rows, rows: list[Row], known: list[int]) -> Done:
        def work(draft: Path) -> None:
            folds.compute(
                draft,
                read,
                product.truth_of(rows, range(len(rows)), self._classes),
                [row.group for row in rows],
                known,
                len(self._classes),
                lambda: self._convolutions.new_head(len(self._classes)),
                self._recipe,
                self._seed,
                lambda done, total: self._progress("folds", done, total),
            )

        return self._run("folds", folds.__name__, self._of_training(second, rows, known), work)

    def _head(self, second: Done, read: Rows, rows: list[Row], known: list[int]) -> Done:
        own = [at for at in known if rows[at].split == VALIDATION]

        def work(draft: Path) -> None:
            head.compute(
                draft,
                read,
                product.truth_of(rows, range(len(rows)), self._classes),
                [row.group for row in rows],
                known,
                len(self._classes),
                self._convolutions.new_head(len(self._classes)),
                self._recipe,
                self._seed,
                lambda done: self._progress("head", done, self._recipe.head.epochs),
                own,
            )

        return self._run("head", head.__name__, self._of_training(second, rows, known), work)

    def _of_training(self, second: Done, rows: list[Row], known: list[int]) -> dict[str, Any]:
        return {
            "features": second.digest,
            "rows": [[rows[at].class_name, rows[at].group, rows[at].split] for at in known],
            "classes": self._classes,
            "recipe": self._settings["head"],
            "examples": [self._settings["examples"][key] for key in ("validation", "folds")],
        }

    def _product(
        self, stages: tuple[Done, Done, Done, Done], stored: Rows, read: Rows, rows: list[Row], known: list[int]
    ) -> Done:
        first, _, third, fourth = stages

        def work(draft: Path) -> None:
            trained: Head = self._convolutions.new_head(len(self._classes))
            if isinstance(trained, PooledHead):
                trained = trained.folded()
            about = head.read(fourth.folder, trained)
            test = [at for at, row in enumerate(rows) if row.split == TEST]
            product.compute(
                draft,
                PictureClassifier(self._convolutions.maps(), trained, len(self._classes)).eval(),
                self._classes,
                stored,
                rows,
                known,
                folds.read(third.folder),
                scores_of(trained, read, test) if test else np.zeros((0, len(self._classes))),
                self._recipe,
                {
                    "pictures": {name: self._number(rows, known, name) for name in self._classes},
                    "groups": len({rows[at].group for at in known}),
                    "pictures_digest": first.digest,
                    **about,
                    "recipe": {key: self._settings[key] for key in ("augmentation", "head")},
                    "seed": self._seed,
                },
            )

        inputs = {
            "stages": [done.digest for done in stages],
            "recipe": self._settings,
            "weights": self._convolutions.identity,
        }
        return self._run("product", product.__name__, inputs, work)

    @staticmethod
    def _number(rows: list[Row], known: list[int], name: str) -> int:
        return sum(rows[at].class_name == name for at in known)

    def _run(self, name: str, module: str, inputs: dict[str, Any], work: Callable[[Path], None]) -> Done:
        return self._stages.run(name, {"code": code_digest([module]), "seed": self._seed, **inputs}, work)
