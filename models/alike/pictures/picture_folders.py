"""A folder of pictures, whose subfolders may be labels."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from models.alike.pictures.picture_set import Labels, PictureData, PictureSet, Pixels, divided
from models.jobs.errors import TrainingError
from pipeline.manifests.manifest import listed
from pipeline.printable import storable
from pipeline.sources.film_files import list_folder
from pipeline.sources.frame_folder import by_number, read_picture

#: Least number of pictures: two to contrast, and one to judge.
LEAST_PICTURES = 3


def read_picture_folder(folder: Path, *, side: int | None, grey: bool, judged: float) -> PictureData:
    """Return all pictures below a folder, divided into those that are learned from and those that are judged.

    The name of a subfolder is the label of the pictures below it. Where a picture lies beside the subfolders, or all
    lie in one of them, no picture has a label. Hidden files and folders do not count. All pictures are held in memory.

    Args:
        side: see :class:`models.alike.recipe.Data`, as are the others.

    Raises:
        TrainingError: the folder cannot be read, holds too few pictures, or pictures that cannot be decoded or are of
            several sizes where ``side`` is None. A line for each bad picture.
    """
    try:
        found = _files(folder)
    except OSError as error:
        raise TrainingError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None
    if len(found) < LEAST_PICTURES:
        raise TrainingError(f"{folder}: too few pictures (got {len(found)}); expected at least {LEAST_PICTURES}")
    pixels, problems = list[Pixels](), list[str]()
    for file, _ in found:
        try:
            pixels.append(_picture(file, side, grey))
        except (OSError, av.FFmpegError) as error:
            problems.append(f"{file}: not a picture that can be decoded ({error.strerror})")
            continue
        if pixels[-1].shape != pixels[0].shape:
            sizes = [f"{one.shape[1]}×{one.shape[0]}" for one in (pixels[-1], pixels[0])]
            raise TrainingError(
                f"{file}: another size than the pictures before it (got {sizes[0]}, not {sizes[1]}); expected one "
                "size, or set data.side, to which all are scaled"
            )
    if problems:
        raise TrainingError(listed(problems, "{} more pictures cannot be decoded"))
    classes = tuple(sorted({name for _, name in found if name is not None}))
    labels: Labels | None = None
    if len(classes) > 1 and all(name is not None for _, name in found):
        labels = np.array([classes.index(name) for _, name in found if name is not None], np.int64)
    pictures = PictureSet(np.stack(pixels), labels)
    names = tuple(storable(name) for name in classes) if labels is not None else ()
    return divided(storable(folder.name), pictures, names, judged)


def _files(folder: Path) -> list[tuple[Path, str | None]]:
    """Return the pictures below a folder, each with the first folder on its way; links are followed once."""
    found: list[tuple[Path, str | None]] = []
    entered: set[Path] = set()
    waiting: list[tuple[Path, str | None]] = [(folder, None)]
    while waiting:
        here, name = waiting.pop(0)
        if (place := here.resolve()) in entered:
            continue
        entered.add(place)
        inside = list_folder(here)
        waiting += [(below, name or below.name) for below in inside.folders]
        found += [(file, name) for file in sorted(inside.pictures, key=by_number)]
    return found


def _picture(file: Path, side: int | None, grey: bool) -> Pixels:
    """Return a picture, uint8 (H, W, C). Raises OSError, av.FFmpegError."""
    decoded = read_picture(file).to_ndarray(format="gray" if grey else "rgb24")
    picture = np.asarray(decoded[..., None] if grey else decoded, np.uint8)
    if side is None:
        return picture
    height, width = picture.shape[:2]
    scale = side / min(height, width)
    size = max(side, round(width * scale)), max(side, round(height * scale))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (scaled.shape[0] - side) // 2, (scaled.shape[1] - side) // 2
    return np.asarray(scaled[top : top + side, left : left + side].reshape(side, side, -1), np.uint8)
