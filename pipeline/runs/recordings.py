"""The recordings of a replay: files, folders of files, manifests."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.manifests.manifest import read_manifest
from pipeline.manifests.plain import FILM_SUFFIXES
from pipeline.runs.folder import PARTS_FOLDER, RUN_FILE, RowFile, VideoRow, key_of
from pipeline.sources.archive import BY_NAMES, CameraFiles, Joining, cameras_of
from pipeline.sources.joined import JoinedSource, Part
from pipeline.sources.recordings import Recording, open_recording

#: How the name of a manifest ends.
MANIFEST_SUFFIXES = frozenset({".jsonl", ".ndjson"})


class NothingToReplayError(UsageError):
    """A place holds nothing that can be replayed. One line."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One recording to be replayed; see :class:`pipeline.runs.folder.VideoRow` for what is said of it.

    Attributes:
        path: of the first file where there are several.
        fps: pictures a second where ``path`` is a folder of them.
        camera: whose archive it is; None for a recording by itself.
        parts: the files of that archive, which are read as one recording.
        until: time of the archive's end as its last name states it (UTC), None where it does not.
    """

    name: str
    path: Path
    fps: float | None = None
    label: int | None = None
    group: str | None = None
    split: str | None = None
    intervals: tuple[tuple[int, int], ...] = ()
    camera: str | None = None
    parts: tuple[Part, ...] = ()
    until: datetime | None = None

    @property
    def key(self) -> str:
        """Names what is kept of it in a folder."""
        return key_of(self.name)

    @property
    def stored_path(self) -> str:
        """The path, as text that any file can hold; see :func:`storable`."""
        return storable(str(self.path))

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the recording, or its folder of pictures."""
        return tuple(part.path for part in self.parts) or (self.path,)

    def open(
        self,
        *,
        started_at: datetime | None = None,
        on_damage: Callable[[str], None] | None = None,
        threads: int = 0,
    ) -> Recording:
        """Return the recording as a source; the arguments are those of
        :func:`pipeline.sources.recordings.open_recording`.

        Raises:
            SourceError: it is not there.
        """
        if self.parts:
            return JoinedSource(self.name, self.parts, started_at=started_at, on_damage=on_damage, threads=threads)
        return open_recording(
            self.path, camera=self.name, fps=self.fps, started_at=started_at, on_damage=on_damage, threads=threads
        )

    def camera_of(self, cameras: Container[str]) -> str | None:
        """Return the site's camera that made the recording, see :func:`camera_of`."""
        return self.camera if self.camera is not None and self.camera in cameras else camera_of(self.path, cameras)

    def row(self, **found: object) -> VideoRow:
        """The recording's row, with what a replay has found out."""
        said: dict[str, object] = {
            "label": self.label, "group": self.group, "split": self.split, "intervals": self.intervals,
            "files": tuple(RowFile(path=storable(str(part.path)), at=part.at) for part in self.parts),
        }  # fmt: skip
        return VideoRow.model_validate({"name": self.name, "path": self.stored_path, **said, **found})


def recording_of(row: VideoRow) -> Recording:
    """Return the recording of a run's row as a source. Raises SourceError: it is not there any more."""
    if row.files:
        return JoinedSource(row.name, [Part(Path(file.path), file.at) for file in row.files])
    return open_recording(Path(row.path), camera=row.name, fps=row.fps)


def storable(text: str) -> str:
    """Return ``text`` with the bytes of a file's name that are not UTF-8 written as an escape.

    >>> storable("caf\\udce9.mp4")
    'caf\\\\xe9.mp4'
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def wanted(places: Iterable[Path], *, skipped: list[str] | None = None, joining: Joining = BY_NAMES) -> list[Wanted]:
    """The recordings at ``places``, each once, in the order in which they are named; a folder's by their names.

    Files of one camera are one recording (:func:`pipeline.sources.archive.cameras_of`), but not those of a manifest:
    its labels are of single files.

    Args:
        places: files, folders (with the folders in them, but those of runs), manifests (``.jsonl``).
        skipped: takes the problems of manifests' lines, which are then left out; without it they are an error.

    Raises:
        NothingToReplayError: a place is not there, or holds no video.
        UsageError: the files cannot be joined as ``joining`` says.
        pipeline.manifests.manifest.ManifestError: as :func:`pipeline.manifests.manifest.read_manifest`.
    """
    found: dict[Path, _Found] = {}
    for place in places:
        for one in _at(place, skipped):
            found.setdefault(one.wanted.path, one)
    joined = _joined(found, joining)
    names = _names([one.names for one in joined])
    return [replace(one.wanted, name=name) for one, name in zip(joined, names, strict=True)]


@dataclass(frozen=True, slots=True)
class _Found:
    wanted: Wanted
    names: tuple[str, ...]  # the first is the best; a later one is longer and more often unique


def _found(wanted: Wanted, *names: str) -> _Found:
    # The last is of the bytes: an escape of one file's name may be another file's name.
    last = f"{wanted.stored_path} ({hashlib.sha256(os.fsencode(wanted.path)).hexdigest()[:8]})"
    return _Found(wanted, (*(storable(name) for name in names), wanted.stored_path, last))


def _joined(found: dict[Path, _Found], joining: Joining) -> list[_Found]:
    """Return the recordings, with the files of one camera as one. Raises UsageError."""
    loose = [path for path, one in found.items() if one.wanted.label is None]
    if not loose and (joining.join or joining.camera is not None):
        raise UsageError("--join and --camera are for files: the labels of a manifest are of single recordings")
    joined = [one for one in found.values() if one.wanted.label is not None]
    for one in cameras_of(loose, joining):
        if isinstance(one, CameraFiles):
            archive = Wanted("", one.parts[0].path, camera=one.camera, parts=one.parts, until=one.until)
            joined.append(_found(archive, one.camera, *one.names))
        else:
            joined.append(found[one])
    order = {path: place for place, path in enumerate(found)}
    return sorted(joined, key=lambda one: order[one.wanted.path])


def _at(place: Path, skipped: list[str] | None) -> list[_Found]:
    try:
        if place.is_dir():
            return _in_folder(place)
        if not place.exists():
            raise NothingToReplayError(f"{place}: no such file; expected a video, a folder of videos or a manifest")
    except OSError as error:
        raise NothingToReplayError(f"{place}: cannot be looked up: {error.strerror}") from None
    if place.suffix.lower() in MANIFEST_SUFFIXES:
        return _in_manifest(place, skipped)
    path = _resolved(place)
    return [_found(Wanted("", path), path.stem, path.name, f"{path.parent.name}/{path.name}")]


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:  # links in a ring: the replay says that there is no such file
        return path.absolute()


def _in_folder(folder: Path) -> list[_Found]:
    def unreadable(error: OSError) -> None:
        raise NothingToReplayError(f"{error.filename}: cannot be read: {error.strerror}")

    found = []
    for here, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _is_run(Path(here, name)))
        for name in sorted(files):
            file = Path(here, name)
            if file.suffix.lower() in FILM_SUFFIXES and not name.startswith("."):
                below = file.relative_to(folder)
                path = _resolved(file)
                found.append(_found(Wanted("", path), below.with_suffix("").as_posix(), below.as_posix()))
    if not found:
        raise NothingToReplayError(f"{folder}: holds no video ({', '.join(sorted(FILM_SUFFIXES))})")
    return found


def _is_run(folder: Path) -> bool:
    """Return whether this is a run's folder: the annotated films in it are not recordings to replay."""
    return any((folder / part / RUN_FILE).exists() for part in ("", PARTS_FOLDER))


def _in_manifest(file: Path, skipped: list[str] | None) -> list[_Found]:
    folder = file.parent.resolve()
    found = []
    for video in read_manifest(file, skipped=skipped):
        path = video.path
        below = path.relative_to(folder) if path.is_relative_to(folder) else path
        group = None if video.group == str(path) else video.group
        one = Wanted("", path, video.fps, video.label, group, video.split, video.intervals)
        found.append(_found(one, below.as_posix()))
    return found


def _names(choices: Sequence[tuple[str, ...]]) -> list[str]:
    """A name for each, the first of its choices that no other one bears. The last ones all differ."""
    levels = [0] * len(choices)
    while True:
        names = [choice[level] for choice, level in zip(choices, levels, strict=True)]
        borne = Counter(names)
        shared = [place for place, name in enumerate(names) if borne[name] > 1]
        if not shared:
            return names
        for place in shared:
            levels[place] = min(levels[place] + 1, len(choices[place]) - 1)


def camera_of(path: Path, cameras: Container[str]) -> str | None:
    """Return the site's camera that made a recording: named by its file, else by the nearest folder that has a name.

    >>> camera_of(Path("/archive/gate/2024-05-01.mp4"), {"gate", "yard"})
    'gate'
    """
    names = (path.stem, *(folder.name for folder in path.parents))
    return next((name for name in names if name in cameras), None)
