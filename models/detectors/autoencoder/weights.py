"""The learned part of an autoencoder, in a safetensors file: its network, and what is normal for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from models.detectors.autoencoder import normal_errors, program
from models.detectors.autoencoder.card import AutoencoderCard, Error
from models.detectors.autoencoder.network import Autoencoder
from models.detectors.autoencoder.normal_errors import NormalErrors
from models.detectors.program import ProgramNetwork, ServedProgram
from models.tensors import load_tensors, save_tensors
from operators import cells, rarity
from operators.rarity import Rarity
from pipeline.windows import ClipSpec

WEIGHTS_FILE = "autoencoder.safetensors"
#: Before the names of the network's tensors.
_NETWORK = f"{program.NETWORK}."


def blank_network(clip: ClipSpec, *, channels: Sequence[int], code: int, error: Error) -> Autoencoder:
    """Return the network for such clips, without its weights."""
    size = clip.height, clip.width
    return Autoencoder(clip.frames, size, channels=channels, code=code, error=error).eval()


def program_network(network: Autoencoder, clip: ClipSpec) -> ProgramNetwork:
    """Return the network as the program runs it, for clips of that size alone."""
    inputs = {program.CLIP: ((clip.frames, clip.height, clip.width, 3), "uint8")}
    return ProgramNetwork(network, inputs, (program.ERRORS, program.CODE))


def save_learned(network: Autoencoder, normal: NormalErrors, scale: Rarity, folder: Path) -> str:
    """Write what was learned into ``folder``, in full or not at all.

    Returns:
        The file's SHA-256, for the model card.

    Raises:
        OSError: the folder cannot be written.
    """
    arrays = {"centre": normal.centre, "spread": normal.spread, **scale.arrays()}
    tensors = _of_network(network) | {name: torch.from_numpy(array) for name, array in arrays.items()}
    return save_tensors(tensors, folder / WEIGHTS_FILE)


def load_program(card: AutoencoderCard, folder: Path) -> ServedProgram:
    """Return the program of the model in ``folder``.

    Raises:
        TensorsError: the weights are missing, damaged, or belong to another card.
    """
    sizes, clip = card.architecture, card.clip.spec
    network = blank_network(clip, channels=sizes.channels, code=sizes.code, error=sizes.error)
    blank = _blank_arrays(card)
    tensors = load_tensors(
        folder / WEIGHTS_FILE, _of_network(network) | blank, network="autoencoder", sha256=card.weights_sha256
    )
    network.load_state_dict({name: tensors[_NETWORK + name] for name in network.state_dict()})
    # By their modules and not by their names: what is exported depends on their code (models.code finds imports).
    uses = tuple(module.__name__ for module in (normal_errors, cells, rarity))
    arrays = {name: tensors[name].numpy() for name in blank}
    return ServedProgram(program.__name__, uses, arrays, {program.NETWORK: program_network(network, clip)})


def _of_network(network: Autoencoder) -> dict[str, Tensor]:
    """Return the network's tensors by their names in products."""
    return {_NETWORK + name: tensor for name, tensor in network.state_dict().items()}


def _blank_arrays(card: AutoencoderCard) -> dict[str, Tensor]:
    sizes = card.architecture
    places = torch.empty((1 + (sizes.error is Error.BOTH), *sizes.places), dtype=torch.float32)
    scale = {name: torch.from_numpy(array) for name, array in Rarity.blank_arrays(sizes.levels).items()}
    return {"centre": places, "spread": places} | scale
