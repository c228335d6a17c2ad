"""The job that learns a student–teacher detector: from one camera's normal footage to a product that can be served.

    pictures ─► students ─► maps ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

from pathlib import Path

from models.data.normal_footage import NormalFootage
from models.detectors.student_teacher.card import StudentTeacherCard
from models.detectors.student_teacher.program import ClipMaps
from models.detectors.student_teacher.recipe import StudentTeacherRecipe
from models.detectors.student_teacher.stages import maps, pictures, product, students
from models.detectors.student_teacher.teachers import OURS, load_teachers, read_teacher_card
from models.detectors.student_teacher.weights import program_network
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
) -> Outcome:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.
        recipe: the default one when None.
        seed: of the students' first weights, and of the order of the pictures.

    Raises:
        FootageError: the footage cannot be learned from.
        SourceError: a film cannot be read.
        CardError: the teachers are missing.
        models.tensors.TensorsError: their weights are damaged.
        TrainingError: the training fails.
        StageError: another job is running in ``out``, or its product is a detector of another family.
        OSError: ``out`` cannot be written.
    """
    settings = recipe or StudentTeacherRecipe()
    folder = settings.teachers or OURS
    teachers, weights = read_teacher_card(folder), load_teachers(folder, settings.patches)
    job = LearningJob(
        StudentTeacherCard, footage, settings, str(pictures.__package__), out, report=report, progress=progress
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
            {"pictures": first.digest, "teachers": teachers.weights_sha256, "seed": seed},
            lambda draft, _: students.compute(
                draft,
                pictures.read(first.folder),
                teachers,
                weights,
                settings,
                seed,
                lambda done: progress("students", done, settings.steps),
            ),
            settings=_OF_STUDENTS,
        )
        trained = students.read(second.folder, teachers, settings)
        third = job.run(
            "maps",
            {"footage": footage.identity, "students": second.digest},
            lambda draft, done: maps.compute(
                draft,
                footage,
                settings,
                ClipMaps(program_network(trained[0], settings.clip(footage)).open()),
                done,
            ),
            settings=_OF_CLIPS,
        )
        return job.finish(
            {"students": second.digest, "maps": third.digest},
            lambda draft: product.compute(draft, footage, settings, teachers, trained, maps.read(third.folder)),
        )
