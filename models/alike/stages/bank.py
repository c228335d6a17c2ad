"""The stage ``bank``: the embeddings of the pictures, their neighbours, and the number of clusters.

bank.safetensors, bank.json    the memory bank of the learned pictures (:mod:`models.alike.bank`)
neighbours.npy                 int64 (n, k), the mined neighbours of each, without itself
neighbours.json                number of clusters, how it was chosen, and figures of the neighbours
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from models.alike.bank import Bank, Ordinals, neighbours_accuracy
from models.alike.cluster_number import silhouettes
from models.alike.features import embeddings_of
from models.alike.networks import EmbeddingNetwork
from models.alike.pictures.picture_set import PictureData
from models.alike.recipe import Clustering
from models.jobs.rows import read_json, write_json

NEIGHBOURS_FILE, ABOUT_FILE = "neighbours.npy", "neighbours.json"
#: Neighbours of a judged picture among the judged ones, as in SCAN's code.
JUDGED_NEIGHBOURS = 5


def compute(folder: Path, network: EmbeddingNetwork, data: PictureData, recipe: Clustering, seed: int) -> None:
    """Write them.

    Raises:
        TrainingError: there are too few pictures for the neighbours, or for a choice of the number of clusters.
        OSError: the folder cannot be written.
    """
    bank = Bank(embeddings_of(network, data.learned), data.learned.labels)
    mined = bank.mined(recipe.neighbours)
    about: dict[str, Any] = {"figures": _figures(bank, mined.ordinals, network, data)}
    if isinstance(recipe.clusters, int):
        about["clusters"] = recipe.clusters
    else:
        found = silhouettes(bank.features, sorted(set(recipe.clusters)), seed)
        about |= {"clusters": max(found, key=lambda number: found[number]), "silhouettes": found}
    bank.save(folder)
    np.save(folder / NEIGHBOURS_FILE, mined.ordinals)
    write_json(folder / ABOUT_FILE, about)


def read(folder: Path) -> tuple[Ordinals, dict[str, Any]]:
    """Return the neighbours, (n, k), and the content of ``neighbours.json``. Raises OSError."""
    neighbours: Ordinals = np.load(folder / NEIGHBOURS_FILE, allow_pickle=False)
    return neighbours, read_json(folder / ABOUT_FILE)


def _figures(bank: Bank, mined: Ordinals, network: EmbeddingNetwork, data: PictureData) -> dict[str, float]:
    """Return the accuracy of the neighbours and by the neighbours; nothing where there are no labels."""
    if bank.labels is None or data.judged.labels is None:
        return {}
    queries = embeddings_of(network, data.judged)
    judged = Bank(queries, data.judged.labels)
    figures = {
        "knn_accuracy": float((bank.classify(queries) == data.judged.labels).mean()),
        "neighbours_accuracy": neighbours_accuracy(mined, bank.labels),
    }
    if len(judged) > JUDGED_NEIGHBOURS:
        nearest = judged.mined(JUDGED_NEIGHBOURS).ordinals
        figures["judged_neighbours_accuracy"] = neighbours_accuracy(nearest, data.judged.labels)
    return figures
