"""The product of ``mistwatch train places``, read again."""

from __future__ import annotations

from pathlib import Path

from models.card import CardError, read_card_file
from models.places.backbones import new_backbone
from models.places.card import CARD_FILE, PlacesCard
from models.places.network import HierarchicalNetwork
from models.places.tree import TreeError
from models.tensors import load_tensors

WEIGHTS_FILE = "places.safetensors"


def load_places(folder: Path) -> tuple[PlacesCard, HierarchicalNetwork]:
    """Return the card and the network of a product, in evaluation mode.

    Raises:
        CardError: the card is missing or damaged, or that of a flat network.
        TensorsError: the file of weights is missing, damaged, or of another network.
    """
    card = read_places_card(folder)
    if card.kind != "hierarchical":
        raise CardError(f"{folder}: a {card.kind} network; expected a hierarchical one; train it with that kind")
    network = HierarchicalNetwork(card.classifiers, new_backbone(card.backbone, pretrained=False), card.channels)
    return card, _loaded(network, folder, card)


def read_places_card(folder: Path) -> PlacesCard:
    """Read the card of a product.

    Raises:
        CardError: it is missing or damaged, or its label tree cannot be used.
    """
    try:
        card = read_card_file(folder / CARD_FILE, PlacesCard)
        assert card.tree
    except FileNotFoundError:
        raise CardError(f"{folder}: no {CARD_FILE} there; expected the product of `mistwatch train places`") from None
    except TreeError as error:
        raise CardError(f"{folder / CARD_FILE}: {str(error).splitlines()[0]}") from None
    return card


def _loaded(network: HierarchicalNetwork, folder: Path, card: PlacesCard) -> HierarchicalNetwork:
    tensors = load_tensors(
        folder / WEIGHTS_FILE, network.state_dict(), network="network of places", sha256=card.weights_sha256
    )
    network.load_state_dict(tensors)
    return network.eval()
