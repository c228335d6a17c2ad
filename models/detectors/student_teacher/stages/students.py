"""The stage ``students``: the trained networks of the detector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from models.detectors.student_teacher.ensemble import Ensemble
from models.detectors.student_teacher.recipe import StudentTeacherRecipe
from models.detectors.student_teacher.stages.pictures import Sample
from models.detectors.student_teacher.students_training import train_students
from models.detectors.student_teacher.teachers import TeacherCard
from models.jobs.rows import read_json, write_json
from models.jobs.stages import SCRATCH
from models.tensors import load_tensors, save_tensors

WEIGHTS_FILE, ABOUT_FILE, CHECKPOINT_FILE = "ensemble.safetensors", "ensemble.json", "last.pt"


def compute(
    folder: Path,
    sample: Sample,
    teachers: TeacherCard,
    weights: dict[str, Tensor],
    recipe: StudentTeacherRecipe,
    seed: int,
    progress: Callable[[int], None],
) -> None:
    """Train the students, from the checkpoint of a killed call if there is one.

    Args:
        weights: of the teachers, by the names of :func:`models.detectors.student_teacher.teachers.blank`.
        progress: called with the number of steps that are done.

    Raises:
        TrainingError: a loss is not finite, or the checkpoint is damaged.
        OSError: the folder cannot be written.
    """
    ensemble = blank_for(teachers, recipe)
    for patch, scale in zip(recipe.patches, ensemble.scales, strict=True):
        name = f"{patch}."
        own = {key.removeprefix(name): tensor for key, tensor in weights.items() if key.startswith(name)}
        scale.teacher.load_state_dict(own)
    (folder / SCRATCH).mkdir(exist_ok=True)
    checkpoint = folder / SCRATCH / CHECKPOINT_FILE
    loss = train_students(ensemble, sample.pictures, sample.speeds, recipe, seed, checkpoint, progress)
    sha256 = save_tensors(ensemble.state_dict(), folder / WEIGHTS_FILE)
    write_json(folder / ABOUT_FILE, {"weights_sha256": sha256, "loss": round(loss, 3)})


def read(folder: Path, teachers: TeacherCard, recipe: StudentTeacherRecipe) -> tuple[Ensemble, float]:
    """Return the networks in evaluation mode, and the loss at the end.

    Raises:
        models.tensors.TensorsError: the weights are damaged.
    """
    about = read_json(folder / ABOUT_FILE)
    ensemble = blank_for(teachers, recipe)
    state = load_tensors(
        folder / WEIGHTS_FILE, ensemble.state_dict(), network="student–teacher detector", sha256=about["weights_sha256"]
    )
    ensemble.load_state_dict(state)
    return ensemble.eval(), about["loss"]


def blank_for(teachers: TeacherCard, recipe: StudentTeacherRecipe) -> Ensemble:
    """Return the networks without their weights, of the teachers' sizes."""
    return Ensemble(
        recipe.patches,
        shrink=teachers.shrink,
        values=teachers.values,
        students=recipe.students,
        speed=recipe.speed,
    )
