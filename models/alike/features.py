"""Features and clusters of whole pictures, by trained networks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.alike.bank import Features, unit_length
from models.alike.pictures.picture_set import PictureSet
from models.alike.views import whole_pictures

#: Pictures that pass through a network at once.
_AT_ONCE = 256


def embeddings_of(network: nn.Module, pictures: PictureSet) -> Features:
    """Return the embeddings of unaugmented pictures, float32 (n, D), of length 1.

    Args:
        network: an :class:`~models.alike.networks.EmbeddingNetwork` in evaluation mode.
    """
    return unit_length(_passed(network, pictures))


def probabilities_of(network: nn.Module, pictures: PictureSet) -> npt.NDArray[np.float32]:
    """Return the probabilities of the clusters for unaugmented pictures, float32 (n, clusters).

    Args:
        network: a :class:`~models.alike.networks.ClusteringNetwork` in evaluation mode; its first head decides.
    """
    logits = torch.from_numpy(_passed(network, pictures))
    return np.asarray(logits.softmax(1).numpy(), np.float32)


def _passed(network: nn.Module, pictures: PictureSet) -> npt.NDArray[np.float32]:
    device = next(network.parameters()).device
    found = []
    with torch.no_grad():
        for first in range(0, len(pictures), _AT_ONCE):
            some = whole_pictures(pictures.pixels[first : first + _AT_ONCE])
            found.append(network(some.to(device)).cpu().numpy())
    return np.concatenate(found)
