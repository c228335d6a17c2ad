"""A manifest: a list of videos with their labels. JSON lines, one video a line.

    {"path": "clips/fi001.mp4", "label": 1, "group": "yt05"}
    {"path": "/data/long.mp4", "label": 1, "intervals": [[300, 388]], "split": "test"}

``path`` is relative to the manifest's folder. ``label`` is 1 if something abnormal happens in the video, else 0.
``intervals`` names the abnormal frames: for each stretch the first and the one after its last, counted from 0 in
decoding order; absent if they are unknown. ``split`` names the part of the data set: ``train``, ``validation`` or
``test``; without it a video is for training.
``group`` names a common origin of videos (a camera, a source film): a group is never divided between training and
test. ``path`` may name a folder of pictures, one a frame; ``fps`` is then their rate per second. ``masks``
names the masks of its abnormal pixels, relative to the manifest's folder like ``path``
(:mod:`pipeline.manifests.masks`). A byte of a file's name that is not UTF-8 is written as an escape, such as ``\\xe9``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, ValidationError, model_validator

from pipeline.errors import UsageError
from pipeline.printable import located, storable
from pipeline.sources.recordings import Recording, open_recording

#: File name of a data set's manifest.
MANIFEST = "manifest.jsonl"

_PROBLEMS_SHOWN = 10
_CHARACTERS_SHOWN = 200


class ManifestError(UsageError):
    """A manifest cannot be used. One line for each problem (the first ten), naming file and line."""


@dataclass(frozen=True, slots=True)
class Video:
    """One video of a manifest.

    Attributes:
        label: 1 abnormal, 0 normal.
        intervals: [first, end) of the abnormal frames, counted from 0; empty if they are unknown.
        split: train, validation or test; None if the manifest has no splits.
        group: videos of one group belong together; a video without one is its own group. Text that any file can hold
            (:func:`pipeline.printable.storable`).
        fps: pictures a second if ``path`` is a folder of them, else None: a film states its own rate.
        stream: number of a film's video stream among several, from 0; None: the first.
        masks: of its abnormal pixels, see :func:`pipeline.manifests.masks.masks_of`; None if they are unknown.
    """

    path: Path
    label: int
    intervals: tuple[tuple[int, int], ...] = ()
    split: str | None = None
    group: str = ""
    fps: float | None = None
    stream: int | None = None
    masks: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", storable(self.group or str(self.path)))

    @property
    def is_alone(self) -> bool:
        """Return whether the video is a group of its own."""
        return self.group == storable(str(self.path))


class _Row(BaseModel):
    """Schema of a line."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: Annotated[str, Field(min_length=1)]
    label: Literal[0, 1]
    intervals: list[tuple[NonNegativeInt, NonNegativeInt]] = []
    split: Literal["train", "validation", "test"] | None = None
    group: str | None = None
    fps: Annotated[FiniteFloat, Field(gt=0)] | None = None
    stream: NonNegativeInt | None = None
    masks: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_truth_values(cls, row: object) -> object:
        if isinstance(row, dict) and isinstance(row.get("label"), bool | float):
            raise ValueError(f"label must be 0 or 1, got {json.dumps(row['label'])}")
        if isinstance(row, dict) and isinstance(row.get("intervals"), list):
            row = row | {"intervals": [tuple(pair) if isinstance(pair, list) else pair for pair in row["intervals"]]}
        return row

    @model_validator(mode="after")
    def _check(self) -> _Row:
        if self.intervals and self.label == 0:
            raise ValueError("a normal video (label 0) has no intervals")
        for first, end in self.intervals:
            if not first < end:
                raise ValueError(f"interval [{first}, {end}] must end after its first frame")
        return self


def read_manifest(file: Path, *, skipped: list[str] | None = None) -> list[Video]:
    """Read a manifest.

    Args:
        skipped: receives the problems of lines, which are left out; if None, problems are an error.

    Raises:
        ManifestError: the file cannot be read, a line is invalid, names a missing video or one that an earlier line
            names, or the file has no line.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")  # only there: a name may contain U+2028
    except FileNotFoundError:
        raise ManifestError(f"{file}: no such manifest") from None
    except OSError as error:
        raise ManifestError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{file}: not a manifest: expected JSON lines in UTF-8") from None
    videos: list[Video] = []
    problems: list[str] = []
    seen: dict[Path, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = _Row.model_validate(json.loads(line))
        except json.JSONDecodeError as error:
            problems.append(f"{file}:{number}: not JSON: {error.msg} at column {error.colno}")
            continue
        except ValidationError as error:
            problems += [f"{file}:{number}: {_explain(problem)}" for problem in error.errors(include_url=False)]
            continue
        except RecursionError:
            problems.append(f"{file}:{number}: expected a JSON object with path and label, got one nested too deeply")
            continue
        except ValueError:  # Python's bound against slow conversions
            problems.append(f"{file}:{number}: a number has too many digits")
            continue
        named = f"{file}:{number}: path {_shown(row.path)}"
        try:
            path = located(row.path, file.parent).resolve()
            is_file, is_folder = path.is_file(), path.is_dir()
            masks = None if row.masks is None else located(row.masks, file.parent).resolve()
            masks_missing = masks is not None and not masks.exists()
        except (OSError, RuntimeError, ValueError) as error:  # too long, not permitted; links in a ring; a null byte
            reason = error.strerror if isinstance(error, OSError) else str(error).split(" from ")[0]
            problems.append(f"{named}: cannot be looked up: {reason}")
            continue
        if not is_file and not is_folder:
            problems.append(f"{named}: no such file")
        elif is_folder != (row.fps is not None):
            expected = "a folder of pictures needs its fps" if is_folder else "fps is for a folder of pictures only"
            problems.append(f"{named}: {expected}")
        elif is_folder and row.stream is not None:
            problems.append(f"{named}: stream is for a film only")
        elif masks_missing:
            problems.append(f"{named}: its masks {_shown(row.masks or '')}: no such file or folder")
        elif path in seen:
            problems.append(f"{named} is named by line {seen[path]} already")
        else:
            seen[path] = number
            group = row.group or ""
            videos.append(Video(path, row.label, tuple(row.intervals), row.split, group, row.fps, row.stream, masks))
    if skipped is not None:
        skipped += problems
    elif problems:
        raise ManifestError(listed(problems, f"{file}: {{}} more problems"))
    if not videos:
        raise ManifestError(f"{file}: holds no video; expected a JSON object a line, with path and label")
    return videos


def listed(problems: Sequence[str], more: str) -> str:
    """Return the first ten problems, a line each, and a line with the number of the others.

    Args:
        more: the last line; ``{}`` stands for the number.
    """
    left_out = len(problems) - _PROBLEMS_SHOWN
    return "\n".join([*problems[:_PROBLEMS_SHOWN], *([more.format(left_out)] if left_out > 0 else [])])


def _shown(path: str) -> str:
    """Return a path on one line of limited length."""
    text = path if path.isprintable() else json.dumps(path)
    return text if len(text) <= _CHARACTERS_SHOWN else f"{text[:_CHARACTERS_SHOWN]}…"


def _explain(problem: object) -> str:
    assert isinstance(problem, dict)
    key = _shown(".".join(str(part) for part in problem["loc"]))
    match problem["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key} is unknown; expected path, label, intervals, split, group, fps, stream, masks"
        case "literal_error" if key == "label":
            return f"label must be 0 or 1, got {json.dumps(problem['input'])}"
        case "literal_error" if key == "split":
            return f"split must be train, validation or test, got {json.dumps(problem['input'])}"
        case "value_error":
            return str(problem["msg"]).removeprefix("Value error, ")
    if not key:
        return "expected a JSON object with path and label"
    if key.startswith("intervals"):
        got = problem["input"]
        if isinstance(got, float):  # mistwatch itself wrote seconds, always with a point
            return f"{key}: {got} is not a frame number; are these seconds of an old version? Write the manifest again"
        return f"{key}: expected [first, end) in frames from 0, got {json.dumps(got, default=str)}"
    text = str(problem["msg"])
    return f"{key}: {text[:1].lower()}{text[1:]}"


def manifest_lines(videos: Iterable[Video], folder: Path | None = None) -> str:
    """Return the videos as JSON lines; a path below ``folder`` is written relative to it."""
    folder = folder.resolve() if folder is not None else None
    rows = []

    def written(path: Path) -> str:
        below = folder is not None and path.is_relative_to(folder)
        return storable(str(path.relative_to(folder) if folder is not None and below else path))

    for video in videos:
        row: dict[str, object] = {"path": written(video.path), "label": video.label}
        if video.intervals:
            row["intervals"] = [list(pair) for pair in video.intervals]
        if video.split is not None:
            row["split"] = video.split
        if not video.is_alone:
            row["group"] = video.group
        if video.fps is not None:
            row["fps"] = video.fps
        if video.masks is not None:
            row["masks"] = written(video.masks)
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(rows)


def manifest_digest(videos: Iterable[Video]) -> str:
    """Return SHA-256 of a manifest's statements, independent of paths and order: the videos' contents are hashed, not
    their names."""
    rows = sorted(json.dumps([open_video(video).content_hash, *_statements(video)]) for video in videos)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def open_video(video: Video, *, on_damage: Callable[[str], None] | None = None, threads: int = 0) -> Recording:
    """Return a manifest's video as a recording, see :func:`pipeline.sources.recordings.open_recording`.

    Raises:
        SourceError: it is not there.
    """
    return open_recording(video.path, fps=video.fps, on_damage=on_damage, threads=threads, video_stream=video.stream)


def _statements(video: Video) -> list[object]:
    return [video.label, video.intervals, video.split, "" if video.is_alone else video.group]


def intervals_of(labels: npt.ArrayLike) -> tuple[tuple[int, int], ...]:
    """Return the runs of non-zero labels, (frames,), each as [first, end), frames counted from 0.

    :func:`operators.figures.videos.abnormal_frames` is the inverse.
    """
    bounded = np.concatenate([[False], np.asarray(labels) != 0, [False]])
    edges = np.flatnonzero(bounded[1:] != bounded[:-1]).tolist()
    return tuple(zip(edges[::2], edges[1::2], strict=True))
