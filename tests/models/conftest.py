"""Shared by the tests of the models: the fetched weights."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest


@pytest.fixture(scope="session")
def i3d(require: Callable[[str], NoReturn]):
    """I3D with the Kinetics-400 weights; skips where they have not been fetched."""
    from models.backbones.i3d import load_i3d
    from models.backbones.weights import WeightsError

    try:
        return load_i3d()
    except WeightsError as error:
        require(str(error))


@pytest.fixture(scope="session")
def vgg16_weights(require: Callable[[str], NoReturn]) -> None:
    """Skips where VGG-16's published convolutions have not been fetched."""
    from models.backbones import vgg16, weights

    try:
        weights.load(vgg16.NAME)
    except weights.WeightsError as error:
        require(str(error))


@pytest.fixture(scope="session")
def efficientnet(require: Callable[[str], NoReturn]):
    """EfficientNet-Lite0 with its classifier and ImageNet's weights; skips where they have not been fetched."""
    from models.backbones.efficientnet_lite0 import load_efficientnet_lite0
    from models.backbones.weights import WeightsError

    try:
        return load_efficientnet_lite0(classifier=True)
    except WeightsError as error:
        require(str(error))


@pytest.fixture
def file_size_limit():
    """``with file_size_limit(n):`` no file of this process grows beyond n bytes, as on a disk that is full then."""

    @contextlib.contextmanager
    def limited(most: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def open_files_limit():
    """``with open_files_limit(n):`` this process may open n more files at a time, and not one beyond."""

    @contextlib.contextmanager
    def limited(more: int) -> Iterator[None]:
        taken = {int(entry.name) for entry in Path("/dev/fd").iterdir()}
        free = [number for number in range(len(taken) + more + 1) if number not in taken]
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[more], before[1]))  # new files get the lowest free numbers
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    return limited
