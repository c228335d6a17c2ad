"""The network of a detector as it is served."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class ServedNetwork(nn.Module, ABC):
    """A network from clips to the outputs that are served.

    Attributes:
        outputs: names of what ``forward`` gives, in order: SCORE, FEATURES and, where the family has it, HEAT.
    """

    outputs: tuple[str, ...] = ("SCORE", "FEATURES")

    @abstractmethod
    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, T, H, W, 3) RGB → scores (N, 1) in [0, 1], features (N, D), heat (N, h, w), all float32."""
