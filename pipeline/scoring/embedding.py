"""The client of a served embedding model: from a clip's FEATURES to its embedding.

The caller never waits for an answer: it is called back. A model that is away is asked for its description again, at
most every few seconds, on a thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton

from pipeline import logs
from pipeline.scoring.served_model import ClipMismatch, ScorerUnavailable, ServedModel, connect, diagnose

_log = logs.get("embedding")

#: Limit of a question for the model's description.
_DESCRIBE_SECONDS = 5.0
#: A model that is away is asked for again after this many seconds.
_LOOK_SECONDS = 2.0
#: An answer that has not come after this many seconds never comes.
_ANSWER_SECONDS = 10.0
#: Lengths of an embedding may differ from 1 by so much.
_ROUNDING = 1e-3

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A served embedding model as its server describes it.

    Attributes:
        version: of its embeddings; only those of one version can be compared.
        served_version: the version that Triton serves; another one is asked for its description.
        inputs: number of features that it takes.
        backbone: the network whose features it takes; None where it does not say.
        similarity: suggested similarity, from which on two alerts are alike.
    """

    name: str
    version: str
    served_version: str
    inputs: int
    backbone: str | None
    similarity: float

    def require(self, served: ServedModel) -> None:
        """Check that the model takes a detector's features. Raises ClipMismatch: one line."""
        if served.features != self.inputs or (served.backbone or None) != self.backbone:
            raise ClipMismatch(
                f"the embedding model {self.name} takes {self.inputs} features of {self.backbone}, and the detector "
                f"{served.name} has {served.features or 'none'} of {served.backbone}: name another detector under "
                "likeness, or train an embedding model for this one"
            )


def describe_embedding(
    client: triton.InferenceServerClient, address: str, model: str, *, timeout_seconds: float = _DESCRIBE_SECONDS
) -> EmbeddingModel:
    """Ask the server for the description of an embedding model.

    Raises:
        ScorerUnavailable: the server or the model is not there.
        ClipMismatch: it is no embedding model.
    """
    try:
        served = max(client.get_model_metadata(model, client_timeout=timeout_seconds).versions, key=int)
        config = client.get_model_config(model, served, client_timeout=timeout_seconds).config
    except Exception as error:
        raise ScorerUnavailable(*diagnose(error, address, model)) from error
    said = {key: value.string_value for key, value in config.parameters.items()}
    inputs = {tensor.name: list(tensor.dims) for tensor in config.input}.get("FEATURES", [])
    outputs = {tensor.name: list(tensor.dims) for tensor in config.output}.get("EMBEDDING", [])
    try:
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError("it lacks the input FEATURES or the output EMBEDDING")
        similarity = float(said["similarity"])
        if not 0 < similarity <= 1:
            raise ValueError(f"similarity {similarity:g} is not in (0, 1]")
        return EmbeddingModel(model, said["embedding"], served, inputs[0], said.get("backbone"), similarity)
    except (KeyError, ValueError) as error:
        raise ClipMismatch(
            f"the model {model} at {address} is not an embedding model ({error}): serve one that `mistwatch export` "
            "has written"
        ) from None


class EmbeddingClient:
    """Asks a served embedding model for embeddings. Thread-safe.

    Args:
        address: HOST:PORT of the server's gRPC endpoint, which need not run yet.
        on_described: called with each description: the first one, and those after an outage that differ from the one
            before. On any thread.
    """

    def __init__(
        self,
        address: str,
        model: str,
        on_described: Callable[[EmbeddingModel], None] = lambda _model: None,
        *,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._address = address
        self._model = model
        self._on_described = on_described
        self._look_seconds = look_seconds
        self._client = connect(address)
        self._described: EmbeddingModel | None = None
        self._is_there = threading.Event()
        self._wanted = threading.Event()  # the model is to be asked for its description
        self._closed = threading.Event()
        self._waiting_for = ""
        self._thread = threading.Thread(target=self._run, name="embedding", daemon=True)

    @property
    def model(self) -> EmbeddingModel | None:
        """Return the latest description; None before the first."""
        return self._described

    def describe(self) -> EmbeddingModel:
        """Ask for the description now. Raises ScorerUnavailable, ClipMismatch."""
        found = describe_embedding(self._client, self._address, self._model)
        if found != self._described:
            self._described = found
            self._on_described(found)
        self._is_there.set()
        return found

    def start(self) -> None:
        """Start to look for the model whenever it is away."""
        if not self._is_there.is_set():
            self._wanted.set()
        self._thread.start()

    def embed(self, features: Floats, on_answer: Callable[[Floats | None], None]) -> None:
        """Ask for the embedding of one clip.

        Args:
            features: float32 (D,).
            on_answer: called exactly once, on any thread, also before this returns, with the embedding, float32 (E,)
                of length 1; with None where there is none, which is logged once an outage.
        """
        if not self._is_there.is_set():
            on_answer(None)
            return
        tensor = triton.InferInput("FEATURES", (1, len(features)), "FP32")
        try:
            tensor.set_data_from_numpy(np.ascontiguousarray(features, np.float32)[np.newaxis])
            self._client.async_infer(
                self._model,
                [tensor],
                callback=lambda result, error: on_answer(self._read(result, error)),
                outputs=[triton.InferRequestedOutput("EMBEDDING")],
                client_timeout=_ANSWER_SECONDS,
            )
        except Exception as error:  # among them a ValueError for a closed channel
            self._lose(diagnose(error, self._address, self._model)[1])
            on_answer(None)

    def close(self) -> None:
        """End the connection, and with it every call under way."""
        self._closed.set()
        self._wanted.set()
        self._client.close()
        if self._thread.is_alive():
            self._thread.join(_DESCRIBE_SECONDS)

    def _read(self, result: Any, error: Exception | None) -> Floats | None:
        if error is not None:
            self._lose(diagnose(error, self._address, self._model)[1])
            return None
        answering = result.get_response().model_version
        if self._described is None or answering != self._described.served_version:
            self._lose(
                f"version {answering} of {self._model} at {self._address} answers; it is asked to describe itself"
            )
            return None
        try:
            values = np.array(result.as_numpy("EMBEDDING")[0], np.float32)
        except (TypeError, IndexError, ValueError):
            self._lose(f"the answer of {self._model} at {self._address} holds no EMBEDDING")
            return None
        if values.ndim != 1 or not abs(float(np.linalg.norm(values)) - 1.0) < _ROUNDING:  # NaN, too
            self._lose(f"the embedding of {self._model} at {self._address} does not have the length 1")
            return None
        return values

    def _lose(self, reason: str) -> None:
        """Log an outage once, and look for the model."""
        if self._closed.is_set():
            return
        if self._is_there.is_set():
            self._is_there.clear()
            _log.warning("no embeddings; alerts go without likeness", reason=reason)
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            if self._closed.wait(self._look_seconds if self._described is not None or self._waiting_for else 0.0):
                return
            try:
                self.describe()
            except (ScorerUnavailable, ClipMismatch) as error:
                if (line := str(error)) != self._waiting_for:
                    self._waiting_for = line
                    _log.warning("waiting for the embedding model; alerts go without likeness", reason=line)
            else:
                self._waiting_for = ""
                self._wanted.clear()
                _log.info("the embedding model is there", model=self._model)
