"""The learned part of a student–teacher detector, in a safetensors file: its networks, and what is normal for them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from models.data import flow
from models.detectors.program import ProgramNetwork, ServedProgram
from models.detectors.student_teacher import program, strangeness
from models.detectors.student_teacher.card import Architecture, StudentTeacherCard
from models.detectors.student_teacher.ensemble import Ensemble
from models.detectors.student_teacher.strangeness import NormalMaps
from models.tensors import load_tensors, save_tensors
from operators import cells, motion, rarity
from operators.rarity import Rarity
from pipeline.windows import ClipSpec

WEIGHTS_FILE = "student_teacher.safetensors"
_NETWORK = "ensemble."  #: before the names of the networks' tensors


def blank_ensemble(architecture: Architecture) -> Ensemble:
    """Return the networks without their weights."""
    return Ensemble(
        architecture.patches,
        shrink=architecture.shrink,
        values=architecture.values,
        students=architecture.students,
        speed=architecture.speed,
    ).eval()


def program_network(ensemble: Ensemble, clip: ClipSpec) -> ProgramNetwork:
    """Return the networks as the program runs them, for pictures of that size alone."""
    inputs = {program.PICTURE: ((clip.height, clip.width, 3), "uint8")}
    return ProgramNetwork(ensemble, inputs, ensemble.outputs)


def save_learned(ensemble: Ensemble, normal: NormalMaps, scale: Rarity, folder: Path) -> str:
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
    tensors = {_NETWORK + name: tensor for name, tensor in ensemble.state_dict().items()}
    return save_tensors(
        tensors | {name: torch.from_numpy(array) for name, array in arrays.items()}, folder / WEIGHTS_FILE
    )


def load_program(card: StudentTeacherCard, folder: Path) -> ServedProgram:
    """Return the program of the model in ``folder``.

    Raises:
        TensorsError: the weights are missing, damaged, or belong to another card.
    """
    ensemble = blank_ensemble(card.architecture)
    tensors = load_tensors(
        folder / WEIGHTS_FILE,
        _expected(ensemble, card.architecture),
        network="student–teacher detector",
        sha256=card.weights_sha256,
    )
    ensemble.load_state_dict(
        {name.removeprefix(_NETWORK): tensor for name, tensor in tensors.items() if name.startswith(_NETWORK)}
    )
    # By their modules and not by their names: what is exported depends on their code (models.code finds imports).
    uses = tuple(module.__name__ for module in (flow, strangeness, cells, motion, rarity))
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if not name.startswith(_NETWORK)}
    network = program_network(ensemble, card.clip.spec)
    return ServedProgram(program.__name__, uses, arrays, {program.NETWORK: network})


def _expected(ensemble: Ensemble, architecture: Architecture) -> dict[str, Tensor]:
    places = torch.empty((2, len(architecture.patches), *architecture.places), dtype=torch.float32)
    two = torch.empty(2, dtype=torch.float32)
    learned = {"centre": places, "spread": places, "weights": two, "units": two}
    learned |= {name: torch.from_numpy(array) for name, array in Rarity.blank_arrays(architecture.levels).items()}
    return learned | {_NETWORK + name: tensor for name, tensor in ensemble.state_dict().items()}
