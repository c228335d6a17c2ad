"""A plain folder of the user's own videos.

    FOLDER/normal/gate-monday.mp4
    FOLDER/abnormal/gate-tuesday.mp4
    FOLDER/abnormal/hall/fight.mp4          group "hall", also of videos in FOLDER/normal/hall

A folder of pictures is a video, too, if its frame rate is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.manifests.manifest import ManifestError, Video
from pipeline.sources.film_files import Listing, PassedOver, list_folder

_PARTS = ("normal", "abnormal")


def plain_folder(
    folder: Path, *, fps: float | None = None, skipped: list[str] | None = None, passed_over: PassedOver | None = None
) -> list[Video]:
    """Read the videos below ``normal`` and ``abnormal``, in the order of their names.

    A video in a folder of its own belongs to the group of that folder's name; elsewhere it is a group by itself.

    Args:
        fps: pictures a second of all folders of pictures.
        skipped: receives a line for each folder of pictures without a rate and each link that leads to itself. If
            None, they are errors.
        passed_over: receives files that are not videos (:mod:`pipeline.sources.film_files`).

    Raises:
        ManifestError: either folder is missing or has no video, there are folders of pictures and no rate, or a link
            leads to itself.
    """
    absent = [part for part in _PARTS if not (folder / part).is_dir()]
    if absent:
        raise ManifestError(
            f"{folder}: no folder {' and no folder '.join(absent)}; expected normal and abnormal videos"
        )
    passed_over = passed_over if passed_over is not None else PassedOver()
    videos = []
    for label, part in enumerate(_PARTS):
        found = []
        for path in _videos(folder / part, list_folder(folder / part), fps, passed_over, ()):
            if (problem := _problem(path, fps)) is not None:
                if skipped is None:
                    raise ManifestError(problem)
                skipped.append(problem)
                continue
            group = path.parent.relative_to(folder / part).as_posix()
            rate = fps if path.is_dir() else None
            found.append(Video(path.resolve(), label, group="" if group == "." else group, fps=rate))
        if not found:
            line = passed_over.line()
            raise ManifestError(f"{folder / part}: holds no video{f'; {line}' if line else ''}")
        videos += found
    return videos


def _problem(path: Path, fps: float | None) -> str | None:
    """Return why this cannot be a video, or None if it can."""
    if path.is_dir():
        return f"{path}: a folder of pictures states no rate; give its fps" if fps is None else None
    try:
        path.resolve()
    except (OSError, RuntimeError):
        return f"{path}: a link that leads to itself"
    return None


def _videos(
    folder: Path, listing: Listing, fps: float | None, passed_over: PassedOver, above: tuple[Path, ...]
) -> Iterator[Path]:
    """Yield the videos below ``folder``; ``above`` are the folders around it, which a link in it may lead back to."""
    passed_over.add((*listing.pictures, *listing.others))
    here = (*above, folder.resolve())
    films = set(listing.films)
    for entry in sorted((*listing.films, *listing.folders)):
        if entry in films:
            yield entry
        elif entry.is_symlink() and entry.resolve() in here:
            passed_over.add([entry])
        elif _is_of_pictures(inside := list_folder(entry), fps):
            passed_over.add((*inside.films, *inside.folders, *inside.others))
            yield entry
        else:
            yield from _videos(entry, inside, fps, passed_over, here)


def _is_of_pictures(listing: Listing, fps: float | None) -> bool:
    """Return whether a folder is one video of pictures; films with a few preview pictures are not."""
    if not listing.films:
        return bool(listing.pictures)
    return fps is not None and len(listing.pictures) > len(listing.films)
