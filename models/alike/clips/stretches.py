"""The stage ``views``: features of the views of every stretch of film, or the stretches themselves.

views.npy      float32 (n, 1 + number, D), features of each stretch's views: as it is, then random ones;
               where the backbone is trained from scratch, uint8 (n, F, H, W, 3), the stretches
places.json    for each stretch its film's ordinal and its start, seconds
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.alike.clips.films import FilmSet
from models.alike.clips.recipe import ClipRecipe
from models.alike.clips.views import ClipViews
from models.backbones.weights import WeightsError
from models.data.backbone_engines import open_feature_engine
from models.data.extraction import Encoded, Engine, extract
from models.data.npy_rows import NpyRows
from models.engines.device import fastest_engine
from models.jobs.errors import TrainingError
from models.jobs.rows import read_json, write_json
from models.jobs.stages import SCRATCH

VIEWS_FILE, PLACES_FILE = "views.npy", "places.json"


def compute(folder: Path, films: FilmSet, recipe: ClipRecipe, seed: int, progress: Callable[[int, int], None]) -> None:
    """Write them. Films that are done are kept in the draft, and not read again after a kill.

    Args:
        progress: called with (films done, films in all).

    Raises:
        TrainingError: a film cannot be read, the published weights are missing, or there are too few stretches.
        OSError: the folder cannot be written.
    """
    scratch = folder / SCRATCH
    scratch.mkdir(exist_ok=True)
    views = ClipViews(recipe.views, recipe.clip.frames, seed)
    stretch = recipe.clip.model_copy(update={"frames": views.frames_read, "stride": recipe.films.every_frames}).spec
    engine: Engine | None = None
    counts = []
    for number, film in enumerate(films.films):
        file = scratch / f"{films.contents[number]}.npz"
        if not file.exists():
            engine = engine or _opened(recipe)
            frozen = recipe.weights == "frozen"
            rows, starts = [], []
            for item in extract([film], stretch, engine, views=views if frozen else _whole):
                if isinstance(item, Encoded):
                    rows.append(item.arrays[0] if frozen else item.arrays[0][0])
                    starts.append(item.place.start)
                elif item.error is not None:
                    raise TrainingError(item.error)
            partial = file.with_suffix(".partial.npz")
            np.savez(partial, rows=np.array(rows), starts=np.array(starts))
            partial.replace(file)
        with np.load(file, allow_pickle=False) as stored:
            counts.append(len(stored["starts"]))
        progress(number + 1, len(films.films))
    if (number := sum(count > 0 for count in counts)) < 2:
        raise TrainingError(
            f"{films.folder}: {number} films with a stretch of {stretch.frames} frames; expected two or more: longer "
            "films, or fewer views.lengths"
        )
    _join(folder, scratch, films)


def read(folder: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return what ``views.npy`` holds, from the disk, and the ordinal of each stretch's film, (n,). Raises OSError."""
    places = read_json(folder / PLACES_FILE)
    views: npt.NDArray[Any] = np.load(folder / VIEWS_FILE, mmap_mode="r", allow_pickle=False)
    return views, np.array([film for film, _ in places], np.int64)


def _opened(recipe: ClipRecipe) -> Engine:
    if recipe.weights == "none":
        return Engine("none", 1, lambda clips: (clips,))  # type: ignore[arg-type,return-value]  # stretches as they are
    try:
        return open_feature_engine(fastest_engine(), recipe.clip.spec, recipe.backbone, recipe.layers)
    except WeightsError as error:
        raise TrainingError(str(error)) from None


def _whole(stretch: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return stretch[None]


def _join(folder: Path, scratch: Path, films: FilmSet) -> None:
    """Write the films' parts one after the other, so that they need not fit into the memory together."""
    places: list[tuple[int, float]] = []
    rows: NpyRows | None = None
    try:
        for number, content in enumerate(films.contents):
            with np.load(scratch / f"{content}.npz", allow_pickle=False) as stored:
                values, starts = stored["rows"], stored["starts"]
            if len(values):
                rows = rows or NpyRows(folder / VIEWS_FILE, values.dtype)
                rows.add(values)
                places += [(number, float(start)) for start in starts]
    finally:
        if rows is not None:
            rows.close()
    write_json(folder / PLACES_FILE, places)
