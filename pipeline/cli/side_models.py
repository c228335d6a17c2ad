"""The kinds of served models beside detectors, for commands that take a model of any kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol


class _Export(Protocol):
    def __call__(self, folder: Path, out: Path, *, name: str, replace: bool) -> Path: ...


class SideModel(NamedTuple):
    """A model that is not a detector.

    Attributes:
        words: ``an embedding model``.
        served_name: name of the served model where none is chosen.
        export: see :func:`models.alike.served.export.export_embedding`.
        ensure_repository: see :func:`models.alike.served.export.ensure_embedding_repository`.
    """

    folder: Path
    words: str
    served_name: str
    export: _Export
    ensure_repository: Callable[[Path], Path]


def find_side_model(model: str) -> SideModel | None:
    """Return the model that is not a detector; None where ``model`` names no such model.

    Args:
        model: the name of one that comes with mistwatch, or a folder's path.
    """
    from models.alike.served import export as embeddings
    from models.alike.served.card import find_embedding_model
    from models.places.served import export as places
    from models.places.served.card import find_places_model
    from models.serving.config import ServedKind

    if (folder := find_embedding_model(model)) is not None:
        return SideModel(
            folder,
            ServedKind.EMBEDDING.words,
            embeddings.SERVED_NAME,
            embeddings.export_embedding,
            embeddings.ensure_embedding_repository,
        )
    if (folder := find_places_model(model)) is not None:
        return SideModel(
            folder,
            ServedKind.PLACES.words,
            places.SERVED_NAME,
            places.export_places,
            places.ensure_places_repository,
        )
    return None
