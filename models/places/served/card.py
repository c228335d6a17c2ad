"""The card of a model of places, as the serving side reads it: its version, its classes, and its folder. No torch."""

from __future__ import annotations

import json
from pathlib import Path

from models.card import BUILT_IN, CARD_FILE, CardError, read_card_file
from models.places.card import CARD_FILE as PLACES_CARD_FILE
from models.places.card import PlacesCard
from models.places.tree import LabelTree

#: Digits of a hash that name the weights in a version.
_DIGITS = 16


def version_of(card: PlacesCard) -> str:
    """Return the version of a model's classes: place maps hold for one version."""
    return f"{card.name}/{card.weights_sha256[:_DIGITS]}"


def paths_text(tree: LabelTree) -> str:
    """Return the nodes as a served model's parameter: JSON, a path for each node, in the order of their indices."""
    return json.dumps([tree.path(node) for node in tree.nodes], ensure_ascii=False)


def things_text(tree: LabelTree) -> str:
    """Return the things as a served model's parameter: JSON, the indices of the nodes at or below a thing."""
    return json.dumps([at for at, node in enumerate(tree.nodes) if node in tree.things])


def describe_card(card: PlacesCard) -> str:
    """Return a few words about a model."""
    height, width = card.size
    return f"{card.name} (places {version_of(card)}), {len(card.tree.leaves)} classes, pictures of {width}×{height}"


def read_served_card(version: Path) -> PlacesCard:
    """Read the card in a version folder of a served model. Raises CardError: it is missing or damaged."""
    try:
        return read_card_file(version / CARD_FILE, PlacesCard)
    except FileNotFoundError:
        raise CardError(f"{version}: no {CARD_FILE} there; expected a version of a model of places") from None


def find_places_model(model: str) -> Path | None:
    """Return the folder of a model of places; None where ``model`` names no such model.

    Args:
        model: the name of one that comes with mistwatch, or a folder's path.
    """
    return next((folder for folder in (BUILT_IN / model, Path(model)) if (folder / PLACES_CARD_FILE).is_file()), None)
