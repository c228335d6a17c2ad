"""The classifier as a family of detectors: pictures of what is looked for, and of what is normal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.detectors.base import BelongsTo, Family, LearnsFrom, Progress
from models.detectors.classifier.card import ClassifierCard
from operators.heat_kind import HeatKind

if TYPE_CHECKING:
    from models.detectors.network import ServedNetwork


def _blank(card: ClassifierCard) -> ServedNetwork:
    from models.detectors.classifier.weights import blank_classifier

    return blank_classifier(card.architecture)


def _load(card: ClassifierCard, folder: Path, progress: Progress) -> ServedNetwork:
    """Raise CardError, TensorsError or WeightsError where it cannot be loaded."""
    from models.detectors.classifier.weights import fetch_published, load_classifier

    fetch_published(card, progress)
    progress("loading the weights")
    return load_classifier(card, folder)


FAMILY = Family(
    name="classifier",
    card=ClassifierCard,
    learns_from=LearnsFrom.LABELS,
    belongs_to=BelongsTo.SITE,
    may_be_gated=True,
    training="models.detectors.classifier.job:train_classifier",
    heat=lambda _card: HeatKind.ATTENTION,
    blank=_blank,
    load=_load,
)
