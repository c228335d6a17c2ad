"""The job that trains teachers, once for all cameras: from films to a folder of :mod:`.teachers`.

    crops ─► vectors ─► training ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from models.backbones import weights
from models.backbones.efficientnet_lite0 import NAME
from models.code import code_digest
from models.data.npy_rows import NpyFile
from models.detectors.student_teacher import crops, published, teacher_training, teachers
from models.detectors.student_teacher.published import PublishedVectors
from models.detectors.student_teacher.teacher_recipe import TeacherRecipe
from models.detectors.student_teacher.teacher_training import train_teachers
from models.detectors.student_teacher.teachers import TeacherCard, read_teacher_card, save_teachers, write_teacher_card
from models.jobs.errors import TrainingError
from models.jobs.rows import read_json, write_json
from models.jobs.stages import SCRATCH, Done, Stages

CROPS_FILE, VECTORS_FILE, LOSS_FILE, RECIPE_FILE = "crops.npy", "vectors.npy", "loss.json", "recipe.yaml"
CHECKPOINT_FILE = "last.pt"
#: Crops below which a training means nothing.
_LEAST_CROPS = 16


def train_teacher(
    recipe: TeacherRecipe,
    out: Path,
    *,
    seed: int = 0,
    report: Callable[[str], None] = lambda _line: None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> tuple[Path, TeacherCard]:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.
        report: called with a line for each stage.
        progress: called with the stage, and how much of it is done of how much.

    Returns:
        the folder of the teachers, and their card.

    Raises:
        TrainingError: no films, or a loss that is not finite.
        SourceError: a film cannot be read.
        StageError: another job is running in ``out``.
        models.backbones.weights.WeightsError: the published weights cannot be had.
        OSError: ``out`` cannot be written.
    """
    films = crops.films_of(recipe.crops)
    weights.fetch_with_progress(NAME, report)
    stages = Stages(out, report=report)

    def run(name: str, module: str, inputs: dict[str, Any], work: Callable[[Path], None]) -> Done:
        return stages.run(name, {"code": code_digest([module]), "seed": seed, **inputs}, work)

    def write_some(draft: Path) -> None:
        number = crops.write_crops(
            draft / CROPS_FILE, films, recipe.crops, seed, lambda done: progress("crops", done, len(films))
        )
        if number < _LEAST_CROPS:
            raise TrainingError(
                f"crops.films: {len(films)} films give {number} crops; expected at least {_LEAST_CROPS}: name more "
                "films, or raise crops.fps"
            )

    def write_vectors(draft: Path) -> None:
        found = NpyFile(first.folder / CROPS_FILE)
        published.write_vectors(
            draft / VECTORS_FILE, found, PublishedVectors(), lambda done: progress("vectors", done, len(found))
        )

    def train(draft: Path) -> None:
        (draft / SCRATCH).mkdir(exist_ok=True)
        found, loss = train_teachers(
            NpyFile(first.folder / CROPS_FILE),
            NpyFile(second.folder / VECTORS_FILE),
            recipe,
            seed,
            draft / SCRATCH / CHECKPOINT_FILE,
            lambda done: progress("training", done, recipe.steps),
        )
        sha256 = save_teachers(found, draft)
        write_json(draft / LOSS_FILE, {"weights_sha256": sha256, "loss": round(loss, 3)})

    def write_product(draft: Path) -> None:
        found = read_json(third.folder / LOSS_FILE)
        (draft / teachers.WEIGHTS_FILE).write_bytes((third.folder / teachers.WEIGHTS_FILE).read_bytes())
        settings = recipe.model_dump(mode="json")
        (draft / RECIPE_FILE).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        card = TeacherCard(
            name=recipe.name,
            description=recipe.description,
            patches=recipe.patches,
            shrink=recipe.shrink,
            values=recipe.values,
            weights_sha256=found["weights_sha256"],
            training={
                "data": recipe.data,
                "films": len(films),
                "crops": len(NpyFile(first.folder / CROPS_FILE)),
                "published": network,
                "recipe": settings,
                "seed": seed,
            },
            figures={"loss": found["loss"]},
        )
        write_teacher_card(card, draft)

    with stages.alone():
        choice = recipe.crops.model_dump(mode="json", exclude={"films", "obtain"})
        contents = [hashlib.sha256(film.read_bytes()).hexdigest() for film in films]
        first = run("crops", crops.__name__, {"films": contents, "crops": choice}, write_some)
        settings = recipe.model_dump(mode="json", exclude={"name", "description", "data", "crops"})
        network = {"name": NAME, "tensors_sha256": weights.published(NAME).tensors_sha256}
        of_crops = {"crops": first.digest, "network": network}
        second = run("vectors", published.__name__, of_crops, write_vectors)
        both = {"crops": first.digest, "vectors": second.digest, "recipe": settings}
        third = run("training", teacher_training.__name__, both, train)
        whole = {"recipe": recipe.model_dump(mode="json"), "crops": first.digest, "training": third.digest}
        fourth = run("product", __name__, whole, write_product)
    return fourth.folder, read_teacher_card(fourth.folder)
