"""The contract between a served model, the engine that computes it and Triton.

This file is copied into every exported version folder, so it needs numpy alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

OPENVINO_FILE = "scorer.xml"  #: the network for OpenVINO; its weights lie beside it in scorer.bin
SCENE_FILE = "scene.xml"  #: the network over standing scenes for OpenVINO, of a model that reads one
BACKBONE_FILE = "backbone.json"  #: the served backbone that a network stands on, of a version that shares one
BACKBONE_PREFIX = "backbone_"  #: beginning of the names of served backbones
RAISED = "the backbone failed: "  #: beginning of the text of a served backbone's own error
BACKBONE_BATCH = 2  #: clips in a request to a served backbone at most
TORCH_FILE = "scorer.safetensors"  #: the weights for torch
PROGRAM_FILE = "scorer.npz"  #: what a program has learned, of a detector that is one
NETWORKS_FOLDER = "networks"  #: the networks of a program that has some, for OpenVINO, a file NAME.xml each
CONFIG_FILE = "config.pbtxt"  #: the settings of a served model, and those of a part
PARTS_FOLDER = "parts"  #: the parts that a model hosts, a folder for each camera, beside its version folders
PART_TROUBLE = "PART "  #: beginning of the text of an error that concerns the part of a request alone
PRECISION = "PRECISION"  #: parameter of a network that does not compute in fp32; see models.engines.precision
MEMBERS_FOLDER = "members"  #: programs that a program combines, a folder NAME each, as complete as its own


class ScoredBatch(NamedTuple):
    """An engine's answer for N clips. The arrays are C-contiguous, writable and belong to the caller."""

    scores: npt.NDArray[np.float32]  #: (N,), anomaly scores in [0, 1]; output SCORE
    features: npt.NDArray[np.float32]  #: (N, D), not normalised; output FEATURES
    heat: npt.NDArray[np.float32] | None = None  #: (N, h, w), place of the anomaly; output HEAT, where the model has it


class EngineChoice(StrEnum):
    """Values of the parameter ``ENGINE`` in a ``config.pbtxt``; a program has no choice, and ``auto``."""

    AUTO = "auto"  #: torch where there is a CUDA device and all that torch needs, else OpenVINO
    OPENVINO = "openvino"
    TORCH = "torch"


def check_clips(clips: npt.NDArray[np.uint8], expected: tuple[int, int, int, int]) -> None:
    """Refuse clips other than uint8 (N, *expected) with N of at least 1.

    The networks must see no other size: their padding was frozen for this one, and they would answer wrongly instead
    of refusing.

    Raises:
        ValueError: the clips have another shape or type.
    """
    if clips.dtype != np.uint8 or clips.ndim != 5 or clips.shape[1:] != expected or not len(clips):
        sizes = ", ".join(map(str, expected))
        raise ValueError(f"clips must be uint8 (N, {sizes}) with N >= 1, got {clips.dtype} {clips.shape}")


def check_scene(scene: npt.NDArray[np.uint8], expected: tuple[int, int, int]) -> None:
    """Refuse a standing scene other than uint8 ``expected``: (H, W, 3).

    Raises:
        ValueError: the scene has another shape or type.
    """
    if scene.dtype != np.uint8 or scene.shape != expected:
        raise ValueError(f"a scene must be uint8 {expected}, the size of the clips, got {scene.dtype} {scene.shape}")
