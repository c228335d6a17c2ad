"""The interface between a backbone and the self-guided encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Maps(NamedTuple):
    """Two of a backbone's maps of N clips, the early one twice as fine in space and time."""

    early: Tensor  #: (N, C, t, h, w): where attention is found
    late: Tensor  #: (N, C', t', h', w'), halves rounded up: what it is applied to


class MapBackbone(nn.Module, ABC):
    """A network over clips that owns its normalisation and gives an early and a late map."""

    early_channels: int
    late_channels: int
    classes: int = 0  #: number of classes of its own classifier; 0 without one

    @abstractmethod
    def maps(self, clips: Tensor) -> Maps:
        """uint8 (N, T, H, W, 3) RGB → both maps, float."""
