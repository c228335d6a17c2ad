"""Labelled pictures: a folder for each class, or the frames of labelled videos."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.jobs.errors import TrainingError
from pipeline.manifests.folds import TEST
from pipeline.manifests.manifest import Video, listed
from pipeline.names import checked_name
from pipeline.printable import storable
from pipeline.sources.film_files import list_folder
from pipeline.sources.frame_folder import PICTURE_SUFFIXES, by_number

#: The class of frames in which something abnormal happens, where videos have one label each.
ANOMALY = "anomaly"
#: Least number of groups of a class: one to learn from, one for the validation, and one that neither has seen.
LEAST_GROUPS = 3
#: Suffixes that a line names.
_SHOWN = 6
#: Bytes of a file that are hashed at once.
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture of a class.

    Attributes:
        group: pictures of one group are never divided between training and validation: those of one folder below the
            class's, whatever the class, and copies. Any other picture is a group of its own.
        content: SHA-256 of the file.
    """

    path: Path
    class_name: str
    group: str
    content: str


@dataclass(frozen=True, slots=True)
class ExampleSet:
    """The pictures of a training: files, or videos whose frames are taken.

    Attributes:
        root: names are relative to this folder.
        normal: the class that is not an anomaly.
    """

    root: Path
    normal: str
    files: tuple[PictureFile, ...] = ()
    videos: tuple[Video, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, the normal one first."""
        if self.videos:
            return self.normal, ANOMALY
        others = sorted({file.class_name for file in self.files} - {self.normal})
        return self.normal, *others


def read_class_folders(
    folder: Path, normal: str, *, skipped: list[str] | None = None, notes: list[str] | None = None
) -> ExampleSet:
    """Return the pictures below ``folder``, whose folders are the classes. Hidden files and folders do not count.

    Args:
        notes: receives a line for files of other kinds, which are passed over.
        normal: name of the folder whose pictures show nothing abnormal.
        skipped: receives the problems of single pictures, which are left out; if None, they are errors.

    Raises:
        TrainingError: the folder is not one of classes, a class has too few pictures, or a name cannot be a class.
    """
    check_class_name(normal, "examples.normal")
    try:
        folders = sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))
        files, problems, others = list[PictureFile](), list[str](), list[Path]()
        for place in folders:
            check_class_name(place.name, str(place))
            files += _files_of(place, problems, others)
    except OSError as error:
        raise TrainingError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None
    names = [place.name for place in folders]
    if normal not in names:
        found = f"the folders {', '.join(names)}" if names else "no folders"
        raise TrainingError(
            f"{folder}: no folder {normal} of normal pictures (got {found}); expected {normal}/ and a folder for each "
            "kind of anomaly, such as anomaly/; another name: examples.normal"
        )
    if len(names) < 2:
        raise TrainingError(
            f"{folder}: only one class, {normal}; expected a folder for each kind of anomaly beside it, such as "
            "anomaly/. A detector that needs normal pictures alone: mistwatch learn --detector memory_bank"
        )
    if others and notes is not None:
        kinds = ", ".join(sorted({file.suffix.lower() or "none" for file in others})[:_SHOWN])
        notes.append(
            f"{folder}: passed over {len(others)} files that are not pictures of a known kind (suffixes: {kinds}); "
            f"expected {', '.join(sorted(PICTURE_SUFFIXES))}"
        )
    if problems and skipped is None:
        raise TrainingError(listed(problems, "{} more pictures cannot be used; --skip-bad lists all"))
    if skipped is not None:
        skipped += problems
    examples = ExampleSet(folder, normal, tuple(_with_copies(files, folder)))
    counts = Counter(
        one.class_name for one in {(file.class_name, file.group): file for file in examples.files}.values()
    )
    for name in names:
        check_enough(name, counts[name], sum(file.class_name == name for file in files), str(folder / name))
    return examples


def check_labels(videos: Sequence[Video], place: str) -> None:
    """Raise TrainingError where labelled videos outside the test have too few groups of a label."""
    known = [video for video in videos if video.split != TEST]
    abnormal = {video.group for video in known if video.label}
    # Frames outside the intervals are normal.
    normal = {video.group for video in known if not video.label or video.intervals}
    for kind, label, groups in (("normal", 0, normal), ("abnormal", 1, abnormal)):
        if len(groups) < LEAST_GROUPS:
            raise TrainingError(
                f"{place}: too few videos with {kind} frames (label {label}; got {len(groups)} groups outside the "
                f"test); expected at least {LEAST_GROUPS}"
            )


def check_class_name(name: str, place: str) -> None:
    """Raise TrainingError where a class cannot have this name, which stands in model cards and pages."""
    try:
        checked_name(name)
    except ValueError as error:
        raise TrainingError(f"{place}: {storable(name)!r} cannot be the name of a class: {error}") from None


def check_enough(name: str, groups: int, pictures: int, place: str) -> None:
    """Raise TrainingError where a class has too few groups to be trained and judged."""
    if groups < LEAST_GROUPS:
        raise TrainingError(
            f"{place}: too few pictures of {name} (got {pictures} in {groups} groups); expected at least "
            f"{LEAST_GROUPS} groups: pictures of one folder below the class's, and copies, are one group"
        )


def _files_of(folder: Path, problems: list[str], others: list[Path]) -> list[PictureFile]:
    """Return the pictures of a class.

    Args:
        problems: receives a line for each without content.
        others: receives files that are not pictures.

    Raises:
        OSError: a folder cannot be listed.
    """
    found: list[PictureFile] = []
    entered: set[Path] = set()  # whatever links lead there
    waiting = [folder]
    while waiting:
        here = waiting.pop(0)
        if (place := here.resolve()) in entered:
            continue
        entered.add(place)
        inside = list_folder(here)
        waiting += inside.folders
        others += [*inside.films, *inside.others]
        for file in sorted(inside.pictures, key=by_number):
            if not file.stat().st_size:
                problems.append(f"{file}: an empty file; expected a picture")
                continue
            below = here.relative_to(folder)
            own = f"{folder.name}/{file.name}" if below == Path() else f"{below}/"
            found.append(PictureFile(file, folder.name, storable(own), _sha256(file)))
    return found


def _with_copies(files: Sequence[PictureFile], folder: Path) -> list[PictureFile]:
    """Return the pictures with copies in one group.

    Raises:
        TrainingError: a picture and its copy are of different classes.
    """
    first: dict[str, PictureFile] = {}
    group_of: dict[str, str] = {}
    for file in files:
        same = first.setdefault(file.content, file)
        if same.class_name != file.class_name:
            raise TrainingError(
                f"{file.path}: a copy of {same.path.relative_to(folder)}, which is of another class; remove one of them"
            )
        # Groups that share a copy are one.
        one, other = _root(group_of, same.group), _root(group_of, file.group)
        if one != other:
            group_of[max(one, other)] = min(one, other)
    return [PictureFile(file.path, file.class_name, _root(group_of, file.group), file.content) for file in files]


def _root(group_of: dict[str, str], group: str) -> str:
    while group in group_of:
        group = group_of[group]
    return group


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
