"""The job that trains teachers, once for all cameras: from films or pictures to a folder of :mod:`.teachers`.

    crops ─► vectors ─► training ─► product        of films
                        training ─► product        of still pictures

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from models.backbones import weights
from models.backbones.efficientnet_lite0 import NAME
from models.code import code_digest
from models.data.npy_rows import NpyFile
from models.detectors.student_teacher import crops, patch_training, patches, published, teacher_training
from models.detectors.student_teacher.teacher_recipe import CropChoice, PatchChoice, TeacherRecipe
from models.detectors.student_teacher.teachers import (
    WEIGHTS_FILE,
    TeacherCard,
    read_teacher_card,
    save_teachers,
    write_teacher_card,
)
from models.jobs.errors import TrainingError
from models.jobs.rows import read_json, write_json
from models.jobs.stages import SCRATCH, Done, Stages

CROPS_FILE, VECTORS_FILE, LOSS_FILE, RECIPE_FILE = "crops.npy", "vectors.npy", "loss.json", "recipe.yaml"
CHECKPOINT_FILE = "last.pt"
#: Crops below which a training means nothing.
_LEAST_CROPS = 16

Progress = Callable[[str, int, int], None]  #: (stage, how much of it is done, total)


def train_teacher(
    recipe: TeacherRecipe,
    out: Path,
    *,
    seed: int = 0,
    report: Callable[[str], None] = lambda _line: None,
    progress: Progress = lambda *_: None,
) -> tuple[Path, TeacherCard]:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.
        report: called with a line for each stage.

    Returns:
        the folder of the teachers, and their card.

    Raises:
        TrainingError: no films or pictures, one that cannot be read, or a loss that is not finite.
        SourceError: a film cannot be read.
        StageError: another job is running in ``out``.
        models.backbones.weights.WeightsError: the published weights cannot be had.
        OSError: ``out`` cannot be written.
    """
    job = _Job(recipe, seed, Stages(out, report=report), progress)
    films = crops.films_of(recipe.crops) if recipe.crops else []
    pictures = patches.pictures_below(recipe.stills) if recipe.stills else []
    weights.fetch_with_progress(NAME, report)
    with job.stages.alone():
        if recipe.crops:
            trained, about = job.of_films(films, recipe.crops)
        else:
            assert recipe.stills
            trained, about = job.of_pictures(pictures, recipe.stills)
        product = job.product(trained, about)
    return product.folder, read_teacher_card(product.folder)


class _Job:
    """The stages of one job."""

    def __init__(self, recipe: TeacherRecipe, seed: int, stages: Stages, progress: Progress) -> None:
        self.stages = stages
        self._recipe = recipe
        self._seed = seed
        self._progress = progress
        self._network = {"name": NAME, "tensors_sha256": weights.published(NAME).tensors_sha256}
        self._settings = recipe.model_dump(mode="json", exclude={"name", "description", "data", "crops", "stills"})

    def of_films(self, films: list[Path], choice: CropChoice) -> tuple[Done, dict[str, int]]:
        """Return the stage ``training``, and the numbers of films and of crops."""

        def write_crops(draft: Path) -> None:
            done = self._done("crops", len(films))
            number = crops.write_crops(draft / CROPS_FILE, films, choice, self._seed, done)
            if number < _LEAST_CROPS:
                raise TrainingError(
                    f"crops.films: {len(films)} films give {number} crops; expected at least {_LEAST_CROPS}: name more "
                    "films, or raise crops.fps"
                )

        def write_vectors(draft: Path) -> None:
            found = NpyFile(first.folder / CROPS_FILE)
            done = self._done("vectors", len(found))
            published.write_vectors(draft / VECTORS_FILE, found, published.PublishedVectors(), done)

        def train(draft: Path) -> None:
            found = NpyFile(first.folder / CROPS_FILE), NpyFile(second.folder / VECTORS_FILE)
            done = self._done("training", self._recipe.steps)
            _keep(draft, *teacher_training.train_teachers(*found, self._recipe, self._seed, _checkpoint(draft), done))

        settings = choice.model_dump(mode="json", exclude={"films", "obtain"})
        contents = [hashlib.sha256(film.read_bytes()).hexdigest() for film in films]
        first = self._run("crops", crops.__name__, {"films": contents, "crops": settings}, write_crops)
        second = self._run(
            "vectors", published.__name__, {"crops": first.digest, "network": self._network}, write_vectors
        )
        both = {"crops": first.digest, "vectors": second.digest, "recipe": self._settings}
        third = self._run("training", teacher_training.__name__, both, train)
        return third, {"films": len(films), "crops": len(NpyFile(first.folder / CROPS_FILE))}

    def of_pictures(self, pictures: list[Path], choice: PatchChoice) -> tuple[Done, dict[str, int]]:
        """Return the stage ``training``, and the number of pictures."""

        def train(draft: Path) -> None:
            network = published.PatchVectors()
            done = self._done("training", self._recipe.steps)
            found = patch_training.train_on_patches(
                pictures, choice, network, network.values, self._recipe, self._seed, _checkpoint(draft), done
            )
            _keep(draft, *found)

        inputs = {
            # By their names and sizes: there may be a million.
            "pictures": [[str(file.relative_to(choice.folder)), file.stat().st_size] for file in pictures],
            "stills": choice.model_dump(mode="json", exclude={"folder", "obtain"}),
            "network": self._network,
            "published": code_digest([published.__name__]),
            "recipe": self._settings,
        }
        return self._run("training", patch_training.__name__, inputs, train), {"pictures": len(pictures)}

    def product(self, trained: Done, about: dict[str, int]) -> Done:
        """Return the stage ``product``."""
        recipe = self._recipe

        def write(draft: Path) -> None:
            found = read_json(trained.folder / LOSS_FILE)
            (draft / WEIGHTS_FILE).write_bytes((trained.folder / WEIGHTS_FILE).read_bytes())
            whole = recipe.model_dump(mode="json")
            (draft / RECIPE_FILE).write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
            card = TeacherCard(
                name=recipe.name,
                description=recipe.description,
                patches=recipe.patches,
                shrink=recipe.shrink,
                values=recipe.values,
                weights_sha256=found["weights_sha256"],
                training={
                    "data": recipe.data,
                    **about,
                    "published": self._network,
                    "recipe": self._settings,
                    "seed": self._seed,
                },
                figures={"loss": found["loss"]},
            )
            write_teacher_card(card, draft)

        inputs = {"recipe": recipe.model_dump(mode="json"), "training": trained.digest, **about}
        return self._run("product", __name__, inputs, write)

    def _run(self, name: str, module: str, inputs: dict[str, Any], work: Callable[[Path], None]) -> Done:
        return self.stages.run(name, {"code": code_digest([module]), "seed": self._seed, **inputs}, work)

    def _done(self, stage: str, total: int) -> Callable[[int], None]:
        return lambda done: self._progress(stage, done, total)


def _checkpoint(draft: Path) -> Path:
    (draft / SCRATCH).mkdir(exist_ok=True)
    return draft / SCRATCH / CHECKPOINT_FILE


def _keep(draft: Path, trained: nn.ModuleDict, loss: float) -> None:
    write_json(draft / LOSS_FILE, {"weights_sha256": save_teachers(trained, draft), "loss": round(loss, 3)})
