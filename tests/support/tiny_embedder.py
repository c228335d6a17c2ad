"""Small embedding models with random weights, and torch as the oracle of what they answer."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models.alike.served.card import EmbeddingCard, Features, write_embedding_card
from models.alike.served.weights import save_embedder
from models.card import Backbone
from pipeline.windows import StoredClip

FEATURES = 4  #: of the tiny detector in ``brightness_model.py``

Floats = npt.NDArray[np.float32]


def make_arrays(*, inputs: int = FEATURES, widths: tuple[int, ...] = (16, 8), seed: int = 0) -> dict[str, Floats]:
    """Random arrays of an embedder."""
    random = np.random.default_rng(seed)
    arrays = {"centre": random.normal(0.5, 0.2, inputs), "spread": random.uniform(0.1, 0.4, inputs)}
    for layer, outputs in enumerate(widths):
        arrays[f"weight_{layer}"] = random.normal(size=(outputs, inputs))
        arrays[f"bias_{layer}"] = random.normal(size=outputs)
        inputs = outputs
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def write_embedder(
    folder: Path,
    *,
    name: str = "alike-tiny",
    inputs: int = FEATURES,
    widths: tuple[int, ...] = (16, 8),
    seed: int = 0,
    similarity: float = 0.75,
    layers: tuple[str, ...] = ("mixed_5c",),
) -> Path:
    """Write a model's folder, and return it."""
    folder.mkdir(parents=True)
    card = EmbeddingCard(
        name=name,
        description="random weights, for tests",
        features=Features(
            backbone=Backbone(name="i3d-kinetics400", tensors_sha256=hashlib.sha256(b"i3d").hexdigest()),
            layers=layers,
            clip=StoredClip(frames=4, stride=2, fps=None, height=16, width=16, fit="crop"),
            count=inputs,
        ),
        widths=widths,
        similarity=similarity,
        mute_similarity=similarity + 0.1,
        weights_sha256=save_embedder(make_arrays(inputs=inputs, widths=widths, seed=seed), folder),
        training={},
        figures={},
    )
    write_embedding_card(card, folder)
    return folder


def embedded_by_torch(arrays: dict[str, Floats], features: Floats) -> Floats:
    """Embeddings of N clips by torch's own layers, float32 (N, E)."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    values = (torch.from_numpy(features) - tensors["centre"]) / tensors["spread"]
    layers = sum(name.startswith("weight_") for name in arrays)
    for layer in range(layers):
        if layer:
            values = torch.nn.functional.relu(values)
        values = torch.nn.functional.linear(values, tensors[f"weight_{layer}"], tensors[f"bias_{layer}"])
    return torch.nn.functional.normalize(values, dim=1).numpy()
