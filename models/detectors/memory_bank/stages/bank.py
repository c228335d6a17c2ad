"""The stage ``bank``: what is remembered of the sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.detectors.memory_bank.distances import Normality, Patches, from_arrays
from models.detectors.memory_bank.fitting import fit
from models.detectors.memory_bank.recipe import MemoryBankRecipe

FILE = "bank.npz"


def compute(folder: Path, recipe: MemoryBankRecipe, patches: Patches) -> None:
    """Write it. Raises OSError."""
    np.savez(folder / FILE, **fit(patches, recipe).arrays())  # type: ignore[arg-type]


def read(folder: Path) -> Normality:
    """Return what :func:`compute` wrote. Raises OSError."""
    with np.load(folder / FILE, allow_pickle=False) as arrays:
        return from_arrays(arrays)
