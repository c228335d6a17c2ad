"""What scores clips: one small interface, and the choice of what stands behind it.

This file, ``model.py`` and the engines are copied into every exported version folder, where they are a package of their
own; so they import each other relatively, and this one needs numpy alone.
"""

from __future__ import annotations

import ctypes
import importlib.util
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

OPENVINO_FILE = "scorer.xml"  #: the network for OpenVINO; its weights lie beside it in scorer.bin
TORCH_FILE = "scorer.safetensors"  #: the weights for the torch engine


class ScoredBatch(NamedTuple):
    """What an engine says of N clips. The arrays are C-contiguous, writable and belong to the caller."""

    scores: npt.NDArray[np.float32]  #: (N,), anomaly scores in [0, 1]
    features: npt.NDArray[np.float32]  #: (N, D), of the backbone, not normalised
    attention: npt.NDArray[np.float32] | None = None  #: (N, h, w) in [0, 1]; None where the model has none


class Engine(Protocol):
    """A loaded model. One thread at a time may use it.

    Attributes:
        name: what it runs on, for the log: ``openvino``, ``torch on cuda:0``, ...
    """

    name: str

    def score(self, clips: npt.NDArray[np.uint8]) -> ScoredBatch:
        """Score N clips, uint8 (N, T, H, W, 3) RGB; T, H and W are those that the model was exported with.

        Raises:
            ValueError: another shape or another type.
        """
        ...


class EngineChoice(StrEnum):
    """What ``ENGINE`` in a ``config.pbtxt`` may say."""

    AUTO = "auto"  #: torch where there is a CUDA device and what torch needs, else OpenVINO
    OPENVINO = "openvino"
    TORCH = "torch"


def check_clips(clips: npt.NDArray[np.uint8], expected: tuple[int, int, int, int]) -> None:
    """Refuse what is not uint8 (N, *expected) with N of at least 1.

    The networks must be asked for no other size: their padding was frozen for this one, and they would answer wrongly
    instead of refusing.
    """
    if clips.dtype != np.uint8 or clips.ndim != 5 or clips.shape[1:] != expected or not len(clips):
        sizes = ", ".join(map(str, expected))
        raise ValueError(f"clips must be uint8 (N, {sizes}) with N >= 1, got {clips.dtype} {clips.shape}")


def cuda_devices() -> int:
    """How many CUDA devices this process may use; asks the driver, as importing torch would cost 0.5 GB."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def can_use_torch() -> bool:
    """Whether torch, and this project's network that it runs, are installed; imports neither."""
    try:
        needed = ("torch", "safetensors", "models.serving.scorer")
        return all(importlib.util.find_spec(name) is not None for name in needed)
    except ImportError:  # not even a package ``models``, or somebody else's
        return False


def open_engine(choice: str, folder: Path, clip: tuple[int, int, int, int], *, device: int = 0) -> Engine:
    """Load the engine that ``choice`` (an :class:`EngineChoice`) means on this machine.

    Args:
        folder: the version folder of an exported repository.
        clip: (T, H, W, 3) that it was exported with.
        device: ordinal of the CUDA device for the torch engine.

    Raises:
        ValueError: there is no such choice.
        FileNotFoundError: the repository was exported without what the engine needs.
    """
    if choice not in (there_are := [known.value for known in EngineChoice]):
        raise ValueError(f"ENGINE must be one of {', '.join(there_are)}, got {choice!r}")
    wanted = EngineChoice(choice)
    on_cuda = wanted is not EngineChoice.OPENVINO and cuda_devices() > 0
    if wanted is EngineChoice.AUTO:
        prefers_torch = on_cuda and can_use_torch() and (folder / TORCH_FILE).exists()
        wanted = EngineChoice.TORCH if prefers_torch else EngineChoice.OPENVINO
    file = folder / (TORCH_FILE if wanted is EngineChoice.TORCH else OPENVINO_FILE)
    if not file.exists():
        raise FileNotFoundError(f"ENGINE {choice} needs {file}; write the repository again with mistwatch export")
    if wanted is EngineChoice.TORCH:
        from .torch_engine import TorchEngine

        return TorchEngine(file, clip, device=f"cuda:{device}" if on_cuda else "cpu")
    from .openvino_engine import OpenVinoEngine

    return OpenVinoEngine(file, clip)
