"""Shared by the tests of the models: the fetched I3D weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest


@pytest.fixture(scope="session")
def i3d(require: Callable[[str], NoReturn]):
    """I3D with the Kinetics-400 weights; skips where they have not been fetched."""
    from models.i3d import load_i3d
    from models.weights import WeightsError

    try:
        return load_i3d()
    except WeightsError as error:
        require(str(error))
