"""ShanghaiTech Campus as it was published, with the split of MIST for weak supervision.

    FOLDER/training/videos/01_001.avi                    330 normal videos, 24 frames a second
    FOLDER/testing/frames/01_0014/000.jpg                107 abnormal ones, as pictures
    FOLDER/testing/test_frame_mask/01_0014.npy           for each of those videos, 0 or 1 a frame
    FOLDER/SH_Train.txt   ID,LABEL                       MIST's split: 175 normal and 63 abnormal videos
    FOLDER/SH_Test.txt    ID,LABEL,FRAMES                155 and 44

A line of a list may also be an ID alone, or a path that ends in one (``frames/01_0014``, ``01_001.avi``): the label is
then that of the part, because all videos of the training part are normal and all of the testing part abnormal.

The data set was made for training on normal videos alone; Zhong et al. (CVPR 2019) divided it again, and MIST uses
their split. The lists are those of the repository fjchange/MIST_VAD, which also calls them SH_Train_new.txt and
SH_Test_NEW.txt. A video's group is its scene, the first two digits. The split divides the scenes: each of the 13 is in
both halves.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from pipeline.manifests.folds import TEST, TRAIN
from pipeline.manifests.manifest import ManifestError, Video, intervals_of
from pipeline.manifests.published import find_file, lines_of, report_missing, skip_or_raise
from pipeline.plain_arrays import ArraysError, as_marks, as_row, load_arrays
from pipeline.sources.frame_folder import pictures

DATA_SET = "ShanghaiTech"

#: Pictures a second. The pictures do not state it; a mask has 24 n + 1 entries, for whole seconds n.
FPS = 24.0

_LISTS = {TRAIN: ("SH_Train.txt", "SH_Train_new.txt"), TEST: ("SH_Test.txt", "SH_Test_NEW.txt")}
_VIDEO = re.compile(r"(?P<scene>\d\d)_(?P<number>\d{3,4})")

#: Suffixes of a listed video: as it was published, and of its features in other projects.
_SUFFIXES = (".avi", ".mp4", ".npy")


def shanghaitech(folder: Path, *, lists: Path | None = None, skipped: list[str] | None = None) -> list[Video]:
    """Read the videos that MIST's split names.

    Args:
        lists: folder of the split's two lists; ``folder`` if None.
        skipped: receives a line for each missing file, and for each mask that does not fit; such a video is left out.
            If None, these are errors.

    Raises:
        ManifestError: files are missing or invalid.
    """
    videos: list[Video] = []
    missing: list[str] = []
    where: dict[str, str] = {}
    for split, names in _LISTS.items():
        for place, line in lines_of(find_file(lists or folder, names, f"list of MIST's split for {DATA_SET}")):
            name, label = _entry(place, line)
            if name in where:
                raise ManifestError(f"{place}: {name} is named by {where[name]} already")
            where[name] = place
            if (path := _find_video(folder, name)) is None:
                missing.append(_published_path(name))
                continue
            fps = FPS if path.is_dir() else None
            intervals: tuple[tuple[int, int], ...] = ()
            mask = f"testing/test_frame_mask/{name}.npy"
            if label and (folder / mask).is_file():
                try:
                    intervals = intervals_of(_mask(folder / mask, path))
                except ManifestError as error:
                    skip_or_raise(str(error), skipped)
                    continue
            elif label and split == TEST:  # without it frames cannot be judged; training needs only the label
                missing.append(mask)
                continue
            videos.append(Video(path.resolve(), label, intervals, split, name[:2], fps))
    report_missing(folder, DATA_SET, videos, missing, skipped)
    return videos


def _entry(place: str, line: str) -> tuple[str, int]:
    """Return the video and its label; without one, the label of its part."""
    first, *rest = line.replace(",", " ").split()
    path = PurePosixPath(first)
    name = path.stem if path.suffix in _SUFFIXES else path.name
    if not _VIDEO.fullmatch(name):
        raise ManifestError(f"{place}: expected a video and its label, like 01_0014,1, or a video; got {line!r}")
    if not rest:
        return name, int(not _is_of_training_part(name))
    if rest[0] not in ("0", "1"):
        raise ManifestError(f"{place}: label must be 0 or 1, got {rest[0]!r}")
    return name, int(rest[0])


def _is_of_training_part(name: str) -> bool:
    """Training videos, all of them normal, have three digits after the scene; test videos, all abnormal, have four."""
    return len(name) == 6


def _published_path(name: str) -> str:
    return f"training/videos/{name}.avi" if _is_of_training_part(name) else f"testing/frames/{name}"


def _find_video(folder: Path, name: str) -> Path | None:
    """Return the video as published, or the training film as a folder of pictures, as many unpack it."""
    for path in (folder / _published_path(name), folder / "training" / "frames" / name):
        if path.exists():
            return path
    return None


def _mask(file: Path, video: Path) -> npt.NDArray[np.bool_]:
    try:
        stored = load_arrays(file)
    except OSError as error:
        raise ManifestError(f"{file}: cannot be read: {error.strerror or error}") from None
    except ArraysError as error:
        raise ManifestError(f"{file}: {error}; expected 0 or 1 for each frame") from None
    row = None if isinstance(stored, dict) else as_row(stored)
    mask = None if row is None else as_marks(row)
    if mask is None:
        raise ManifestError(f"{file}: expected 0 or 1 for each frame")
    if video.is_dir() and (count := len(pictures(video))) != len(mask):
        raise ManifestError(f"{file}: a mask of {len(mask)} frames, but {video} has {count} pictures")
    return mask
