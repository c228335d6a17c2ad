"""The client of a served embedding model: from a clip's FEATURES to its embedding.

The caller never waits for an answer: it is called back. A model that is away is asked for its description again every
few seconds, on a thread of its own. That thread also replaces a connection that has died without a sign.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton

from pipeline import logs
from pipeline.scoring.outcomes import notify
from pipeline.scoring.served_model import (
    LOAD_SECONDS,
    ClipMismatch,
    ScorerUnavailable,
    ServedModel,
    Trouble,
    connect,
    diagnose,
)

_log = logs.get("embedding")

#: Limit of a question for the model's description.
_DESCRIBE_SECONDS = 5.0
#: A model that is away is asked for again after this many seconds.
_LOOK_SECONDS = 2.0
#: A model that is there is asked for its description again after this many seconds.
_AGAIN_SECONDS = 60.0
#: An answer that has not come after this many seconds never comes.
_ANSWER_SECONDS = 10.0
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
    client: triton.InferenceServerClient, address: str, model: str, *, timeout_seconds: float = _DESCRIBE_SECONDS
) -> EmbeddingModel:
    """Ask the server for the description of an embedding model.

    Raises:
        ScorerUnavailable: the server or the model is not there.
        ClipMismatch: it is not an embedding model.
    """
    try:
        served = max(client.get_model_metadata(model, client_timeout=timeout_seconds).versions, key=int)
        config = client.get_model_config(model, served, client_timeout=timeout_seconds).config
    except Exception as error:
        raise ScorerUnavailable(*diagnose(error, address, model)) from error
    said = {key: value.string_value for key, value in config.parameters.items()}
    try:
        inputs, _ = _length(config.input, "FEATURES"), _length(config.output, "EMBEDDING")
        similarity, mute_similarity = (float(_said(said, name)) for name in ("similarity", "mute_similarity"))
        for name, value in (("similarity", similarity), ("mute_similarity", mute_similarity)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} {value:g} is not in (0, 1]")
        return EmbeddingModel(
            model,
            _said(said, "embedding"),
            served,
            inputs,
            said.get("backbone") or None,
            similarity,
            mute_similarity,
            said.get("features") or None,
        )
    except ValueError as error:
        raise ClipMismatch(
            f"the model {model} at {address} is not an embedding model ({error}): serve one written by "
            "`mistwatch export`"
        ) from None


def _length(tensors: Any, name: str) -> int:
    """Return the length of a vector among the inputs or outputs of a model. Raises ValueError: there is none."""
    dims = {tensor.name: list(tensor.dims) for tensor in tensors}.get(name)
    if dims is None or len(dims) != 1 or dims[0] < 1:
        raise ValueError(f"{name} is {'missing' if dims is None else dims}; expected a vector")
    return int(dims[0])


def _said(parameters: dict[str, str], key: str) -> str:
    """Return a parameter. Raises ValueError: it is missing or empty."""
    if not (value := parameters.get(key)):
        raise ValueError(f"parameter {key} is missing")
    return value


class EmbeddingClient:
    """Asks a served embedding model for embeddings. Thread-safe.

    Args:
        address: HOST:PORT of the server's gRPC endpoint, which need not run yet.
        model: name of the served model.
        on_described: called with each description that differs from the one before, before embeddings of that model
            are asked for. On the thread of :meth:`describe` or on the client's own.
        repair: no other process uses the server: load the model anew when its process has died.
        look_seconds: pause before a model that is away is asked for again.
        answer_seconds: an answer that has not come after this many seconds never comes.
    """

    def __init__(
        self,
        address: str,
        model: str,
        on_described: Callable[[EmbeddingModel], None] = lambda _model: None,
        *,
        repair: bool = False,
        look_seconds: float = _LOOK_SECONDS,
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        self._address = address
        self._model = model
        self._on_described = on_described
        self._repair = repair
        self._has_died = False  # the model's process
        self._look_seconds = look_seconds
        self._answer_seconds = answer_seconds
        self._client = connect(address)
        self._described: EmbeddingModel | None = None
        self._is_there = threading.Event()
        self._wanted = threading.Event()  # the model is to be asked for its description
        self._pause_seconds = 0.0  # before that
        self._closed = threading.Event()
        self._waiting_for = ""  # as logged
        self._failing = ""  # likewise
        self._thread = threading.Thread(target=self._run, name="embedding", daemon=True)

    @property
    def model(self) -> EmbeddingModel | None:
        """Return the latest description; None before the first."""
        return self._described

    def describe(self) -> EmbeddingModel:
        """Ask for the description now. Raises ScorerUnavailable, ClipMismatch."""
        limit = min(_DESCRIBE_SECONDS, self._answer_seconds)
        found = describe_embedding(self._client, self._address, self._model, timeout_seconds=limit)
        before, self._described = self._described, found
        if found != before:
            notify(self._on_described, found)
        self._is_there.set()
        return found

    def start(self) -> None:
        """Look for the model from now on, whenever it is away."""
        if not self._is_there.is_set():
            self._wanted.set()
        self._thread.start()

    def embed(self, features: Floats, on_answer: Callable[[Embedded | None], None]) -> None:
        """Ask for the embedding of one clip, without waiting.

        Args:
            features: float32 (D,).
            on_answer: called exactly once, on any thread, also before this returns. None: there is no embedding, for a
                reason that is logged once an outage. It must be quick.
        """
        asked = self._described
        if asked is None or not self._is_there.is_set():
            notify(on_answer, None)
            return
        if features.shape != (asked.inputs,):
            self._fail(f"the embedding model {self._model} takes {asked.inputs} features, got {features.shape}")
            notify(on_answer, None)
            return
        try:
            tensor = triton.InferInput("FEATURES", (1, asked.inputs), "FP32")
            tensor.set_data_from_numpy(np.ascontiguousarray(features, np.float32)[np.newaxis])
            self._client.async_infer(
                self._model,
                [tensor],
                callback=partial(self._answer, asked, on_answer),
                outputs=[triton.InferRequestedOutput("EMBEDDING")],
                client_timeout=self._answer_seconds,
            )
        except Exception as error:  # among them a ValueError for a closed channel; notify() lets none of a callback out
            self._lose(asked, diagnose(error, self._address, self._model)[1])
            notify(on_answer, None)

    def close(self) -> None:
        """End the connection, and with it every call under way."""
        self._closed.set()
        self._is_there.clear()
        self._wanted.set()
        self._client.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_DESCRIBE_SECONDS)

    def _answer(
        self,
        asked: EmbeddingModel,
        on_answer: Callable[[Embedded | None], None],
        result: Any,
        error: Exception | None,
    ) -> None:
        try:
            embedded = self._read(asked, result, error)
        except Exception as problem:  # an answer of another shape than promised
            self._fail(f"the answer of {self._model} at {self._address} cannot be read ({problem})")
            embedded = None
        notify(on_answer, embedded)

    def _read(self, asked: EmbeddingModel, result: Any, error: Exception | None) -> Embedded | None:
        """Return the embedding in an answer; None where it holds none that can be used.

        Args:
            asked: the description of the model when it was asked.
        """
        if error is not None:
            trouble, line = diagnose(error, self._address, self._model)
            if trouble is Trouble.FAILED:  # on these features; the model is there
                self._fail(line)
            else:
                self._has_died = trouble is Trouble.STUB_DIED
                self._lose(asked, line)
            return None
        answering = result.get_response().model_version
        if answering != asked.served_version:  # perhaps with embeddings of another version
            self._lose(asked, f"version {answering} of {self._model} has answered, which is new", at_once=True)
            return None
        values = np.array(result.as_numpy("EMBEDDING")[0], np.float32)
        if values.ndim != 1 or not abs(float(np.linalg.norm(values)) - 1.0) < _ROUNDING:  # NaN, too
            self._fail(f"the embedding of {self._model} at {self._address} does not have the length 1")
            return None
        self._failing = ""
        return Embedded(values, asked.version)

    def _fail(self, reason: str) -> None:
        """Log that a clip has no embedding, once for clips in a row without one."""
        if not self._closed.is_set() and reason != self._failing:
            self._failing = reason
            _log.warning("no embedding of a clip; its alert goes without likeness", reason=reason)

    def _lose(self, asked: EmbeddingModel, reason: str, *, at_once: bool = False) -> None:
        """Log an outage once, and look for the model; a late answer of before its latest description changes nothing.

        Args:
            at_once: the model is there, and has a description of its own.
        """
        if self._closed.is_set() or asked is not self._described:
            return
        if self._is_there.is_set():
            self._is_there.clear()
            if at_once:
                _log.info("another version of the embedding model", reason=reason)
            else:
                _log.warning("no embeddings; alerts go without likeness", reason=reason)
        self._pause_seconds = 0.0 if at_once else self._look_seconds
        self._wanted.set()

    def _run(self) -> None:
        while True:
            # Also now and then: another server may stand at the address, with a model of the same version number.
            is_wanted = self._wanted.wait(_AGAIN_SECONDS)
            if self._closed.wait(self._pause_seconds if is_wanted else 0.0):
                return
            self._wanted.clear()  # before the question: what is lost from here on is looked for again
            try:
                if self._has_died and self._repair:
                    self._load_anew()
                self.describe()
            except (ScorerUnavailable, ClipMismatch) as error:
                if self._closed.is_set():
                    return
                if (line := str(error)) != self._waiting_for:
                    self._waiting_for = line
                    _log.warning("waiting for the embedding model; alerts go without likeness", reason=line)
                if isinstance(error, ScorerUnavailable) and error.trouble is Trouble.SILENT:
                    self._renew()
                self._pause_seconds = self._look_seconds
                self._wanted.set()
            else:
                self._waiting_for = ""
                if is_wanted:
                    _log.info("the embedding model is there", model=self._model)

    def _load_anew(self) -> None:
        """Unload the model and load it: a load alone does not start its process again. Raises ScorerUnavailable."""
        self._has_died = False
        try:
            self._client.unload_model(self._model, client_timeout=LOAD_SECONDS)
            self._client.load_model(self._model, client_timeout=LOAD_SECONDS)
        except Exception as error:
            raise ScorerUnavailable(*diagnose(error, self._address, self._model)) from error

    def _renew(self) -> None:
        """Replace the connection: one that has died without a sign is not answered for a quarter of an hour."""
        self._client.close()
        self._client = connect(self._address)
        if self._closed.is_set():
            self._client.close()
