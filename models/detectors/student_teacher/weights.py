"""The learned part of a student–teacher detector, in a safetensors file: its networks, and what is normal for them.

EfficientNet-Lite0 as the teacher is not in it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from models.backbones.card_entry import check_entry
from models.backbones.efficientnet_lite0 import NAME
from models.card import CARD_FILE, CardError
from models.data import flow
from models.detectors.program import ProgramNetwork, ServedProgram
from models.detectors.student_teacher import program, strangeness
from models.detectors.student_teacher.card import StudentTeacherCard
from models.detectors.student_teacher.ensemble import Ensemble
from models.detectors.student_teacher.published import VALUES
from models.detectors.student_teacher.strangeness import NormalMaps
from models.detectors.student_teacher.teacher import Teacher, backbone_teacher, blank_teacher
from models.tensors import load_tensors, save_tensors
from operators import cells, motion, rarity
from operators.rarity import Rarity
from pipeline.windows import ClipSpec

WEIGHTS_FILE = "student_teacher.safetensors"
#: Before the names of the networks' tensors.
_TEACHER, _STUDENTS = f"{program.TEACHER}.", f"{program.STUDENTS}."


def blank_ensemble(teacher: Teacher, patches: tuple[int, ...], *, students: int, speed: bool) -> Ensemble:
    """Return the students of a teacher without their weights."""
    return Ensemble(
        patches,
        shrink=teacher.shrink,
        values=teacher.values,
        students=students,
        teachers=teacher.teachers,
        grid=teacher.grid,
        speed=speed,
    ).eval()


def program_networks(teacher: Teacher, ensemble: Ensemble, clip: ClipSpec) -> dict[str, ProgramNetwork]:
    """Return the networks as the program runs them, for pictures of that size alone."""
    picture = ((clip.height, clip.width, 3), "uint8")
    places = (-(-clip.height // teacher.grid.every), -(-clip.width // teacher.grid.every))
    descriptors = ((teacher.teachers * teacher.values, *places), "float32")
    inputs = {program.PICTURE: picture, program.DESCRIPTORS: descriptors}
    return {
        program.TEACHER: teacher.of_pictures(clip),
        program.STUDENTS: ProgramNetwork(ensemble, inputs, ensemble.outputs),
    }


def save_learned(teacher: Teacher, ensemble: Ensemble, normal: NormalMaps, scale: Rarity, folder: Path) -> str:
    """Write what was learned into ``folder``, in full or not at all.

    Returns:
        The file's SHA-256, for the model card.

    Raises:
        OSError: the folder cannot be written.
    """
    arrays = {
        "centre": normal.centre,
        "spread": normal.spread,
        "weights": normal.weights,
        "units": normal.units,
        **scale.arrays(),
    }
    tensors = _of_networks(teacher, ensemble) | {name: torch.from_numpy(array) for name, array in arrays.items()}
    return save_tensors(tensors, folder / WEIGHTS_FILE)


def load_program(card: StudentTeacherCard, folder: Path) -> ServedProgram:
    """Return the program of the model in ``folder``, whose backbone, if any, has been checked.

    Raises:
        TensorsError: the weights are missing, damaged, or belong to another card.
        WeightsError: the backbone's weights are not in the cache.
    """
    sizes = card.architecture
    teacher = (
        blank_teacher(sizes.patches, shrink=sizes.shrink, values=sizes.values, about={})
        if card.backbone is None
        else backbone_teacher()
    )
    ensemble = blank_ensemble(teacher, sizes.patches, students=sizes.students, speed=sizes.speed)
    tensors = load_tensors(
        folder / WEIGHTS_FILE,
        _of_networks(teacher, ensemble) | _blank_arrays(card),
        network="student–teacher detector",
        sha256=card.weights_sha256,
    )
    if card.backbone is None:
        teacher.network.load_state_dict(_without(_TEACHER, tensors))
    ensemble.load_state_dict(_without(_STUDENTS, tensors))
    # By their modules and not by their names: what is exported depends on their code (models.code finds imports).
    uses = tuple(module.__name__ for module in (flow, strangeness, cells, motion, rarity))
    arrays = {name: tensors[name].numpy() for name in _blank_arrays(card)}
    return ServedProgram(program.__name__, uses, arrays, program_networks(teacher, ensemble, card.clip.spec))


def check_backbone(card: StudentTeacherCard, folder: Path) -> None:
    """Check that a model whose teacher is a backbone stands on the one that this version of mistwatch has.

    Raises:
        CardError: it stands on another one, or on other values of it.
    """
    if card.backbone is None:
        return
    check_entry(card.backbone, NAME, folder)
    if card.architecture.values != VALUES:
        raise CardError(
            f"{folder / CARD_FILE}: architecture.values: got {card.architecture.values}; expected the {VALUES} of "
            f"{card.backbone.name}; learn the camera again"
        )


def _of_networks(teacher: Teacher, ensemble: Ensemble) -> dict[str, Tensor]:
    """Return the tensors of the networks that lie in products, by their names there."""
    return {
        prefix + name: tensor
        for prefix, state in ((_TEACHER, teacher.learned()), (_STUDENTS, ensemble.state_dict()))
        for name, tensor in state.items()
    }


def _without(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _blank_arrays(card: StudentTeacherCard) -> dict[str, Tensor]:
    sizes = card.architecture
    places = torch.empty((2, len(sizes.patches), *sizes.places), dtype=torch.float32)
    two = torch.empty(2, dtype=torch.float32)
    learned = {"centre": places, "spread": places, "weights": two, "units": two}
    return learned | {name: torch.from_numpy(array) for name, array in Rarity.blank_arrays(sizes.levels).items()}
