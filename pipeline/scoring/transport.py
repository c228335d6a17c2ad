"""The calls that scoring makes to a server of models, and their implementation over gRPC to Triton.

:class:`Transport` is all that the dispatcher knows of the server, so that its tests run over a scripted one as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton

from pipeline.scoring.served_model import (
    LOAD_SECONDS,
    ScorerUnavailable,
    ServedModel,
    Trouble,
    connect,
    dead_backbone,
    describe,
    diagnose,
    part_input,
)
from pipeline.scoring.shared_memory import SharedMemory, Slot
from pipeline.scoring.target import Target

#: Limit of a question for a model's description, which costs a healthy server milliseconds.
DESCRIBE_SECONDS = 5.0
_UNLOAD_SECONDS = 15.0
#: After these the server may still read the request.
_WITHOUT_ANSWER = frozenset({Trouble.SILENT, Trouble.UNREACHABLE})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to one clip.

    Attributes:
        version: of the model, ``1``; of a part with its own, ``1.3``.
        score: SCORE as it came, unchecked.
        heat: HEAT, float32 (h, w); None unless it was asked for.
        features: FEATURES, float32 (D,); None unless they were asked for.
    """

    version: str
    score: float
    heat: npt.NDArray[np.float32] | None = None
    features: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A clip that was not answered, or not usably: the kind of trouble, and one line for an operator.

    Attributes:
        backbone: the shared backbone whose process has died; empty where it was the model's own.
    """

    trouble: Trouble
    line: str
    backbone: str = ""


class Transport(Protocol):
    """The calls to one server. All but :meth:`infer` return when the server has answered."""

    def is_live(self, *, timeout_seconds: float) -> None:
        """Ask the server for a sign of life, which it gives at once however busy its models are.

        Raises:
            ScorerUnavailable: there is none; ``SILENT`` where the deadline was missed.
        """
        ...

    def describe(self, target: Target, *, version: str = "", timeout_seconds: float) -> ServedModel:
        """Return the server's description of a model or part; by default of the version that answers clips.

        Raises:
            ScorerUnavailable: the server, the model or the part is not there.
            ClipMismatch: the description is incomplete or contradicts itself.
        """
        ...

    def infer(
        self,
        target: Target,
        pixels: npt.NDArray[np.uint8],
        *,
        scene: npt.NDArray[np.uint8] | None,
        mask: npt.NDArray[np.uint8] | None,
        heat: bool,
        features: bool,
        timeout_seconds: float,
        on_answer: Callable[[Answer | Failure], None],
    ) -> None:
        """Send a clip, uint8 (T, H, W, 3).

        Args:
            scene: its standing scene, uint8 (H, W, 3), for a model that reads one; None sends none.
            mask: the cells of HEAT to ignore, uint8 (h, w), for a model that takes it; None sends none.
            heat, features: ask for the output HEAT or FEATURES beside the score.
            on_answer: called exactly once, on any thread, also before this returns; it must be quick.
        """
        ...

    def load(self, model: str) -> None:
        """Load a model, or load it anew after its files changed. Raises ScorerUnavailable."""
        ...

    def unload(self, model: str) -> None:
        """Unload a model. Raises ScorerUnavailable."""
        ...

    def close(self) -> None:
        """End the connection, and with it every call under way."""
        ...


@dataclass(frozen=True, slots=True)
class _Call:
    """A clip that is sent, and the way to its answer."""

    target: Target
    pixels: npt.NDArray[np.uint8]
    others: Sequence[Any]  # inputs beside CLIP
    wanted: Sequence[str]  # outputs beside SCORE
    timeout_seconds: float
    on_answer: Callable[[Answer | Failure], None]


class TritonTransport:
    """A :class:`Transport` over gRPC to the Triton server at ``address`` (HOST:PORT), which need not run yet.

    One connection of its own serves all calls: each further client costs the server memory and threads.

    Args:
        shared_clips: number of clips in flight whose pixels may go through shared memory
            (:mod:`pipeline.scoring.shared_memory`) where the server runs on this machine. 0: all go by gRPC.
    """

    def __init__(self, address: str, *, shared_clips: int = 0) -> None:
        self._address = address
        self._client = connect(address)
        self._shared = SharedMemory(self._client, address, slots=shared_clips) if shared_clips else None

    @property
    def shares_memory(self) -> bool:
        """Return whether clips go through shared memory at present."""
        return self._shared is not None and self._shared.is_used

    def is_live(self, *, timeout_seconds: float) -> None:
        """See :meth:`Transport.is_live`."""
        try:
            self._client.is_server_live(client_timeout=timeout_seconds)
        except Exception as error:
            raise ScorerUnavailable(*diagnose(error, self._address, "")) from error

    def describe(self, target: Target, *, version: str = "", timeout_seconds: float) -> ServedModel:
        """See :meth:`Transport.describe`."""
        return describe(self._client, self._address, target, version=version, timeout_seconds=timeout_seconds)

    def infer(
        self,
        target: Target,
        pixels: npt.NDArray[np.uint8],
        *,
        scene: npt.NDArray[np.uint8] | None,
        mask: npt.NDArray[np.uint8] | None,
        heat: bool,
        features: bool,
        timeout_seconds: float,
        on_answer: Callable[[Answer | Failure], None],
    ) -> None:
        """See :meth:`Transport.infer`; ``on_answer`` is called on gRPC's thread, which serves every call."""
        others = []
        if scene is not None:
            others.append(_one_of_a_batch("SCENE", scene))
        if mask is not None:
            others.append(_one_of_a_batch("MASK", mask))
        if target.part:
            others.append(part_input(target.part))
        wanted = _beside_score(target, heat=heat, features=features)
        call = _Call(target, pixels, others, wanted, timeout_seconds, on_answer)
        self._send(call, None if self._shared is None else self._shared.place(pixels))

    def _send(self, call: _Call, slot: Slot | None) -> None:
        """Send a clip that lies in shared memory; by gRPC without a slot."""
        try:
            clip = slot.tensor("CLIP", call.pixels.shape) if slot else _one_of_a_batch("CLIP", call.pixels)
            self._client.async_infer(
                call.target.model,
                [clip, *call.others],
                callback=partial(self._conclude, call, slot),
                outputs=[triton.InferRequestedOutput(name) for name in ("SCORE", *call.wanted)],
                client_timeout=call.timeout_seconds,
            )
        except Exception as error:  # among them a ValueError for a closed channel
            self._settle(slot, answered=False)
            call.on_answer(Failure(*diagnose(error, self._address, call.target.model)))

    def load(self, model: str) -> None:
        """See :meth:`Transport.load`; waits for at most ``LOAD_SECONDS``."""
        self._control(model, self._client.load_model, LOAD_SECONDS)

    def unload(self, model: str) -> None:
        """See :meth:`Transport.unload`."""
        self._control(model, self._client.unload_model, _UNLOAD_SECONDS)

    def close(self) -> None:
        """See :meth:`Transport.close`; a server that shares memory is given a second to let go of it."""
        if self._shared is not None:
            self._shared.close()
        self._client.close()

    def _control(self, model: str, call: Callable[..., None], seconds: float) -> None:
        try:
            call(model, client_timeout=seconds)
        except Exception as error:
            raise ScorerUnavailable(*diagnose(error, self._address, model)) from error

    def _conclude(self, call: _Call, slot: Slot | None, result: Any, error: Exception | None) -> None:
        if error is None:
            answer = self._read(call, result)
        elif self._shared is not None and self._shared.is_unknown(slot, error):
            self._send(call, None)
            return
        else:
            answer = Failure(*diagnose(error, self._address, call.target.model), dead_backbone(error))
        lost = isinstance(answer, Failure) and answer.trouble in _WITHOUT_ANSWER
        self._settle(slot, answered=not lost)
        call.on_answer(answer)

    def _settle(self, slot: Slot | None, *, answered: bool) -> None:
        if self._shared is not None:
            self._shared.settle(slot, answered=answered)

    def _read(self, call: _Call, result: Any) -> Answer | Failure:
        try:
            # Copies: the answer's own memory holds all of the answer.
            arrays = {name: np.array(result.as_numpy(name)[0]) for name in call.wanted}
            version = result.get_response().model_version
            if call.target.part:
                version = f"{version}.{arrays['PART_VERSION'].item()}"
            score = float(result.as_numpy("SCORE").item())
            return Answer(version, score, arrays.get("HEAT"), arrays.get("FEATURES"))
        except Exception as problem:
            missing = next((name for name in call.wanted if result.as_numpy(name) is None), "single SCORE")
            return Failure(Trouble.UNREADABLE, f"Triton's answer holds no {missing} ({problem})")


def _beside_score(target: Target, *, heat: bool, features: bool) -> list[str]:
    """Return the names of the outputs that are asked for beside SCORE."""
    asked = {"HEAT": heat, "FEATURES": features, "PART_VERSION": bool(target.part)}
    return [name for name, is_asked in asked.items() if is_asked]


def _one_of_a_batch(name: str, array: npt.NDArray[np.uint8]) -> Any:
    """Return an input of a request for a single clip."""
    tensor = triton.InferInput(name, (1, *array.shape), "UINT8")
    tensor.set_data_from_numpy(array[np.newaxis])
    return tensor
