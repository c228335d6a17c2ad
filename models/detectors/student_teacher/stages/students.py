"""The stage ``students``: the trained networks of the detector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.detectors.student_teacher.ensemble import Ensemble
from models.detectors.student_teacher.program import DESCRIPTORS
from models.detectors.student_teacher.recipe import StudentTeacherRecipe
from models.detectors.student_teacher.stages.pictures import Sample
from models.detectors.student_teacher.students_training import train_students
from models.detectors.student_teacher.teacher import Teacher
from models.detectors.student_teacher.weights import blank_ensemble
from models.jobs.rows import read_json, write_json
from models.jobs.stages import SCRATCH
from models.tensors import load_tensors, save_tensors
from pipeline.windows import ClipSpec

WEIGHTS_FILE, ABOUT_FILE, CHECKPOINT_FILE = "ensemble.safetensors", "ensemble.json", "last.pt"


def compute(
    folder: Path,
    sample: Sample,
    teacher: Teacher,
    clip: ClipSpec,
    recipe: StudentTeacherRecipe,
    seed: int,
    progress: Callable[[int], None],
) -> None:
    """Train the students, from the checkpoint of a killed call if there is one.

    Args:
        clip: of the pictures of the sample.
        progress: called with the number of steps that are done.

    Raises:
        TrainingError: a loss is not finite, or the checkpoint is damaged.
        OSError: the folder cannot be written.
    """
    ensemble = _blank(teacher, recipe)
    network = teacher.of_pictures(clip).open()
    (folder / SCRATCH).mkdir(exist_ok=True)
    checkpoint = folder / SCRATCH / CHECKPOINT_FILE
    loss = train_students(
        ensemble,
        lambda pictures: network.run(pictures)[DESCRIPTORS],
        sample.pictures,
        sample.speeds,
        recipe,
        seed,
        checkpoint,
        progress,
    )
    sha256 = save_tensors(ensemble.state_dict(), folder / WEIGHTS_FILE)
    write_json(folder / ABOUT_FILE, {"weights_sha256": sha256, "loss": round(loss, 3)})


def read(folder: Path, teacher: Teacher, recipe: StudentTeacherRecipe) -> tuple[Ensemble, float]:
    """Return the networks in evaluation mode, and the loss at the end.

    Raises:
        models.tensors.TensorsError: the weights are damaged.
    """
    about = read_json(folder / ABOUT_FILE)
    ensemble = _blank(teacher, recipe)
    state = load_tensors(
        folder / WEIGHTS_FILE, ensemble.state_dict(), network="student–teacher detector", sha256=about["weights_sha256"]
    )
    ensemble.load_state_dict(state)
    return ensemble.eval(), about["loss"]


def _blank(teacher: Teacher, recipe: StudentTeacherRecipe) -> Ensemble:
    return blank_ensemble(teacher, recipe.patches, students=recipe.students, speed=recipe.speed)
