"""Scores of clips by a trained generator."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from models.detectors.mist.generator import Generator


def clip_logits(generator: Generator, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return logits of n clips, float32 (n,), from features (n, inputs); the highest of each (n, cells, inputs)."""
    with torch.inference_mode():
        logits: npt.NDArray[np.float32] = generator.logits(torch.from_numpy(features)).numpy()
    return logits if features.ndim == 2 else logits.max(-1)


def clip_scores(generator: Generator, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return scores of n clips, float32 (n,), from features (n, inputs); the highest of each (n, cells, inputs)."""
    with torch.inference_mode():
        scores: npt.NDArray[np.float32] = generator(torch.from_numpy(features)).numpy()
    return scores if features.ndim == 2 else scores.max(-1)
