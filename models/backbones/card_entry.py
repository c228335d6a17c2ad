"""A published network in the card of a model that stands on it."""

from __future__ import annotations

from pathlib import Path

from models.backbones import weights
from models.card import CARD_FILE, Backbone, CardError


def entry(name: str) -> Backbone:
    """Return the entry of a network. Raises UnknownWeightsError: no weights go by that name."""
    found = weights.published(name)
    return Backbone(name=found.name, tensors_sha256=found.tensors_sha256)


def check_entry(found: Backbone, name: str, folder: Path) -> None:
    """Check that the model in ``folder`` stands on the network that this version of mistwatch has.

    Raises:
        CardError: it stands on another one, whose descriptors mean something else.
    """
    wanted = entry(name)
    if (found.name, found.tensors_sha256) != (wanted.name, wanted.tensors_sha256):
        raise CardError(
            f"{folder / CARD_FILE}: backbone: learned with the descriptors of {found.name} "
            f"({found.tensors_sha256[:12]}); expected {wanted.name} ({wanted.tensors_sha256[:12]}); train the "
            "detector again"
        )
