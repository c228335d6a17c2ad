"""The product of the job :mod:`models.alike.job`, read again."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from torch import nn

from models.alike.bank import Bank
from models.alike.card import CARD_FILE, AlikeCard
from models.alike.networks import ClusteringNetwork, EmbeddingNetwork
from models.alike.recipe import AlikeRecipe
from models.card import read_card_file
from models.jobs.recipes import read_recipe
from models.tensors import load_tensors

EMBEDDING_FILE, CLUSTERS_FILE, RECIPE_FILE = "embedding.safetensors", "clusters.safetensors", "recipe.yaml"

_Network = TypeVar("_Network", bound=nn.Module)


def load_embedding(folder: Path) -> tuple[EmbeddingNetwork, Bank]:
    """Return the embedding of a product, in evaluation mode, and its memory bank.

    Raises:
        CardError, ConfigError, TensorsError: a file is missing, damaged, or of another product.
        OSError: a file cannot be read.
    """
    card, recipe = _card(folder), read_recipe(AlikeRecipe, folder / RECIPE_FILE)
    network = EmbeddingNetwork(recipe, card.size[2])
    return loaded(network, folder / EMBEDDING_FILE, card.embedding_sha256), Bank.load(folder)


def load_clusters(folder: Path) -> ClusteringNetwork:
    """Return the network that gives the clusters, in evaluation mode.

    Raises:
        CardError, ConfigError, TensorsError: a file is missing, damaged, or of another product.
        OSError: a file cannot be read.
    """
    card, recipe = _card(folder), read_recipe(AlikeRecipe, folder / RECIPE_FILE)
    network = ClusteringNetwork(recipe, card.size[2], card.clusters, heads=1)
    return loaded(network, folder / CLUSTERS_FILE, card.clusters_sha256)


def loaded(network: _Network, file: Path, sha256: str) -> _Network:
    """Return a network with the weights of a file, in evaluation mode.

    Raises:
        TensorsError: the file is missing or damaged, or holds weights of another network.
    """
    network.load_state_dict(load_tensors(file, network.state_dict(), network="network", sha256=sha256))
    return network.eval()


def _card(folder: Path) -> AlikeCard:
    return read_card_file(folder / CARD_FILE, AlikeCard)
