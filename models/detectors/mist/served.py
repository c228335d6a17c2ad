"""The networks of MIST that are served."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models.backbones.i3d import I3D, ClipEncoder
from models.backbones.still import StillEncoder, still_mixed_4f
from models.detectors.mist.card import Architecture, MistCard
from models.detectors.mist.divided import on_features, on_maps
from models.detectors.mist.encoder import AttentionEncoder, blank_backbone
from models.detectors.mist.generator import Generator
from models.detectors.mist.sga import HeadsOutput, SelfGuidedHeads, score
from models.detectors.network import Divided, SceneNetwork, ServedNetwork


class ClipScorer(ServedNetwork):
    """I3D with its normalisation inside, and the generator on the features of ``layers``."""

    def __init__(self, backbone: I3D, generator: nn.Module, layers: Sequence[str] = ("mixed_5c",)) -> None:
        super().__init__()
        self.encoder = ClipEncoder(backbone, layers)
        self.generator = generator

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, T, H, W, 3) RGB → scores (N, 1) in [0, 1] and features (N, D), both float32."""
        return self.judge(self.encoder(clips))

    def judge(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, D) → the outputs of :meth:`forward`."""
        return self.generator(features).reshape(-1, 1), features

    def divided(self) -> Divided:
        """See :meth:`models.detectors.network.ServedNetwork.divided`."""
        return on_features(self, self.encoder, self.judge)


class SelfGuidedScorer(ServedNetwork):
    """The encoder with self-guided attention: the weighted head's score, and where it looked."""

    outputs = ("SCORE", "FEATURES", "HEAT")

    def __init__(self, encoder: AttentionEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 (N, T, H, W, 3) RGB → scores (N, 1) in [0, 1], features (N, D), attention (N, h, w) in [0, 1]."""
        return self.judge(*self.encoder.backbone.maps(clips))

    def judge(self, early: Tensor, late: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both maps → the outputs of :meth:`forward`."""
        return _answers(self.encoder.heads(early, late))

    def divided(self) -> Divided | None:
        """See :meth:`models.detectors.network.ServedNetwork.divided`."""
        return on_maps(self, self.encoder, self.judge)


class ContrastScorer(SceneNetwork):
    """The generator on differences of I3D's features from those of the standing scene."""

    of_scene = ("STANDING_FEATURES",)

    def __init__(self, backbone: I3D, generator: nn.Module, layers: Sequence[str], frames: int) -> None:
        super().__init__()
        self.encoder = ClipEncoder(backbone, layers)
        self.standing = _StandingFeatures(StillEncoder(backbone, layers, frames))
        self.generator = generator

    def forward(self, clips: Tensor, *of_scene: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, T, H, W, 3) RGB and the scene's features (N, D) → scores (N, 1) and differences (N, D)."""
        return self.judge(self.encoder(clips), *of_scene)

    def judge(self, features: Tensor, standing: Tensor) -> tuple[Tensor, Tensor]:
        """Features of clips and of their scenes, (N, D) → the outputs of :meth:`forward`."""
        features = features - standing
        return self.generator(features).reshape(-1, 1), features

    def divided(self) -> Divided:
        """See :meth:`models.detectors.network.ServedNetwork.divided`."""
        return on_features(self, self.encoder, self.judge)


class ContrastSelfGuidedScorer(SceneNetwork):
    """The encoder with self-guided attention on differences of I3D's maps from those of the standing scene."""

    outputs = ("SCORE", "FEATURES", "HEAT")
    of_scene = ("STANDING_EARLY", "STANDING_LATE")

    def __init__(self, encoder: AttentionEncoder, frames: int) -> None:
        super().__init__()
        if not isinstance(encoder.backbone, I3D):
            raise ValueError("contrast needs I3D, whose maps of a standing scene are known")
        self.encoder = encoder
        self.standing = _StandingMaps(encoder.backbone, frames)

    def forward(self, clips: Tensor, *of_scene: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 (N, T, H, W, 3) RGB and both maps of the scene → see :class:`SelfGuidedScorer`."""
        return self.judge(*self.encoder.backbone.maps(clips), *of_scene)

    def judge(self, early: Tensor, late: Tensor, *of_scene: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both maps of clips and of their scenes → the outputs of :meth:`forward`."""
        still_early, still_late = of_scene
        return _answers(self.encoder.heads(early - still_early, late - still_late))

    def divided(self) -> Divided | None:
        """See :meth:`models.detectors.network.ServedNetwork.divided`."""
        return on_maps(self, self.encoder, self.judge)


def _answers(output: HeadsOutput) -> tuple[Tensor, Tensor, Tensor]:
    return score(output).reshape(-1, 1), output.features, output.attention


class _StandingFeatures(nn.Module):
    def __init__(self, still: StillEncoder) -> None:
        super().__init__()
        self.still = still

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        """uint8 (N, H, W, 3) RGB → features, float32 (N, D)."""
        return (self.still(pictures),)


class _StandingMaps(nn.Module):
    def __init__(self, backbone: I3D, frames: int) -> None:
        super().__init__()
        self.backbone, self.frames = backbone, frames

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, H, W, 3) RGB → the early and the late map."""
        early = still_mixed_4f(self.backbone, pictures, self.frames)
        return early, self.backbone.late_map(early)


def generator_scorer(card: MistCard, backbone: I3D, generator: Generator) -> ClipScorer | ContrastScorer:
    """Return the network of a generator as its model card describes it."""
    if card.contrast is None:
        return ClipScorer(backbone, generator, card.backbone.layers)
    return ContrastScorer(backbone, generator, card.backbone.layers, card.clip.frames)


def encoder_scorer(card: MistCard, encoder: AttentionEncoder) -> SelfGuidedScorer | ContrastSelfGuidedScorer:
    """Return the network of an encoder as its model card describes it."""
    return SelfGuidedScorer(encoder) if card.contrast is None else ContrastSelfGuidedScorer(encoder, card.clip.frames)


def blank_scorer(card: MistCard) -> ServedNetwork:
    """Return the network that a model card describes, without its weights."""
    if isinstance(card.architecture, Architecture):
        return generator_scorer(card, I3D(), Generator(card.architecture))
    heads = SelfGuidedHeads.from_card(card.architecture)
    return encoder_scorer(card, AttentionEncoder(blank_backbone(card), heads))
