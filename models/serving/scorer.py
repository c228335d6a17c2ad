"""The network that is served: clips in, score and features out."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models.i3d import I3D, ClipEncoder


class ClipScorer(nn.Module):
    """I3D with its normalisation inside, and the generator on the features of ``layers``."""

    def __init__(self, backbone: I3D, generator: nn.Module, layers: Sequence[str] = ("mixed_5c",)) -> None:
        super().__init__()
        self.encoder = ClipEncoder(backbone, layers)
        self.generator = generator

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, T, H, W, 3) RGB → scores (N, 1) in [0, 1] and features (N, D), both float32."""
        features = self.encoder(clips)
        return self.generator(features).reshape(-1, 1), features
