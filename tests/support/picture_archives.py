"""Small stand-ins of published picture data sets, in the layout of the originals, and folders of drawn pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

CIFAR_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def write_cifar10(folder: Path, of_batch: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Write five batches and the test's; return pictures (n, 32, 32, 3) and labels of all six, in order."""
    rng = np.random.default_rng(seed)
    place = folder / "cifar-10-batches-bin"
    place.mkdir(parents=True)
    pictures = rng.integers(0, 256, (6 * of_batch, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(6 * of_batch) % 10
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    for at, name in enumerate(names):
        records = bytearray()
        for i in range(at * of_batch, (at + 1) * of_batch):
            records.append(int(labels[i]))
            for channel in range(3):
                records += pictures[i, :, :, channel].tobytes()
        (place / name).write_bytes(records)
    (place / "batches.meta.txt").write_text("\n".join(CIFAR_NAMES) + "\n\n")
    return pictures, labels


def write_stl10(folder: Path, learned: int = 4, judged: int = 3, further: int = 2) -> dict[str, np.ndarray]:
    """Write the five binary files; return the pictures (n, 96, 96, 3) by the part's name."""
    rng = np.random.default_rng(0)
    place = folder / "stl10_binary"
    place.mkdir(parents=True)
    parts = {}
    for name, number in (("train", learned), ("test", judged), ("unlabeled", further)):
        pictures = rng.integers(0, 256, (number, 96, 96, 3), dtype=np.uint8)
        data = bytearray()
        for picture in pictures:
            for channel in range(3):
                for column in range(96):  # column by column
                    data += picture[:, column, channel].tobytes()
        (place / f"{name}_X.bin").write_bytes(data)
        if name != "unlabeled":
            (place / f"{name}_y.bin").write_bytes(bytes(1 + at % 10 for at in range(number)))
        parts[name] = pictures
    (place / "class_names.txt").write_text("\n".join(CIFAR_NAMES))
    return parts


def write_stripes(folder: Path, of_each: int = 12, side: int = 16, *, labelled: bool = True) -> None:
    """Write pictures of three kinds that a tiny network tells apart: stripes across, stripes down, and a square."""
    rng = np.random.default_rng(0)
    for kind in ("across", "down", "square"):
        place = folder / kind if labelled else folder
        place.mkdir(parents=True, exist_ok=True)
        for number in range(of_each):
            picture = np.zeros((side, side), np.uint8)
            shift = int(rng.integers(4))
            if kind == "across":
                picture[shift::4] = 255
            elif kind == "down":
                picture[:, shift::4] = 255
            else:
                picture[2 + shift : side - 4 + shift, 2 + shift : side - 4 + shift] = 255
            noisy = np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255).astype(np.uint8)
            coloured = np.repeat(noisy[..., None], 3, axis=2)
            cv2.imwrite(str(place / f"{kind}{number:02d}.png"), coloured)
