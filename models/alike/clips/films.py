"""The films of a folder, as SimCLR on clips learns from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.alike.clips.recipe import Films
from models.data.extraction import Unreadable, content_of
from models.jobs.errors import TrainingError
from pipeline.errors import UsageError
from pipeline.sources.film_files import list_folder


@dataclass(frozen=True)
class FilmSet:
    """Films.

    Attributes:
        folder: they lie in it, or below it.
        films: their paths, in order.
        contents: a hash of each one's content.
    """

    folder: Path
    films: tuple[Path, ...]
    contents: tuple[str, ...]


def read_films(settings: Films, folder: Path | None) -> FilmSet:
    """Find the films in a folder and the folders below it.

    Args:
        folder: instead of the recipe's.

    Raises:
        UsageError: there is no folder, or it holds fewer than two films.
        TrainingError: a film cannot be read.
    """
    place = folder or settings.folder
    if place is None:
        raise UsageError("films.folder: missing in the recipe; name a folder with --data")
    if not place.is_dir():
        advice = f"; {settings.obtain}" if settings.obtain and folder is None else ""
        raise UsageError(f"{place}: not a folder; expected one with films{advice}")
    films = _below(place)
    if len(films) < 2:
        raise UsageError(f"{place}: {len(films)} films; expected two or more, of different days or cameras")
    try:
        return FilmSet(place, tuple(films), tuple(content_of(film) for film in films))
    except Unreadable as error:
        raise TrainingError(str(error)) from None


def _below(folder: Path) -> list[Path]:
    try:
        listing = list_folder(folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read: {error.strerror}") from None
    # A link to a folder may lead back to one above it.
    folders = [inner for inner in listing.folders if not inner.is_symlink()]
    return [*listing.films, *(film for inner in folders for film in _below(inner))]
