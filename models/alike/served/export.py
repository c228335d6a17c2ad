"""From an embedding model to a served model in a Triton repository::

    alike/
        config.pbtxt       FEATURES → EMBEDDING, and what a client must know of the model, as parameters
        model-card.json    the embedding model's card
        1/
            config.pbtxt model-card.json model.py embedder.py triton_tensors.py embedder.npz

Triton needs numpy in its Python, nothing else.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from models.alike.served.card import EMBEDDING_CARD_FILE, EmbeddingCard, Features, read_embedding_card
from models.alike.served.embedder import EMBEDDER_FILE
from models.alike.served.weights import load_embedder
from models.card import CARD_FILE, CardError
from models.code import code_digest
from models.serving.config import ServedKind, triton_config
from models.serving.contract import CONFIG_FILE
from models.serving.export import (
    ExportError,
    cached_repository,
    check_kind,
    check_name,
    copy_modules,
    explained,
    next_version,
)

SERVED_NAME = "alike"  #: name of a served embedding model where none is chosen
#: Alerts come one by one; a batch serves a replay's.
MAX_BATCH = 8

#: Modules that are copied into the version folder, and their names there. Two of them import what exists inside Triton
#: only, so they are not imported here.
_COPIED = {
    "models.alike.served.triton_model": "model",
    "models.alike.served.embedder": "embedder",
    "models.serving.triton_tensors": "triton_tensors",
}


def export_embedding(folder: Path, out: Path, *, name: str = SERVED_NAME, replace: bool = False) -> Path:
    """Write a served embedding model into the repository ``out``, or its next version, and return its folder there.

    The version appears in full or not at all. It must take the same features as the one before, because the workers
    send those.

    Args:
        folder: of the embedding model.
        replace: remove the existing versions, whatever features they take.

    Raises:
        ExportError: another kind of model is served under the name, or one that takes other features.
        MistwatchError: the model cannot be read or written.
    """
    check_name(name)
    card = read_embedding_card(folder)
    arrays = load_embedder(card, folder)

    def check() -> None:
        _check_room(card, folder, out / name, replace=replace)

    with explained(out), next_version(out, name, check=check, replace=replace) as draft:
        copy_modules(_COPIED, draft)
        with (draft / EMBEDDER_FILE).open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        (draft / CARD_FILE).write_bytes((folder / EMBEDDING_CARD_FILE).read_bytes())
        (draft / CONFIG_FILE).write_text(embedding_config(card, name=name), encoding="utf-8")
    return out / name


def embedding_config(card: EmbeddingCard, *, name: str) -> str:
    """Return Triton's configuration of a served embedding model, without its version."""
    features = card.features
    return triton_config(
        name,
        [f'{{ name: "FEATURES" data_type: TYPE_FP32 dims: [ {features.count} ] }}'],
        [f'{{ name: "EMBEDDING" data_type: TYPE_FP32 dims: [ {card.widths[-1]} ] }}'],
        {
            "name": card.name,
            "embedding": card.version,
            "similarity": card.similarity,
            "mute_similarity": card.mute_similarity,
            "backbone": features.backbone.name,
            "features": features.digest,
            "weights_sha256": card.weights_sha256,
        },
        MAX_BATCH,
    )


def ensure_embedding_repository(folder: Path) -> Path:
    """Return a model repository of an embedding model in the user's cache; write it when it is missing.

    Raises:
        MistwatchError: it cannot be read or written.
    """
    card = read_embedding_card(folder)
    digest = hashlib.sha256(card.model_dump_json().encode())
    digest.update(code_digest((__name__, *_COPIED)).encode())
    return cached_repository(card.name, digest.hexdigest(), SERVED_NAME, lambda where: export_embedding(folder, where))


def _check_room(card: EmbeddingCard, folder: Path, target: Path, *, replace: bool) -> None:
    """Check that a model can become a version of the served model ``target``. Raises ExportError: it cannot."""
    if not target.exists():
        return
    check_kind(target, ServedKind.EMBEDDING, folder)
    if replace:
        return
    instead = "name another --as, or --replace the existing versions"
    try:
        present = read_embedding_card(target, CARD_FILE).features
    except CardError as error:
        raise ExportError(f"{error}; {instead}") from None
    if not card.features.are_like(present):
        raise ExportError(
            f"{target} takes {_in_words(present)}, and {folder} was trained with {_in_words(card.features)}: {instead}"
        )


def _in_words(features: Features) -> str:
    contrast = " less those of the standing scene" if features.contrast else ""
    clip = features.clip
    size = f"{clip.frames}×{clip.height}×{clip.width}"
    layers = " and ".join(features.layers)
    return f"{features.count} features of {features.backbone.name} ({layers}{contrast}; clips of {size})"
