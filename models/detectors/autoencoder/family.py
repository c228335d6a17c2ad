"""Autoencoders as a family: how badly a network that has learned to reconstruct normal pictures does so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.detectors.autoencoder.card import AutoencoderCard
from models.detectors.base import BelongsTo, Family, LearnsFrom, Progress
from operators.heat_kind import HeatKind

if TYPE_CHECKING:
    from models.detectors.program import ServedProgram


def _load(card: AutoencoderCard, folder: Path, _progress: Progress) -> ServedProgram:
    """Raise TensorsError where it cannot be loaded."""
    from models.detectors.autoencoder.weights import load_program

    return load_program(card, folder)


FAMILY = Family(
    name="autoencoder",
    card=AutoencoderCard,
    learns_from=LearnsFrom.NORMAL_FOOTAGE,
    belongs_to=BelongsTo.CAMERA,
    may_be_gated=True,
    training="models.detectors.autoencoder.job:learn_autoencoder",
    heat=lambda _card: HeatKind.ANOMALY,
    load=_load,
    recipe="models.detectors.autoencoder.recipe:AutoencoderRecipe",
    pictures=("height=256", "kernel=1", "frames=1", "normal=picture"),
)
