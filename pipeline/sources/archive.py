"""Archives of recorders: which files are one camera's, and in which order they were recorded. No file is opened."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from itertools import groupby, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline.errors import UsageError
from pipeline.sources.archive_clock import SECOND
from pipeline.sources.frame_folder import by_number
from pipeline.sources.joined import Part
from pipeline.sources.recorder_names import is_hand_held, stated
from pipeline.sources.recorder_times import Stated


@dataclass(frozen=True, slots=True)
class Joining:
    """The way in which files become cameras.

    Attributes:
        join: None: files of one camera whose names state their times are joined where there are several, but not those
            of phones, drones and the like. True: all files are one camera's, whatever their names. False: every
            file by itself.
        camera: the camera's name. Of files whose names state several cameras, that one's alone.
        zone: of the times in names that do not state one; None: this machine's.
    """

    join: bool | None = None
    camera: str | None = None
    zone: tzinfo | None = None


#: Reolink marks the times of summer. Of an hour that comes twice the other recorders do not say which is meant, and the
#: first is taken.
_SUMMER = re.compile(r"DST(?=20\d\d)")

#: Files are joined where their names state it.
BY_NAMES = Joining()


@dataclass(frozen=True, slots=True)
class CameraFiles:
    """The files of one camera.

    Attributes:
        camera: its name; ``names`` are longer ones, for an archive that has several cameras of that name.
        left_out: number of files that are not this camera's, where only one camera is wanted.
    """

    camera: str
    names: tuple[str, ...]
    parts: tuple[Part, ...]
    left_out: int = 0


def zone_named(name: str | None) -> tzinfo | None:
    """Return a time zone by its IANA name; None for the machine's own. Raises UsageError."""
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise UsageError(f"time zone {name!r}: unknown; expected an IANA name like Europe/Berlin or UTC")


def cameras_of(files: Sequence[Path], joining: Joining) -> list[CameraFiles | Path]:
    """Group files by their cameras.

    A camera cannot begin two recordings at one moment. Where names state that it did, they leave out what tells two
    views or streams apart: the second files of such moments are NAME-2's, and no picture of a view is lost.

    Returns:
        The cameras, and the files that are recordings by themselves, in the order of their first files.

    Raises:
        UsageError: the files are to be joined and cannot be: some names state times and others do not, or several
            cameras.
    """
    if joining.join is False or not files:
        return list(files)
    if joining.join or joining.camera is not None:
        return [_one_camera(files, joining)]
    groups: dict[tuple[Path, str] | Path, list[tuple[Path, Stated]]] = {}
    for file in files:
        said = None if is_hand_held(file) else stated(file)
        key = file if said is None else (said.folder, said.camera)
        groups.setdefault(key, []).extend([] if said is None else [(file, said)])
    found: list[CameraFiles | Path] = []
    for key, members in groups.items():
        if isinstance(key, Path):
            found.append(key)
        else:
            folder, camera = key
            one = _camera(camera or folder.name or "camera", folder, members, joining.zone)
            found += [part.path for part in one.parts] if _are_counted(one.parts) else _views(one, folder)
    order = {file: place for place, file in enumerate(files)}
    return sorted(found, key=lambda one: order[one.parts[0].path if isinstance(one, CameraFiles) else one])


def _are_counted(parts: Sequence[Part]) -> bool:
    """Return whether the times are numbers that count the files: most begin a second after the one before."""
    starts = [part.at for part in parts if part.at is not None]
    steps = [after - before for before, after in pairwise(starts)]
    return 2 * sum(step == SECOND for step in steps) > len(steps)


def _views(camera: CameraFiles, folder: Path) -> Iterator[CameraFiles | Path]:
    """Yield the files of which no two begin at one moment as one camera's, and a file of which there is one alone."""
    views: list[list[Part]] = []
    for _, at_once in groupby(camera.parts, key=lambda part: part.at):
        for number, part in enumerate(at_once):
            if number == len(views):
                views.append([])
            views[number].append(part)
    for number, parts in enumerate(views, start=1):
        if len(parts) == 1:
            yield parts[0].path
        else:
            name = camera.camera if number == 1 else f"{camera.camera}-{number}"
            yield CameraFiles(name, _longer_names(name, folder), tuple(parts))


def _one_camera(files: Sequence[Path], joining: Joining) -> CameraFiles:
    """Return all files as one camera's, or those of the named one."""
    said = [(file, stated(file)) for file in files]
    timed = [(file, one) for file, one in said if one is not None]
    names = sorted({one.camera for _, one in timed})
    if joining.camera in names:
        timed = [(file, one) for file, one in timed if one.camera == joining.camera]
    elif len(names) > 1:
        expected = f"expected one of {', '.join(names[:10])}{', …' * (len(names) > 10)}"
        raise UsageError(
            f"the names of these files state {len(names)} cameras, not {joining.camera}; {expected}"
            if joining.camera is not None
            else f"--join: the names of these files state {len(names)} cameras; name one with --camera; {expected}"
        )
    elif timed and len(timed) < len(files):
        without = next(file for file, one in said if one is None)
        raise UsageError(
            f"{without}: its name states no date and time, and those of other files of the camera do; name only files "
            "whose place in time is known, or use --no-join"
        )
    if len({(one.folder, one.camera) for _, one in timed}) > 1 and joining.camera in names:
        folders = sorted({str(one.folder) for _, one in timed})
        raise UsageError(
            f"several cameras are called {joining.camera}, in {' and '.join(folders[:3])}; name one of these folders"
        )
    if timed:
        name = joining.camera or timed[0][1].camera or timed[0][1].folder.name or "camera"
        found = _camera(name, timed[0][1].folder, timed, joining.zone)
        return replace(found, left_out=len(files) - len(timed))
    ordered = sorted(files, key=lambda file: [by_number(Path(part)) for part in file.parts])
    return CameraFiles(joining.camera or ordered[0].parent.name or "camera", (), tuple(map(Part, ordered)))


def _camera(camera: str, folder: Path, members: Sequence[tuple[Path, Stated]], zone: tzinfo | None) -> CameraFiles:
    marks_summer = any(_SUMMER.search(file.stem) for file, _ in members)

    def start(file: Path, said: Stated) -> datetime:
        if said.utc:
            return said.at.replace(tzinfo=UTC)
        is_second = marks_summer and not _SUMMER.search(file.stem)
        local = said.at.replace(tzinfo=zone, fold=int(is_second))
        return local.astimezone(UTC)

    placed = sorted((start(file, said), str(file), file) for file, said in members)
    parts = tuple(Part(file, at) for at, _, file in placed)
    return CameraFiles(camera, _longer_names(camera, folder), parts)


def _longer_names(camera: str, folder: Path) -> tuple[str, str]:
    return f"{folder.name}/{camera}", f"{folder}/{camera}"
