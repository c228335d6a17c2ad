"""The job that learns a student–teacher detector: from one camera's normal footage to a product that can be served.

    pictures ─► students ─► maps ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.card import read_card
from models.code import code_digest
from models.data.normal_footage import NormalFootage
from models.detectors.student_teacher.card import StudentTeacherCard
from models.detectors.student_teacher.program import ClipMaps
from models.detectors.student_teacher.recipe import StudentTeacherRecipe
from models.detectors.student_teacher.stages import maps, pictures, product, students
from models.detectors.student_teacher.teachers import OURS, load_teachers, read_teacher_card
from models.detectors.student_teacher.weights import program_network
from models.jobs.rows import read_json
from models.jobs.stages import Done, Stages
from pipeline.printable import storable

Progress = Callable[[str, int, int], None]  #: (stage, how much of it is done, total)

#: The settings that each stage depends on.
_OF_PICTURES = ("patches", "speed", "gap", "height", "least_fps", "pictures")
_OF_STUDENTS = ("patches", "students", "speed", "steps", "learning_rate", "weight_decay")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job.

    Attributes:
        product: folder of the model.
        moments: the strangest moments of the footage, the strangest first; see
            :mod:`models.detectors.student_teacher.stages.product`.
    """

    product: Path
    card: StudentTeacherCard
    moments: list[dict[str, Any]]


def learn_student_teacher(
    footage: NormalFootage,
    recipe: StudentTeacherRecipe,
    out: Path,
    *,
    seed: int = 0,
    report: Callable[[str], None] = lambda _line: None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.

    Raises:
        FootageError: the footage cannot be learned from.
        SourceError: a film cannot be read.
        CardError: there are no such teachers.
        models.tensors.TensorsError: their weights are damaged.
        TrainingError: the training fails.
        StageError: another job is running in ``out``.
        OSError: ``out`` cannot be written.
    """
    folder = recipe.teachers or OURS
    teachers, weights = read_teacher_card(folder), load_teachers(folder, recipe.patches)
    stages = Stages(out, report=report)
    total = max(1, round(footage.seconds))
    settings = recipe.model_dump(mode="json")

    def run(name: str, keys: tuple[str, ...], inputs: dict[str, Any], work: Callable[[Path], None]) -> Done:
        code = code_digest([f"{pictures.__package__}.{name}"])
        return stages.run(name, {"code": code, "recipe": {key: settings[key] for key in keys}, **inputs}, work)

    def seconds_of(stage: str) -> Callable[[float], None]:
        return lambda seconds: progress(stage, min(round(seconds), total), total)

    with stages.alone():
        first = run(
            "pictures",
            _OF_PICTURES,
            {"footage": footage.identity},
            lambda draft: pictures.compute(draft, footage, recipe, seconds_of("pictures"), report),
        )
        second = run(
            "students",
            _OF_STUDENTS,
            {"pictures": first.digest, "teachers": teachers.weights_sha256, "seed": seed},
            lambda draft: students.compute(
                draft,
                pictures.read(first.folder),
                teachers,
                weights,
                recipe,
                seed,
                lambda done: progress("students", done, recipe.steps),
            ),
        )
        trained = students.read(second.folder, teachers, recipe)
        third = run(
            "maps",
            _OF_PICTURES,
            {"footage": footage.identity, "students": second.digest},
            lambda draft: maps.compute(
                draft,
                footage,
                recipe,
                ClipMaps(program_network(trained[0], recipe.clip(footage)).open()),
                seconds_of("maps"),
            ),
        )
        fourth = run(
            "product",
            tuple(settings),
            {
                "camera": footage.camera,
                "films": [storable(str(film.path)) for film in footage.films],
                "students": second.digest,
                "maps": third.digest,
            },
            lambda draft: product.compute(draft, footage, recipe, teachers, trained, maps.read(third.folder)),
        )
    moments = read_json(fourth.folder / product.MOMENTS_FILE)
    return Outcome(fourth.folder, read_card(fourth.folder, StudentTeacherCard), moments)
