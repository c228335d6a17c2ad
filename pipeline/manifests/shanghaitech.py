"""ShanghaiTech Campus as it was published, with the split of MIST for weak supervision.

    FOLDER/training/videos/01_001.avi                    330 normal videos, 24 frames a second
    FOLDER/testing/frames/01_0014/000.jpg                107 abnormal ones, as pictures
    FOLDER/testing/test_frame_mask/01_0014.npy           of each of those, 0 or 1 for each frame
    FOLDER/SH_Train.txt   ID,LABEL                       MIST's split: 175 normal and 63 abnormal videos
    FOLDER/SH_Test.txt    ID,LABEL,FRAMES                155 and 44

The data set was made for training on normal videos alone; Zhong et al. (CVPR 2019) divided it anew, and MIST uses their
split. The lists are those of the repository fjchange/MIST_VAD, which also calls them SH_Train_new.txt and
SH_Test_NEW.txt. A video's group is its scene, the first two digits. The split divides the scenes: each of the 13 is in
both halves.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.manifests.annotation import intervals_of
from pipeline.manifests.folds import TEST, TRAIN
from pipeline.manifests.manifest import ManifestError, Video
from pipeline.manifests.published import leave_out, lines_of, none_left, one_of, settle
from pipeline.sources.frame_folder import pictures

WHAT = "ShanghaiTech"

#: Pictures a second. The pictures do not say; a mask has 24 n + 1 entries, for whole seconds n.
FPS = 24.0

_LISTS = {TRAIN: ("SH_Train.txt", "SH_Train_new.txt"), TEST: ("SH_Test.txt", "SH_Test_NEW.txt")}
_VIDEO = re.compile(r"(?P<scene>\d\d)_(?P<number>\d{3,4})")


def shanghaitech(folder: Path, *, lists: Path | None = None, skipped: list[str] | None = None) -> list[Video]:
    """The videos that MIST's split names.

    Args:
        folder: of the data set.
        lists: of the split's two lists; ``folder`` when left out.
        skipped: takes a line for each file that is missing, and for each mask that does not fit; such a video is left
            out. Without it they are an error.

    Raises:
        ManifestError: files are missing, or one says something else than expected.
    """
    videos: list[Video] = []
    missing: list[str] = []
    where: dict[str, str] = {}
    for split, names in _LISTS.items():
        for place, line in lines_of(one_of(lists or folder, names, f"list of MIST's split for {WHAT}")):
            name, label = _entry(place, line)
            if name in where:
                raise ManifestError(f"{place}: {name} is named by {where[name]} already")
            where[name] = place
            if (path := _where_is(folder, name)) is None:
                missing.append(_published(name))
                continue
            fps = FPS if path.is_dir() else None
            intervals: tuple[tuple[int, int], ...] = ()
            mask = f"testing/test_frame_mask/{name}.npy"
            if label and (folder / mask).is_file():
                try:
                    intervals = intervals_of(_mask(folder / mask, path))
                except ManifestError as error:
                    leave_out(str(error), skipped)
                    continue
            elif label and split == TEST:  # without it no frame can be judged; training needs the label alone
                missing.append(mask)
                continue
            videos.append(Video(path.resolve(), label, intervals, split, name[:2], fps))
    settle(folder, WHAT, missing, skipped)
    if not videos:
        raise none_left(folder, WHAT)
    return videos


def _entry(place: str, line: str) -> tuple[str, int]:
    name, *rest = line.split(",")
    if not _VIDEO.fullmatch(name) or not rest:
        raise ManifestError(f"{place}: expected a video and its label, like 01_0014,1; got {line!r}")
    if rest[0] not in ("0", "1"):
        raise ManifestError(f"{place}: label must be 0 or 1, got {rest[0]!r}")
    return name, int(rest[0])


def _published(name: str) -> str:
    """Training videos have three digits after the scene, those of the test four."""
    return f"training/videos/{name}.avi" if len(name) == 6 else f"testing/frames/{name}"


def _where_is(folder: Path, name: str) -> Path | None:
    """As published, or as many unpack it: the training's films as pictures too."""
    for path in (folder / _published(name), folder / "training" / "frames" / name):
        if path.exists():
            return path
    return None


def _mask(file: Path, video: Path) -> npt.NDArray[np.generic]:
    try:
        mask = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise ManifestError(f"{file}: not a NumPy array; expected 0 or 1 for each frame") from None
    if not isinstance(mask, np.ndarray) or mask.ndim != 1 or not np.isin(mask, (0, 1)).all():
        raise ManifestError(f"{file}: expected 0 or 1 for each frame")
    if video.is_dir() and (count := len(pictures(video))) != len(mask):
        raise ManifestError(f"{file}: a mask of {len(mask)} frames, where {video} holds {count} pictures")
    return mask
