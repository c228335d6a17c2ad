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

from models.alike.served import embedder, triton_model
from models.alike.served.card import EMBEDDING_CARD_FILE, EmbeddingCard, read_embedding_card
from models.alike.served.embedder import EMBEDDER_FILE
from models.alike.served.weights import load_embedder
from models.backbones.weights import cache_dir
from models.card import CARD_FILE
from models.code import code_digest
from models.serving import triton_tensors, versions
from models.serving.config import triton_config
from models.serving.contract import CONFIG_FILE
from models.serving.export import check_name, copy_modules, explained
from pipeline import files
from pipeline.errors import UsageError

SERVED_NAME = "alike"  #: name of a served embedding model where none is chosen
#: Alerts come one by one; a batch serves a replay's.
MAX_BATCH = 8

#: By their modules and not by their names: what is exported depends on their code (models.code finds imports).
_COPIED = {
    triton_model.__name__: "model",
    embedder.__name__: "embedder",
    triton_tensors.__name__: "triton_tensors",
}


def export_embedding(folder: Path, out: Path, *, name: str = SERVED_NAME, replace: bool = False) -> Path:
    """Write a served embedding model into the repository ``out``, or its next version, and return its folder there.

    The version appears in full or not at all.

    Args:
        folder: of the embedding model.
        replace: remove the existing versions.

    Raises:
        UsageError: another kind of model is served under the name.
        MistwatchError: the model cannot be read or written.
    """
    check_name(name)
    card = read_embedding_card(folder)
    arrays = load_embedder(card, folder)
    target = out / name
    with explained(out):
        if target.exists() and not _serves_embeddings(target):
            raise UsageError(f"{target} exists and serves no embeddings: name another folder or another --as")
        out.mkdir(parents=True, exist_ok=True)
        place = out / f".{name}"  # a name that Triton does not take for a model, on the same file system
        files.remove_stale_drafts(out, place.name)
        draft = files.draft_path(place)
        try:
            draft.mkdir()
            copy_modules(_COPIED, draft)
            with (draft / EMBEDDER_FILE).open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            (draft / CARD_FILE).write_bytes((folder / EMBEDDING_CARD_FILE).read_bytes())
            (draft / CONFIG_FILE).write_text(embedding_config(card, name=name), encoding="utf-8")
            with versions.locked(out):
                versions.add(target, draft, replace=replace)
        finally:
            files.remove(draft)
    return target


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
            "backbone": features.backbone.name,
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
    shelf = cache_dir() / "repositories"
    where = shelf / f"{card.name}-{digest.hexdigest()[:16]}"
    with explained(shelf):
        shelf.mkdir(parents=True, exist_ok=True)
        with files.locked(shelf / f"{where.name}.lock"):  # a second process waits and finds it there
            if not (where / SERVED_NAME).exists():
                export_embedding(folder, where)
    return where


def _serves_embeddings(target: Path) -> bool:
    config = target / CONFIG_FILE
    return config.is_file() and '"EMBEDDING"' in config.read_text(encoding="utf-8", errors="replace")
