"""The networks of a detector as they are served."""

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


class SceneNetwork(ServedNetwork):
    """A network that scores clips against a standing scene, for a family that reads one.

    The scene is computed apart from the clips, so that a server computes a scene once that comes with many clips.

    Attributes:
        standing: the part over scenes, uint8 (N, H, W, 3) RGB → a tuple of float32 (N, ...). It may share layers with
            the rest of the network.
        of_scene: names of the outputs of ``standing``, in order.
    """

    standing: nn.Module
    of_scene: tuple[str, ...] = ("STANDING",)

    @abstractmethod
    def forward(self, clips: Tensor, *of_scene: Tensor) -> tuple[Tensor, ...]:
        """Score clips as :meth:`ServedNetwork.forward`, given the outputs of ``standing`` for the scene of each."""
