"""A program in a version folder: its code lies there, beside what it has learned.

This file is copied into every exported version folder, where its imports are made relative.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import zipfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np

from models.engines.one_by_one import Network, OneByOne
from models.serving.contract import MEMBERS_FOLDER, NETWORKS_FOLDER, PROGRAM_FILE

PROGRAM_MODULE = "program"  #: name of the copied module that has ``open_program``


def open_program(folder: Path) -> Any:
    """Return the scorer of the program in ``folder``, see :class:`models.detectors.program.Scorer`.

    The folder's own code runs, also where this package is installed in another version.

    Raises:
        RuntimeError: a package that the program needs is missing or cannot be loaded, or its arrays or networks cannot
            be read.
    """
    # A package of its own for each folder: modules of several versions go by the same names.
    package = f"version_{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}"
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        del sys.modules[name]  # of a version that lay in the folder before
    spec = ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[package] = importlib.util.module_from_spec(spec)
    members = {place.name: open_program(place) for place in sorted((folder / MEMBERS_FOLDER).glob("*"))}
    try:
        module = importlib.import_module(f"{package}.{PROGRAM_MODULE}")
        with np.load(folder / PROGRAM_FILE, allow_pickle=False) as arrays:
            learned = dict(arrays)
        takes = len(inspect.signature(module.open_program).parameters)
        return module.open_program(*(learned, open_networks(folder), members)[:takes])
    except ModuleNotFoundError as error:
        raise RuntimeError(f"the model needs the package {error.name} in Triton's Python; install it there") from None
    except ImportError as error:
        raise RuntimeError(
            f"a package that the model needs cannot be loaded in Triton's Python ({error}); install there what it "
            "needs: OpenCV without a display is opencv-python-headless"
        ) from None
    except KeyError as error:
        raise RuntimeError(
            f"{folder} lacks {error}, which its program needs; write it again with mistwatch export"
        ) from None
    except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
        raise RuntimeError(
            f"{folder / PROGRAM_FILE} cannot be loaded ({error}); write it again with mistwatch export"
        ) from None


def open_networks(folder: Path) -> dict[str, Network]:
    """Return the networks of the program in ``folder`` by their names; empty for a program without networks.

    Raises:
        ModuleNotFoundError: OpenVINO is missing.
        RuntimeError: OpenVINO cannot read a network.
    """
    files = sorted((folder / NETWORKS_FOLDER).glob("*.xml"))
    if not files:
        return {}
    from models.engines.openvino import OpenVinoNetwork

    return {file.stem: OneByOne(OpenVinoNetwork(file, threads=0)) for file in files}
