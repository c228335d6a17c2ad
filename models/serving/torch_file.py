"""The exported file for torch: the weights of a served network, with the model card in its header.

The network is built by this package, so the Python that reads the file needs mistwatch and torch installed.
"""

from __future__ import annotations

from pathlib import Path

import safetensors
import safetensors.torch

from models.card import ModelCard
from models.detectors.base import find_family
from models.detectors.network import ServedNetwork
from models.engines.torch import TorchNetwork


def save_network(network: ServedNetwork, card: ModelCard, file: Path) -> None:
    """Write the file. Raises OSError."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    file.write_bytes(safetensors.torch.save(tensors, metadata={"card": card.model_dump_json()}))


def open_network(file: Path, device: str) -> TorchNetwork:
    """Load the network, in float32 throughout, so that it agrees with OpenVINO within 1e-3.

    Raises:
        RuntimeError: the weights belong to another network.
        models.engines.torch.EngineError: the device cannot be used.
        models.detectors.base.UnknownFamilyError: this version of mistwatch does not know the detector's family.
        safetensors.SafetensorError: it is not a safetensors file.
    """
    with safetensors.safe_open(file, framework="pt") as stored:
        text = stored.metadata()["card"]
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
    family = find_family(ModelCard.model_validate_json(text).family)
    network = family.blank(family.card.model_validate_json(text))
    network.load_state_dict(tensors)
    return TorchNetwork(network.eval(), network.outputs, device)
