"""The engine for CUDA devices: torch, in float32 throughout, so that it agrees with OpenVINO within 1e-3.

It builds the network from this package, so the Python that runs it needs mistwatch and torch installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import torch

from models.card import ModelCard
from models.serving.scorer import blank_scorer

from .engine import ScoredBatch, check_clips


class TorchEngine:
    """Scores clips with torch.

    Args:
        weights: the exported safetensors file; its header holds the model card.
        clip: (T, H, W, 3) that the model was trained with.
        device: ``cuda:0``, ``cpu``, ...

    Raises:
        RuntimeError: the weights are not those of this network, or there is no such device.
        safetensors.SafetensorError: it is not a safetensors file.
    """

    def __init__(self, weights: Path, clip: tuple[int, int, int, int], *, device: str = "cuda:0") -> None:
        self.name = f"torch on {device}"
        self._clip = clip
        self._device = torch.device(device)
        with safetensors.safe_open(weights, framework="pt") as file:
            card = ModelCard.model_validate_json(file.metadata()["card"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        scorer = blank_scorer(card)
        scorer.load_state_dict(tensors)
        self._scorer = scorer.eval().to(self._device)

    def score(self, clips: npt.NDArray[np.uint8]) -> ScoredBatch:
        check_clips(clips, self._clip)
        # Torch's default on CUDA is TF32 in convolutions, 1e-3 away from float32.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
            batch = torch.from_numpy(np.require(clips, requirements=["C", "W"])).to(self._device)
            scores, features, *attention = (output.cpu().contiguous().numpy() for output in self._scorer(batch))
        return ScoredBatch(scores[:, 0], features, *attention)
