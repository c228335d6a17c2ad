"""The job that learns a student–teacher detector: from one camera's normal footage to a product that can be served.

    pictures ─► students ─► maps ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

from pathlib import Path

from models.backbones import weights
from models.backbones.efficientnet_lite0 import NAME
from models.data.normal_footage import NormalFootage
from models.detectors.student_teacher.card import StudentTeacherCard
from models.detectors.student_teacher.program import STUDENTS, TEACHER, ClipMaps
from models.detectors.student_teacher.recipe import StudentTeacherRecipe, Teachers
from models.detectors.student_teacher.stages import maps, pictures, product, students
from models.detectors.student_teacher.teacher import Teacher, backbone_teacher, trained_teacher
from models.detectors.student_teacher.teachers import OURS
from models.detectors.student_teacher.weights import program_networks
from models.jobs.learning import LearningJob, Outcome, Progress, Report

#: The settings that each stage depends on.
_OF_CLIPS = ("patches", "speed", "gap", "height", "least_fps")
_OF_STUDENTS = ("patches", "students", "speed", "steps", "learning_rate", "weight_decay")


def learn_student_teacher(
    footage: NormalFootage,
    out: Path,
    *,
    recipe: StudentTeacherRecipe | None = None,
    seed: int = 0,
    report: Report = lambda _line: None,
    progress: Progress = lambda *_: None,
    keep: bool = False,
) -> Outcome:
    """Run the job, as far as it is not up to date. Missing weights of EfficientNet-Lite0 are fetched.

    Args:
        out: the run's folder; made when missing.
        recipe: the default one when None.
        seed: of the students' first weights, and of the order of the pictures.
        keep: whether clips of the footage are kept for an update.

    Raises:
        FootageError: the footage cannot be learned from.
        SourceError: a film cannot be read.
        WeightsError: the teacher is EfficientNet-Lite0, whose weights cannot be fetched.
        CardError: the trained teachers are missing.
        models.tensors.TensorsError: their weights are damaged.
        TrainingError: the training fails.
        StageError: another job is running in ``out``, or its product would be lost.
        OSError: ``out`` cannot be written.
    """
    settings = recipe or StudentTeacherRecipe()
    clip = settings.clip(footage)  # refused before anything is fetched
    teacher = _teacher(settings, report)
    job = LearningJob(
        StudentTeacherCard,
        footage,
        settings,
        str(pictures.__package__),
        out,
        report=report,
        progress=progress,
        keep=keep,
    )
    with job.alone():
        first = job.run(
            "pictures",
            {"footage": footage.identity},
            lambda draft, done: pictures.compute(draft, footage, settings, done, report),
            settings=(*_OF_CLIPS, "pictures"),
        )
        second = job.run(
            "students",
            {"pictures": first.digest, "teacher": dict(teacher.about), "seed": seed},
            lambda draft, _: students.compute(
                draft,
                pictures.read(first.folder),
                teacher,
                clip,
                settings,
                seed,
                lambda done: progress("students", done, settings.steps),
            ),
            settings=_OF_STUDENTS,
        )
        trained = students.read(second.folder, teacher, settings)
        networks = program_networks(teacher, trained[0], clip)
        third = job.run(
            "maps",
            {"footage": footage.identity, "students": second.digest},
            lambda draft, done: maps.compute(
                draft,
                footage,
                settings,
                ClipMaps(networks[TEACHER].open(), networks[STUDENTS].open()),
                done,
            ),
            settings=_OF_CLIPS,
        )
        return job.finish(
            settings.clip(footage),
            {"students": second.digest, "maps": third.digest},
            lambda draft: product.compute(draft, footage, settings, teacher, trained, maps.read(third.folder)),
        )


def _teacher(recipe: StudentTeacherRecipe, report: Report) -> Teacher:
    """Return the teacher that the recipe names."""
    if recipe.teachers == Teachers.BACKBONE:
        weights.fetch_with_progress(NAME, report)
        return backbone_teacher()
    return trained_teacher(OURS if recipe.teachers == Teachers.SLIM else Path(recipe.teachers), recipe.patches)
