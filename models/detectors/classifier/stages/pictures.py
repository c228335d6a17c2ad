"""The stage ``pictures``: all labelled pictures at one size, and what is known of each.

pictures.npy    uint8 (n, H, W, 3) RGB
rows.jsonl      name, class, group, split and source of each
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from models.data.npy_rows import NpyFile, NpyRows
from models.detectors.classifier.examples import ANOMALY, ExampleSet, PictureFile, check_enough
from models.detectors.classifier.recipe import ClassifierRecipe
from models.jobs.errors import TrainingError
from models.jobs.rows import read_rows, write_rows
from operators.figures.videos import abnormal_frames
from pipeline.manifests.folds import TRAIN
from pipeline.manifests.manifest import Video, listed, open_video
from pipeline.printable import storable
from pipeline.sources.base import Fit, FrameSpec, SourceError
from pipeline.sources.frame_folder import read_picture
from pipeline.sources.frame_index import FrameIndex
from pipeline.sources.scale import Scaler
from pipeline.windows import ClipSpec, ClipWindow, cut

PICTURES_FILE, ROWS_FILE = "pictures.npy", "rows.jsonl"
#: Least side of a picture that is used, pixels.
_LEAST_SIDE = 16


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled picture of the store.

    Attributes:
        name: for people.
        split: of the data set; None: for training and validation.
        source: ordinal of the picture's file, or of the video that it is a frame of.
        size: width and height as decoded, pixels.
        frame: ordinal in the video; None for a file.
    """

    name: str
    class_name: str
    group: str
    split: str | None
    source: int
    size: tuple[int, int]
    frame: int | None = None


def compute(
    folder: Path,
    examples: ExampleSet,
    recipe: ClassifierRecipe,
    *,
    skip_bad: bool,
    progress: Callable[[int], None],
    report: Callable[[str], None],
) -> None:
    """Write them.

    Args:
        skip_bad: leave out pictures and videos that cannot be decoded, and report them.
        progress: called with the number of files that are done.
        report: called with a line for each file that is left out, and for what may mislead a training.

    Raises:
        TrainingError: files cannot be decoded, or too few pictures of a class are left.
        OSError: the folder cannot be written.
    """
    height, width = recipe.stored
    spec = FrameSpec(height, width, Fit.STRETCH)
    rows: list[Row] = []
    problems: list[str] = []
    store = NpyRows(folder / PICTURES_FILE, np.uint8, (height, width, 3))
    try:
        for ordinal, file in enumerate(examples.files):
            try:
                pixels, size = _decoded(file, spec)
            except ValueError as error:
                problems.append(f"{file.path}: {error}")
            else:
                store.add(pixels[None])
                name = storable(str(file.path.relative_to(examples.root)))
                rows.append(Row(name, file.class_name, file.group, None, ordinal, size))
            progress(ordinal + 1)
        for ordinal, video in enumerate(examples.videos):
            try:
                frames = _frames(video, ordinal, examples, recipe)
            except SourceError as error:
                problems.append(str(error))
            else:
                for pixels, row in frames:
                    store.add(pixels[None])
                    rows.append(row)
            progress(ordinal + 1)
    finally:
        store.close()
    if problems and not skip_bad:
        raise TrainingError(listed(problems, "{} more files cannot be used; --skip-bad lists all"))
    for problem in problems:
        report(f"left out: {problem}")
    _check(rows, examples)
    if (note := sizes_note(rows, examples.classes)) is not None:
        report(note)
    write_rows(folder / ROWS_FILE, [asdict(row) for row in rows])


def read(folder: Path) -> tuple[NpyFile, list[Row]]:
    """Return the pictures, uint8 (n, H, W, 3), and what is known of each. Raises OSError."""
    rows = [Row(**{**row, "size": tuple(row["size"])}) for row in read_rows(folder / ROWS_FILE)]
    return NpyFile(folder / PICTURES_FILE), rows


def _decoded(file: PictureFile, spec: FrameSpec) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """Return a picture, (H, W, 3), and its own width and height. Raises ValueError with the reason."""
    try:
        picture = read_picture(file.path)
        if min(picture.width, picture.height) < _LEAST_SIDE:
            raise ValueError(
                f"a picture of {picture.width}×{picture.height} pixels; expected at least {_LEAST_SIDE}×{_LEAST_SIDE}"
            )
        return np.ascontiguousarray(Scaler(spec)(picture)), (picture.width, picture.height)
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ValueError(f"not a picture that can be decoded ({reason}); remove it or --skip-bad") from None


def _frames(
    video: Video, ordinal: int, examples: ExampleSet, recipe: ClassifierRecipe
) -> list[tuple[npt.NDArray[np.uint8], Row]]:
    """Return frames of a video, evenly spread, with their rows. Raises SourceError: it cannot be read."""
    choice = recipe.examples
    recording = open_video(video)
    height, width = recipe.stored
    clip = ClipSpec(1, 1, height, width, Fit.STRETCH, choice.fps)
    index = recording.frame_index()
    every = max(1, -(-int(_seconds(index) * choice.fps) // choice.most_of_each))
    abnormal = abnormal_frames(video.intervals, len(index)) if video.intervals else None
    path = video.path
    name = storable(str(path.relative_to(examples.root)) if path.is_relative_to(examples.root) else path.name)
    found: list[tuple[npt.NDArray[np.uint8], Row]] = []
    segment, number = 0, 0
    with closing(recording.frames([clip.frame_spec], threading.Event())) as frames:  # type: ignore[type-var]
        for item in cut(frames, clip):
            if not isinstance(item, ClipWindow):
                segment += 1
                continue
            if number % every == 0 and len(found) < choice.most_of_each:
                first, _ = index.span(segment, item.start, item.end)
                anomaly = bool(video.label) if abnormal is None else bool(abnormal[first])
                row = Row(
                    f"{name}, frame {first}",
                    ANOMALY if anomaly else examples.normal,
                    video.group,
                    None if video.split == TRAIN else video.split,
                    ordinal,
                    (item.middle.width, item.middle.height),
                    first,
                )
                found.append((item.pixels[0], row))
            number += 1
    return found


def _seconds(index: FrameIndex) -> float:
    """Return the length of a recording, without what its clock jumps back."""
    return float(np.maximum(np.diff(index.times), 0).sum())


def _check(rows: list[Row], examples: ExampleSet) -> None:
    """Raise TrainingError where the pictures that could be decoded are too few of a class."""
    for name in examples.classes:
        known = [row for row in rows if row.class_name == name and row.split is None]
        check_enough(name, len({row.group for row in known}), len(known), str(examples.root))


def sizes_note(rows: list[Row], classes: tuple[str, ...]) -> str | None:
    """Return a warning if a class has only picture sizes that no other class has; None if there is no such class.

    A network does not see the size, but it sees what scaling does to a picture.
    """
    sizes: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for row in rows:
        sizes[row.class_name].add(row.size)
    for name in classes:
        others = set().union(*(sizes[other] for other in classes if other != name))
        if not sizes[name] & others:
            width, height = min(sizes[name])
            another = min(others)
            return (
                f"the classes differ by the size of their pictures (got {name} of {width}×{height}, others of "
                f"{another[0]}×{another[1]}): the network may learn the sharpness; expected all classes from the same "
                "camera"
            )
    return None
