"""Small models of places with random weights, and torch as the oracle of what they answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from small_trees import three_levels

from models.card import write_card_file
from models.places.backbones import new_backbone
from models.places.card import CARD_FILE, PlacesCard
from models.places.decision import decide
from models.places.network import HierarchicalNetwork
from models.places.trained import WEIGHTS_FILE, load_places
from models.places.tree import LabelTree
from models.tensors import save_tensors

HEIGHT, WIDTH, CHANNELS = 48, 64, 16

#: Of the nodes of :func:`small_trees.three_levels`.
PATHS = (
    ("sky",), ("sign",), ("sign", "back"), ("sign", "front"), ("sign", "front", "stop"), ("sign", "front", "yield"),
)  # fmt: skip

Bytes = npt.NDArray[np.uint8]


def write_places(
    folder: Path,
    *,
    name: str = "places-tiny",
    seed: int = 0,
    tree: LabelTree | None = None,
    things: tuple[str, ...] = ("front",),
    kind: str = "hierarchical",
) -> Path:
    """Write a model's folder, and return it. Its classes of noise are of all leaves."""
    folder.mkdir(parents=True)
    tree = tree or three_levels()
    torch.manual_seed(seed)
    network = HierarchicalNetwork(tree.classifiers, new_backbone("efficientnet-lite0", pretrained=False), CHANNELS)
    with torch.no_grad():
        for branch in network.branches:  # random features differ little from place to place: widen that
            branch.classifier.weight.mul_(100)
    network.eval()
    with torch.no_grad():
        for branch, logits in zip(network.branches, network(torch.from_numpy(noise()[None])).values(), strict=True):
            middle = logits.median(dim=3).values.median(dim=2).values[0]
            branch.upsampling.bias.copy_(-middle)
    card = PlacesCard(
        name=name,
        description="random weights, for tests",
        kind=kind,
        classifiers=dict(tree.classifiers),
        data_sets=dict(tree.data_sets),
        things=things,
        backbone="efficientnet-lite0",
        size=(HEIGHT, WIDTH),
        channels=CHANNELS,
        weights_sha256=save_tensors(network.state_dict(), folder / WEIGHTS_FILE),
        recipe={},
        seed=seed,
        training={},
        figures={},
        judged="nothing",
    )
    write_card_file(card, folder / CARD_FILE)
    return folder


def noise(seed: int = 3) -> Bytes:
    """A picture of coloured squares of 8 pixels, uint8 (HEIGHT, WIDTH, 3)."""
    squares = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    return squares.repeat(8, 0).repeat(8, 1)


def classes_by_torch(folder: Path, picture: Bytes) -> Bytes:
    """The classes of one picture by torch, uint8 (HEIGHT, WIDTH)."""
    card, network = load_places(folder)
    with torch.inference_mode():
        found = decide(card.tree, network(torch.from_numpy(picture[None])))
    return found[0].numpy().astype(np.uint8)
