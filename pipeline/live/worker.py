"""The ingest worker: every camera decoded, scored, smoothed and watched, every alert accepted and sent.

Threads: one for each camera (decode, scale, cut windows); the scoring client's; one that runs the operators of all
cameras and commits events; the relay's. A camera's trouble stays in its thread.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from operators.chain import ChainSettings
from operators.scores import SegmentEnd, SmoothedScore
from pipeline import logs
from pipeline.alerts.assembler import AlertAssembler, PictureStore
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.outbox import OutboxError
from pipeline.live.metrics import Metrics
from pipeline.scoring.outcomes import Dropped, Scored
from pipeline.scoring.scorer import CameraPort, Scorer
from pipeline.scoring.served_model import ServedModel
from pipeline.sources.base import EndReason, Frame, Source, SourceError
from pipeline.sources.reconnect import Outage
from pipeline.windows import ClipSpec, ClipWindow, WindowCutter

_log = logs.get("worker")

#: A live source that fails in a way nobody foresaw is tried again after this many seconds.
_RESTART_SECONDS = 5.0
#: An event that the outbox cannot take (the disk is full) is offered again after this many seconds.
_OUTBOX_RETRY_SECONDS = 1.0
#: Of the time a stop may take: how much the cameras get to end by themselves, and the scorer to answer what it has.
_STOP_CAMERAS_SECONDS = 2.5
_STOP_SCORER_SECONDS = 1.5
_STOP_OPERATORS_SECONDS = 1.0
#: Results that may wait for the operators; each holds its clip (2.4 MB at 16 × 224 × 224).
_WAITING_RESULTS = 32


class CameraPhase(StrEnum):
    """What a camera is doing, for people."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  #: an outage; it will be tried again
    DONE = "done"  #: a recording, scored to its end
    FAILED = "failed"


@dataclass(slots=True)
class CameraState:
    """What the table shows of a camera. Each field has one writer; a reader may see a moment's mixture."""

    camera: str
    live: bool
    phase: CameraPhase = CameraPhase.STARTING
    message: str = ""
    ever_connected: bool = False
    frames: int = 0
    position_seconds: float = 0.0  #: PTS of the latest frame
    scored: int = 0
    dropped: int = 0
    score: float | None = None
    smoothed: float | None = None
    open_threshold: float = 0.0
    alerts: int = 0
    alert_open: bool = False


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """One camera to be watched.

    Attributes:
        build: makes the source, given ``on_outage``, ``on_connected``, ``on_damage`` and ``on_slow``; see
            :func:`pipeline.sources.factory.open_source`.
        clip: the clips to cut.
        served: the model that scores at the start.
        chain: the operators' settings for the scores of a model.
    """

    camera: str
    build: Callable[..., Source]
    clip: ClipSpec
    served: ServedModel
    chain: Callable[[ServedModel], ChainSettings]


@dataclass(frozen=True, slots=True)
class _Finished:
    """A recording's clips have all been answered."""


@dataclass(slots=True)
class _Camera:
    plan: CameraPlan
    source: Source
    state: CameraState
    assembler: AlertAssembler
    port: CameraPort
    thread: threading.Thread
    served: ServedModel  # whose scores the operators know how to judge, and the table shows
    open_segment: tuple[str, int] | None = None  # (id, clips cut so far) of the segment being read
    finished: bool = False
    failure: SourceError | None = None


class Acceptance(Protocol):
    """Where alert events are committed; see :class:`pipeline.alerts.outbox.Outbox`."""

    def accept(self, event: AlertEvent) -> bool:
        """Commit the event; it is safe once this returns. Raises OutboxError."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerHooks:
    """Called from the operators' thread, but ``camera_failed``, from the camera's; keep them quick.

    Of a recording, whose clips all have their outcome, ``finished`` is the last call.
    """

    accepted: Callable[[AlertEvent], None] = field(default=lambda _event: None)
    camera_failed: Callable[[CameraState], None] = field(default=lambda _state: None)
    scored: Callable[[Scored], None] = field(default=lambda _scored: None)  #: in the order of the answers
    smoothed: Callable[[SmoothedScore], None] = field(default=lambda _score: None)  #: in the order of the clips
    dropped: Callable[[Dropped], None] = field(default=lambda _dropped: None)
    finished: Callable[[CameraState], None] = field(default=lambda _state: None)


class Worker:
    """Runs cameras until they end or :meth:`stop` is called. Cameras may come and go meanwhile."""

    def __init__(
        self,
        plans: list[CameraPlan],
        *,
        site: str,
        run: str,
        scorer: Scorer,
        queue_clips: int,
        outbox: Acceptance,
        notify: Callable[[], None],
        pictures: PictureStore | None,
        metrics: Metrics,
        hooks: WorkerHooks | None = None,
    ) -> None:
        """
        Args:
            plans: of the cameras that are there from the start.
            run: names this run in the ids of alerts from recordings; live cameras have none.
            queue_clips: clips that may wait for each camera.
            notify: tells the relay that the outbox has grown.
            pictures: where alerts' pictures go; None: there are none.

        Raises:
            SourceError: a source that can be refused before anything starts (a missing file, not a video).
        """
        self._site = site
        self._run = run
        self._queue_clips = queue_clips
        self._pictures = pictures
        self._scorer = scorer
        self._outbox = outbox
        self._notify = notify
        self._metrics = metrics
        self._hooks = hooks or WorkerHooks()
        self._stop = threading.Event()
        self._all_done = threading.Event()
        # Bounded, so that the scorer feels operators that cannot keep up (a slow disk), and drops or waits.
        self._results: queue.Queue[tuple[str, Scored | Dropped | SegmentEnd | _Finished] | None] = queue.Queue(
            _WAITING_RESULTS
        )
        self._operators = threading.Thread(target=self._run_operators, name="operators", daemon=True)
        self._change = threading.Lock()  # of which cameras there are
        self._cameras: dict[str, _Camera] = {}
        for plan in plans:
            self._cameras[plan.camera] = self._prepare(plan)

    def _prepare(self, plan: CameraPlan) -> _Camera:
        name = plan.camera
        source = plan.build(
            on_outage=self._on_outage,
            on_connected=self._on_connected,
            on_damage=lambda damage: _log.warning("recording damaged", camera=name, damage=damage),
            on_slow=lambda problem: _log.warning("scene rendered too slowly", camera=name, error=problem),
        )
        chain = plan.chain(plan.served)
        assembler = AlertAssembler(
            name,
            chain,
            clip=plan.clip.frame_spec,
            site=self._site,
            run="" if source.live else self._run,
            replay=not source.live,
            pictures=self._pictures,
            accept=self._accept,
            picture_failed=lambda camera, error: _log.error(
                "picture not written; the alert goes without", camera=camera, error=str(error)
            ),
            smoothed=self._hooks.smoothed,
        )
        port = self._scorer.add_camera(
            name,
            live=source.live,
            capacity=self._queue_clips,
            deliver=lambda result: self._results.put((name, result)),
        )
        if source.live:
            self._metrics.connected.labels(name).set(0)  # also while it hangs in its very first attempt
        state = CameraState(name, source.live, open_threshold=chain.alert.open_threshold)
        thread = threading.Thread(target=self._run_camera, args=(name,), name=f"camera {name}", daemon=True)
        return _Camera(plan, source, state, assembler, port, thread, plan.served)

    # -- the outside's view ------------------------------------------------------------------------------------

    @property
    def states(self) -> list[CameraState]:
        """One a camera, in the order of the plans; read only."""
        return [camera.state for camera in list(self._cameras.values())]

    @property
    def failures(self) -> list[SourceError]:
        """Why recordings could not be read to their end."""
        return [camera.failure for camera in list(self._cameras.values()) if camera.failure is not None]

    def start(self) -> None:
        """Start every thread."""
        self._operators.start()
        for camera in self._cameras.values():
            camera.thread.start()

    def add(self, plan: CameraPlan) -> CameraState:
        """One more camera, while the others run. Its name is free again once it was removed.

        Raises:
            SourceError: its source can be refused at once.
        """
        camera = self._prepare(plan)
        with self._change:
            self._cameras[plan.camera] = camera
            self._all_done.clear()
        camera.thread.start()
        return camera.state

    def remove(self, name: str) -> None:
        """Forget a recording that has finished, and what it counted."""
        with self._change:
            camera = self._cameras.pop(name)
            assert camera.finished, f"{name} is not done"
        camera.port.close()
        self._metrics.forget(name)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every camera is a recording that is done, or has failed; True when that is so."""
        return self._all_done.wait(timeout)

    def stop(self) -> None:
        """End every source, let what is in flight be answered, close every alert: within about 7 s.

        Clips not yet scored are dropped and counted with the reason ``shutdown``. Every event accepted is in the
        outbox when this returns.
        """
        self._stop.set()
        deadline = time.monotonic() + _STOP_CAMERAS_SECONDS
        for camera in self._cameras.values():
            if camera.thread.is_alive():
                camera.thread.join(max(0.0, deadline - time.monotonic()))
        for camera in self._cameras.values():
            # A camera that hangs in a read is left to its daemon thread; its segment is closed on its behalf.
            with contextlib.suppress(queue.Full):  # the operators hang, as said below
                self._close_segment(camera, EndReason.SHUTDOWN, timeout=max(0.0, deadline - time.monotonic()))
        self._scorer.close(_STOP_SCORER_SECONDS)
        with contextlib.suppress(queue.Full):
            self._results.put(None, timeout=_STOP_OPERATORS_SECONDS)
        if self._operators.is_alive():
            self._operators.join(_STOP_OPERATORS_SECONDS)
        if self._operators.is_alive():
            _log.error("the operators did not finish in time; open alerts end when the worker starts again")

    # -- a camera's thread -------------------------------------------------------------------------------------

    def _run_camera(self, name: str) -> None:
        camera = self._cameras[name]
        while not self._stop.is_set():
            try:
                self._read(camera)
            except SourceError as error:
                self._close_segment(camera, EndReason.ERROR)
                camera.failure = error
                camera.state.phase, camera.state.message = CameraPhase.FAILED, str(error)
                _log.error("camera given up", camera=name, reason=error.code, error=str(error))
                self._hooks.camera_failed(camera.state)
            except Exception:  # a bug in one camera's path must not end the others
                self._close_segment(camera, EndReason.ERROR)
                _log.exception("unexpected failure; this is a bug", camera=name)
                if camera.source.live:
                    self._metrics.reconnects.labels(name, "error").inc()
                    self._stop.wait(_RESTART_SECONDS)
                    continue
                camera.failure = SourceError(f"camera {name}: unexpected failure, see the log", code="bug")
                camera.state.phase = CameraPhase.FAILED
            break
        if not self._stop.is_set():
            if camera.source.live:
                self._metrics.connected.labels(name).set(0)
            camera.port.drain(None)
            self._results.put((name, _Finished()))

    def _read(self, camera: _Camera) -> None:
        cutter = WindowCutter(camera.plan.clip)
        frames = self._metrics.frames_decoded.labels(camera.plan.camera)
        state = camera.state
        for item in camera.source.frames(camera.plan.clip.frame_spec, self._stop):
            if not isinstance(item, Frame):
                self._close_segment(camera, item.reason)
                cutter.push(item)
                continue
            frames.inc()
            state.frames += 1
            state.position_seconds = item.pts_seconds
            if camera.open_segment is None or camera.open_segment[0] != item.segment.id:
                camera.open_segment = (item.segment.id, 0)
                state.phase, state.ever_connected = CameraPhase.RUNNING, True
            window = cutter.push(item)
            if isinstance(window, ClipWindow):
                camera.open_segment = (item.segment.id, window.index + 1)
                camera.port.submit(window)

    def _close_segment(self, camera: _Camera, reason: EndReason, timeout: float | None = None) -> None:
        """Tell the operators, before any clip of the next segment can reach them, that this one is over."""
        if camera.open_segment is not None:
            segment, clips = camera.open_segment
            camera.open_segment = None
            end = SegmentEnd(camera.plan.camera, segment, clips, reason)
            self._results.put((camera.plan.camera, end), timeout=timeout)

    def _on_outage(self, outage: Outage) -> None:
        name = outage.camera
        self._metrics.reconnects.labels(name, outage.code).inc()
        self._metrics.connected.labels(name).set(0)
        _log.warning(
            "camera away",
            camera=name,
            reason=outage.code,
            error=outage.message,
            retry_in_seconds=round(outage.retry_in_seconds, 1),
        )
        state = self._cameras[name].state
        state.phase, state.message = CameraPhase.WAITING, outage.message

    def _on_connected(self, name: str) -> None:
        self._metrics.connected.labels(name).set(1)
        state = self._cameras[name].state
        state.phase, state.message, state.ever_connected = CameraPhase.RUNNING, "", True
        _log.info("camera connected", camera=name)

    # -- the operators' thread ---------------------------------------------------------------------------------

    def _run_operators(self) -> None:
        while (item := self._results.get()) is not None:
            name, result = item
            try:
                self._take(self._cameras[name], result)
            except OutboxError as error:
                _log.error("alert lost: it could not be kept until the stop", camera=name, error=str(error))
            except Exception:  # a bug in one camera's path must not end the others
                _log.exception("alerts of this camera could not be handled; this is a bug", camera=name)
            if isinstance(result, _Finished):
                self._finish(self._cameras[name])
        for name, camera in list(self._cameras.items()):
            try:
                self._note(camera, camera.assembler.close())
            except OutboxError as error:
                _log.error("alert lost: it could not be kept until the stop", camera=name, error=str(error))
            except Exception:
                _log.exception("alerts of this camera could not be closed; this is a bug", camera=name)

    def _take(self, camera: _Camera, result: Scored | Dropped | SegmentEnd | _Finished) -> None:
        name, state = camera.plan.camera, camera.state
        match result:
            case Scored():
                state.scored += 1
                state.score = result.score
                self._metrics.clips_scored.labels(name).inc()
                self._hooks.scored(result)
                if camera.source.live:
                    seconds = (result.scored_at - result.window.captured_at).total_seconds()
                    self._metrics.capture_to_score.labels(name).observe(seconds)
                if result.served != camera.served:
                    self._turn_to(camera, result.served)
                events = camera.assembler.scored(result)
            case Dropped():
                state.dropped += 1
                self._metrics.clips_dropped.labels(name, result.reason).inc()
                self._hooks.dropped(result)
                events = camera.assembler.dropped(result)
            case SegmentEnd():
                events = camera.assembler.segment_over(result)
            case _Finished():
                events = camera.assembler.close()
        latest = camera.assembler.chain.latest
        state.smoothed = None if latest is None else latest.value
        self._note(camera, events)

    def _finish(self, camera: _Camera) -> None:
        """Nothing more comes of this camera."""
        camera.finished = True
        if camera.state.phase is not CameraPhase.FAILED:
            camera.state.phase = CameraPhase.DONE
        self._hooks.finished(camera.state)
        with self._change:
            if all(other.finished for other in self._cameras.values()):
                self._all_done.set()

    def _turn_to(self, camera: _Camera, served: ServedModel) -> None:
        """Another model, or another version, scores: it has its own threshold."""
        camera.served = served
        settings = camera.plan.chain(served)
        camera.assembler.adopt(served, settings)
        camera.state.open_threshold = settings.alert.open_threshold

    def _note(self, camera: _Camera, events: list[AlertEvent]) -> None:
        for event in events:
            if event.data.sequence == 0:
                camera.state.alerts += 1
                self._metrics.alerts.labels(camera.plan.camera).inc()
            camera.state.alert_open = event.data.state != "end"
            self._hooks.accepted(event)

    def _accept(self, event: AlertEvent) -> None:
        """Commit the event, however long the disk is full: meanwhile recordings wait and live cameras drop clips.

        Raises:
            OutboxError: it could not be committed, and the worker stops.
        """
        told = False
        while True:
            stopping = self._stop.is_set()
            try:
                self._outbox.accept(event)
            except OutboxError as error:
                if stopping:
                    raise
                if not told:
                    _log.error("alerts cannot be kept; everything waits", camera=event.subject, error=str(error))
                    told = True
                self._stop.wait(_OUTBOX_RETRY_SECONDS)
            else:
                break
        if told:
            _log.info("alerts can be kept again")
        self._notify()
