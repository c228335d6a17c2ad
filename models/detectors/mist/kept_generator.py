"""A trained generator on its way from one stage of the job to the next."""

from __future__ import annotations

from pathlib import Path

from models.detectors.mist.card import Architecture
from models.detectors.mist.generator import Generator, load_weights, save_generator
from models.jobs.rows import read_json, write_json

_FILE = "generator.json"


def keep_generator(generator: Generator, folder: Path) -> None:
    """Write a generator. Raises OSError."""
    sha256 = save_generator(generator, folder)
    write_json(folder / _FILE, {"sha256": sha256, "architecture": generator.architecture.model_dump(mode="json")})


def kept_generator(folder: Path) -> Generator:
    """Return the generator of a stage's folder, in evaluation mode.

    Raises:
        models.tensors.TensorsError: the weights are damaged.
    """
    about = read_json(folder / _FILE)
    return load_weights(folder, Architecture.model_validate(about["architecture"]), about["sha256"])
