"""One camera at work: a thread that takes its frames and cuts the clips of each detector that watches it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from operators.background import SceneKind, StandingScene, standing_scene
from operators.chain import ChainSettings
from operators.gate import GateSettings, MotionGate
from operators.scores import SegmentEnd
from operators.tamper.kinds import TamperKind
from operators.zones import Zone
from pipeline import logs
from pipeline.alerts.assembler import AlertAssembler
from pipeline.alerts.enrich import Enricher
from pipeline.alerts.films import FilmKeeper
from pipeline.alerts.zoning import CameraZones
from pipeline.live.drift import DriftWatch
from pipeline.live.listener import Listeners, Watch
from pipeline.live.score_states import WatchStates
from pipeline.live.supervision import Condition, SilenceLimits, Supervision
from pipeline.live.tamper import TamperReporter, TamperSeen, TamperWatch
from pipeline.no_clips import sparse_part, why_no_clip
from pipeline.scoring.ignoring import Ignoring
from pipeline.scoring.outcomes import Dropped, Gated, Scored
from pipeline.scoring.scorer import CameraPort
from pipeline.scoring.served_model import ServedModel
from pipeline.sources.arrival import StampFault, StampReport
from pipeline.sources.base import EndReason, Frame, SegmentOver, Source, SourceError
from pipeline.sources.factory import SourceCallbacks
from pipeline.sources.filming.orders import FilmingSource
from pipeline.sources.frame_index import FrameIndex, Indexed
from pipeline.sources.reconnect import Outage
from pipeline.windows import ClipSpec, ClipWindow, WindowCutter, longest_spacing

_log = logs.get("worker")

#: Faults of a camera's time stamps that are logged, once a connection. The others happen to sound cameras too.
_LOGGED_FAULTS = frozenset({StampFault.STRAY, StampFault.UNUSABLE, StampFault.CLOCK_WRONG, StampFault.STAMPS_DRIFT})

#: A live camera that has delivered the frames of so many clips without one is reported.
_CLIPLESS_FRAMES = 3

#: A live source that fails in an unexpected way is tried again after this many seconds.
_RESTART_SECONDS = 5.0

#: How often a camera that waits for room looks whether it stops, seconds.
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class DetectorPlan:
    """One detector that is to watch a camera.

    Attributes:
        clip: the clips to cut.
        served: the model that scores at the start.
        chain: returns the operators' settings for the scores of a model.
        name: the detector's name; empty at a site that names no detectors.
        model: its model's name on the server; None takes the scorer's only one.
        part: the part that scores, of a model that hosts the parts of cameras; else empty.
        gate: returns the settings of the motion gate for the clips of a model; None: every clip is sent.
    """

    clip: ClipSpec
    served: ServedModel
    chain: Callable[[ServedModel], ChainSettings]
    name: str = ""
    model: str | None = None
    part: str = ""
    gate: Callable[[ServedModel], GateSettings | None] = lambda _served: None


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """One camera that is to be watched.

    Attributes:
        build: makes the source, which then calls its camera back; see :func:`pipeline.sources.factory.open_source`.
        detectors: at least one.
        zones: zones and schedules.
        silence: time without frames after which a live camera is stalled.
        tamper: kinds of tampering to report.
    """

    camera: str
    build: Callable[[SourceCallbacks], Source]
    detectors: Sequence[DetectorPlan]
    zones: CameraZones = field(default_factory=CameraZones)
    silence: SilenceLimits = field(default_factory=SilenceLimits)
    tamper: frozenset[TamperKind] = frozenset()


@dataclass(frozen=True, slots=True)
class Result:
    """An outcome or a segment's end on its way from one camera and detector to the operators."""

    camera: Camera
    watcher: Watcher
    value: Scored | Dropped | Gated | SegmentEnd


@dataclass(frozen=True, slots=True)
class Tampered:
    """The begin or the end of a tampering on its way to the outbox."""

    camera: Camera
    seen: TamperSeen


@dataclass(frozen=True, slots=True)
class JudgedAnew:
    """Other rules of a camera, on their way to the operators: their zones and schedules, and its detectors' settings.

    Attributes:
        done: called once they are in force, or the camera is gone; with whether they are.
    """

    camera: Camera
    zones: CameraZones
    done: Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class Finished:
    """All clips of a camera have their outcome."""

    camera: Camera


class Watcher:
    """One detector at work on one camera: its windows and scenes, its queue to the scorer, its chain of operators.

    :meth:`take` and :meth:`close_segment` belong to the camera's thread, ``assembler`` and ``drift`` to the thread of
    the operators, which alone writes ``served``.

    A clip in which nothing moves is not sent where the model allows it. The gate sees every clip of the segment,
    whatever the model allows, and no score, so it too depends on the footage alone.

    What the camera's ignore zones show is taken out of each clip (:mod:`pipeline.scoring.ignoring`).

    The scene is kept over all clips of a segment, whether they are scored or dropped, so it depends on the footage
    alone. Where another version of the model reads another kind of scene, it is kept from that version's first score
    on, beginning with nothing; clips that were cut before are scored against their own median. (The cost and memory of
    it: :mod:`operators.background`.)
    """

    port: CameraPort  #: its queue; set before the first frame
    put_gated: Callable[[Gated], None]  #: takes the clips that are not sent; set before the first frame
    enricher: Enricher | None = None  #: adds likeness to its alerts, on the thread of the operators
    states: WatchStates | None = None  #: publishes its scores, on that thread
    is_lost = False  #: another worker had the camera when an alert was to begin; on that thread

    def __init__(
        self,
        watch: Watch,
        plan: DetectorPlan,
        assembler: AlertAssembler,
        drift: DriftWatch,
        zones: Sequence[Zone] = (),
    ) -> None:
        self.watch = watch
        self.plan = plan
        self.assembler = assembler
        self.drift = drift
        self.served = plan.served  #: the model whose scores the operators know how to judge
        self.clips = 0  #: cut so far
        self._frames = 0  # taken before the first clip
        self._cutter = WindowCutter(plan.clip)
        self._open: tuple[str, int] | None = None  # (id, clips cut so far) of the segment being read
        self._scene_kind: SceneKind | None = None
        self._scene: StandingScene | None = None  # of that kind
        self._gated_for: ServedModel | None = None  # whose settings the gate has
        self._gate: MotionGate | None = None
        self._ignoring = Ignoring(watch.camera, zones, plan.clip.frame_spec)
        self._wanted_zones: Sequence[Zone] | None = None  # to be ignored from the next clip on

    def look_anew(self, zones: Sequence[Zone]) -> None:
        """Use other ignore zones, and the gate's settings of now, from the next clip on; on any thread."""
        self._wanted_zones = zones

    def _turn_eyes(self, zones: Sequence[Zone]) -> None:
        """Do what :meth:`look_anew` asks for, between two clips."""
        self._wanted_zones = None
        self._gated_for = None  # the gate's settings are asked for again
        if [zone for zone in zones if zone.ignore] != self._ignoring.zones:
            self._ignoring = Ignoring(self.watch.camera, zones, self.plan.clip.frame_spec)

    def take(self, item: Frame | SegmentOver) -> None:
        """Take the camera's next frame, and hand in the clip that it completes; or forget an ended segment's frames."""
        segment = item.segment.id
        if isinstance(item, Frame) and (self._open is None or self._open[0] != segment):
            self._open = (segment, 0)
        window = self._cutter.push(item)
        if isinstance(item, Frame) and item.segment.live and not self.clips:
            self._count_without_clip(item)
        if isinstance(window, ClipWindow):
            self.clips += 1
            self._open = (segment, window.index + 1)
            served = self.served
            if (zones := self._wanted_zones) is not None:
                self._turn_eyes(zones)
            window = self._ignoring.apply(self._with_scene(window), served)
            if self._is_sent(window, served):
                self.port.submit(window)
            else:
                self.put_gated(Gated.from_window(window))

    def _is_sent(self, window: ClipWindow, served: ServedModel) -> bool:
        if served is not self._gated_for:
            self._turn_gate_to(served)
        if self._gate is None:
            return True
        decision = self._gate.push(window.segment.id, window.pixels, self._ignoring.hidden)
        return decision.sent or not served.may_be_gated

    def _turn_gate_to(self, served: ServedModel) -> None:
        """Use the gate's settings for another model, or another version of it, which has its own average."""
        self._gated_for = served
        settings = self.plan.gate(served)
        if settings is None:
            self._gate = None
        elif self._gate is None:
            self._gate = MotionGate(settings)
        else:
            self._gate.retune(settings)

    def _with_scene(self, window: ClipWindow) -> ClipWindow:
        """Return the clip with the scene that it is scored against, where the model reads one and it is known."""
        kind = self.served.scene
        if kind is not self._scene_kind:
            self._scene_kind, self._scene = kind, None if kind is None else standing_scene(kind)
        if self._scene is None:
            return window
        scene = self._scene.push(window.segment.id, window.start, window.pixels)
        return replace(window, scene=scene, scene_kind=kind)

    def _count_without_clip(self, frame: Frame) -> None:
        """Log a live camera that delivers pictures of which no clip can be made, once."""
        self._frames += self.plan.clip.frame_spec in frame.images
        if self._frames == _CLIPLESS_FRAMES * self.plan.clip.frames:
            need = f"{self.plan.clip.frames} without a pause of more than {longest_spacing(self.plan.clip):.3g} s"
            _log.warning("no clip yet", camera=str(self.watch), frames=self._frames, a_clip_needs=need)

    def close_segment(self, reason: EndReason, put: Callable[[SegmentEnd], None]) -> None:
        """Hand the end of the open segment to ``put``, unless none is open; it stays open where ``put`` raises."""
        if (was_open := self._open) is None:
            return
        self._open = None
        segment, clips = was_open
        try:
            put(SegmentEnd(self.watch.camera, segment, clips, reason))
        except queue.Full:
            self._open = was_open
            raise


class Camera:
    """A camera and its thread. Its trouble stays in that thread."""

    def __init__(
        self,
        plan: CameraPlan,
        listeners: Listeners,
        put: Callable[[Result | Tampered | JudgedAnew | Finished, float | None], None],
        keeper: FilmKeeper | None = None,
    ):
        """Build the source; the watchers are added before :meth:`start`.

        Args:
            keeper: keeps the films of alerts; None for a camera without films.
            put: hands something to the operators, in order; waits for at most so many seconds for room, None: for ever.

        Raises:
            SourceError: a source that can be refused before anything starts (a missing file, not a video).
        """
        self.name = plan.camera
        self.plan = plan
        self.stop = threading.Event()
        #: Another worker continues the camera: its stop ends no segment and no alert. Set before ``stop``.
        self.is_handed_over = False
        self.generation: int | None = None  #: of this worker's claim, where workers share cameras
        self.finished = threading.Event()  #: set by the operators' thread
        self.failure: SourceError | None = None  #: why the source could not be read to its end
        self.watchers: list[Watcher] = []
        self.tamper_reporter: TamperReporter | None = None  #: of the thread of the operators
        self._listeners = listeners
        self._put = put
        self._tamper = TamperWatch(plan.camera, plan.tamper, self._put_tamper) if plan.tamper else None
        self._logged_faults: set[StampFault] = set()  # of the present connection
        self._thread = threading.Thread(target=self._run, name=f"camera {self.name}", daemon=True)
        #: Films of its alerts; None where its source cannot make any.
        self.films = None if keeper is None else keeper.camera(self.name)
        self.source: Source = plan.build(
            SourceCallbacks(
                on_outage=self._on_outage,
                on_connected=self._on_connected,
                on_attempt=lambda _name: self.supervision.attempt(),
                on_choice=lambda choice: _log.warning("several video streams", camera=self.name, watched=choice),
                on_software=lambda why: _log.warning("decoding in software", camera=self.name, reason=why),
                on_damage=lambda damage: _log.warning("recording damaged", camera=self.name, damage=damage),
                on_slow=lambda problem: _log.warning("scene rendered too slowly", camera=self.name, error=problem),
                on_stamps=self._on_stamps,
                on_film=None if self.films is None else self.films.report,
            )
        )
        if self.films is not None and isinstance(self.source, FilmingSource):
            self.films.source = self.source
        else:
            self.films = None
        self.supervision = Supervision(self.name, plan.silence if self.source.live else None, self._on_condition)

    def start(self) -> None:
        """Start to read."""
        self._thread.start()

    @property
    def is_holding_alerts(self) -> bool:
        """Return whether alerts are held back for their likeness; on the thread of the operators."""
        return any(watcher.enricher is not None and watcher.enricher.is_holding for watcher in self.watchers)

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, which ``stop`` or the end of a recording brings about."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def close_segments(self, reason: EndReason, timeout: float | None = None) -> None:
        """Report the end of what is being read to the operators, before any clip of the next segment reaches them.

        Where the camera is handed over, nothing is reported: the segment goes on elsewhere.

        Raises:
            queue.Full: the operators had no room within ``timeout`` seconds.
        """
        if self.is_handed_over:
            return
        for watcher in self.watchers:
            watcher.close_segment(reason, partial(self._put_end, watcher, timeout))

    def _put_end(self, watcher: Watcher, timeout: float | None, end: SegmentEnd) -> None:
        self._put(Result(self, watcher, end), timeout)

    def _put_tamper(self, seen: TamperSeen) -> None:
        while not self.stop.is_set():  # it may come too late then, and the camera be removed already
            with suppress(queue.Full):
                self._put(Tampered(self, seen), _LOOK_SECONDS)
                break

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                self.supervision.attempt()
                self._read()
            except SourceError as error:
                self._give_up(error)
            except Exception:  # a bug in one camera's path must not end the others
                _log.exception("unexpected failure; this is a bug", camera=self.name)
                problem = f"camera {self.name}: unexpected failure, see the log"
                if self.source.live:
                    self.close_segments(EndReason.ERROR)
                    self._on_outage(Outage(self.name, "error", problem, _RESTART_SECONDS))
                    self.stop.wait(_RESTART_SECONDS)
                    continue
                self._give_up(SourceError(problem, code="error"))
            break
        if not self.stop.is_set():
            if self.failure is None and isinstance(self.source, Indexed):
                self._report_sparse(self.source.seen)
            for watcher in self.watchers:
                watcher.port.drain(None)
            self._put(Finished(self), None)

    def _read(self) -> None:
        specs = [watcher.plan.clip.frame_spec for watcher in self.watchers]
        for item in self.source.frames(specs, self.stop):
            if isinstance(item, Frame):
                self.supervision.frame()
            if not isinstance(item, Frame):
                self.close_segments(item.reason)
            elif not self.stop.is_set():  # else it may have come too late, and the camera be removed already
                self._report_frame(item)
            else:
                continue
            if self._tamper is not None and isinstance(item, Frame):
                self._tamper.take(item)
            for watcher in self.watchers:
                watcher.take(item)
            self.supervision.await_frame()

    def _report_sparse(self, index: FrameIndex) -> None:
        """Report the detectors that had no clip of a recording, or not of all of it."""
        for watcher in self.watchers:
            spec = watcher.plan.clip
            if not watcher.clips:
                self._report_no_clips(watcher.watch, why_no_clip(index, spec))
            elif (part := sparse_part(index, spec)) is not None:
                _log.warning("recording sparse, watched in part", camera=self.name, sparse=part)

    def _report_no_clips(self, watch: Watch, why: str) -> None:
        self._listeners.notify(lambda one: one.without_clips(watch, why))

    def _report_frame(self, frame: Frame) -> None:
        self._listeners.notify(lambda one: one.frame(self.name, frame))

    def _give_up(self, error: SourceError) -> None:
        self.close_segments(EndReason.ERROR)
        if self.stop.is_set():
            return
        self.failure = error
        self.supervision.fail(error)
        _log.error("camera given up", camera=self.name, reason=error.code, error=str(error))
        self._listeners.notify(lambda one: one.failed(self.name, error))

    def _on_outage(self, outage: Outage) -> None:
        if self.stop.is_set():
            return
        self.supervision.outage(outage)
        _log.warning(
            "camera away",
            camera=self.name,
            reason=outage.code,
            error=outage.message,
            retry_in_seconds=round(outage.retry_in_seconds, 1),
        )
        self._listeners.notify(lambda one: one.away(outage))

    def _on_condition(self, condition: Condition) -> None:
        self._listeners.notify(lambda one: one.condition_changed(self.name, condition))
        if condition.reason == "stall":
            _log.warning("camera stalled", camera=self.name, error=condition.message)

    def _on_connected(self, _name: str) -> None:
        if self.stop.is_set():
            return
        self._logged_faults.clear()
        self._listeners.notify(lambda one: one.connected(self.name))
        _log.info("camera connected", camera=self.name)

    def _on_stamps(self, report: StampReport) -> None:
        if self.stop.is_set():
            return
        if report.fault in _LOGGED_FAULTS and report.fault not in self._logged_faults:
            self._logged_faults.add(report.fault)
            _log.warning("camera's time stamps", camera=self.name, reason=report.fault, error=report.message)
        self._listeners.notify(lambda one: one.stamps(report))
