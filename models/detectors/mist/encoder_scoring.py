"""Scores of clips by a trained network of stage 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.detectors.mist.encoder import AttentionEncoder
from models.detectors.mist.sga import ANOMALY, NORMAL, SelfGuidedHeads

if TYPE_CHECKING:
    from models.data.npy_rows import Rows
    from models.jobs.calibration import ClipScores

Network = SelfGuidedHeads | AttentionEncoder  #: heads on maps, or backbone and heads

#: Clips that go through the network at once where nothing is learned.
SCORED_AT_ONCE = 16


def map_logits(heads: SelfGuidedHeads, early: Rows, late: Rows) -> npt.NDArray[np.float32]:
    """Return the logits of n clips by heads on maps.

    Args:
        early, late: maps, (n, C, t, h, w) and (n, C', t', h', w'); may be memory maps.

    Returns:
        float32 (n,), the difference of the two logits, whose sigmoid is the score.
    """
    heads.eval()
    device = next(heads.parameters()).device
    found = [np.zeros(0, np.float32)]
    with torch.inference_mode():
        for first in range(0, len(early), SCORED_AT_ONCE):
            some = slice(first, first + SCORED_AT_ONCE)
            logits: Tensor = heads(*(torch.from_numpy(np.array(m[some])).to(device).float() for m in (early, late)))[0]
            found.append((logits[:, ANOMALY] - logits[:, NORMAL]).cpu().numpy())
    return np.concatenate(found)


def score_maps(heads: SelfGuidedHeads, early: Rows, late: Rows) -> npt.NDArray[np.float32]:
    """Return scores in [0, 1], float32 (n,); see :func:`map_logits`."""
    return torch.sigmoid(torch.from_numpy(map_logits(heads, early, late))).numpy()


def encoder_logits(network: Network, inputs: Sequence[Rows]) -> ClipScores:
    """Return the logits of n clips by the network of stage 2, from their maps or the clips themselves.

    Returns:
        float32 (n,), the difference of the weighted head's two logits.
    """
    if isinstance(network, SelfGuidedHeads):
        early, late = inputs
        return map_logits(network, early, late)
    (clips,) = inputs
    found = [np.zeros(0, np.float32)]
    with torch.inference_mode():
        for first in range(0, len(clips), SCORED_AT_ONCE):
            logits = network(torch.from_numpy(np.array(clips[first : first + SCORED_AT_ONCE]))).weighted
            found.append((logits[:, ANOMALY] - logits[:, NORMAL]).numpy())
    return np.concatenate(found)
