"""The learned part of a memory bank, in a safetensors file."""

from __future__ import annotations

from pathlib import Path

import torch

from models.backbones.card_entry import check_entry
from models.backbones.efficientnet_lite0 import NAME
from models.backbones.patch_descriptors import channels
from models.card import CARD_FILE, CardError
from models.detectors.memory_bank import distances, program
from models.detectors.memory_bank.card import Architecture, MemoryBankCard
from models.detectors.memory_bank.descriptors import descriptor_network
from models.detectors.memory_bank.distances import Normality
from models.detectors.program import ServedProgram
from models.tensors import load_tensors, save_tensors
from operators import cells, rarity
from operators.rarity import Rarity

WEIGHTS_FILE = "memory_bank.safetensors"


def save_learned(normality: Normality, scale: Rarity, folder: Path) -> str:
    """Write what was learned into ``folder``, in full or not at all.

    Returns:
        The file's SHA-256, for the model card.

    Raises:
        OSError: the folder cannot be written.
    """
    arrays = {
        **normality.arrays(),
        **scale.arrays(),
    }
    return save_tensors({name: torch.from_numpy(array) for name, array in arrays.items()}, folder / WEIGHTS_FILE)


def load_program(card: MemoryBankCard, folder: Path) -> ServedProgram:
    """Return the program of the model in ``folder``, whose backbone has been checked.

    Raises:
        TensorsError: the weights are missing, damaged, or belong to another card.
        WeightsError: the backbone's weights are not in the cache.
    """
    tensors = load_tensors(
        folder / WEIGHTS_FILE, _expected(card.architecture), network="memory bank", sha256=card.weights_sha256
    )
    # By their modules and not by their names: what is exported depends on their code (models.code finds imports).
    uses = tuple(module.__name__ for module in (distances, cells, rarity))
    of = card.architecture
    network = descriptor_network(of.layers, of.enlarge, card.clip.spec, of.grid)
    return ServedProgram(
        program.__name__,
        uses,
        {name: tensor.numpy() for name, tensor in tensors.items()},
        {program.NETWORK: network},
    )


def check_backbone(card: MemoryBankCard, folder: Path) -> None:
    """Check that a model stands on the backbone that this version of mistwatch has.

    Raises:
        CardError: it stands on another one, whose descriptors mean something else.
    """
    check_entry(card.backbone, NAME, folder)
    width = channels(card.architecture.layers)
    if card.architecture.channels != width:
        raise CardError(
            f"{folder / CARD_FILE}: architecture.channels {card.architecture.channels} is not the width of "
            f"architecture.layers {', '.join(card.architecture.layers)} ({width})"
        )


def _expected(architecture: Architecture) -> dict[str, torch.Tensor]:
    width = architecture.channels
    remembered = (
        {"bank": torch.empty(architecture.patches, width)}
        if architecture.distance == "neighbours"
        else {"mean": torch.empty(width), "whitening": torch.empty(width, width)}
    )
    scale = Rarity.blank_arrays(architecture.levels)
    return remembered | {name: torch.from_numpy(array) for name, array in scale.items()}
