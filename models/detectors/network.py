"""The networks of a detector as they are served."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Divided(NamedTuple):
    """A served network in two parts, so that several detectors can share the first one.

    Attributes:
        backbone: uint8 (N, T, H, W, 3) RGB → ``layers``, float32 (N, ...); the same for every detector on it.
        layers: names of the backbone's outputs, in order.
        head: the layers that it ``reads`` and, of a :class:`SceneNetwork`, the results of the scene → the outputs of
            the network.
        reads: names of these layers, in order.
        weights: the backbone's weights, by which it is recognised.
    """

    backbone: nn.Module
    layers: tuple[str, ...]
    head: nn.Module
    reads: tuple[str, ...]
    weights: dict[str, Tensor]


class ServedNetwork(nn.Module, ABC):
    """A network from clips to the outputs that are served.

    Attributes:
        outputs: names of what ``forward`` gives, in order: SCORE, FEATURES and, where the family has it, HEAT.
    """

    outputs: tuple[str, ...] = ("SCORE", "FEATURES")

    @abstractmethod
    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, T, H, W, 3) RGB → scores (N, 1) in [0, 1], features (N, D), heat (N, h, w), all float32."""

    def divided(self) -> Divided | None:
        """Return the network in two parts; None where its backbone cannot be shared."""
        return None


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
