"""CIFAR-10 and STL-10, on stand-ins that are written byte by byte in the layout of the originals."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from picture_archives import CIFAR_NAMES, write_cifar10, write_stl10

from models.alike.pictures.cifar10 import read_cifar10
from models.alike.pictures.stl10 import read_stl10
from models.jobs.errors import TrainingError


@pytest.mark.parametrize("inside", [False, True])
def test_cifar10_is_read_as_it_was_written(tmp_path, inside):
    pictures, labels = write_cifar10(tmp_path)
    data = read_cifar10(tmp_path / "cifar-10-batches-bin" if inside else tmp_path)
    np.testing.assert_array_equal(data.learned.pixels, pictures[:20])
    np.testing.assert_array_equal(data.judged.pixels, pictures[20:])
    assert data.learned.labels.tolist() == labels[:20].tolist()
    assert data.judged.labels.tolist() == labels[20:].tolist()
    assert data.classes == tuple(CIFAR_NAMES)
    assert data.size == (32, 32, 3)
    assert data.unlabelled is None


def test_stl10_is_read_as_it_was_written(tmp_path):
    parts = write_stl10(tmp_path)
    data = read_stl10(tmp_path)
    np.testing.assert_array_equal(data.learned.pixels, parts["train"])
    np.testing.assert_array_equal(data.judged.pixels, parts["test"])
    np.testing.assert_array_equal(data.unlabelled.pixels, parts["unlabeled"])
    assert data.learned.labels.tolist() == [0, 1, 2, 3]
    assert data.unlabelled.labels is None
    assert data.size == (96, 96, 3)


def test_the_python_version_of_cifar10_is_not_loaded(tmp_path):
    """Its batches are pickles; this one would write a file."""
    place = tmp_path / "cifar-10-batches-py"
    place.mkdir()

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trap"), "w"))

    (place / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    for folder in (tmp_path, place):
        with pytest.raises(TrainingError, match=r"holds pickles; expected the binary version \(cifar-10-batches-bin\)"):
            read_cifar10(folder)
    assert not (tmp_path / "trap").exists()


def damage_cifar(folder, name, data):
    write_cifar10(folder)
    (folder / "cifar-10-batches-bin" / name).write_bytes(data)
    return read_cifar10


def damage_stl(folder, name, data):
    write_stl10(folder)
    (folder / "stl10_binary" / name).write_bytes(data)
    return read_stl10


@pytest.mark.parametrize(
    ("damage", "name", "data", "message"),
    [
        (damage_cifar, "data_batch_3.bin", bytes(3072), r"data_batch_3\.bin: not a batch.*got 3072 bytes"),
        (damage_cifar, "data_batch_3.bin", b"", "got 0 bytes"),
        (damage_cifar, "test_batch.bin", b"\x0a" + bytes(3072), "got the label 10"),
        (damage_cifar, "batches.meta.txt", b"airplane\n", r"expected 10 names of classes.*\(got 1\)"),
        (damage_stl, "train_X.bin", bytes(5), r"train_X\.bin: not pictures of STL-10 \(got 5 bytes\)"),
        (damage_stl, "unlabeled_X.bin", b"", "got 0 bytes"),
        (damage_stl, "test_y.bin", b"\x01", r"expected 3 labels, a byte each \(got 1\)"),
        (damage_stl, "train_y.bin", b"\x00\x01\x02\x0b", r"labels from 1 to 10 \(got 0 to 11\)"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, damage, name, data, message):
    read = damage(tmp_path, name, data)
    with pytest.raises(TrainingError, match=message) as failure:
        read(tmp_path)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("read", [read_cifar10, read_stl10])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(TrainingError, match=r"\.bin: missing; expected the data set's own file"):
        read(tmp_path)
