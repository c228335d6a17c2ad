"""An exported network with the engine that runs it.

This file is copied into every exported version folder, where its imports are made relative.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.engines.device import cuda_devices
from models.serving.contract import OPENVINO_FILE, TORCH_FILE, EngineChoice, ScoredBatch, check_clips


class Network(Protocol):
    """A compiled network. One thread at a time may use it.

    Attributes:
        name: the engine and its device, for the log: ``openvino``, ``torch on cuda:0``, ...
    """

    name: str

    def run(self, clips: npt.NDArray[np.uint8]) -> Mapping[str, npt.NDArray[np.float32]]:
        """uint8 (N, T, H, W, 3) → each output by its name, (N, ...)."""
        ...


class Engine:
    """A loaded model. One thread at a time may use it.

    Args:
        network: its outputs are SCORE (N, 1), FEATURES (N, D) and, where the model has it, HEAT (N, h, w).
        clip: (T, H, W, 3) that it was exported with.
    """

    def __init__(self, network: Network, clip: tuple[int, int, int, int]) -> None:
        self.name = network.name
        self._network = network
        self._clip = clip

    def score(self, clips: npt.NDArray[np.uint8]) -> ScoredBatch:
        """Score N clips, uint8 (N, T, H, W, 3) RGB.

        Raises:
            ValueError: the clips have another shape or type than the model's.
        """
        check_clips(clips, self._clip)
        outputs = self._network.run(clips)
        return ScoredBatch(outputs["SCORE"].reshape(-1), outputs["FEATURES"], outputs.get("HEAT"))


def can_use_torch() -> bool:
    """Return whether torch, and this project's networks that it runs, are installed; imports neither."""
    try:
        needed = ("torch", "safetensors", "models.serving.torch_file")
        return all(importlib.util.find_spec(name) is not None for name in needed)
    except ImportError:  # no package ``models``, or another project's
        return False


def open_engine(choice: str, folder: Path, clip: tuple[int, int, int, int], *, device: int = 0) -> Engine:
    """Load the engine that ``choice`` means on this machine.

    Args:
        folder: the version folder of an exported repository.
        clip: (T, H, W, 3) that it was exported with.
        device: ordinal of the CUDA device for torch.

    Raises:
        ValueError: the choice is unknown.
        FileNotFoundError: the repository was exported without the files that the engine needs.
        RuntimeError: the engine cannot read them.
    """
    if choice not in (known := [value.value for value in EngineChoice]):
        raise ValueError(f"ENGINE must be one of {', '.join(known)}, got {choice!r}")
    wanted = EngineChoice(choice)
    on_cuda = wanted is not EngineChoice.OPENVINO and cuda_devices() > 0
    if wanted is EngineChoice.AUTO:
        prefers_torch = on_cuda and can_use_torch() and (folder / TORCH_FILE).exists()
        wanted = EngineChoice.TORCH if prefers_torch else EngineChoice.OPENVINO
    file = folder / (TORCH_FILE if wanted is EngineChoice.TORCH else OPENVINO_FILE)
    if not file.exists():
        raise FileNotFoundError(f"ENGINE {choice} needs {file}; write the repository again with mistwatch export")
    if wanted is EngineChoice.TORCH:
        from models.serving.torch_file import open_network

        return Engine(open_network(file, f"cuda:{device}" if on_cuda else "cpu"), clip)
    from models.engines.openvino import OpenVinoNetwork

    return Engine(OpenVinoNetwork(file, threads=0), clip)
