"""The client of a served embedding model: from a clip's FEATURES to its embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton

from pipeline.scoring.served_model import ClipMismatch, ServedModel
from pipeline.scoring.side_client import Request, SideClient, Words, ask_parameters, not_a
from pipeline.scoring.transport import DESCRIBE_SECONDS

#: The length of an embedding may differ from 1 by this much.
_ROUNDING = 1e-3

Floats = npt.NDArray[np.float32]


class Embedded(NamedTuple):
    """An embedding, float32 (E,) of length 1, and the version of the model that made it."""

    values: Floats
    version: str


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A served embedding model as its server describes it.

    Attributes:
        version: of its embeddings; only those of one version can be compared.
        served_version: the version that Triton serves; another one is asked for its description.
        inputs: number of features that it takes.
        backbone: the network whose features it takes; None where it does not say.
        similarity: suggested least similarity of an alert to its group.
        mute_similarity: suggested least similarity to a judged alert from which on one is muted.
        features_digest: of what decides the features that it takes; None where it does not say.
    """

    name: str
    version: str
    served_version: str
    inputs: int
    backbone: str | None
    similarity: float
    mute_similarity: float
    features_digest: str | None = None

    def require(self, served: ServedModel) -> None:
        """Check that the model takes a detector's features. Raises ClipMismatch: one line."""
        digests = {self.features_digest, served.features_digest} - {None}  # exported before there were digests
        if served.features != self.inputs or served.backbone != self.backbone:
            raise ClipMismatch(
                f"the embedding model {self.name} takes {_in_words(self.inputs, self.backbone)}, and the detector "
                f"{served.name} has {_in_words(served.features, served.backbone)}: name another detector under "
                "likeness, or train an embedding model for this one"
            )
        if len(digests) > 1:
            raise ClipMismatch(
                f"the embedding model {self.name} takes features of other layers, other clips or another contrast than "
                f"those of the detector {served.name}: name another detector under likeness, or train an embedding "
                "model for this one"
            )


def _in_words(features: int | None, backbone: str | None) -> str:
    if features is None:
        return "no output FEATURES"
    return f"{features} features of {backbone or 'no published network'}"


def describe_embedding(
    client: triton.InferenceServerClient, address: str, model: str, *, timeout_seconds: float = DESCRIBE_SECONDS
) -> EmbeddingModel:
    """Ask the server for the description of an embedding model.

    Raises:
        ScorerUnavailable: the server or the model is not there.
        ClipMismatch: it is not an embedding model.
    """
    found = ask_parameters(client, address, model, timeout_seconds=timeout_seconds)
    try:
        (inputs,), _ = found.input("FEATURES", "a vector", 1), found.output("EMBEDDING", "a vector", 1)
        similarity, mute_similarity = (float(found.said(name)) for name in ("similarity", "mute_similarity"))
        for name, value in (("similarity", similarity), ("mute_similarity", mute_similarity)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} {value:g} is not in (0, 1]")
        return EmbeddingModel(
            model,
            found.said("embedding"),
            found.served_version,
            inputs,
            found.may_say("backbone"),
            similarity,
            mute_similarity,
            found.may_say("features"),
        )
    except ValueError as error:
        raise not_a("an embedding model", address, model, error) from None


class EmbeddingClient(SideClient[EmbeddingModel, Embedded]):
    """Asks a served embedding model for embeddings; see :class:`pipeline.scoring.side_client.SideClient`."""

    words = Words(
        "embedding",
        "the embedding model",
        "embeddings",
        "no embedding of a clip; its alert goes without likeness",
        "alerts go without likeness",
    )
    request = Request("FEATURES", "FP32", "EMBEDDING")

    def embed(self, features: Floats, on_answer: Callable[[Embedded | None], None]) -> None:
        """Ask for the embedding of one clip, without waiting.

        Args:
            features: float32 (D,).
            on_answer: see :meth:`pipeline.scoring.side_client.SideClient.ask`.
        """
        self.ask(features, on_answer)

    def _ask_description(self, client: triton.InferenceServerClient, timeout_seconds: float) -> EmbeddingModel:
        return describe_embedding(client, self._address, self._model, timeout_seconds=timeout_seconds)

    def _checked(self, asked: EmbeddingModel, values: npt.NDArray[Any]) -> Floats:
        if values.shape != (asked.inputs,):
            raise ValueError(f"the embedding model {self._model} takes {asked.inputs} features, got {values.shape}")
        return np.asarray(values, np.float32)

    def _read_output(self, asked: EmbeddingModel, output: npt.NDArray[Any]) -> Embedded:
        values = np.array(output[0], np.float32)
        if values.ndim != 1 or not abs(float(np.linalg.norm(values)) - 1.0) < _ROUNDING:  # NaN, too
            raise ValueError("an embedding does not have the length 1")
        return Embedded(values, asked.version)
