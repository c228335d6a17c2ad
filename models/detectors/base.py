"""Families of detectors: what each one is, and the table of them.

A new family is a module with a :class:`Family` under the name ``FAMILY``, and a line in :data:`FAMILIES`. The module is
imported when a model of that family is read. It imports nothing heavy itself: a worker that looks for an exported
model needs no torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from pydantic import BaseModel

from models.card import CARD_FILE, Card, CardError, ModelCard, read_card
from operators.background import SceneKind
from operators.heat_kind import HeatKind
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from models.detectors.network import ServedNetwork
    from models.detectors.program import ServedProgram

Progress = Callable[[str], None]  #: called with a few words when a long step begins


class LearnsFrom(StrEnum):
    """The footage that a family is trained on."""

    LABELS = "labels"  #: videos with labels
    #: Footage on which nothing happens; the scores are then rarities (:mod:`operators.rarity`).
    NORMAL_FOOTAGE = "normal footage"


class BelongsTo(StrEnum):
    """The cameras that a detector can watch."""

    SITE = "site"  #: any camera
    CAMERA = "camera"  #: the one whose footage it has learned


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(Generic[Card]):
    """A kind of detector.

    Attributes:
        training: the function that trains such a detector, ``module:function``; one that learns from normal footage is
            a job of :mod:`models.jobs.learning`.
        recipe: the class of the settings of such a job, ``module:class``; None where the job's command reads them.
        pictures: changes of these settings, ``key=value``, where normal pictures of parts or textures are learned from
            instead of films; None for a family that needs films.
        heat: returns the meaning of the output HEAT of a model; None for a model without it.
        load: builds what is served from the model's folder: a network with its weights, in evaluation mode on the
            CPU, or a program. Missing weights of a published backbone are fetched. Raises
            :class:`pipeline.errors.MistwatchError`.
        may_be_gated: the score of a clip may be held while nothing moves in the picture (:mod:`operators.gate`):
            anomalies appear with movement.
        blank: builds the network without its weights; None for a family of programs.
        members: returns the families whose models a model combines.
        scene: returns the standing scene that a model reads; None for a model that reads none. The network of one that
            does is a :class:`models.detectors.network.SceneNetwork`.
    """

    name: str
    card: type[Card]
    learns_from: LearnsFrom
    belongs_to: BelongsTo
    training: str
    heat: Callable[[Card], HeatKind | None]
    load: Callable[[Card, Path, Progress], ServedNetwork | ServedProgram]
    may_be_gated: bool = False
    blank: Callable[[Card], ServedNetwork] | None = None
    scene: Callable[[Card], SceneKind | None] = lambda _card: None
    recipe: str | None = None
    pictures: tuple[str, ...] | None = None
    members: Callable[[Card], Sequence[str]] = lambda _card: ()

    def families(self, card: Card) -> tuple[str, ...]:
        """Return the names of the families whose code a model consists of."""
        return (self.name, *self.members(card))

    def trainer(self) -> Callable[..., Any]:
        """Return the function that :attr:`training` names; imports it."""
        trains: Callable[..., Any] = _named(self.training)
        return trains

    def settings(self) -> type[BaseModel] | None:
        """Return the class that :attr:`recipe` names; imports it."""
        kind: type[BaseModel] | None = None if self.recipe is None else _named(self.recipe)
        return kind


def _named(name: str) -> Any:
    """Return what ``module:attribute`` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


#: Every family: its name, and the module that holds its ``FAMILY``.
FAMILIES = {
    "autoencoder": "models.detectors.autoencoder.family",
    "classifier": "models.detectors.classifier.family",
    "fused": "models.detectors.fused.family",
    "memory_bank": "models.detectors.memory_bank.family",
    "mist": "models.detectors.mist.family",
    "motion": "models.detectors.motion.family",
    "outlier": "models.detectors.outlier.family",
    "student_teacher": "models.detectors.student_teacher.family",
}


class UnknownFamilyError(CardError, UsageError):
    """No family goes by that name."""


def find_family(name: str) -> Family[Any]:
    """Return the family of that name. Raises UnknownFamilyError: there is none."""
    if name not in FAMILIES:
        raise UnknownFamilyError(f"unknown detector family {name!r}; known: {', '.join(sorted(FAMILIES))}")
    family: Family[Any] = importlib.import_module(FAMILIES[name]).FAMILY
    return family


def read_detector(folder: Path) -> tuple[Family[Any], ModelCard[Any]]:
    """Return the family of the model in ``folder``, and the model's card in full.

    Raises:
        CardError: the card is missing or damaged, or its family is unknown.
    """
    try:
        family = find_family(read_card(folder).family)
    except UnknownFamilyError as error:
        raise UnknownFamilyError(f"{folder / CARD_FILE}: family: {error}") from None
    return family, read_card(folder, family.card)
