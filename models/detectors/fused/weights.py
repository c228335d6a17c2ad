"""The learned part of a fused detector: its members' models, and a safetensors file with the map to scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.card import CARD_FILE, CardError, ModelCard
from models.detectors.base import Progress, read_detector
from models.detectors.fused import combining, program
from models.detectors.fused.card import FusedCard, Member
from models.detectors.program import ServedProgram
from models.tensors import load_arrays, save_arrays
from operators import cells, rarity
from operators.rarity import Rarity

WEIGHTS_FILE = "fused.safetensors"
MEMBERS_FOLDER = "members"  #: in the model's folder, with a model for each member


def save_learned(scale: Rarity, folder: Path) -> str:
    """Write what was learned beyond the members into ``folder``, in full or not at all.

    Returns:
        The file's SHA-256, for the model card.

    Raises:
        OSError: the folder cannot be written.
    """
    return save_arrays(scale.arrays(), folder / WEIGHTS_FILE)


def load_program(card: FusedCard, folder: Path, progress: Progress) -> ServedProgram:
    """Return the program of the model in ``folder``.

    Raises:
        CardError: a member is missing, or is another one than the card names.
        TensorsError: weights are missing, damaged, or belong to another card.
        WeightsError: a member's backbone cannot be fetched.
    """
    sizes = card.architecture
    learned = load_arrays(
        folder / WEIGHTS_FILE, Rarity.blank_arrays(sizes.levels), network="fused detector", sha256=card.weights_sha256
    )
    arrays = {
        **learned,
        "families": np.array([member.family for member in sizes.members]),
        "frames": np.array([member.frames for member in sizes.members]),
        "combination": np.array(sizes.combination.value),
    }
    members = {
        member.family: load_member(folder / MEMBERS_FOLDER / member.family, progress, expected=member)
        for member in sizes.members
    }
    # By their modules and not by their names: what is exported depends on their code (models.code finds imports).
    uses = tuple(module.__name__ for module in (combining, cells, rarity))
    return ServedProgram(program.__name__, uses, arrays, members=members)


def load_member(folder: Path, progress: Progress, *, expected: Member) -> ServedProgram:
    """Return the program of a member's model. Raises as :func:`load_program`."""
    family, card = read_detector(folder)
    if member_of(card) != expected:
        raise CardError(
            f"{folder / CARD_FILE}: not the member that the fused detector was learned with (got {family.name} "
            f"{card.weights_sha256[:12]}; expected {expected.family} {expected.weights_sha256[:12]}); learn the camera "
            "again"
        )
    loaded = family.load(card, folder, progress)
    assert isinstance(loaded, ServedProgram), "families that learn from normal footage are programs"
    return loaded


def member_of(card: ModelCard) -> Member:
    """Return a member's entry in the card of the fused detector."""
    return Member(family=card.family, weights_sha256=card.weights_sha256, frames=card.clip.frames)
