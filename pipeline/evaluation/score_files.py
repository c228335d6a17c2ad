"""Files of scores and labels of other programs.

| file | scores | labels |
|---|---|---|
| ``.npz`` | one array a video, named as the video: (n,) numbers in order of time | the same, (frames,) of 0 and 1 |
| ``.npy`` | one array: a video, or all videos end to end, see :mod:`pipeline.evaluation.end_to_end` | the same |
| ``.csv`` | header with ``video`` and ``score``; one row per score, in order of time | header with ``video`` and ``label``; one row per frame |
| ``.parquet`` | columns ``video`` and ``score``, as in CSV; a run's ``scores.parquet`` is one | columns ``video`` and ``label`` |
| ``.json`` | ``{"video": [0.1, …]}`` | ``{"video": [0, 1, …]}`` |
| ``.txt`` | – | an annotation that states the frames of each video, see :mod:`pipeline.manifests.video_lists` |

Other columns are ignored. An array may be a row or a column, (1, n) or (n, 1). Labels may also be 0 and 255, if all of
the file are. Pickles, and files of PyTorch, MATLAB and HDF5, are refused with the step that makes plain arrays of them.
"""  # noqa: E501  (a table)

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from operators.figures.videos import FrameLabels, abnormal_frames
from pipeline.errors import UsageError
from pipeline.evaluation.judged import Floats
from pipeline.manifests.manifest import ManifestError
from pipeline.manifests.video_lists import read_annotation
from pipeline.plain_arrays import Array, ArraysError, as_row, load_arrays, refuse_other_formats

SUFFIXES = (".npz", ".npy", ".csv", ".parquet", ".json")

#: The name of an array that has none.
ONE_ARRAY = "one array"

#: Names that programs give to an array of all videos; not names of videos.
_NAMES_OF_ARRAYS = frozenset(
    {ONE_ARRAY, "arr_0", "data", "gt", "label", "labels", "pred", "prediction", "predictions", "preds"}
    | {"score", "scores", "y_pred", "y_score", "y_true"}
)


class ForeignScoresError(UsageError):
    """A file cannot be used, or scores and labels do not match. One line that names file and video."""


def is_one_array(rows: Mapping[str, object]) -> bool:
    """Return whether a file holds one array that is not named as a video, which may be of several videos."""
    return len(rows) == 1 and not _NAMES_OF_ARRAYS.isdisjoint(rows)


def read_scores(file: Path) -> dict[str, Floats]:
    """Read the scores of each video, float64 (n,), in order of time; n may be 0.

    Raises:
        ForeignScoresError: the file is missing or invalid, or has a score that is not finite.
    """
    scores = {}
    for name, values in _read(file, "score").items():
        if len(bad := np.flatnonzero(~np.isfinite(values))):
            raise ForeignScoresError(
                f"{file}: {name}: score {bad[0]} is {values[bad[0]]}; expected finite numbers ({len(bad)} are not)"
            )
        scores[name] = values
    return scores


def read_labels(file: Path) -> dict[str, FrameLabels]:
    """Read the labels of each video, bool (frames,), in order of time; True is abnormal.

    Raises:
        ForeignScoresError: the file is missing or invalid, or has a label other than 0 and 1.
    """
    if file.suffix.lower() == ".txt":
        return _annotated(file)
    found = _read(file, "label")
    marks = {0.0, 255.0} if any((values == 255).any() for values in found.values()) else {0.0, 1.0}
    for name, values in found.items():
        if len(bad := np.flatnonzero(~np.isin(values, list(marks)))):  # NaN is neither
            raise ForeignScoresError(
                f"{file}: {name}: label {bad[0]} is {values[bad[0]]:g}; expected 0 or {max(marks):g}"
                + ("" if max(marks) == 1 else ", as elsewhere in the file")
            )
    return {name: values != 0 for name, values in found.items()}


def _annotated(file: Path) -> dict[str, FrameLabels]:
    """Return the labels that an annotation states."""
    try:
        annotations = read_annotation(file)
    except ManifestError as error:
        raise ForeignScoresError(
            f"{error}; or store labels as an archive (.npz), one array of 0 and 1 a video"
        ) from None
    labels = {}
    for name, annotation in annotations.items():
        if annotation.frames is None:
            raise ForeignScoresError(
                f"{file}: {name}: the number of its frames is missing; expected a line such as "
                "FOLDER/NAME FRAMES CATEGORY START END …"
            )
        labels[name] = abnormal_frames(annotation.intervals, annotation.frames)
    return labels


def _read(file: Path, column: str) -> dict[str, Floats]:
    try:
        match file.suffix.lower():
            case ".npz" | ".npy":
                found = _arrays(file)
            case ".csv":
                found = _csv(file, column)
            case ".parquet":
                found = _parquet(file, column)
            case ".json":
                found = _json(file)
            case other:
                refuse_other_formats(file)
                raise ForeignScoresError(f"{file}: expected a file {', '.join(SUFFIXES)}, got {other or 'no suffix'}")
    except ArraysError as error:
        raise ForeignScoresError(f"{file}: {error}") from None
    except FileNotFoundError:
        raise ForeignScoresError(f"{file}: no such file") from None
    except OSError as error:
        raise ForeignScoresError(f"{file}: cannot be read: {error.strerror or error}") from None
    if not found:
        raise ForeignScoresError(f"{file}: holds no video")
    return found


def _arrays(file: Path) -> dict[str, Floats]:
    stored = load_arrays(file)
    named = stored if isinstance(stored, dict) else {ONE_ARRAY: stored}
    return {name: _row(file, name, values) for name, values in named.items()}


def _json(file: Path) -> dict[str, Floats]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ForeignScoresError(f"{file}: not JSON: {error}") from None
    except RecursionError:
        raise ForeignScoresError(f"{file}: not JSON: nested too deeply") from None
    if not isinstance(document, dict):
        raise ForeignScoresError(f"{file}: expected an object with a list of numbers for each video")
    try:
        return {name: _row(file, name, np.asarray(values)) for name, values in document.items()}
    except ValueError:
        raise ForeignScoresError(f"{file}: expected one list of numbers for each video") from None


def _csv(file: Path, column: str) -> dict[str, Floats]:
    rows: dict[str, list[float]] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text)
            header = [name.strip() for name in next(reader, [])]
            if missing := [name for name in ("video", column) if name not in header]:
                raise ForeignScoresError(f"{file}:1: no column {missing[0]}; expected video and {column} in the header")
            video, value = header.index("video"), header.index(column)
            for row in reader:
                if not row:
                    continue
                try:
                    rows.setdefault(row[video], []).append(float(row[value]))
                except (IndexError, ValueError):
                    got = row[value] if len(row) > value else "nothing"
                    raise ForeignScoresError(
                        f"{file}:{reader.line_num}: expected a {column}, a number; got {got!r}"
                    ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ForeignScoresError(f"{file}: not CSV: {error}") from None
    return {name: np.array(values, np.float64) for name, values in rows.items()}


def _parquet(file: Path, column: str) -> dict[str, Floats]:
    import pyarrow
    from pyarrow import parquet

    try:
        with file.open("rb") as opened:  # here, as pyarrow takes only paths that are UTF-8
            names = parquet.read_schema(opened).names
            if missing := [name for name in ("video", column) if name not in names]:
                raise ForeignScoresError(f"{file}: no column {missing[0]}; expected video and {column}")
            opened.seek(0)
            table = parquet.read_table(opened, columns=["video", column], use_threads=False, pre_buffer=False)
        values = table[column].cast(pyarrow.float64()).fill_null(float("nan")).to_numpy()
        videos = table["video"].cast(pyarrow.string()).combine_chunks().dictionary_encode()
    except pyarrow.ArrowException as error:
        raise ForeignScoresError(f"{file}: not a Parquet table of numbers: {' '.join(str(error).split())}") from None
    if videos.null_count:
        raise ForeignScoresError(f"{file}: a row has no video")
    if not len(videos):
        return {}
    # A video's rows need not be adjacent; their order is the order of time.
    codes = videos.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(videos.dictionary)))
    parts = np.split(np.asarray(values, np.float64)[order], ends[:-1])
    return dict(zip(videos.dictionary.to_pylist(), parts, strict=True))


def _row(file: Path, name: str, values: Array) -> Floats:
    """Return the numbers as one row; a matrix of one row or one column is accepted, too."""
    row = as_row(values)
    if row is None:
        raise ForeignScoresError(
            f"{file}: {name}: expected a row of numbers, got {values.dtype} of shape {values.shape}{_step(values)}"
        )
    if np.iscomplexobj(row):
        raise ForeignScoresError(f"{file}: {name}: expected real numbers")
    return row.astype(np.float64)


def _step(values: Array) -> str:
    """Return the step that may make one number of several, for numbers that have too many axes."""
    if values.dtype.kind not in "bifu" or values.ndim < 2:
        return ""
    if values.ndim == 2:
        return "; where the second axis is crops, store their mean, values.mean(axis=1)"
    return "; of labels of pixels, store those of frames, values.any(axis=(1, 2)), or pass them as --masks"
