"""The weights of an embedding model, in a safetensors file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.alike.served.card import EmbeddingCard
from models.alike.served.embedder import CENTRE, SPREAD, Embedder
from models.tensors import Array, TensorsError, load_arrays, save_arrays

WEIGHTS_FILE = "embedder.safetensors"


def save_embedder(arrays: dict[str, Array], folder: Path) -> str:
    """Write the arrays of an :class:`~models.alike.served.embedder.Embedder`, in full or not at all.

    Returns:
        The file's SHA-256, for the card.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the arrays make no embedder.
    """
    Embedder(arrays)
    return save_arrays(arrays, folder / WEIGHTS_FILE)


def load_embedder(card: EmbeddingCard, folder: Path) -> dict[str, Array]:
    """Return the arrays of the model in ``folder``.

    Raises:
        TensorsError: the weights are missing, damaged, or belong to another card.
    """
    expected = {CENTRE: np.empty(card.features.count, np.float32), SPREAD: np.empty(card.features.count, np.float32)}
    inputs = card.features.count
    for layer, outputs in enumerate(card.widths):
        expected[f"weight_{layer}"] = np.empty((outputs, inputs), np.float32)
        expected[f"bias_{layer}"] = np.empty(outputs, np.float32)
        inputs = outputs
    file = folder / WEIGHTS_FILE
    arrays = load_arrays(file, expected, network="embedding model", sha256=card.weights_sha256)
    try:
        Embedder(arrays)
    except ValueError as error:
        raise TensorsError(f"{file}: not the weights of an embedding model: {error}") from None
    return arrays
