"""An exported network or program with the engine that runs it.

This file is copied into every exported version folder, where its imports are made relative.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.engines.device import cuda_devices
from models.engines.one_by_one import Network, OneByOne
from models.engines.precision import Precision
from models.serving.contract import (
    OPENVINO_FILE,
    PROGRAM_FILE,
    SCENE_FILE,
    TORCH_FILE,
    EngineChoice,
    ScoredBatch,
    check_clips,
)
from models.serving.hosted import open_program
from models.serving.over_backbone import OpensBackbone, OverBackbone, open_beside, read_backbone
from models.serving.standing import StandingScenes


class Engine:
    """A loaded model. One thread at a time may use it.

    Args:
        network: its outputs are SCORE (N, 1), FEATURES (N, D) and, where the model has it, HEAT (N, h, w).
        clip: (T, H, W, 3) that it was exported with.
        standing: the standing scenes of a model that reads one.
        is_program: the network is a program, which takes masks where its HEAT has an absolute meaning.
    """

    def __init__(
        self,
        network: Network,
        clip: tuple[int, int, int, int],
        standing: StandingScenes | None = None,
        *,
        is_program: bool = False,
    ) -> None:
        self.name = network.name
        self._network = network
        self._clip = clip
        self._standing = standing
        self._is_program = is_program

    @property
    def reads_scene(self) -> bool:
        """Return whether the model scores clips against a standing scene."""
        return self._standing is not None

    def score(
        self,
        clips: npt.NDArray[np.uint8],
        scenes: Sequence[npt.NDArray[np.uint8] | None] | None = None,
        masks: npt.NDArray[np.uint8] | None = None,
    ) -> ScoredBatch:
        """Score N clips, uint8 (N, T, H, W, 3) RGB.

        Args:
            scenes: for a model that reads a scene, that of each clip: uint8 (H, W, 3), or None for the median of the
                clip, which serves for all of them by default.
            masks: for a model that takes masks, the cells of HEAT that are ignored, not zero: uint8 (N, h, w).

        Raises:
            ValueError: the clips, scenes or masks have another shape or type than the model's, or the model reads no
                scene or takes no mask.
        """
        check_clips(clips, self._clip)
        if masks is not None:
            return self._score_masked(clips, scenes, masks)
        if self._standing is not None:
            of_scene = self._standing.of_clips(clips, [None] * len(clips) if scenes is None else scenes)
            outputs = self._network.run({"CLIP": clips, **of_scene})
        elif scenes is None:
            outputs = self._network.run(clips)
        else:
            raise ValueError("the model reads no scene; score clips without one")
        return _scored(outputs)

    def _score_masked(
        self,
        clips: npt.NDArray[np.uint8],
        scenes: Sequence[npt.NDArray[np.uint8] | None] | None,
        masks: npt.NDArray[np.uint8],
    ) -> ScoredBatch:
        if not self._is_program or scenes is not None:
            raise ValueError("the model takes no mask; replace what is ignored in its clips")
        return _scored(self._network.run({"CLIP": clips, "MASK": masks}))


def _scored(outputs: Mapping[str, npt.NDArray[np.float32]]) -> ScoredBatch:
    return ScoredBatch(outputs["SCORE"].reshape(-1), outputs["FEATURES"], outputs.get("HEAT"))


def can_use_torch() -> bool:
    """Return whether torch, and this project's networks that it runs, are installed; imports neither."""
    try:
        needed = ("torch", "safetensors", "models.serving.torch_file")
        return all(importlib.util.find_spec(name) is not None for name in needed)
    except ImportError:  # no package ``models``, or another project's
        return False


def open_engine(
    choice: str,
    folder: Path,
    clip: tuple[int, int, int, int],
    *,
    precision: str = Precision.FP32,
    device: int = 0,
    most: int = 1,
    backbone: OpensBackbone | None = None,
) -> Engine:
    """Load the engine that ``choice`` means on this machine; a program is its own engine.

    Args:
        folder: the version folder of an exported repository.
        clip: (T, H, W, 3) that it was exported with.
        precision: that it was exported with. A processor without it computes in float32, as the engine's name says.
        device: ordinal of the CUDA device for torch.
        most: clips in a batch at most, for torch on a CUDA device.
        backbone: opens the backbone of a model that shares one; by default it is run here, from the same repository.

    Raises:
        ValueError: the choice or the precision is unknown.
        FileNotFoundError: the repository was exported without the files that the engine needs.
        RuntimeError: the engine cannot read them.
    """
    if choice not in (known := [value.value for value in EngineChoice]):
        raise ValueError(f"ENGINE must be one of {', '.join(known)}, got {choice!r}")
    if precision not in (known := [value.value for value in Precision]):
        raise ValueError(f"PRECISION must be one of {', '.join(known)}, got {precision!r}")
    if (folder / PROGRAM_FILE).exists():
        return Engine(open_program(folder), clip, is_program=True)
    wanted = EngineChoice(choice)
    on_cuda = wanted is not EngineChoice.OPENVINO and cuda_devices() > 0
    if wanted is EngineChoice.AUTO:
        prefers_torch = on_cuda and can_use_torch() and (folder / TORCH_FILE).exists()
        wanted = EngineChoice.TORCH if prefers_torch else EngineChoice.OPENVINO
    file = folder / (TORCH_FILE if wanted is EngineChoice.TORCH else OPENVINO_FILE)
    if not file.exists():
        raise FileNotFoundError(f"ENGINE {choice} needs {file}; write the repository again with mistwatch export")
    if wanted is EngineChoice.TORCH:
        from models.serving.torch_file import open_networks

        scorer, standing = open_networks(file, f"cuda:{device}" if on_cuda else "cpu", most=most)
        return Engine(scorer, clip, None if standing is None else StandingScenes(standing))
    from models.engines.openvino import OpenVinoNetwork

    scenes = folder / SCENE_FILE
    of_scenes = StandingScenes(OpenVinoNetwork(scenes, threads=0)) if scenes.exists() else None
    network: Network = OneByOne(OpenVinoNetwork(file, threads=0, precision=Precision(precision)))
    if (named := read_backbone(folder)) is not None:
        network = OverBackbone(
            network, open_beside(folder, named) if backbone is None else backbone(named), named.reads
        )
    return Engine(network, clip, of_scenes)
