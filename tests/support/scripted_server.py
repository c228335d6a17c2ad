"""A server of models without a process or a port: the scoring client's Transport, and the faults of a real Triton.

It has the verbs of :class:`triton_of_brightness.Server` and scores as its model does, so that one test class runs over
both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
from triton_of_brightness import H, T, W

from operators.background import SceneKind
from operators.heat_kind import HeatKind
from pipeline.scoring.served_model import HeatMap, ScorerUnavailable, ServedModel, Trouble
from pipeline.scoring.target import Target
from pipeline.scoring.transport import Answer, Failure, Transport
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec

Reply = TypeVar("Reply")


@dataclass
class _Model:
    """A model of the repository, and what of it is loaded."""

    repository: ServedModel
    loaded: ServedModel | None = None
    process_alive: bool = True


class ScriptedServer:
    """One server; its models are served by :meth:`serve`. Every answer comes on a thread of its own."""

    address = "scripted:8001"

    def __init__(self) -> None:
        self.hold_loads = threading.Event()  # set: a load takes until it is cleared
        self._changed = threading.Condition()
        self._models: dict[str, _Model] = {}
        self._running = True
        self._frozen = False
        self._model_at_work = threading.Lock()  # one instance of each model is enough: one for all

    def transport(self) -> Transport:
        return _ScriptedTransport(self)

    @contextmanager
    def forgetful_path(self) -> Iterator[ForgetfulPath]:
        """A way to this server whose connections can die without a sign."""
        yield ForgetfulPath(self)

    # The verbs of a real server in a test.

    @property
    def running(self) -> bool:
        return self._running

    def serve(
        self,
        model: str = "clip_scorer",
        *,
        version: int = 1,
        heat: str = "",
        scene: str = "",
        features: bool = True,
        name: str = "mean",
        height: int = H,
    ) -> None:
        """Put this version into the repository, and load it."""
        served = ServedModel(
            name,
            str(version),
            ClipSpec(frames=T, stride=2, height=height, width=W, fit=Fit.CROP),
            threshold=0.5,
            kernel=3,
            heat=HeatMap(2, 2, HeatKind(heat)) if heat else None,
            scene=SceneKind(scene) if scene else None,
            features=T if features else None,
        )
        with self._changed:
            if model in self._models:
                self._models[model].repository = served
            else:
                self._models[model] = _Model(served)
        self.load(model)

    def load(self, model: str = "clip_scorer") -> None:
        with self._changed:
            one = self._models[model]
            if one.loaded != one.repository:  # as Triton: a model that has not changed is not loaded anew
                one.loaded, one.process_alive = replace(one.repository), True
            self._changed.notify_all()

    def unload(self, model: str = "clip_scorer") -> None:
        with self._changed:
            self._models[model].loaded = None
            self._changed.notify_all()

    def start(self) -> None:
        with self._changed:
            self._running = True
        for model in self._models:
            self.load(model)

    def kill(self) -> None:
        with self._changed:
            self._running = False
            for one in self._models.values():
                one.loaded = None
            self._changed.notify_all()

    def kill_stub(self, *models: str) -> None:
        """Kill the processes of these models; of all by default."""
        with self._changed:
            for model in models or self._models:
                self._models[model].process_alive = False

    def has_loaded(self, model: str) -> bool:
        with self._changed:
            return self._models[model].loaded is not None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self._freeze(True)
        try:
            yield
        finally:
            self._freeze(False)

    def _freeze(self, frozen: bool) -> None:
        with self._changed:
            self._frozen = frozen
            self._changed.notify_all()

    # The transport's side.

    def wake(self) -> None:
        """End the waits of a transport that has closed."""
        with self._changed:
            self._changed.notify_all()

    def show_life(self, timeout_seconds: float, *, closed: threading.Event) -> None:
        """Return as soon as the server is not frozen. Raises ScorerUnavailable."""
        with self._changed:
            answers = self._changed.wait_for(
                lambda: not self._frozen or not self._running or closed.is_set(), timeout_seconds
            )
            if not self._running or closed.is_set():
                raise ScorerUnavailable(Trouble.UNREACHABLE, f"Triton at {self.address} cannot be reached (refused)")
            if not answers:
                raise ScorerUnavailable(Trouble.SILENT, f"Triton at {self.address} did not answer in time")

    def ask(self, model: str, timeout_seconds: float, *, closed: threading.Event) -> ServedModel:
        """Return the loaded version, as soon as the server is not frozen. Raises ScorerUnavailable."""
        self.show_life(timeout_seconds, closed=closed)
        with self._changed:
            one = self._models.get(model)
            if one is None or one.loaded is None:
                line = f"Triton at {self.address} does not serve the model {model}"
                raise ScorerUnavailable(Trouble.NOT_READY, line)
            return one.loaded

    def score(
        self,
        model: str,
        pixels: npt.NDArray[np.uint8],
        scene: npt.NDArray[np.uint8] | None,
        heat: bool,
        features: bool,
        served: ServedModel,
    ) -> Answer | Failure:
        """Score a clip with a version that was loaded when it came."""
        clip = served.clip
        if features and served.features is None:
            return Failure(Trouble.REFUSED, f"Triton at {self.address}: unexpected inference output 'FEATURES'")
        if pixels.shape != (clip.frames, clip.height, clip.width, 3) or (heat and served.heat is None):
            return Failure(Trouble.REFUSED, f"Triton at {self.address}: unexpected shape for input 'CLIP'")
        if scene is not None and served.scene is None:
            return Failure(Trouble.REFUSED, f"Triton at {self.address}: unexpected inference input 'SCENE'")
        with self._model_at_work:
            time.sleep(int(pixels[0, 0, 0, 0]) * 0.010 if pixels[0, 0, 0, 2] == 0 else 0.0)
        with self._changed:
            if not self._running:
                return Failure(Trouble.UNREACHABLE, f"Triton at {self.address} cannot be reached (connection lost)")
            if not self._models[model].process_alive:
                line = f"Triton at {self.address}: the process of the model {model} has died"
                return Failure(Trouble.STUB_DIED, line)
        if pixels[0, 0, 0, 1] == 255:
            return Failure(Trouble.FAILED, f"Triton at {self.address}: a green pixel")
        shown = pixels if scene is None else np.abs(pixels - scene.astype(float))
        score = np.nan if pixels[0, 0, 0, 2] == 255 else float(shown.mean() / 255)
        t, h, w, c = pixels.shape
        quarters = pixels.reshape(t, 2, h // 2, 2, w // 2, c).mean(axis=(0, 2, 4, 5)) / 255
        of_frames = (pixels.mean(axis=(1, 2, 3)) / 255).astype(np.float32)
        return Answer(
            served.version,
            score,
            quarters.astype(np.float32) if heat else None,
            of_frames if features else None,
        )


class ForgetfulPath:
    """Makes connections to a scripted server, and forgets those that there are. The verbs of a ForgetfulProxy."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self._made: list[_ScriptedTransport] = []
        self.blocked = False  # new connections are as dead as forgotten ones
        self.seconds_per_clip = 0.0  # on each new connection, a clip's way to the server; questions wait behind it

    @property
    def connections(self) -> int:
        return len(self._made)

    def transport(self) -> Transport:
        self._made.append(_ScriptedTransport(self._server, self.seconds_per_clip))
        self._made[-1].forgets_requests = self._made[-1].forgets_answers = self.blocked
        return self._made[-1]

    def forget(self, *, answers_only: bool = False) -> None:
        assert self._made, "there is no connection to forget"
        for transport in self._made:
            transport.forgets_requests = not answers_only
            transport.forgets_answers = True


class _ScriptedTransport:
    def __init__(self, server: ScriptedServer, seconds_per_clip: float = 0.0) -> None:
        self.forgets_requests = self.forgets_answers = False
        self._server = server
        self._seconds_per_clip = seconds_per_clip
        self._link = threading.Lock()  # one request at a time is on its way
        self._closed = threading.Event()

    def is_live(self, *, timeout_seconds: float) -> None:
        if not self._link.acquire(timeout=timeout_seconds):
            raise ScorerUnavailable(Trouble.SILENT, "the question is still on its way")
        self._link.release()
        self._ask(timeout_seconds, lambda: self._server.show_life(timeout_seconds, closed=self._closed))

    def describe(self, target: Target, *, version: str = "", timeout_seconds: float) -> ServedModel:
        model = target.model
        served = self._ask(timeout_seconds, lambda: self._server.ask(model, timeout_seconds, closed=self._closed))
        if version not in ("", served.version):
            raise ScorerUnavailable(Trouble.NOT_READY, f"{model} has no version {version}")
        return served

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
        def score() -> Answer | Failure:
            model = target.model
            served = self._server.ask(model, timeout_seconds, closed=self._closed)
            return self._server.score(model, pixels, scene, heat, features, served)

        def answer() -> None:
            with self._link:
                self._closed.wait(self._seconds_per_clip)
            try:
                outcome = self._ask(timeout_seconds, score)
            except ScorerUnavailable as error:
                outcome = Failure(error.trouble, str(error))
            on_answer(outcome)

        threading.Thread(target=answer, daemon=True).start()

    def _ask(self, timeout_seconds: float, question: Callable[[], Reply]) -> Reply:
        """Ask the server, unless the request or its answer gets lost on the way."""
        limit = time.monotonic() + timeout_seconds
        answer = None if self.forgets_requests else question()
        if self.forgets_answers:
            if self._closed.wait(max(0.0, limit - time.monotonic())):
                raise ScorerUnavailable(Trouble.UNREACHABLE, "the transport was closed")
            raise ScorerUnavailable(Trouble.SILENT, f"Triton at {self._server.address} did not answer in time")
        return cast("Reply", answer)

    def load(self, model: str) -> None:
        while self._server.hold_loads.is_set() and not self._closed.is_set():
            time.sleep(0.01)
        self._server.load(model)

    def unload(self, model: str) -> None:
        self._server.unload(model)

    def close(self) -> None:
        self._closed.set()
        self._server.wake()
