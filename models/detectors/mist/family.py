"""MIST as a family of detectors: the generator on pooled features, and the encoder with self-guided attention."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.card import CARD_FILE, CardError
from models.detectors.base import BelongsTo, Family, LearnsFrom, Progress
from models.detectors.mist.card import Architecture, MistCard
from operators.background import BackgroundSettings
from operators.heat_kind import HeatKind

if TYPE_CHECKING:
    from models.data.contrast import Contrast
    from models.detectors.network import ServedNetwork
    from operators.background import SceneKind


def complaint_about_scene(contrast: Contrast | None) -> str | None:
    """Return why no worker keeps the standing scene that a model reads; None where it does.

    A worker knows the default settings of the background alone.
    """
    if contrast is None or contrast.background is None or contrast.background.settings() == BackgroundSettings():
        return None
    return (
        "contrast.background: a model that was trained with settings of its own cannot be served, because a worker "
        "keeps the background with the default ones; leave it out, or train with --no-export for figures alone"
    )


def _heat(card: MistCard) -> HeatKind | None:
    return None if isinstance(card.architecture, Architecture) else HeatKind.ATTENTION


def _scene(card: MistCard) -> SceneKind | None:
    return card.contrast.scene if card.contrast is not None else None


def _blank(card: MistCard) -> ServedNetwork:
    from models.detectors.mist.served import blank_scorer

    return blank_scorer(card)


def _load(card: MistCard, folder: Path, progress: Progress) -> ServedNetwork:
    """Raise CardError, TensorsError or WeightsError where it cannot be loaded, or not be served as it was trained."""
    if (complaint := complaint_about_scene(card.contrast)) is not None:
        raise CardError(f"{folder / CARD_FILE}: {complaint}")
    if isinstance(card.architecture, Architecture):
        return _load_generator(card, card.architecture, folder, progress)
    from models.backbones import weights
    from models.detectors.mist.encoder import load_encoder, stands_on_published
    from models.detectors.mist.served import encoder_scorer

    if stands_on_published(card):
        weights.fetch_with_progress(card.backbone.name, progress)
    progress("loading the weights")
    encoder, _ = load_encoder(folder)
    return encoder_scorer(card, encoder).eval()


def _load_generator(card: MistCard, architecture: Architecture, folder: Path, progress: Progress) -> ServedNetwork:
    from models.backbones import weights
    from models.backbones.layers import WIDTHS
    from models.detectors.mist.generator import load_generator

    generator, _ = load_generator(folder)
    backbone = weights.published(card.backbone.name)
    if card.backbone.tensors_sha256 != backbone.tensors_sha256:
        raise CardError(f"{folder / CARD_FILE}: backbone.tensors_sha256 is not that of {backbone.name}")
    width = sum(WIDTHS[layer] for layer in card.backbone.layers)
    if width != architecture.inputs:
        raise CardError(
            f"{folder / CARD_FILE}: architecture.inputs {architecture.inputs} is not the width of "
            f"backbone.layers {', '.join(card.backbone.layers)} ({width})"
        )
    weights.fetch_with_progress(backbone.name, progress)
    progress("loading the weights")
    from models.backbones.i3d import load_i3d
    from models.detectors.mist.served import generator_scorer

    return generator_scorer(card, load_i3d(backbone.name), generator).eval()


FAMILY = Family(
    name="mist",
    card=MistCard,
    learns_from=LearnsFrom.LABELS,
    belongs_to=BelongsTo.SITE,
    may_be_gated=True,
    training="models.detectors.mist.job:train_mist",
    heat=_heat,
    scene=_scene,
    blank=_blank,
    load=_load,
)
