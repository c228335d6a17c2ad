"""A memory bank: features of samples, their nearest neighbours, and the classes of other samples by neighbours.

The search is exact (faiss, inner product). The features are those of unaugmented samples, of length 1, so an inner
product is the cosine of an angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

from models.jobs.errors import TrainingError
from models.jobs.rows import read_json, write_json
from models.tensors import load_arrays, save_arrays

Features = npt.NDArray[np.float32]  #: (n, D), of length 1
Ordinals = npt.NDArray[np.int64]

#: K and τ of the weighted classification by neighbours, as in SCAN's code.
CLASSIFYING_NEIGHBOURS, TEMPERATURE = 100, 0.1

FILE, ABOUT_FILE = "bank.safetensors", "bank.json"
#: Most that the length of a feature may differ from 1.
_TOLERANCE = 1e-3


class Neighbours(NamedTuple):
    """Nearest neighbours, the most similar first; equally similar ones in the order of the bank.

    Attributes:
        ordinals: int64 (m, k), into the bank.
        similarities: float32 (m, k), −1 to 1.
    """

    ordinals: Ordinals
    similarities: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Bank:
    """Features of n samples.

    Attributes:
        features: float32 (n, D), of length 1.
        labels: int64 (n,), from 0; None where samples have none. They are used for figures alone.

    Raises:
        ValueError: no features, features that are not finite or not of length 1, or labels of another number.
    """

    features: Features
    labels: Ordinals | None = None

    def __post_init__(self) -> None:
        _check(self.features)
        if not len(self.features):
            raise ValueError("features must be of at least one sample, got none")
        if self.labels is not None and (self.labels.shape != (len(self),) or self.labels.min() < 0):
            raise ValueError(f"labels must be {len(self)} ordinals from 0, got shape {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.features)

    def nearest(self, queries: Features, k: int) -> Neighbours:
        """Return the k nearest samples of each query, (m, D) → (m, k); all samples where there are fewer than k.

        Raises:
            ValueError: k is below 1, or the queries are not unit vectors of the bank's dimension.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        _check(queries)
        if queries.shape[1] != self.features.shape[1]:
            raise ValueError(f"queries must have {self.features.shape[1]} values, got {queries.shape[1]}")
        index = faiss.IndexFlatIP(self.features.shape[1])
        index.add(np.ascontiguousarray(self.features))
        similarities, ordinals = index.search(np.ascontiguousarray(queries), min(k, len(self)))
        order = np.lexsort((ordinals, -similarities), axis=1)
        return Neighbours(np.take_along_axis(ordinals, order, 1), np.take_along_axis(similarities, order, 1))

    def mined(self, k: int) -> Neighbours:
        """Return the k nearest neighbours of each sample of the bank, (n, k), without the sample itself.

        Copies of a sample are neighbours of it like others.

        Raises:
            TrainingError: there are not more than k samples.
        """
        if len(self) <= k:
            raise TrainingError(
                f"neighbours: {k} of each sample need at least {k + 1} samples (got {len(self)}); lower neighbours, or "
                "add samples"
            )
        found = self.nearest(self.features, k + 1)
        # Among many copies, a sample may be missing from its own k + 1 nearest. Then the last one is left out.
        itself = found.ordinals == np.arange(len(self))[:, None]
        itself[~itself.any(axis=1), -1] = True
        others = ~itself
        return Neighbours(found.ordinals[others].reshape(-1, k), found.similarities[others].reshape(-1, k))

    def classify(
        self, queries: Features, k: int = CLASSIFYING_NEIGHBOURS, temperature: float = TEMPERATURE
    ) -> Ordinals:
        """Return the class of each query by its k nearest samples with labels, (m, D) → (m,).

        A neighbour of similarity s votes for its class with the weight exp(s / τ). The lower class wins a tie.

        Args:
            k: number of neighbours; all samples where there are fewer.
            temperature: τ.

        Raises:
            ValueError: the samples have no labels.
        """
        if self.labels is None:
            raise ValueError("classification needs labels, and the samples have none")
        found = self.nearest(queries, k)
        # Weights relative to the nearest neighbour's: no exponential overflows, and the winner is the same.
        relative = found.similarities - found.similarities[:, :1]
        weights = np.exp(relative.astype(np.float64) / temperature)
        votes = np.zeros((len(queries), int(self.labels.max()) + 1))
        np.add.at(votes, (np.arange(len(queries))[:, None], self.labels[found.ordinals]), weights)
        return np.asarray(votes.argmax(axis=1), np.int64)

    def save(self, folder: Path) -> None:
        """Write ``bank.safetensors`` and ``bank.json`` into a folder. Raises OSError."""
        arrays: dict[str, Any] = {"features": self.features} | ({} if self.labels is None else {"labels": self.labels})
        sha256 = save_arrays(arrays, folder / FILE)
        samples, values = self.features.shape
        about = {"samples": samples, "values": values, "labels": self.labels is not None, "sha256": sha256}
        write_json(folder / ABOUT_FILE, about)

    @classmethod
    def load(cls, folder: Path) -> Bank:
        """Return the bank that :meth:`save` wrote into a folder.

        Raises:
            TensorsError: the file of features is missing or damaged.
            OSError: ``bank.json`` cannot be read.
        """
        about = read_json(folder / ABOUT_FILE)
        expected: dict[str, Any] = {"features": np.zeros((about["samples"], about["values"]), np.float32)}
        if about["labels"]:
            expected["labels"] = np.zeros(about["samples"], np.int64)
        found: dict[str, Any] = load_arrays(folder / FILE, expected, network="memory bank", sha256=about["sha256"])
        return cls(found["features"], found.get("labels"))


def unit_length(features: npt.NDArray[np.floating]) -> Features:
    """Return features scaled to length 1, (n, D) → float32 (n, D).

    Raises:
        ValueError: one of them is 0 or not finite, so it has no direction.
    """
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("features must be finite and not 0")
    return np.asarray(features / lengths, np.float32)


def neighbours_accuracy(ordinals: Ordinals, labels: Ordinals, own: Ordinals | None = None) -> float:
    """Return the share of neighbours that have the label of their sample.

    Args:
        ordinals: of the neighbours, (m, k).
        labels: of the bank, (n,).
        own: labels of the m samples; those of the bank when None.
    """
    return float((labels[ordinals] == (labels if own is None else own)[:, None]).mean())


def _check(features: Features) -> None:
    if features.ndim != 2 or features.dtype != np.float32:
        raise ValueError(f"features must be float32 (n, D), got {features.dtype} {features.shape}")
    lengths = np.linalg.norm(features, axis=1)
    if not (np.abs(lengths - 1) <= _TOLERANCE).all():  # also where one is not a number
        raise ValueError("features must be finite and of length 1; expected those of unit_length()")
