"""The networks of MIST that are served."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models.backbones.i3d import I3D, ClipEncoder
from models.detectors.mist.card import Architecture, MistCard
from models.detectors.mist.encoder import AttentionEncoder, blank_backbone
from models.detectors.mist.generator import Generator
from models.detectors.mist.sga import SelfGuidedHeads, score
from models.detectors.network import ServedNetwork


class ClipScorer(ServedNetwork):
    """I3D with its normalisation inside, and the generator on the features of ``layers``."""

    def __init__(self, backbone: I3D, generator: nn.Module, layers: Sequence[str] = ("mixed_5c",)) -> None:
        super().__init__()
        self.encoder = ClipEncoder(backbone, layers)
        self.generator = generator

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, T, H, W, 3) RGB → scores (N, 1) in [0, 1] and features (N, D), both float32."""
        features = self.encoder(clips)
        return self.generator(features).reshape(-1, 1), features


class SelfGuidedScorer(ServedNetwork):
    """The encoder with self-guided attention: the weighted head's score, and where it looked."""

    outputs = ("SCORE", "FEATURES", "HEAT")

    def __init__(self, encoder: AttentionEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 (N, T, H, W, 3) RGB → scores (N, 1) in [0, 1], features (N, D), attention (N, h, w) in [0, 1]."""
        output = self.encoder(clips)
        return score(output).reshape(-1, 1), output.features, output.attention


def blank_scorer(card: MistCard) -> ClipScorer | SelfGuidedScorer:
    """Return the network that a model card describes, without its weights."""
    if isinstance(card.architecture, Architecture):
        return ClipScorer(I3D(), Generator(card.architecture), card.backbone.layers)
    return SelfGuidedScorer(AttentionEncoder(blank_backbone(card), SelfGuidedHeads.from_card(card.architecture)))
