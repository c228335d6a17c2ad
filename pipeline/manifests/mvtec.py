"""MVTec AD (Bergmann et al., CVPR 2019): one of its categories, as it was published.

    FOLDER/train/good/000.png                         normal pictures
    FOLDER/test/good/000.png                          normal ones
    FOLDER/test/DEFECT/000.png                        pictures with a defect of this kind
    FOLDER/ground_truth/DEFECT/000_mask.png           for each of those, a mask of its pixels

A picture is a video of one frame. Its clip is itself, so only models whose clips have one frame can score it. The
archive holds fifteen categories; a model is learned for each, and each is a data set of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.manifests.folds import TEST, TRAIN
from pipeline.manifests.manifest import ManifestError, Video
from pipeline.manifests.published import report_missing
from pipeline.sources.frame_folder import pictures

DATA_SET = "MVTec AD"
_GOOD = "good"


def mvtec(folder: Path, *, skipped: list[str] | None = None) -> list[Video]:
    """Read the pictures of one category.

    Args:
        folder: of the category, with ``train``, ``test`` and ``ground_truth``.
        skipped: receives a line for each missing mask; such a picture is left out. If None, this is an error.

    Raises:
        ManifestError: files are missing, or the folder is not a category's.
    """
    if not _is_category(folder):
        raise ManifestError(f"{folder}: {_expected(folder)}")
    videos = [Video(picture.resolve(), 0, split=TRAIN) for picture in pictures(folder / "train" / _GOOD)]
    missing = [] if videos else [f"train/{_GOOD}/000.png"]
    for kind in sorted(one for one in (folder / "test").iterdir() if one.is_dir()):
        for picture, mask in _tested(folder, kind):
            if kind.name == _GOOD:
                videos.append(Video(picture.resolve(), 0, split=TEST))
            elif mask.is_file():
                videos.append(Video(picture.resolve(), 1, ((0, 1),), TEST, masks=mask.resolve()))
            else:
                missing.append(mask.relative_to(folder).as_posix())
    report_missing(folder, DATA_SET, videos, missing, skipped)
    return videos


def _tested(folder: Path, kind: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the pictures of a kind of defect, each with the place of its mask."""
    for picture in pictures(kind):
        yield picture, folder / "ground_truth" / kind.name / f"{picture.stem}_mask.png"


def _is_category(folder: Path) -> bool:
    return (folder / "train" / _GOOD).is_dir() and (folder / "test").is_dir()


def _expected(folder: Path) -> str:
    """Return the rest of the line that refuses a folder."""
    categories = sorted(one.name for one in folder.iterdir() if _is_category(one)) if folder.is_dir() else []
    if categories:
        return f"holds categories of {DATA_SET}; name one, such as {folder / categories[0]}"
    return f"expected a category of {DATA_SET}: folders train/{_GOOD}, test and ground_truth"
