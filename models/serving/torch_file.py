"""The exported file for torch: the weights of a served network, with the model card in its header.

The network is built by this package, so the Python that reads the file needs mistwatch and torch installed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch

from models.card import ModelCard
from models.detectors.base import find_family
from models.detectors.network import SceneNetwork, ServedNetwork
from models.engines.batches import in_suitable_batches
from models.engines.one_by_one import Network
from models.engines.torch import EngineError, TorchNetwork


class OpenedNetworks(NamedTuple):
    """A served network, and the one over standing scenes of a model that reads one."""

    scorer: Network
    standing: TorchNetwork | None


def save_network(network: ServedNetwork, card: ModelCard, file: Path) -> None:
    """Write the file. Layers that clips and scenes share are written once. Raises OSError."""
    state = network.state_dict()
    tensors = {name: state[name].contiguous() for name in dict.fromkeys(_first_names(network).values())}
    file.write_bytes(safetensors.torch.save(tensors, metadata={"card": card.model_dump_json()}))


def open_networks(file: Path, device: str, *, precision: str = "fp32", most: int = 1) -> OpenedNetworks:
    """Load the network; in fp32 it agrees with OpenVINO within 1e-3.

    On a CUDA device the network is compiled, and the batch sizes that suit the device are chosen by measurement.

    Args:
        precision: see :class:`models.engines.torch.TorchNetwork`. Standing scenes are computed in fp32.
        most: clips in a batch at most, on a CUDA device.

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
    standing = None
    if isinstance(network, SceneNetwork):
        standing = TorchNetwork(network.standing, network.of_scene, device, inputs=("SCENE",))
    if device == "cpu":
        return OpenedNetworks(_scorer(network, device, precision), standing)
    clip = family.card.model_validate_json(text).clip
    black = np.zeros((1, clip.frames, clip.height, clip.width, 3), np.uint8)
    inputs = {"CLIP": black, **({} if standing is None else standing.run(black[:, 0]))}
    return OpenedNetworks(in_batches(network, device, inputs, precision=precision, most=most), standing)


def in_batches(
    network: ServedNetwork, device: str, inputs: Mapping[str, npt.NDArray[Any]], *, precision: str, most: int
) -> Network:
    """Return a network in batches that suit the device: compiled, or as it is where torch cannot compile it.

    Args:
        inputs: one item of each input, (1, ...).
        precision, most: see :func:`open_networks`.

    Raises:
        models.engines.torch.EngineError: the device cannot be used.
    """
    try:
        return in_suitable_batches(_scorer(network, device, precision, compiled=True), inputs, most, _report)
    except EngineError:
        raise
    except Exception as error:  # the compiler of torch has many of its own
        _report(f"torch cannot compile the network here ({type(error).__name__}); it runs as it is")
        return in_suitable_batches(_scorer(network, device, precision), inputs, most, _report)


def _scorer(network: ServedNetwork, device: str, precision: str, *, compiled: bool = False) -> TorchNetwork:
    inputs = ("CLIP", *(network.of_scene if isinstance(network, SceneNetwork) else ()))
    return TorchNetwork(network, network.outputs, device, inputs=inputs, precision=precision, compiled=compiled)


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # Triton's log


def _first_names(network: ServedNetwork) -> dict[str, str]:
    """Return for each name in the network's state the first name of the same tensor."""
    firsts: dict[int, str] = {}
    return {name: firsts.setdefault(id(tensor), name) for name, tensor in network.state_dict(keep_vars=True).items()}
