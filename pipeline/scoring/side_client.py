"""The client of a served model beside the detectors: one request, one answer, and outages that are survived.

The caller never waits for an answer: it is called back. A model that is away is asked for its description again every
few seconds, on a thread of its own. That thread also replaces a connection that has died without a sign.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton

from pipeline import logs
from pipeline.scoring.outcomes import notify
from pipeline.scoring.served_model import (
    LOAD_SECONDS,
    ClipMismatch,
    ScorerUnavailable,
    Trouble,
    connect,
    diagnose,
)
from pipeline.scoring.transport import DESCRIBE_SECONDS

#: A model that is away is asked for again after this many seconds.
_LOOK_SECONDS = 2.0
#: A model that is there is asked for its description again after this many seconds.
_AGAIN_SECONDS = 60.0
#: An answer that has not come after this many seconds never comes.
_ANSWER_SECONDS = 10.0


class Described(Protocol):
    """A served model as its server describes it.

    Attributes:
        version: of its answers; only those of one version can be compared.
        served_version: the version that Triton serves; another one is asked for its description.
    """

    @property
    def version(self) -> str: ...

    @property
    def served_version(self) -> str: ...


Model = TypeVar("Model", bound=Described)
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a client's log lines.

    Attributes:
        model: ``the embedding model``.
        answers: ``embeddings``.
        failed: a request without an answer, and its consequence.
        without: the consequence for alerts while the model is away: ``alerts go without likeness``.
    """

    log: str
    model: str
    answers: str
    failed: str
    without: str


@dataclass(frozen=True, slots=True)
class Request:
    """The input of a request without the batch's dimension, Triton's name of its type, and the output that it wants."""

    input: str
    type: str
    output: str


class SideClient(ABC, Generic[Model, Answer]):
    """Asks a served model for answers. Thread-safe. A subclass reads its description, its inputs and its answers.

    Args:
        address: HOST:PORT of the server's gRPC endpoint, which need not run yet.
        model: name of the served model.
        on_described: called with each description that differs from the one before, before answers of that model are
            asked for. On the thread of :meth:`describe` or on the client's own.
        repair: no other process uses the server: load the model anew when its process has died.
        look_seconds: pause before a model that is away is asked for again.
        answer_seconds: an answer that has not come after this many seconds never comes.

    Attributes:
        most_in_flight: a request beyond so many has no answer; None: any number.
    """

    words: Words
    request: Request
    most_in_flight: int | None = None

    def __init__(
        self,
        address: str,
        model: str,
        on_described: Callable[[Model], None] = lambda _model: None,
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
        self._room = None if self.most_in_flight is None else threading.Semaphore(self.most_in_flight)
        self._client = connect(address)
        self._described: Model | None = None
        self._is_there = threading.Event()
        self._wanted = threading.Event()  # the model is to be asked for its description
        self._pause_seconds = 0.0  # before that
        self._closed = threading.Event()
        self._waiting_for = ""  # as logged
        self._failing = ""  # likewise
        self._log = logs.get(self.words.log)
        self._thread = threading.Thread(target=self._run, name=self.words.log, daemon=True)

    @abstractmethod
    def _ask_description(self, client: triton.InferenceServerClient, timeout_seconds: float) -> Model:
        """Ask the server. Raises ScorerUnavailable, ClipMismatch."""

    @abstractmethod
    def _checked(self, asked: Model, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a request's input as it is sent, without the batch's dimension. Raises ValueError: one line."""

    @abstractmethod
    def _read_output(self, asked: Model, output: npt.NDArray[Any]) -> Answer:
        """Return the answer to one request; ``output`` is of one batch. Raises ValueError: one line."""

    @property
    def model(self) -> Model | None:
        """Return the latest description; None before the first."""
        return self._described

    def describe(self) -> Model:
        """Ask for the description now. Raises ScorerUnavailable, ClipMismatch."""
        found = self._ask_description(self._client, min(DESCRIBE_SECONDS, self._answer_seconds))
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

    def ask(self, values: npt.NDArray[Any], on_answer: Callable[[Answer | None], None]) -> None:
        """Ask for the answer to one input, without waiting.

        Args:
            on_answer: called exactly once, on any thread, perhaps before this returns. It must be quick. It
                receives None where the model cannot answer; the reason is logged once an outage.
        """
        asked = self._described
        if asked is None or not self._is_there.is_set():
            notify(on_answer, None)
            return
        try:
            tensor = self._tensor(asked, values)
        except ValueError as error:
            self._fail(str(error))
            notify(on_answer, None)
            return
        if self._room is not None and not self._room.acquire(blocking=False):
            self._fail(f"{self._model} at {self._address} is slower than its requests; one is left out")
            notify(on_answer, None)
            return
        try:
            self._client.async_infer(
                self._model,
                [tensor],
                callback=partial(self._answer, asked, on_answer),
                outputs=[triton.InferRequestedOutput(self.request.output)],
                client_timeout=self._answer_seconds,
            )
        except Exception as error:  # among them a ValueError for a closed channel; notify() lets none of a callback out
            self._leave()
            self._lose(asked, diagnose(error, self._address, self._model)[1])
            notify(on_answer, None)

    def ask_now(self, values: npt.NDArray[Any]) -> Answer:
        """Return the answer to one input, of the model as :meth:`describe` has described it last.

        Raises:
            ScorerUnavailable: the server or the model is away, is another version by now, or fails on this input.
            ValueError: the input or the answer has another form than the model's; one line.
            RuntimeError: the model was never described.
        """
        if (asked := self._described) is None:
            raise RuntimeError("describe the model before it is asked")
        try:
            result = self._client.infer(
                self._model,
                [self._tensor(asked, values)],
                outputs=[triton.InferRequestedOutput(self.request.output)],
                client_timeout=self._answer_seconds,
            )
        except triton.InferenceServerException as error:
            raise ScorerUnavailable(*diagnose(error, self._address, self._model)) from error
        if (answering := result.get_response().model_version) != asked.served_version:
            raise ScorerUnavailable(Trouble.NOT_READY, f"{self._exchanged(answering)}; run the command again")
        return self._read_output(asked, result.as_numpy(self.request.output))

    def close(self) -> None:
        """End the connection, and with it every call under way."""
        self._closed.set()
        self._is_there.clear()
        self._wanted.set()
        self._client.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(DESCRIBE_SECONDS)

    def _tensor(self, asked: Model, values: npt.NDArray[Any]) -> triton.InferInput:
        batch = np.ascontiguousarray(self._checked(asked, values))[np.newaxis]
        tensor = triton.InferInput(self.request.input, batch.shape, self.request.type)
        tensor.set_data_from_numpy(batch)
        return tensor

    def _leave(self) -> None:
        if self._room is not None:
            self._room.release()

    def _answer(
        self, asked: Model, on_answer: Callable[[Answer | None], None], result: Any, error: Exception | None
    ) -> None:
        self._leave()
        try:
            answer = self._read(asked, result, error)
        except Exception as problem:  # an answer of another shape than promised
            self._fail(f"the answer of {self._model} at {self._address} cannot be read ({problem})")
            answer = None
        notify(on_answer, answer)

    def _read(self, asked: Model, result: Any, error: Exception | None) -> Answer | None:
        """Return the answer of a response; None where it holds none that can be used.

        Args:
            asked: the description of the model when it was asked.
        """
        if error is not None:
            trouble, line = diagnose(error, self._address, self._model)
            if trouble is Trouble.FAILED:  # on this input; the model is there
                self._fail(line)
            else:
                self._has_died = trouble is Trouble.STUB_DIED
                self._lose(asked, line)
            return None
        answering = result.get_response().model_version
        if answering != asked.served_version:  # perhaps with answers of another version
            self._lose(asked, self._exchanged(answering), at_once=True)
            return None
        answer = self._read_output(asked, result.as_numpy(self.request.output))
        self._failing = ""
        return answer

    def _exchanged(self, answering: str) -> str:
        return f"version {answering} of {self._model} has answered, which is new"

    def _fail(self, reason: str) -> None:
        """Log that a request has no answer, once for requests in a row without one."""
        if not self._closed.is_set() and reason != self._failing:
            self._failing = reason
            self._log.warning(self.words.failed, reason=reason)

    def _lose(self, asked: Model, reason: str, *, at_once: bool = False) -> None:
        """Log an outage once, and look for the model; a late answer of before its latest description changes nothing.

        Args:
            at_once: the model is there, and has a description of its own.
        """
        if self._closed.is_set() or asked is not self._described:
            return
        if self._is_there.is_set():
            self._is_there.clear()
            if at_once:
                self._log.info(f"another version of {self.words.model}", reason=reason)
            else:
                self._log.warning(f"no {self.words.answers}; {self.words.without}", reason=reason)
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
                    self._log.warning(f"waiting for {self.words.model}; {self.words.without}", reason=line)
                if isinstance(error, ScorerUnavailable) and error.trouble is Trouble.SILENT:
                    self._renew()
                self._pause_seconds = self._look_seconds
                self._wanted.set()
            else:
                self._waiting_for = ""
                if is_wanted:
                    self._log.info(f"{self.words.model} is there", model=self._model)

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
        try:
            fresh = connect(self._address)
        except ScorerUnavailable:  # a file of its TLS is gone, and may come back: the next question finds out
            return
        self._client.close()
        self._client = fresh
        if self._closed.is_set():
            self._client.close()


class Parameters:
    """The description of a served model: its parameters, and the shapes of its inputs and outputs."""

    def __init__(self, config: Any, served_version: str) -> None:
        self.served_version = served_version
        self._said: dict[str, str] = {key: value.string_value for key, value in config.parameters.items()}
        self._inputs, self._outputs = (
            {tensor.name: tuple(tensor.dims) for tensor in tensors} for tensors in (config.input, config.output)
        )

    def said(self, key: str) -> str:
        """Return a parameter. Raises ValueError: it is missing or empty."""
        if not (value := self._said.get(key)):
            raise ValueError(f"parameter {key} is missing")
        return value

    def may_say(self, key: str) -> str | None:
        """Return a parameter; None where it is missing or empty."""
        return self._said.get(key) or None

    def input(self, name: str, expected: str, axes: int) -> tuple[int, ...]:
        """Return the shape of an input of so many axes, without the batch's dimension.

        Args:
            expected: the shape in words.

        Raises:
            ValueError: it is missing or has another number of axes.
        """
        return _dims(self._inputs, name, expected, axes)

    def output(self, name: str, expected: str, axes: int) -> tuple[int, ...]:
        """Return the shape of an output, as :meth:`input`."""
        return _dims(self._outputs, name, expected, axes)


def _dims(tensors: Mapping[str, tuple[int, ...]], name: str, expected: str, axes: int) -> tuple[int, ...]:
    dims = tensors.get(name)
    if dims is None or len(dims) != axes or min(dims) < 1:
        raise ValueError(f"{name} is {'missing' if dims is None else list(dims)}; expected {expected}")
    return dims


def ask_parameters(
    client: triton.InferenceServerClient, address: str, model: str, *, timeout_seconds: float = DESCRIBE_SECONDS
) -> Parameters:
    """Ask the server how the version of a model that it serves is described. Raises ScorerUnavailable."""
    try:
        served = max(client.get_model_metadata(model, client_timeout=timeout_seconds).versions, key=int)
        config = client.get_model_config(model, served, client_timeout=timeout_seconds).config
    except Exception as error:
        raise ScorerUnavailable(*diagnose(error, address, model)) from error
    return Parameters(config, served)


def not_a(kind: str, address: str, model: str, error: ValueError) -> ClipMismatch:
    """Return the error of a served model that is not of the expected kind; ``error`` says why."""
    return ClipMismatch(
        f"the model {model} at {address} is not {kind} ({error}): serve one written by `mistwatch export`"
    )
