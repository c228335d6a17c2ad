"""The encoder that stage 2 of MIST trains: a backbone, and self-guided attention with two heads on its maps.

``encoder.safetensors`` holds the heads alone where the backbone is a published one, and both where the model card says
that the backbone was fine-tuned.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from models.backbones import weights
from models.backbones.base import MapBackbone, Maps
from models.backbones.c3d import C3D
from models.backbones.i3d import I3D, FrozenBatchNorm, load_i3d
from models.backbones.layers import LateLayers
from models.card import CardError, read_card
from models.detectors.mist.card import C3D_NAME, MistCard, SelfGuidedArchitecture
from models.detectors.mist.sga import HeadsOutput, SelfGuidedHeads
from models.tensors import load_tensors, save_tensors

WEIGHTS_FILE = "encoder.safetensors"


class AttentionEncoder(nn.Module):
    """Clips in, both heads out; the backbone owns the normalisation.

    Args:
        backbone: without a classifier, which nothing here would use or train.
        heads: made for the channels of its maps.

    Raises:
        ValueError: the two do not fit.
    """

    def __init__(self, backbone: MapBackbone, heads: SelfGuidedHeads) -> None:
        super().__init__()
        if backbone.classes:
            raise ValueError("the encoder's backbone must have no classifier: make it with classes=0")
        has = (backbone.early_channels, backbone.late_channels)
        if has != (wanted := (heads.attention.inputs, heads.features)):
            raise ValueError(f"the backbone's maps have {has} channels, and the heads are made for {wanted}")
        self.backbone = backbone
        self.heads = heads

    def forward(self, clips: Tensor) -> HeadsOutput:
        """uint8 (N, T, H, W, 3) RGB → the output of the heads.

        Raises:
            ValueError: the clips are too short, or their maps do not meet
                (:class:`models.detectors.mist.sga.SelfGuidedHeads`).
        """
        output: HeadsOutput = self.heads(*encoder_maps(self.backbone, clips))
        return output


def encoder_maps(backbone: MapBackbone, clips: Tensor) -> Maps:
    """uint8 (N, T, H, W, 3) RGB → the early and the late map, the input of the heads."""
    return backbone.maps(clips)


def freeze(backbone: nn.Module) -> None:
    """Exclude the backbone from training."""
    backbone.requires_grad_(False)


def unfreeze(backbone: nn.Module) -> None:
    """Train the backbone, but its BatchNorm, which stays as it is throughout: statistics and biases."""
    backbone.requires_grad_(True)
    for module in backbone.modules():
        if isinstance(module, FrozenBatchNorm):
            module.requires_grad_(False)


def save_encoder(model: AttentionEncoder | SelfGuidedHeads, folder: Path) -> str:
    """Write the weights into ``folder``; a crash leaves the old file or the new one.

    Args:
        model: the heads, where the backbone is a published one; the encoder, where it was fine-tuned.

    Returns:
        The file's SHA-256, for the model card.

    Raises:
        OSError: the folder cannot be written.
    """
    return save_tensors(_state(model), folder / WEIGHTS_FILE)


def load_encoder(folder: Path, *, backbone: MapBackbone | None = None) -> tuple[AttentionEncoder, MistCard]:
    """Return the encoder of ``folder`` (its weights and its model card), in evaluation mode, on the CPU.

    Args:
        backbone: the card's, where the caller has it already; if it was fine-tuned, it is given the file's weights.

    Raises:
        CardError, TensorsError: card or weights are missing, damaged, or do not belong together.
        models.backbones.weights.WeightsError: the published backbone's weights are not here.
    """
    card = read_card(folder, MistCard)
    architecture = card.architecture
    if not isinstance(architecture, SelfGuidedArchitecture):
        raise CardError(f"{folder}: expected a self-guided encoder, got the architecture {architecture.type}")
    heads = SelfGuidedHeads.from_card(architecture)
    backbone = backbone or _backbone(folder, card, architecture.fine_tuned)
    try:
        encoder = AttentionEncoder(backbone, heads)
    except ValueError as error:
        raise CardError(f"{folder}: its model card does not fit its backbone: {error}") from None
    load_weights(encoder if architecture.fine_tuned else heads, folder, card.weights_sha256)
    return encoder.eval(), card


def load_weights(network: AttentionEncoder | SelfGuidedHeads, folder: Path, sha256: str) -> None:
    """Give a network the weights that are in ``folder``.

    Args:
        network: the heads, where the backbone is a published one; the encoder, where it was fine-tuned.

    Raises:
        TensorsError: the weights are missing, damaged, or belong to another network.
    """
    tensors = load_tensors(folder / WEIGHTS_FILE, _state(network), network="encoder", sha256=sha256)
    prefix = _prefix(network)
    network.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})


def stands_on_published(card: MistCard) -> bool:
    """Return whether the encoder needs a backbone's published weights."""
    fine_tuned = isinstance(card.architecture, SelfGuidedArchitecture) and card.architecture.fine_tuned
    return not fine_tuned and card.backbone.name != C3D_NAME


def blank_backbone(card: MistCard) -> MapBackbone:
    """Return the card's backbone without weights and without a classifier."""
    return C3D(classes=0) if card.backbone.name == C3D_NAME else I3D(classes=0, late=_late(card))


def _late(card: MistCard) -> LateLayers:
    assert isinstance(card.architecture, SelfGuidedArchitecture)
    return card.architecture.late


def _state(model: AttentionEncoder | SelfGuidedHeads) -> dict[str, Tensor]:
    """Return the state under the names that it has within an encoder."""
    return model.state_dict(prefix=_prefix(model))


def _prefix(model: AttentionEncoder | SelfGuidedHeads) -> str:
    return "" if isinstance(model, AttentionEncoder) else "heads."


def _backbone(folder: Path, card: MistCard, fine_tuned: bool) -> MapBackbone:
    """Return the card's backbone with its published weights, or waiting for its own if it was fine-tuned."""
    name = card.backbone.name
    if name == C3D_NAME:
        if not fine_tuned:
            raise CardError(f"{folder}: its model card asks for published weights of C3D, and there are none")
        return blank_backbone(card)
    try:
        published = weights.published(name)
    except weights.UnknownWeightsError as error:
        raise CardError(f"{folder}: the backbone of its model card: {error}") from None
    if card.backbone.tensors_sha256 != published.tensors_sha256:
        raise CardError(f"{folder}: backbone.tensors_sha256 of its model card is not that of {name}")
    return blank_backbone(card) if fine_tuned else load_i3d(name, classifier=False, late=_late(card))
