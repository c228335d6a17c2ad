"""The place map of a camera: the class of each pixel of its standing scene, in a file beside the evidence.

``mistwatch places learn`` writes it, and each worker reads it. A map holds for the version of the model of places that
made it.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pipeline import files, logs
from pipeline.alerts.evidence import file_name
from pipeline.errors import MistwatchError
from pipeline.plain_arrays import UNREADABLE

_log = logs.get("places")

#: Below the state folder.
FOLDER = "places"
#: Limit of a file and of each array in it, bytes: four pictures of 4K.
_MOST_BYTES = 100_000_000
_ABOUT, _CLASSES, _PICTURE = "about", "classes", "picture"

ClassPath = tuple[str, ...]


class PlaceMapError(MistwatchError):
    """A place map cannot be read or written. One line that names the file."""


class _About(BaseModel):
    """Description of the arrays of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    camera: str
    version: str = Field(min_length=1)
    nodes: tuple[ClassPath, ...] = Field(min_length=1, max_length=255)
    things: frozenset[int]
    learned_at: AwareDatetime
    pictures: int = Field(ge=1)
    provisional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PlaceMap:
    """The classes of a camera's standing scene.

    Attributes:
        version: of the model of places, as in :class:`pipeline.scoring.places.PlacesModel`.
        nodes: the classes, each as its path in the label tree; a pixel's class is an index into them.
        things: indices of the classes that are things rather than places.
        classes: uint8 (H, W): the whole picture of the camera, stretched to the model's size.
        picture: uint8 (H, W, 3) RGB: the median picture that was classified.
        learned_at: when it was made.
        pictures: number of pictures that the median is of.
        provisional: of the first few pictures of a worker, which will make it again.
    """

    camera: str
    version: str
    nodes: tuple[ClassPath, ...]
    things: frozenset[int]
    classes: npt.NDArray[np.uint8]
    picture: npt.NDArray[np.uint8]
    learned_at: datetime
    pictures: int
    provisional: bool = False

    @property
    def shares(self) -> dict[int, float]:
        """The share of the picture that each class covers, the largest first; classes that cover nothing are absent."""
        counts = np.bincount(self.classes.ravel())
        by_size = sorted(np.flatnonzero(counts), key=lambda node: -counts[node])
        return {int(node): float(counts[node] / self.classes.size) for node in by_size}


def place_map_file(state_dir: Path, camera: str) -> Path:
    """Return the file of a camera's place map."""
    return state_dir / FOLDER / f"{file_name(camera)}.npz"


def write_place_map(state_dir: Path, place_map: PlaceMap) -> Path:
    """Write the file, in full or not at all, and return its path. Raises PlaceMapError."""
    file = place_map_file(state_dir, place_map.camera)
    about = _About(
        camera=place_map.camera,
        version=place_map.version,
        nodes=place_map.nodes,
        things=place_map.things,
        learned_at=place_map.learned_at,
        pictures=place_map.pictures,
        provisional=place_map.provisional,
    )
    content = io.BytesIO()
    arrays = {
        _ABOUT: np.frombuffer(about.model_dump_json().encode(), np.uint8),
        _CLASSES: place_map.classes,
        _PICTURE: place_map.picture,
    }
    np.savez_compressed(content, allow_pickle=False, **arrays)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(file, content.getvalue())
    except OSError as error:
        raise PlaceMapError(f"place map {file}: cannot be written: {error.strerror}") from None
    return file


def read_place_map(state_dir: Path, camera: str) -> PlaceMap | None:
    """Return a camera's place map; None where none was made.

    Raises:
        PlaceMapError: the file cannot be read, is not a place map, or is another camera's.
    """
    file = place_map_file(state_dir, camera)
    try:
        arrays = _read_arrays(file)
        about = _About.model_validate_json(arrays[_ABOUT].tobytes())
        classes, picture = arrays[_CLASSES], arrays[_PICTURE]
        _check(about, camera, classes, picture)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PlaceMapError(f"place map {file}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or _ABOUT
        raise _damaged(file, f"{where}: {problem['msg']}") from None
    except UNREADABLE as error:
        raise _damaged(file, str(error)) from None
    return PlaceMap(
        about.camera,
        about.version,
        about.nodes,
        about.things,
        classes,
        picture,
        about.learned_at,
        about.pictures,
        about.provisional,
    )


def find_place_map(state_dir: Path, camera: str, version: str) -> PlaceMap | None:
    """Return a camera's place map if it can be used with the model's version; otherwise log the reason.

    Args:
        version: of the model of places that classifies pictures now.

    Returns:
        None where none was made, where it is damaged, or where another version made it.
    """
    try:
        found = read_place_map(state_dir, camera)
    except PlaceMapError as error:
        _log.warning("a place map is left out", camera=camera, reason=str(error))
        return None
    if found is None:
        return None
    if found.version != version:
        reason = f"made by {found.version}, and {version} is served; a new one is made"
        _log.warning("a place map is left out", camera=camera, reason=reason)
        return None
    return found


def _read_arrays(file: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a file. Raises OSError, or another of UNREADABLE."""
    with file.open("rb") as opened:
        content = opened.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"larger than {_MOST_BYTES // 1_000_000} MB")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
    if sizes.keys() != {f"{name}.npy" for name in (_ABOUT, _CLASSES, _PICTURE)}:
        raise ValueError(f"holds {', '.join(sizes) or 'nothing'}")
    if max(sizes.values()) > _MOST_BYTES:
        raise ValueError(f"an array is larger than {_MOST_BYTES // 1_000_000} MB")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def _check(about: _About, camera: str, classes: npt.NDArray[Any], picture: npt.NDArray[Any]) -> None:
    """Check that a file's content fits together. Raises ValueError."""
    if about.camera != camera:
        raise ValueError(f"belongs to camera {json.dumps(about.camera, ensure_ascii=False)}")
    if classes.dtype != np.uint8 or classes.ndim != 2 or not classes.size:
        raise ValueError(f"classes are {classes.dtype} {classes.shape}")
    if classes.max() >= len(about.nodes):
        raise ValueError(f"class {classes.max()} of {len(about.nodes)}")
    if not all(0 <= thing < len(about.nodes) for thing in about.things):
        raise ValueError("things beyond its classes")
    if picture.dtype != np.uint8 or picture.shape != (*classes.shape, 3):
        raise ValueError(f"its picture is {picture.dtype} {picture.shape}")


def _damaged(file: Path, why: str) -> PlaceMapError:
    return PlaceMapError(
        f"place map {file}: not a place map ({why}); expected a file of `mistwatch places learn`: run it again"
    )
