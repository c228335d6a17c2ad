"""The learned part of a motion detector, in a safetensors file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.data import flow
from models.detectors.motion import program
from models.detectors.motion.card import Architecture, MotionCard
from models.detectors.program import ServedProgram
from models.tensors import Array, load_arrays, save_arrays
from operators import cells, motion, rarity
from operators.motion import RowStatistics
from operators.rarity import Rarity

WEIGHTS_FILE = "motion.safetensors"


def save_learned(rows: RowStatistics, scale: Rarity, folder: Path) -> str:
    """Write what was learned into ``folder``, in full or not at all.

    Returns:
        The file's SHA-256, for the model card.

    Raises:
        OSError: the folder cannot be written.
    """
    arrays: dict[str, Array] = {
        "centre": rows.centre,
        "spread": rows.spread,
        **scale.arrays(),
    }
    return save_arrays(arrays, folder / WEIGHTS_FILE)


def load_program(card: MotionCard, folder: Path) -> ServedProgram:
    """Return the program of the model in ``folder``.

    Raises:
        TensorsError: the weights are missing, damaged, or belong to another card.
    """
    arrays = load_arrays(
        folder / WEIGHTS_FILE, _expected(card.architecture), network="motion detector", sha256=card.weights_sha256
    )
    # By their modules and not by their names: what is exported depends on their code (models.code finds imports).
    uses = tuple(module.__name__ for module in (flow, cells, motion, rarity))
    return ServedProgram(program.__name__, uses, arrays)


def _expected(architecture: Architecture) -> dict[str, Array]:
    rows = np.empty((2, architecture.rows), np.float32)
    return {"centre": rows, "spread": rows, **Rarity.blank_arrays(architecture.levels)}
