"""What a motion detector has learned, in a safetensors file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.detectors.motion.card import Architecture, MotionCard
from models.detectors.program import ServedProgram
from models.tensors import load_tensors, save_tensors
from operators.motion import RowStatistics
from operators.rarity import Rarity

WEIGHTS_FILE = "motion.safetensors"


def save_learned(rows: RowStatistics, rarity: Rarity, folder: Path) -> str:
    """Write what was learned into ``folder``, in full or not at all.

    Returns:
        The file's SHA-256, for the model card.

    Raises:
        OSError: the folder cannot be written.
    """
    arrays = {
        "centre": rows.centre,
        "spread": rows.spread,
        "levels": rarity.levels,
        "shares": rarity.shares,
        "scale": np.array(rarity.scale, np.float64),
    }
    return save_tensors({name: torch.from_numpy(array) for name, array in arrays.items()}, folder / WEIGHTS_FILE)


def load_program(card: MotionCard, folder: Path) -> ServedProgram:
    """Return the program of the model in ``folder``.

    Raises:
        TensorsError: the weights are missing, damaged, or belong to another card.
    """
    tensors = load_tensors(
        folder / WEIGHTS_FILE, _expected(card.architecture), network="motion detector", sha256=card.weights_sha256
    )
    return ServedProgram(
        "models.detectors.motion.program",
        ("models.detectors.motion.flow", "operators.motion", "operators.rarity"),
        {name: tensor.numpy() for name, tensor in tensors.items()},
    )


def _expected(architecture: Architecture) -> dict[str, torch.Tensor]:
    rows = torch.empty(architecture.rows, dtype=torch.float32)
    levels = torch.empty(architecture.levels, dtype=torch.float64)
    scale = torch.empty((), dtype=torch.float64)
    return {"centre": rows, "spread": rows, "levels": levels, "shares": levels, "scale": scale}
