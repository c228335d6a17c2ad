"""The networks that are served: clips in, score and features out, and attention where the model has it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models.backbones.base import MapBackbone
from models.backbones.c3d import C3D
from models.backbones.i3d import I3D, ClipEncoder
from models.card import Architecture, ModelCard
from models.detectors.mist.encoder import C3D_NAME, AttentionEncoder
from models.detectors.mist.generator import Generator
from models.detectors.mist.sga import SelfGuidedHeads, score


class ClipScorer(nn.Module):
    """I3D with its normalisation inside, and the generator on the features of ``layers``."""

    outputs = ("SCORE", "FEATURES")  #: what ``forward`` gives, by the names that Triton knows

    def __init__(self, backbone: I3D, generator: nn.Module, layers: Sequence[str] = ("mixed_5c",)) -> None:
        super().__init__()
        self.encoder = ClipEncoder(backbone, layers)
        self.generator = generator

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, T, H, W, 3) RGB → scores (N, 1) in [0, 1] and features (N, D), both float32."""
        features = self.encoder(clips)
        return self.generator(features).reshape(-1, 1), features


class SelfGuidedScorer(nn.Module):
    """The encoder with self-guided attention: the weighted head's score, and where it looked."""

    outputs = ("SCORE", "FEATURES", "ATTENTION")

    def __init__(self, encoder: AttentionEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 (N, T, H, W, 3) RGB → scores (N, 1) in [0, 1], features (N, D), attention (N, h, w) in [0, 1]."""
        said = self.encoder(clips)
        return score(said).reshape(-1, 1), said.features, said.attention


Scorer = ClipScorer | SelfGuidedScorer


def blank_scorer(card: ModelCard) -> Scorer:
    """The network that a model card describes, without its weights."""
    if isinstance(card.architecture, Architecture):
        return ClipScorer(I3D(), Generator(card.architecture), card.backbone.layers)
    backbone: MapBackbone = C3D(classes=0) if card.backbone.name == C3D_NAME else I3D(classes=0)
    return SelfGuidedScorer(AttentionEncoder(backbone, SelfGuidedHeads.of(card.architecture)))
