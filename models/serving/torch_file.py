"""The exported file for torch: the weights of a served network, with the model card in its header.

The network is built by this package, so the Python that reads the file needs mistwatch and torch installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch

from models.card import ModelCard
from models.detectors.base import find_family
from models.detectors.network import SceneNetwork, ServedNetwork
from models.engines.torch import TorchNetwork


class OpenedNetworks(NamedTuple):
    """A served network, and the one over standing scenes of a model that reads one."""

    scorer: TorchNetwork
    standing: TorchNetwork | None


def save_network(network: ServedNetwork, card: ModelCard, file: Path) -> None:
    """Write the file. Layers that clips and scenes share are written once. Raises OSError."""
    state = network.state_dict()
    tensors = {name: state[name].contiguous() for name in dict.fromkeys(_first_names(network).values())}
    file.write_bytes(safetensors.torch.save(tensors, metadata={"card": card.model_dump_json()}))


def open_networks(file: Path, device: str) -> OpenedNetworks:
    """Load the network, in float32 throughout, so that it agrees with OpenVINO within 1e-3.

    Raises:
        RuntimeError: the weights belong to another network, or to a family without networks.
        models.engines.torch.EngineError: the device cannot be used.
        models.detectors.base.UnknownFamilyError: this version of mistwatch does not know the detector's family.
        safetensors.SafetensorError: it is not a safetensors file.
    """
    with safetensors.safe_open(file, framework="pt") as stored:
        text = stored.metadata()["card"]
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
    family = find_family(ModelCard.model_validate_json(text).family)
    if family.blank is None:
        raise RuntimeError(f"{file}: the family {family.name} has no networks; write it again with mistwatch export")
    network = family.blank(family.card.model_validate_json(text))
    shared = {name: tensors[first] for name, first in _first_names(network).items() if first in tensors}
    network.load_state_dict(tensors | shared)
    network.eval()
    if not isinstance(network, SceneNetwork):
        return OpenedNetworks(TorchNetwork(network, network.outputs, device), None)
    return OpenedNetworks(
        TorchNetwork(network, network.outputs, device, inputs=("CLIP", *network.of_scene)),
        TorchNetwork(network.standing, network.of_scene, device, inputs=("SCENE",)),
    )


def _first_names(network: ServedNetwork) -> dict[str, str]:
    """Return for each name in the network's state the first name of the same tensor."""
    firsts: dict[int, str] = {}
    return {name: firsts.setdefault(id(tensor), name) for name, tensor in network.state_dict(keep_vars=True).items()}
