"""The recordings of a replay: files, folders of files, manifests."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.manifests.manifest import read_manifest
from pipeline.printable import located, storable
from pipeline.runs.folder import PARTS_FOLDER, RUN_FILE, RowFile, VideoRow, key_of
from pipeline.sources.archive import BY_NAMES, CameraFiles, Joining, cameras_of
from pipeline.sources.film_files import FILM_SUFFIXES, PassedOver, films_below
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
        left_out: number of files beside them that are not this camera's, where only one camera is wanted.
        stream: number of the video stream to read, see :func:`pipeline.sources.recordings.open_recording`.
        masks: of its abnormal pixels, as the manifest says.
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
    left_out: int = 0
    stream: int | None = None
    masks: Path | None = None

    @property
    def key(self) -> str:
        """Names what is kept of it in a folder."""
        return key_of(self.name)

    @property
    def stored_path(self) -> str:
        """The path, as text that any file can hold; see :func:`pipeline.printable.storable`."""
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
        on_choice: Callable[[str], None] | None = None,
    ) -> Recording:
        """Return the recording as a source; the arguments are those of
        :func:`pipeline.sources.recordings.open_recording`.

        Raises:
            SourceError: it is not there.
        """
        if self.parts:
            return JoinedSource(
                self.name,
                self.parts,
                started_at=started_at,
                on_damage=on_damage,
                threads=threads,
                video_stream=self.stream,
                on_choice=on_choice,
            )
        return open_recording(
            self.path,
            camera=self.name,
            fps=self.fps,
            started_at=started_at,
            on_damage=on_damage,
            threads=threads,
            video_stream=self.stream,
            on_choice=on_choice,
        )

    def camera_of(self, cameras: Container[str]) -> str | None:
        """Return the site's camera that made the recording, see :func:`camera_of`."""
        return self.camera if self.camera is not None and self.camera in cameras else camera_of(self.path, cameras)

    def row(self, **found: object) -> VideoRow:
        """The recording's row, with what a replay has found out."""
        said: dict[str, object] = {
            "label": self.label, "group": self.group, "split": self.split, "intervals": self.intervals,
            "stream": self.stream,
            "masks": None if self.masks is None else storable(str(self.masks)),
            "files": tuple(RowFile(path=storable(str(part.path)), at=part.at) for part in self.parts),
        }  # fmt: skip
        return VideoRow.model_validate({"name": self.name, "path": self.stored_path, **said, **found})


def recording_of(row: VideoRow) -> Recording:
    """Return the recording of a run's row as a source. Raises SourceError: it is not there any more."""
    if row.files:
        return JoinedSource(
            row.name, [Part(located(file.path), file.at) for file in row.files], video_stream=row.stream
        )
    return open_recording(located(row.path), camera=row.name, fps=row.fps, video_stream=row.stream)


def wanted(
    places: Iterable[Path],
    *,
    skipped: list[str] | None = None,
    passed_over: PassedOver | None = None,
    joining: Joining = BY_NAMES,
) -> list[Wanted]:
    """The recordings at ``places``, each once, in the order in which they are named; a folder's by their names.

    Files of one camera are one recording (:func:`pipeline.sources.archive.cameras_of`), but not those of a manifest:
    its labels are of single files.

    Args:
        places: files, folders (with the folders in them, but those of runs), manifests (``.jsonl``).
        skipped: takes the problems of manifests' lines, which are then left out; without it they are an error.
        passed_over: receives the files in folders that are not videos (:mod:`pipeline.sources.film_files`).

    Raises:
        NothingToReplayError: a place is not there, or holds no video.
        UsageError: the files cannot be joined as ``joining`` says.
        pipeline.manifests.manifest.ManifestError: as :func:`pipeline.manifests.manifest.read_manifest`.
    """
    passed_over = passed_over if passed_over is not None else PassedOver()
    found: dict[Path, _Found] = {}
    for place in places:
        for one in _at(place, skipped, passed_over):
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
            archive = Wanted("", one.parts[0].path, camera=one.camera, parts=one.parts, left_out=one.left_out)
            joined.append(_found(archive, one.camera, *one.names))
        else:
            joined.append(found[one])
    order = {path: place for place, path in enumerate(found)}
    return sorted(joined, key=lambda one: order[one.wanted.path])


def _at(place: Path, skipped: list[str] | None, passed_over: PassedOver) -> list[_Found]:
    try:
        if place.is_dir():
            return _in_folder(place, passed_over)
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


def _in_folder(folder: Path, passed_over: PassedOver) -> list[_Found]:
    try:
        films = list(films_below(folder, passed_over, but=_is_run))
    except OSError as error:
        raise NothingToReplayError(f"{error.filename}: cannot be read: {error.strerror}") from None
    found = []
    for film in films:
        below = film.relative_to(folder)
        found.append(_found(Wanted("", _resolved(film)), below.with_suffix("").as_posix(), below.as_posix()))
    if not found:
        line = passed_over.line()
        suffixes = ", ".join(sorted(FILM_SUFFIXES))
        raise NothingToReplayError(f"{folder}: holds no video ({line or f'{suffixes}, or by content'})")
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
        group = None if video.is_alone else video.group
        one = Wanted("", path, video.fps, video.label, group, video.split, video.intervals)
        one = replace(one, stream=video.stream, masks=video.masks)
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

    A name in the decomposed form of some file systems is the same name.

    >>> camera_of(Path("/archive/gate/2024-05-01.mp4"), {"gate", "yard"})
    'gate'
    """
    names = (unicodedata.normalize("NFC", name) for name in (path.stem, *(folder.name for folder in path.parents)))
    return next((name for name in names if name in cameras), None)
