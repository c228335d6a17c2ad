"""The learned part of an outlier detector, in a safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.backbones.card_entry import check_entry
from models.card import CARD_FILE, CardError
from models.detectors.outlier import forest, judging, lof, program, projection, svm
from models.detectors.outlier.card import Architecture, OutlierCard
from models.detectors.outlier.describers import DESCRIBERS
from models.detectors.outlier.judging import Judge
from models.detectors.program import ServedProgram
from models.tensors import load_arrays, save_arrays
from operators import cells, rarity
from operators.rarity import Rarity

WEIGHTS_FILE = "outlier.safetensors"


def save_learned(judge: Judge, scale: Rarity, folder: Path) -> str:
    """Write what was learned into ``folder``, in full or not at all.

    Returns:
        The file's SHA-256, for the model card.

    Raises:
        OSError: the folder cannot be written.
    """
    return save_arrays({**judge.arrays(), **scale.arrays()}, folder / WEIGHTS_FILE)


def load_program(card: OutlierCard, folder: Path) -> ServedProgram:
    """Return the program of the model in ``folder``, whose backbone has been checked.

    Raises:
        TensorsError: the weights are missing, damaged, or belong to another card.
        WeightsError: the backbone's weights are not in the cache.
    """
    of = card.architecture
    learned = load_arrays(folder / WEIGHTS_FILE, _expected(of), network="outlier detector", sha256=card.weights_sha256)
    describer = DESCRIBERS[card.backbone.name]
    arrays = {
        **learned,
        "estimator": np.array(of.estimator),
        "features": np.array(of.features),
        "frames": np.array(describer.frames, np.int32),
    }
    # By their modules and not by their names: what is exported depends on their code (models.code finds imports). All
    # estimators are there, so that a hosting model has one code for the parts of all of them.
    uses = tuple(module.__name__ for module in (judging, projection, lof, forest, svm, cells, rarity))
    networks = {program.NETWORK: describer.network(of, card.clip.spec)}
    return ServedProgram(program.__name__, uses, arrays, networks)


def check_backbone(card: OutlierCard, folder: Path) -> None:
    """Check that a model stands on a backbone that this version of mistwatch has.

    Raises:
        CardError: it stands on another one, whose descriptors mean something else.
    """
    where, of = folder / CARD_FILE, card.architecture
    if (describer := DESCRIBERS.get(card.backbone.name)) is None:
        raise CardError(
            f"{where}: backbone.name: unknown backbone (got {card.backbone.name}); expected "
            f"{' or '.join(DESCRIBERS)}; learn the camera again"
        )
    check_entry(card.backbone, card.backbone.name, folder)
    if of.features not in describer.features:
        raise CardError(
            f"{where}: architecture.features: not those of {card.backbone.name} (got {of.features}); expected "
            f"{' or '.join(describer.features)}"
        )
    if of.values != (values := describer.values(of)):
        raise CardError(
            f"{where}: architecture.values: not the width of the descriptors (got {of.values}); expected {values}"
        )
    if card.clip.frames != describer.frames:
        raise CardError(
            f"{where}: clip.frames: not those of {card.backbone.name} (got {card.clip.frames}); expected "
            f"{describer.frames}"
        )


def _expected(of: Architecture) -> dict[str, npt.NDArray[Any]]:
    number, whole = np.empty(()), np.empty((), np.int32)
    rows, width = of.size, of.kept
    arrays: dict[str, npt.NDArray[Any]]
    if of.estimator == "lof":
        arrays = {
            "sample": np.empty((rows, width), np.float32),
            "reach": np.empty(rows, np.float32),
            "densities": np.empty(rows, np.float32),
            "neighbours": whole,
            "offset": number,
        }
    elif of.estimator == "forest":
        arrays = {
            "splits": np.empty(rows, np.int32),
            "thresholds": np.empty(rows),
            "children": np.empty((rows, 2), np.int32),
            "sizes": np.empty(rows, np.int32),
            "roots": np.empty(of.trees, np.int32),
            "rows_of_tree": whole,
            "columns": whole,
            "offset": number,
        }
    else:
        arrays = {"vectors": np.empty((rows, width)), "weights": np.empty(rows), "gamma": number, "offset": number}
    if of.projected:
        arrays |= {"mean": np.empty(of.values, np.float32), "axes": np.empty((of.values, width), np.float32)}
    return arrays | Rarity.blank_arrays(of.levels)
