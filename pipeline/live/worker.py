"""The ingest worker: every camera decoded, scored, smoothed and judged, every alert accepted and sent.

Threads: one for each camera (decode, scale, cut windows); the scoring client's; one that runs the operators of all
cameras and commits events; the relay's. A camera's trouble stays in its thread.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from operators.alerting import AlertState
from operators.chain import ChainSettings
from operators.scores import SegmentEnd, SmoothedScore
from pipeline import logs
from pipeline.alerts.assembler import AlertAssembler, PictureStore
from pipeline.alerts.drift import DriftEvent
from pipeline.alerts.enrich import HOLD_SECONDS, REPLAY_HOLD_SECONDS, Addition, Enricher
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.films import FilmKeeper
from pipeline.alerts.outbox import OutboxError
from pipeline.alerts.reading import Event
from pipeline.alerts.tamper import TamperEvent
from pipeline.alerts.zoning import CameraZones
from pipeline.live.camera import Camera, CameraPlan, DetectorPlan, Finished, JudgedAnew, Result, Tampered, Watcher
from pipeline.live.drift import DriftWatch
from pipeline.live.likeness import SiteLikeness
from pipeline.live.listener import Listeners, Watch, WorkerListener
from pipeline.live.ownership import Claim
from pipeline.live.places import SitePlaces
from pipeline.live.recent_scores import RecentScores
from pipeline.live.score_states import ScoreStates, WatchStates
from pipeline.live.tamper import TamperReporter
from pipeline.scoring.outcomes import Dropped, Gated, Scored
from pipeline.scoring.scorer import Scorer
from pipeline.scoring.served_model import ServedModel
from pipeline.sources.base import EndReason, SourceError

_log = logs.get("worker")

#: An event that the outbox cannot take (the disk is full) is offered again after this many seconds.
_OUTBOX_RETRY_SECONDS = 1.0
#: While alerts wait for an addition, and while an update with it may still come, seconds between two looks.
_HOLDING_SECONDS, _LATE_SECONDS = 0.005, 0.05
#: Limits within a stop, seconds: for the cameras to end by themselves, for the scorer to answer the clips in flight,
#: for the operators to finish.
_STOP_CAMERAS_SECONDS = 2.5
_STOP_SCORER_SECONDS = 1.5
_STOP_OPERATORS_SECONDS = 1.0
#: All of them together: the operators have their limit twice, and the scorer a second beyond its own.
STOP_SECONDS = _STOP_CAMERAS_SECONDS + _STOP_SCORER_SECONDS + 1.0 + 2 * _STOP_OPERATORS_SECONDS
#: Results that may wait for the operators; each holds its clip (2.4 MB at 16 × 224 × 224).
_WAITING_RESULTS = 32
#: How often the cameras are looked at for stalls, seconds.
_SUPERVISION_SECONDS = 0.25
#: How often the operators look whether another worker's alert was continued in time, seconds.
_CONTINUING_SECONDS = 0.5
#: How often a camera that is being stopped looks whether the whole worker stops, seconds.
_LOOK_SECONDS = 0.2


class Acceptance(Protocol):
    """A place where events are committed; see :class:`pipeline.alerts.outbox.Outbox`."""

    def accept(self, event: Event) -> bool | None:
        """Commit the event; it is safe once this returns, unless that is None: it is refused. Raises OutboxError."""
        ...


class Worker:
    """Runs cameras until they end or :meth:`stop` is called. Cameras may be added, stopped and removed meanwhile."""

    def __init__(
        self,
        plans: Sequence[CameraPlan],
        *,
        site: str,
        run: str,
        scorer: Scorer,
        queue_clips: int,
        outbox: Acceptance,
        notify: Callable[[], None],
        pictures: PictureStore | None,
        films: FilmKeeper | None = None,
        listeners: Sequence[WorkerListener] = (),
        several_detectors: bool = False,
        likeness: SiteLikeness | None = None,
        places: SitePlaces | None = None,
        states: ScoreStates | None = None,
    ) -> None:
        """
        Args:
            plans: of the cameras that are there from the start.
            run: names this run in the ids of alerts from recordings; live cameras have none.
            queue_clips: clips that may wait for each camera and detector.
            notify: called after the outbox has grown.
            pictures: where alerts' pictures go; None: events go without.
            films: keeps the films of live cameras' alerts; None for a worker without films.
            listeners: see :class:`pipeline.live.listener.WorkerListener`.
            several_detectors: the site names several detectors; the ids of alerts then include the detector.
            likeness: adds likeness to alerts; None: they go without.
            places: adds the place and the thing to alerts; None: they go without.
            states: publishes the scores and states of live cameras; None: they are not published.

        Raises:
            SourceError: a source that can be refused before anything starts (a missing file, not a video).
        """
        self._site = site
        self._run = run
        self._queue_clips = queue_clips
        self._pictures = pictures
        self._films = films
        self._scorer = scorer
        self._outbox = outbox
        self._notify_relay = notify
        self._listeners = Listeners(listeners)
        self._several_detectors = several_detectors
        self._likeness = likeness
        self._places = places
        self._states = states
        # Those that continue another worker's alerts, until their first clip: when it is too late for one, monotonic.
        self._continuing: dict[Watcher, float] = {}
        self._waiting: set[Watcher] = set()  # whose alerts wait for an addition, or for an update with it
        self._finishing: list[Camera] = []  # nothing more comes of them, and their last alerts wait for additions
        self._step_since: float | None = None  # monotonic; written by the operators' thread alone
        self._is_outbox_blocked = False
        self._stop = threading.Event()
        self._all_done = threading.Event()
        # Bounded, so that the scorer feels operators that cannot keep up (a slow disk), and drops or waits.
        self._results: queue.Queue[Result | Tampered | JudgedAnew | Finished | None] = queue.Queue(_WAITING_RESULTS)
        self._operators = threading.Thread(target=self._run_operators, name="operators", daemon=True)
        self._supervision = threading.Thread(target=self._supervise, name="supervision", daemon=True)
        self._changing = threading.Lock()  # cameras are added and removed one after the other
        self._done = threading.Lock()  # of _cameras against _all_done
        self._cameras: dict[str, Camera] = {}
        for plan in plans:
            self._add(plan)

    # -- called from outside -----------------------------------------------------------------------------------

    @property
    def failures(self) -> list[SourceError]:
        """The errors of the recordings that could not be read to their end."""
        return [camera.failure for camera in list(self._cameras.values()) if camera.failure is not None]

    def dead_threads(self) -> list[str]:
        """Return the names of the threads that have ended although the worker was not stopped."""
        if self._stop.is_set() or self._operators.ident is None:
            return []
        threads = [thread.name for thread in (self._operators, self._supervision) if not thread.is_alive()]
        return [*threads, "scorer"] if self._scorer.has_died else threads

    @property
    def step_seconds(self) -> float:
        """Seconds since the operators began their present step, or last tried the outbox; 0 while they are idle."""
        since = self._step_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def is_outbox_blocked(self) -> bool:
        """Return whether an event waits because the outbox cannot be written."""
        return self._is_outbox_blocked

    @property
    def cameras(self) -> frozenset[str]:
        """The names of its cameras, also of those that have ended."""
        return frozenset(self._cameras)

    def start(self) -> None:
        """Start every thread."""
        self._operators.start()
        self._supervision.start()
        for camera in self._cameras.values():
            camera.start()

    def add(self, plan: CameraPlan, claim: Claim | None = None) -> None:
        """Add a camera while the others run.

        Args:
            claim: the camera is shared between workers: its events carry the claim's generation, and its operators
                continue from the claim's states.

        Raises:
            SourceError: its source can be refused at once.
            ValueError: there is a camera of this name.
            RuntimeError: the worker is stopped.
        """
        self._add(plan, claim).start()

    def hand_over(self, name: str) -> None:
        """Stop a camera without ending its alerts, and remove it: another worker continues them.

        Its last states are given to the publisher of states when this returns; as :meth:`stop_camera` does, within
        about 5 s. Must not be called by a listener.

        Raises:
            KeyError: unknown camera.
        """
        self._cameras[name].is_handed_over = True
        self.remove(name)

    def put(self, plan: CameraPlan) -> None:
        """Add a camera, or watch it by other detectors: its source is opened again, and its counts continue.

        Must not be called by a listener.

        Raises:
            SourceError, RuntimeError: as :meth:`add`.
        """
        if (camera := self._cameras.get(plan.camera)) is not None:
            self.stop_camera(plan.camera)
            for watcher in camera.watchers:
                watcher.port.close()
            with self._changing, self._done:
                self._cameras.pop(plan.camera, None)
        # Its alerts have ended, so there is nothing to continue; the camera is still this worker's.
        generation = None if camera is None else camera.generation
        self.add(plan, None if generation is None else Claim(plan.camera, generation))

    def judge_anew(self, name: str, zones: CameraZones) -> bool:
        """Judge a camera by the settings that its plan returns now, and by these zones, while it goes on.

        No clip is lost, and an open alert continues; see :mod:`pipeline.live.change_kinds`. Must not be called by a
        listener.

        Returns:
            Whether they are in force; False where the camera has ended meanwhile, or the worker stops.

        Raises:
            KeyError: unknown camera.
        """
        camera = self._cameras[name]
        answered = threading.Event()
        in_force: list[bool] = []

        def done(value: bool) -> None:
            in_force.append(value)
            answered.set()

        item = JudgedAnew(camera, zones, done)
        self._put_until_stop(partial(self._results.put, item, timeout=_LOOK_SECONDS), camera.finished)
        while self._operators.is_alive() and not (answered.wait(_LOOK_SECONDS) or self._stop.is_set()):
            if camera.finished.is_set() and not answered.wait(_LOOK_SECONDS):
                break
        return bool(in_force) and in_force[0]

    def stop_camera(self, name: str) -> None:
        """End one camera, live or not: its source ends, waiting clips are dropped, an open alert ends.

        Returns once the alert's end is in the outbox, within about 5 s unless the outbox cannot take it. The camera
        stays in the table and in the metrics until it is removed. Must not be called by a listener.

        Raises:
            KeyError: unknown camera.
        """
        camera = self._cameras[name]
        camera.stop.set()
        if camera.finished.is_set():
            return
        camera.join(_STOP_CAMERAS_SECONDS)
        # A camera that hangs in a read is left to its daemon thread; its segment is closed on its behalf.
        self._put_until_stop(partial(camera.close_segments, EndReason.SHUTDOWN, _LOOK_SECONDS))
        for watcher in camera.watchers:
            watcher.port.close(_STOP_SCORER_SECONDS)
        self._put_until_stop(partial(self._results.put, Finished(camera), timeout=_LOOK_SECONDS))
        while self._operators.is_alive() and not (camera.finished.wait(_LOOK_SECONDS) or self._stop.is_set()):
            pass

    def remove(self, name: str) -> None:
        """Stop a camera unless it has finished, and forget it: its name is free again.

        Must not be called by a listener.

        Raises:
            KeyError: unknown camera.
        """
        camera = self._cameras[name]
        self.stop_camera(name)
        if self._operators.is_alive() and not camera.finished.is_set():
            return  # the whole worker stops meanwhile: the operators still have its clips, and end it as the others
        with self._changing:
            if self._cameras.get(name) is camera:  # else another thread has removed it meanwhile
                self._forget(camera)
                with self._done:
                    del self._cameras[name]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every camera is a recording that is done, has failed or was stopped; True when that is so."""
        return self._all_done.wait(timeout)

    def stop(self, *, hand_over: bool = False, seconds: float = STOP_SECONDS) -> None:
        """End every source, let what is in flight be answered, close every alert: within about ``seconds``.

        Clips not yet scored are dropped and counted with the reason ``shutdown``. Every event accepted is in the
        outbox when this returns.

        Args:
            hand_over: leave alerts open: other workers continue the cameras.
            seconds: below :data:`STOP_SECONDS`, every step has less time in proportion.
        """
        share = min(seconds / STOP_SECONDS, 1.0)
        with self._done:
            cameras = list(self._cameras.values())
        for camera in cameras:
            camera.is_handed_over = camera.is_handed_over or hand_over
        self._stop.set()
        for camera in cameras:
            camera.stop.set()
        deadline = time.monotonic() + share * _STOP_CAMERAS_SECONDS
        for camera in cameras:
            camera.join(max(0.0, deadline - time.monotonic()))
        for camera in cameras:
            # A camera that hangs in a read is left to its daemon thread; its segment is closed on its behalf.
            with contextlib.suppress(queue.Full):  # the operators hang, which is logged below
                camera.close_segments(EndReason.SHUTDOWN, max(0.0, deadline - time.monotonic()))
        self._scorer.close(share * _STOP_SCORER_SECONDS)
        with contextlib.suppress(queue.Full):
            self._results.put(None, timeout=share * _STOP_OPERATORS_SECONDS)
        if self._operators.is_alive():
            self._operators.join(share * _STOP_OPERATORS_SECONDS)
        if self._operators.is_alive():
            _log.error("the operators did not finish in time; open alerts end when the worker starts again")
        for camera in cameras:
            camera.supervision.end("shutdown")

    def _add(self, plan: CameraPlan, claim: Claim | None = None) -> Camera:
        with self._changing:
            if self._stop.is_set():
                raise RuntimeError(f"camera {plan.camera}: the worker is stopped")
            if plan.camera in self._cameras:
                raise ValueError(f"camera {plan.camera}: there is a camera of this name already")
            camera = Camera(
                plan, self._listeners, lambda item, timeout: self._results.put(item, timeout=timeout), self._films
            )
            camera.generation = None if claim is None else claim.generation
            if plan.tamper:
                camera.tamper_reporter = self._tamper_reporter(camera)
            watches = [Watch(plan.camera, detector.name) for detector in plan.detectors]
            self._listeners.notify(lambda one: one.camera_added(plan.camera, watches, live=camera.source.live))
            try:
                for detector in plan.detectors:
                    camera.watchers.append(self._watcher(camera, detector, claim))
            except BaseException:
                self._forget(camera)
                raise
            with self._done:
                self._cameras[plan.camera] = camera
                self._all_done.clear()
        return camera

    def _forget(self, camera: Camera) -> None:
        """Forget a camera of which nothing is in flight any more."""
        for watcher in camera.watchers:
            watcher.port.close()
        if self._likeness is not None:
            self._likeness.forget(camera.name)
        if self._places is not None:
            self._places.forget(camera.name)
        self._listeners.notify(lambda one: one.camera_removed(camera.name))

    def _tamper_reporter(self, camera: Camera) -> TamperReporter:
        live = camera.source.live
        return TamperReporter(
            site=self._site,
            run="" if live else self._run,
            replay=not live,
            pictures=self._pictures,
            generation=camera.generation,
        )

    def _watcher(self, camera: Camera, plan: DetectorPlan, claim: Claim | None) -> Watcher:
        watch = Watch(camera.name, plan.name)
        live = camera.source.live
        run = "" if live else self._run
        settings = plan.chain(plan.served)
        generation = camera.generation
        left = None if claim is None else claim.states.get(plan.name)
        drift = DriftWatch(
            watch,
            site=self._site,
            run=run,
            replay=not live,
            several_detectors=self._several_detectors,
            on_seen=lambda seen: self._listeners.notify(lambda one: one.drift_seen(watch, seen)),
            generation=generation,
        )

        recent = RecentScores()

        def smoothed(score: SmoothedScore) -> None:
            self._listeners.notify(lambda one: one.smoothed(watch, score))
            recent.take(score)
            drift.take(score.clip)  # gated clips count, else a quiet camera would be judged by its movement alone

        place = None if self._places is None else self._places.addition(watch)
        assembler = AlertAssembler(
            camera.name,
            settings,
            clip=plan.clip.frame_spec,
            site=self._site,
            run=run,
            replay=not live,
            pictures=self._pictures,
            films=camera.films,
            zones=camera.plan.zones,
            detector=plan.name or None,
            several_detectors=self._several_detectors,
            on_picture_failed=lambda error: _log.error(
                "picture not written; the alert goes without", camera=camera.name, error=str(error)
            ),
            on_smoothed=smoothed,
            on_peak=None if place is None else place.saw_peak,
            generation=generation,
            state=left,
        )
        watcher = Watcher(watch, plan, assembler, drift, camera.plan.zones.zones)
        drift.adopt(plan.served)
        if self._states is not None and live:
            watcher.states = WatchStates(self._states, watch, assembler, generation, recent)
        if left is not None:
            # The gap counts from the last clip that the worker before has seen; its clock may differ from ours.
            since = left.chain.newest.captured_at or datetime.now(UTC)
            passed = min(max((datetime.now(UTC) - since).total_seconds(), 0.0), settings.max_handover_seconds)
            self._continuing[watcher] = time.monotonic() + settings.max_handover_seconds - passed
        additions: list[Addition[Any, Any]] = [] if place is None else [place]
        if self._likeness is not None:
            watches = [Watch(camera.name, detector.name) for detector in camera.plan.detectors]
            if (likeness := self._likeness.addition(watch, watches)) is not None:
                additions.append(likeness)
        if additions:
            hold_seconds = HOLD_SECONDS if live else REPLAY_HOLD_SECONDS
            stated = None if left is None else left.additions
            watcher.enricher = Enricher(additions, hold_seconds=hold_seconds, stated=stated)
        watcher.put_gated = lambda gated: self._put_until_stop(
            partial(self._results.put, Result(camera, watcher, gated), timeout=_LOOK_SECONDS), camera.stop
        )
        watcher.port = self._scorer.add_camera(
            camera.name,
            model=plan.model,
            part=plan.part,
            detector=plan.name,
            live=live,
            capacity=self._queue_clips,
            deliver=lambda outcome: self._results.put(Result(camera, watcher, outcome)),
        )
        self._listeners.notify(lambda one: one.judged(watch, plan.served, settings))
        return watcher

    def _put_until_stop(self, put: Callable[[], None], camera_stop: threading.Event | None = None) -> None:
        """Put something into the results, however long the operators have no room, until the whole worker stops.

        Args:
            camera_stop: the stop of the camera whose thread waits here; it ends the waiting, too.
        """
        while not (self._stop.is_set() or (camera_stop is not None and camera_stop.is_set())):
            with contextlib.suppress(queue.Full):
                put()
                break

    # -- the supervision's thread ------------------------------------------------------------------------------

    def _supervise(self) -> None:
        while not self._stop.wait(_SUPERVISION_SECONDS):
            for camera in list(self._cameras.values()):
                if not camera.stop.is_set():
                    camera.supervision.look()

    # -- the operators' thread ---------------------------------------------------------------------------------

    def _run_operators(self) -> None:
        while True:
            self._step_since = None
            try:
                item = self._results.get(timeout=self._patience())
            except queue.Empty:
                self._step_since = time.monotonic()
                self._pass_enriched()
                self._abandon_late()
                continue
            self._step_since = time.monotonic()
            if item is None:
                break
            if item.camera.finished.is_set():  # it was stopped, and this comes too late
                if isinstance(item, JudgedAnew):
                    item.done(False)
                continue
            if isinstance(item, JudgedAnew):
                self._handle(item.camera.name, partial(self._judge_anew, item))
            elif isinstance(item, Finished):
                self._finish(item.camera)
            elif isinstance(item, Tampered):
                self._handle(item.camera.name, partial(self._take_tampered, item))
            else:
                self._handle(item.camera.name, partial(self._take, item.watcher, item.value))
            self._pass_enriched()
            self._abandon_late()
        for camera in list(self._cameras.values()):
            for watcher in camera.watchers:
                self._handle(
                    camera.name, partial(self._close, watcher, at_once=True, is_handed_over=camera.is_handed_over)
                )
            self._handle(camera.name, partial(self._close_tampered, camera))

    def _patience(self) -> float | None:
        """Return how long the operators may sleep, seconds; None: until something comes."""
        if not self._waiting:
            return _CONTINUING_SECONDS if self._states is not None else None
        holding = any(watcher.enricher is not None and watcher.enricher.is_holding for watcher in self._waiting)
        return _HOLDING_SECONDS if holding else _LATE_SECONDS

    def _abandon_late(self) -> None:
        """End the alerts that other workers have left open and that no clip has continued in time."""
        for watcher, until in list(self._continuing.items()):
            if not watcher.assembler.chain.is_continuing:
                self._continuing.pop(watcher, None)
            elif time.monotonic() >= until:
                self._continuing.pop(watcher, None)
                self._handle(watcher.watch.camera, partial(self._abandon, watcher))

    def _abandon(self, watcher: Watcher) -> None:
        self._accept(watcher, watcher.assembler.abandon())

    def _pass_enriched(self) -> None:
        """Accept the alerts that waited for additions and have them now, or may wait no longer."""
        for watcher in list(self._waiting):
            self._handle(watcher.watch.camera, partial(self._accept, watcher, []))
        for camera in [camera for camera in self._finishing if not camera.is_holding_alerts]:
            self._finishing.remove(camera)
            self._end(camera)

    def _handle(self, name: str, work: Callable[[], None]) -> None:
        """Do something for one camera; its failure is logged and does not end the others."""
        try:
            work()
        except OutboxError as error:
            _log.error("alert lost: it could not be kept until the stop", camera=name, error=str(error))
        except Exception:
            _log.exception("alerts of this camera could not be handled; this is a bug", camera=name)

    def _take(self, watcher: Watcher, value: Scored | Dropped | Gated | SegmentEnd) -> None:
        watch, assembler = watcher.watch, watcher.assembler
        match value:
            case Scored():
                self._listeners.notify(lambda one: one.scored(watch, value))
                if self._likeness is not None:
                    self._likeness.saw(watch, value)
                if self._places is not None:
                    self._places.saw(watch, value, watcher.plan.clip.frame_spec)
                if value.served != watcher.served:
                    self._turn_to(watcher, value.served)
                events = assembler.scored(value)
            case Dropped():
                self._listeners.notify(lambda one: one.dropped(watch, value))
                events = assembler.dropped(value)
            case Gated():
                self._listeners.notify(lambda one: one.gated(watch, value))
                events = assembler.gated(value)
            case SegmentEnd():
                events = assembler.segment_over(value)
        self._accept(watcher, events)

    def _close(self, watcher: Watcher, *, at_once: bool, is_handed_over: bool) -> None:
        """Accept the last events of a camera and detector, but for those that are held back for additions.

        Where the camera is handed over, its alert stays open, and its last state is published.

        Args:
            at_once: hold nothing back.
        """
        self._continuing.pop(watcher, None)
        events = watcher.assembler.let_go() if is_handed_over else watcher.assembler.close()
        watcher.drift.close()
        if watcher.enricher is not None:
            events = watcher.enricher.finish(events, at_once=at_once or is_handed_over)
        try:
            self._accept(watcher, events, enriched=True)
        finally:
            if is_handed_over:
                self._waiting.discard(watcher)  # an answer that comes later is not this worker's to report
        if is_handed_over and watcher.states is not None:
            watcher.states.put(watcher.enricher)

    def _finish(self, camera: Camera) -> None:
        """Nothing more comes of this camera."""
        for watcher in camera.watchers:
            self._handle(
                camera.name,
                partial(self._close, watcher, at_once=self._stop.is_set(), is_handed_over=camera.is_handed_over),
            )
        self._handle(camera.name, partial(self._close_tampered, camera))
        if camera.is_holding_alerts:
            self._finishing.append(camera)
        else:
            self._end(camera)

    def _end(self, camera: Camera) -> None:
        """Everything of this camera is accepted."""
        camera.supervision.end("shutdown" if camera.stop.is_set() else "end")
        self._listeners.notify(lambda one: one.finished(camera.name))
        with self._done:
            camera.finished.set()
            if all(other.finished.is_set() for other in self._cameras.values()):
                self._all_done.set()

    def _take_tampered(self, item: Tampered) -> None:
        assert item.camera.tamper_reporter is not None, "the camera is watched for tampering"
        self._accept_tampered(item.camera, [item.camera.tamper_reporter.report(item.seen)])

    def _close_tampered(self, camera: Camera) -> None:
        """End what is open of a camera's tampering: nothing more comes.

        Where the camera is handed over nothing has ended; the next worker learns the camera's picture anew.
        """
        if camera.tamper_reporter is not None and not camera.is_handed_over:
            self._accept_tampered(camera, camera.tamper_reporter.close())

    def _accept_tampered(self, camera: Camera, events: list[TamperEvent]) -> None:
        for event in events:
            if self._has_lost(camera):
                self._leave(camera.name, event)
            elif self._commit(event):
                self._listeners.notify(partial(_notify_tampered, event))

    def _has_lost(self, camera: Camera) -> bool:
        """Return whether another worker is known to have claimed the camera."""
        if self._states is None or camera.generation is None:
            return False
        return self._states.is_lost(camera.name, camera.generation)

    def _turn_to(self, watcher: Watcher, served: ServedModel) -> None:
        """Judge the scores of another model, or another version, which has its own threshold."""
        settings = watcher.plan.chain(served)
        watcher.served = served
        watcher.assembler.adopt(served, settings)
        watcher.drift.adopt(served)
        self._listeners.notify(lambda one: one.judged(watcher.watch, served, settings))

    def _judge_anew(self, item: JudgedAnew) -> None:
        """Apply other rules to a camera, to all its detectors or to none."""
        camera, in_force = item.camera, False
        try:
            found = [(watcher, watcher.plan.chain(watcher.served)) for watcher in camera.watchers]
            camera.plan = replace(camera.plan, zones=item.zones)
            for watcher, settings in found:
                watcher.assembler.change(settings, item.zones)
                watcher.look_anew(item.zones.zones)
                self._listeners.notify(partial(_notify_judged, watcher.watch, watcher.served, settings))
            in_force = True
        finally:
            item.done(in_force)

    def _accept(self, watcher: Watcher, alerts: list[AlertEvent], *, enriched: bool = False) -> None:
        """Commit events in their order: the alerts that wait for nothing, then those of a drift.

        Args:
            enriched: the alerts have their additions.

        Raises:
            OutboxError: one could not be committed, and the worker stops.
        """
        enricher = watcher.enricher
        if enricher is not None and not enriched:
            alerts = enricher.take(alerts)
        if enricher is not None and (enricher.is_holding or enricher.is_late):
            self._waiting.add(watcher)
        else:
            self._waiting.discard(watcher)
        events: list[AlertEvent | DriftEvent] = [*alerts, *watcher.drift.pop()]
        for event in events:
            if self._is_anothers(watcher, event):
                self._leave(watcher.watch.camera, event)
            elif self._commit(event):
                self._report_accepted(watcher.watch, event)
            elif isinstance(event, AlertEvent) and event.data.state is AlertState.BEGIN:
                watcher.assembler.refuse(event.data.alert_id)  # its outbox leaves out the rest; the state says so
        if watcher.states is not None and not watcher.is_lost:
            watcher.states.after(enricher, changed=bool(alerts))

    def _is_anothers(self, watcher: Watcher, event: AlertEvent | DriftEvent) -> bool:
        """Return whether the event belongs to another worker, which has claimed the camera before this alert began.

        That worker watches the camera and begins the alert by itself. This one is about to hand the camera over; what
        it finds until then is left out.
        """
        if watcher.states is None or watcher.is_lost:
            return watcher.is_lost
        if isinstance(event, AlertEvent) and event.data.state is AlertState.BEGIN:
            watcher.is_lost = not watcher.states.may_begin(watcher.enricher)
            if watcher.is_lost:
                _log.warning("an alert is left to the worker that has the camera now", camera=watcher.watch.camera)
        return watcher.is_lost

    def _leave(self, camera: str, event: Event) -> None:
        """Count an event that is left to another worker."""
        self._listeners.notify(lambda one: one.left(camera, event))

    def _report_accepted(self, watch: Watch, event: AlertEvent | DriftEvent) -> None:
        if isinstance(event, AlertEvent):
            self._listeners.notify(lambda one: one.accepted(watch, event))
        else:
            self._listeners.notify(lambda one: one.drifted(watch, event))

    def _commit(self, event: Event) -> bool:
        """Commit the event, however long the disk is full: meanwhile recordings wait and live cameras drop clips.

        Returns:
            False when it is refused, because too much waits for every sink.

        Raises:
            OutboxError: it could not be committed, and the worker stops.
        """
        waiting = False
        while True:
            stopping = self._stop.is_set()
            self._step_since = time.monotonic()  # a full disk is waited for: no reason to restart the worker
            try:
                is_refused = self._outbox.accept(event) is None
            except OutboxError as error:
                if stopping:
                    raise
                if not waiting:
                    _log.error("alerts cannot be kept; everything waits", camera=event.subject, error=str(error))
                    waiting = self._is_outbox_blocked = True
                self._stop.wait(_OUTBOX_RETRY_SECONDS)
            else:
                break
        if waiting:
            self._is_outbox_blocked = False
            _log.info("alerts can be kept again")
        self._notify_relay()
        return not is_refused


def _notify_judged(watch: Watch, served: ServedModel, settings: ChainSettings, listener: WorkerListener) -> None:
    listener.judged(watch, served, settings)


def _notify_tampered(event: TamperEvent, listener: WorkerListener) -> None:
    listener.tampered(event)
