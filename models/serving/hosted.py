"""A program in a version folder: its code lies there, beside what it has learned.

This file is copied into every exported version folder, where its imports are made relative.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import zipfile
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np

from models.engines.one_by_one import Network, OneByOne
from models.serving.contract import MEMBERS_FOLDER, NETWORKS_FOLDER, PROGRAM_FILE

PROGRAM_MODULE = "program"  #: name of the copied module that has ``open_program``


class OpenedCode:
    """The code of a program in its version folder, and the networks beside it, opened once.

    The folder's own code runs, also where this package is installed in another version.

    Raises:
        RuntimeError: a package that the program needs is missing or cannot be loaded, or a network cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        # A package of its own for each folder: modules of several versions go by the same names.
        package = f"version_{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}"
        for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
            del sys.modules[name]  # of a version that lay in the folder before
        spec = ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[package] = importlib.util.module_from_spec(spec)
        self._folder = folder
        self._members = {place.name: OpenedCode(place) for place in sorted((folder / MEMBERS_FOLDER).glob("*"))}
        with _packages_named():
            self._module = importlib.import_module(f"{package}.{PROGRAM_MODULE}")
            self._networks = open_networks(folder)

    def open(self, learned: Path) -> Any:
        """Return the scorer of what lies in the folder ``learned``, see :class:`models.detectors.program.Scorer`.

        Scorers share the networks of the version folder. Networks in another folder belong to its scorer alone.

        Raises:
            RuntimeError: the arrays or networks are missing or cannot be read.
        """
        members = {name: code.open(learned / MEMBERS_FOLDER / name) for name, code in self._members.items()}
        try:
            with _packages_named(), np.load(learned / PROGRAM_FILE, allow_pickle=False) as stored:
                own = {} if learned == self._folder else open_networks(learned)
                takes = len(inspect.signature(self._module.open_program).parameters)
                return self._module.open_program(*(dict(stored), self._networks | own, members)[:takes])
        except KeyError as error:
            raise RuntimeError(
                f"{learned} lacks {error}, which its program needs; write it again with mistwatch export"
            ) from None
        except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
            raise RuntimeError(
                f"{learned / PROGRAM_FILE} cannot be loaded ({error}); write it again with mistwatch export"
            ) from None


def open_program(folder: Path) -> Any:
    """Return the scorer of the program in ``folder``, whose code and arrays lie there. Raises RuntimeError."""
    return OpenedCode(folder).open(folder)


@contextlib.contextmanager
def _packages_named() -> Iterator[None]:
    """Turn a package that is missing, or cannot be loaded, into one line. Raises RuntimeError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise RuntimeError(f"the model needs the package {error.name} in Triton's Python; install it there") from None
    except ImportError as error:
        raise RuntimeError(
            f"a package that the model needs cannot be loaded in Triton's Python ({error}); install there what it "
            "needs: OpenCV without a display is opencv-python-headless"
        ) from None


def open_networks(folder: Path) -> dict[str, Network]:
    """Return the networks in ``folder`` by their names; empty where there are none.

    Raises:
        ModuleNotFoundError: OpenVINO is missing.
        RuntimeError: OpenVINO cannot read a network.
    """
    files = sorted((folder / NETWORKS_FOLDER).glob("*.xml"))
    if not files:
        return {}
    from models.engines.openvino import OpenVinoNetwork

    return {file.stem: OneByOne(OpenVinoNetwork(file, threads=0)) for file in files}
