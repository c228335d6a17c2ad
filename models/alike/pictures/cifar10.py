"""CIFAR-10 in its binary version: 60,000 colour pictures of 32 × 32 pixels (A. Krizhevsky 2009).

A record is one byte of label and 3072 bytes of pixels: the red, green and blue planes, row by row. The Python version
holds pickles, which run any code when they are loaded, and is not read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.alike.pictures.binary_files import read_bytes, read_names
from models.alike.pictures.picture_set import PictureData, PictureSet
from models.jobs.errors import TrainingError

FOLDER, PYTHON_FOLDER = "cifar-10-batches-bin", "cifar-10-batches-py"
LEARNED = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
JUDGED, NAMES = "test_batch.bin", "batches.meta.txt"

_SIDE, _CLASSES = 32, 10
_RECORD = 1 + 3 * _SIDE * _SIDE


def read_cifar10(folder: Path) -> PictureData:
    """Return CIFAR-10 from its folder, or from the folder that holds it.

    Raises:
        TrainingError: files are missing, or are not of this layout.
    """
    place = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    python = any((at / "data_batch_1").is_file() for at in (folder, folder / PYTHON_FOLDER))
    if python and not (place / LEARNED[0]).is_file():
        raise TrainingError(
            f"{folder}: is CIFAR-10's Python version, which holds pickles; expected the binary version ({FOLDER}): "
            "download that one"
        )
    parts = [_read(place / name) for name in LEARNED]
    learned = PictureSet(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts if part.labels is not None]),
    )
    return PictureData("CIFAR-10", learned, _read(place / JUDGED), read_names(place / NAMES, _CLASSES))


def _read(file: Path) -> PictureSet:
    data = read_bytes(file)
    if not data.size or data.size % _RECORD:
        raise TrainingError(f"{file}: not a batch of CIFAR-10 (got {data.size} bytes); expected records of {_RECORD}")
    records = data.reshape(-1, _RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= _CLASSES:
        raise TrainingError(f"{file}: not a batch of CIFAR-10 (got the label {labels.max()}); expected 0 to 9")
    planes = records[:, 1:].reshape(-1, 3, _SIDE, _SIDE)
    return PictureSet(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels)
