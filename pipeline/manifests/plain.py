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
from pipeline.sources.frame_folder import is_picture

_PARTS = ("normal", "abnormal")

#: Suffixes of the files that count as films.
FILM_SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".h264", ".h265", ".hevc", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov"}
    | {".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)


def plain_folder(folder: Path, *, fps: float | None = None, skipped: list[str] | None = None) -> list[Video]:
    """Read the videos below ``normal`` and ``abnormal``, in the order of their names.

    A video in a folder of its own belongs to the group of that folder's name; elsewhere it is a group by itself.

    Args:
        fps: pictures a second of all folders of pictures.
        skipped: receives a line for each folder of pictures without a rate, each link that leads to itself and each
            file without a film's suffix. If None, the former two are errors.

    Raises:
        ManifestError: either folder is missing or has no video, there are folders of pictures and no rate, or a link
            leads to itself.
    """
    absent = [part for part in _PARTS if not (folder / part).is_dir()]
    if absent:
        raise ManifestError(
            f"{folder}: no folder {' and no folder '.join(absent)}; expected normal and abnormal videos"
        )
    videos = []
    for label, part in enumerate(_PARTS):
        found = []
        for path in _videos(folder / part, skipped):
            if (problem := _problem(path, fps)) is not None:
                if skipped is None:
                    raise ManifestError(problem)
                skipped.append(problem)
                continue
            group = path.parent.relative_to(folder / part).as_posix()
            rate = fps if path.is_dir() else None
            found.append(Video(path.resolve(), label, group="" if group == "." else group, fps=rate))
        if not found:
            raise ManifestError(f"{folder / part}: holds no video")
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


def _videos(folder: Path, skipped: list[str] | None) -> Iterator[Path]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if entry.is_dir():
            if any(is_picture(file) for file in entry.iterdir()):
                yield entry
            else:
                yield from _videos(entry, skipped)
        elif entry.suffix.lower() in FILM_SUFFIXES:
            yield entry
        elif skipped is not None:
            skipped.append(f"{entry}: not a film's suffix")
