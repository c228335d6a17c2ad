"""UCSD Ped2 (Mahadevan et al., CVPR 2010), as it was published and as films.

    FOLDER/Train/Train001/001.tif                 16 normal videos, as pictures, 10 a second
    FOLDER/Test/Test001/001.tif                   12 with something abnormal
    FOLDER/Test/Test001_gt/001.bmp                for each of those frames, a mask of the abnormal pixels

or, encoded:

    FOLDER/train/01.mp4, FOLDER/test/01.mp4
    FOLDER/frame_labels.json                      {"01": [0, 0, 1, …]}: for each test video, 0 or 1 a frame
    FOLDER/pixel_masks.zip                        01/000.png: the masks, if they are there

Published for training on normal videos alone: split ``train`` has no abnormal video. For weak supervision draw another
split (:func:`pipeline.manifests.folds.drawn_split`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.manifests.folds import TEST, TRAIN
from pipeline.manifests.manifest import ManifestError, Video, intervals_of
from pipeline.manifests.masks import masks_of
from pipeline.manifests.published import report_missing, skip_or_raise
from pipeline.sources.base import SourceError
from pipeline.sources.frame_folder import pictures
from pipeline.sources.recordings import open_recording

DATA_SET = "UCSD Ped2"
LABELS = "frame_labels.json"
MASKS = "pixel_masks.zip"

#: Pictures a second, according to the authors' page.
FPS = 10.0

_TRAIN_VIDEOS, _TEST_VIDEOS = 16, 12


def ped2(folder: Path, *, skipped: list[str] | None = None) -> list[Video]:
    """Read the videos of either form.

    Args:
        folder: the folder of ``Train`` and ``Test``, or the one above it, which the archive unpacks to.
        skipped: receives a line for each missing file, and for each video with more or fewer labels than frames; such
            a video is left out. If None, these are errors.

    Raises:
        ManifestError: files are missing or invalid.
    """
    if (folder / LABELS).is_file():
        return _films(folder, skipped)
    for above in (folder, folder / "UCSDped2", folder / "UCSD_Anomaly_Dataset.v1p2" / "UCSDped2"):
        if (above / "Train" / "Train001").is_dir() or (above / "Test" / "Test001").is_dir():
            return _pictures(above, skipped)
    raise ManifestError(f"{folder}: expected {DATA_SET}: folders Train/Train001 and so on, or films and {LABELS}")


def _pictures(folder: Path, skipped: list[str] | None) -> list[Video]:
    videos: list[Video] = []
    missing: list[str] = []
    for number in range(1, _TRAIN_VIDEOS + 1):
        name = f"Train/Train{number:03d}"
        if (folder / name).is_dir():
            videos.append(Video((folder / name).resolve(), 0, split=TRAIN, fps=FPS))
        else:
            missing.append(name)
    for number in range(1, _TEST_VIDEOS + 1):
        name = f"Test/Test{number:03d}"
        absent = [part for part in (name, f"{name}_gt") if not (folder / part).is_dir()]
        missing += absent
        if not absent:
            video = (folder / name).resolve()
            try:
                masks = folder / f"{name}_gt"
                videos.append(_test_video(video, _labels_of(masks), len(pictures(video)), FPS, masks))
            except ManifestError as error:
                skip_or_raise(str(error), skipped)
    report_missing(folder, DATA_SET, videos, missing, skipped)
    return videos


def _labels_of(masks: Path) -> list[bool]:
    """Return for each mask whether it marks any pixel, in the order of the frames."""
    return [bool(mask.any()) for mask in masks_of(masks, masks.name)]


def _films(folder: Path, skipped: list[str] | None) -> list[Video]:
    labels = _frame_labels(folder / LABELS)
    masks = folder / MASKS if (folder / MASKS).is_file() else None
    videos = [Video(film.resolve(), 0, split=TRAIN) for film in sorted((folder / "train").glob("*.mp4"))]
    missing = [] if videos else ["train/01.mp4"]
    for name, of_frames in labels.items():
        film = folder / "test" / f"{name}.mp4"
        if not film.is_file():
            missing.append(f"test/{name}.mp4")
            continue
        try:
            frames = len(open_recording(film).frame_times())
        except SourceError:
            frames = len(of_frames)  # reading the video reports the error
        try:
            videos.append(_test_video(film.resolve(), of_frames, frames, None, masks))
        except ManifestError as error:
            skip_or_raise(str(error), skipped)
    report_missing(folder, DATA_SET, videos, missing, skipped)
    return videos


def _test_video(path: Path, labels: Sequence[int | bool], frames: int, fps: float | None, masks: Path | None) -> Video:
    if len(labels) != frames:
        raise ManifestError(f"{path}: {frames} frames, and labels or masks for {len(labels)}")
    masks = None if masks is None else masks.resolve()
    return Video(path, int(any(labels)), intervals_of(labels), TEST, fps=fps, masks=masks)


def _frame_labels(file: Path) -> dict[str, list[int]]:
    try:
        labels = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ManifestError(f"{file}: not JSON ({error})") from None
    if not isinstance(labels, dict) or not labels:
        raise ManifestError(f"{file}: expected lists of labels by the names of the test videos")
    for name, of_frames in labels.items():
        if not isinstance(of_frames, list) or not all(label in (0, 1) for label in of_frames):
            raise ManifestError(f"{file}: {name}: expected 0 or 1 for each frame")
    return labels
