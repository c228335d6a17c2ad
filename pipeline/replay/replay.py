"""Recordings through the pipeline that runs live: the same windows, scoring client, operators and alert events.

A worker (:mod:`pipeline.live.worker`) to which recordings are added as cameras, a few at a time, and removed when they
have finished. Nothing is dropped: a recording waits for the scorer. The results of each are written into the run folder
when it has finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from operators.gate import GateSettings
from operators.heat_kind import HeatKind
from operators.scores import SmoothedScore
from pipeline import logs
from pipeline.alerts.drift import DriftEvent
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.reading import Event
from pipeline.alerts.tamper import TamperEvent
from pipeline.alerts.zoning import CameraZones
from pipeline.errors import MistwatchError, UsageError
from pipeline.live.camera import CameraPlan, DetectorPlan
from pipeline.live.judging import Judging, gate_settings, rules_of
from pipeline.live.listener import Watch, WorkerListener
from pipeline.live.worker import Acceptance, Worker
from pipeline.replay.lengths import Lengths
from pipeline.replay.pace import Paced
from pipeline.replay.published import Published
from pipeline.replay.results import RecordingResults
from pipeline.runs.folder import CameraPart, RunChain, RunClip, RunModel, RunSettings, VideoRow
from pipeline.runs.parts import Parts
from pipeline.runs.recordings import Wanted
from pipeline.runs.replayed import Replayed, not_replayed
from pipeline.scoring.outcomes import Dropped, Gated, OutageLog, Scored
from pipeline.scoring.scorer import ScoredModel, Scorer
from pipeline.scoring.served_model import ClipMismatch, ServedModel
from pipeline.scoring.target import Target
from pipeline.settings import Site
from pipeline.sources.base import Frame, FrameSpec, SegmentOver, Source, SourceError
from pipeline.sources.joined import JoinedSource
from pipeline.sources.recordings import Recording
from pipeline.windows import ClipSpec

_log = logs.get("replay")

#: Stands for the site's own settings, by which a recording that belongs to no camera is judged. No camera can have this
#: name.
ANY_CAMERA = "(recordings)"
_LOOK_SECONDS = 0.25
#: Limit for a clip's answer. It is longer than for a live camera: a clip that is sent again while the server still
#: works on it makes a slow server slower.
_DEADLINE_SECONDS = 60.0
#: Threads of each recording's decoder. FFmpeg conceals the missing parts of a damaged film from the pictures around
#: them; with several threads it is chance which of these are there, and the next run would have other scores. Several
#: recordings at a time use the cores as well.
_DECODER_THREADS = 1


class ReplayFailed(MistwatchError):
    """The replay cannot go on; what is finished is kept. One line."""


#: Called with the settings of a run; see :class:`Replay`.
Settled = Callable[[RunSettings], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a replay. Seconds are of the recordings; ``total_seconds`` is None until all are known.

    Attributes:
        hashing: an archive whose files are read for the hash of their contents: its name, the number of files that are
            done and of all.
        gated: how many of the clips were not sent, because nothing moves in them.
    """

    recordings: int
    done: int
    failed: int
    clips: int
    alerts: int
    seconds: float
    total_seconds: float | None
    hashing: tuple[str, int, int] | None = None
    gated: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of every recording, in order.

    Attributes:
        kept: number of recordings that were in the folder already.
        unread: a line for each recording that could not be read now; its kept scores stay in the run.
        unsent: a line on the events that a topic lacks; the caller fills it in.
        scorer_reconnects: connections to Triton that had died without a sign and were replaced.
    """

    rows: tuple[VideoRow, ...]
    recordings: int
    kept: int
    alerts: int
    stopped: bool
    unread: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()
    scorer_reconnects: int = 0


def run_settings(
    site: Site,
    served: ServedModel,
    cameras: Mapping[str, tuple[ClipSpec, RunChain]],
    start_time: datetime | None,
    detector: str = "",
) -> RunSettings:
    """Return the settings of a run. Its name is a hash of them, so that the same run has the same alert ids.

    Args:
        cameras: how the recordings of each camera are cut and judged; :data:`ANY_CAMERA` is one of them.
        detector: the site's detector that scores; empty at a site that names no detectors.
    """
    parts = {name: CameraPart(clip=RunClip.from_spec(clip), chain=chain) for name, (clip, chain) in cameras.items()}
    usual = parts.pop(ANY_CAMERA)
    parts = {name: part.model_copy(update=site.cameras[name].zones_document()) for name, part in parts.items()}
    settings = RunSettings(
        mistwatch=version("mistwatch"),
        site=site.site,
        run="",
        model=RunModel(
            name=served.name,
            version=served.version,
            backbone=served.backbone,
            weights_sha256=served.weights_sha256,
            threshold=served.threshold,
            close_threshold=served.close_threshold,
            kernel=served.kernel,
            heat=served.heat.kind if served.heat is not None else HeatKind.ATTENTION,
            scene=served.scene,
        ),
        clip=usual.clip,
        chain=usual.chain,
        detector=detector or None,
        start_time=start_time,
        cameras=parts,
    )
    # As with the ids of alerts, a detector counts only where there are several.
    hashed = settings.model_dump_json(exclude={"mistwatch"} if len(site.detectors) > 1 else {"mistwatch", "detector"})
    return settings.model_copy(update={"run": f"replay-{hashlib.sha256(hashed.encode()).hexdigest()[:12]}"})


class Replay:
    """One run over recordings. Build it, :meth:`run` it once.

    Args:
        recordings: each name once.
        split: replay the recordings that a manifest puts there. Others stay in the run where the folder holds them, so
            that the folder can be filled split by split.
        folder: of the run, for this process alone (:func:`pipeline.runs.parts.alone_in`).
        site: how clips are cut and scores judged, and where Triton is.
        cameras: those of the site whose recordings are judged by the camera's settings.
        served: the model that Triton serves now; another one ends the replay.
        detector: the site's detector whose model and settings are used; empty at a site that names no detectors.
        model: the model's name on the server; None takes the detector's.
        part: the part that scores, of a model that hosts the parts of cameras; else empty.
        speed: of a recording's clock, None: as fast as scoring allows.
        start_time: of the one recording's first frame.
        acceptance: accepts every event; None where they only go into the run folder.
        topic: the topic that the events go to from there, with its broker. Events of recordings that were scored
            earlier, and not sent to it then, go there too.
        repair_scorer: no other process uses the scorer.
        settled: called with the run's settings before anything is written; an exception that it raises ends the replay.

    Raises:
        OtherRunError, RunError: as :class:`pipeline.runs.parts.Parts`.
        ClipMismatch, JudgingError: as :meth:`pipeline.live.judging.Judging.clip_of`.
    """

    def __init__(
        self,
        recordings: Sequence[Wanted],
        folder: Path,
        *,
        site: Site,
        served: ServedModel,
        detector: str = "",
        model: str | None = None,
        part: str = "",
        split: str | None = None,
        cameras: Collection[str] = (),
        jobs: int = 2,
        speed: float | None = None,
        start_time: datetime | None = None,
        acceptance: Acceptance | None = None,
        topic: str = "",
        notify: Callable[[], None] = lambda: None,
        on_event: Callable[[Event], None] = lambda _event: None,
        repair_scorer: bool = False,
        settled: Settled = lambda _settings: None,
    ) -> None:
        self._served = served
        self._jobs = jobs
        self._speed = speed
        self._start_time = start_time
        self._on_event = on_event
        self._site = site
        self._detector = detector
        self._model = model or site.model_of(detector)
        self._part = part
        self._camera_of = {one.name: one.camera_of(cameras) for one in recordings}
        # Of all recordings, whatever the split: the run is the same one, and its alerts' ids with it.
        used = sorted({name for name in self._camera_of.values() if name is not None})
        if part and (others := [name for name in used if name != part]):
            raise UsageError(
                f"the recordings are of the cameras {', '.join(used)}, and {part}'s part would score them; expected "
                f"those of {part} alone, or --part {others[0]}"
            )
        rules = {Watch(ANY_CAMERA, detector): rules_of(site, None, detector)}
        rules |= {Watch(name, detector): rules_of(site, name, detector) for name in used}
        self._judging = Judging(rules, max_in_flight=site.triton.max_in_flight)
        self._clip_of = {watch.camera: self._judging.clip_of(watch, served) for watch in rules}
        self._gate_of = {watch.camera: self._gate(watch) for watch in rules}
        chains = {
            watch.camera: RunChain.from_settings(
                self._judging.chain_of(watch, served),
                self._judging.own_share_of(watch, served),
                self._gate_of[watch.camera],
            )
            for watch in rules
        }
        self.settings = run_settings(
            site, served, {name: (clip, chains[name]) for name, clip in self._clip_of.items()}, start_time, detector
        )
        settled(self.settings)
        self._parts = Parts(folder, self.settings, recordings)
        self._recordings = [one for one in recordings if split in (None, one.split) or self._parts.holds(one)]
        self._scoring = OutageLog("replay")
        self._acceptance = acceptance
        self._published = Published(folder, topic, self.settings.run) if acceptance is not None else None
        self._notify_relay = notify
        self._repair = repair_scorer
        self._running: dict[str, RecordingResults] = {}
        self._finished: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._rows: dict[str, VideoRow] = {}
        self._kept = 0
        self._unread: list[str] = []
        self._alerts = 0
        self._clips = 0
        self._gated = 0
        self._mismatch: str | None = None
        self._cut_short = False
        self._lengths = Lengths(self._recordings)

    def run(
        self,
        stop: threading.Event,
        *,
        show: Callable[[Progress], None] = lambda _progress: None,
        given_up: Callable[[float], str | None] = lambda _seconds: None,
    ) -> Outcome:
        """Replay what is not kept already, and put the run folder together.

        Args:
            stop: ends it early; what is finished is kept.
            show: called with the progress, a few times a second.
            given_up: called now and then with the seconds since the scorer went away; returns why the replay should not
                wait any longer, or None.

        Raises:
            ReplayFailed: it cannot go on.
            OSError: the run folder cannot be written.
        """
        triton = self._site.triton
        scorer = Scorer(
            triton.endpoint,
            [ScoredModel(self._model, self._served.clip, fits=self._require_same_model, heat=True, part=self._part)],
            max_in_flight=triton.max_in_flight,
            deadline_seconds=max(triton.deadline_seconds, _DEADLINE_SECONDS),
            listener=self._scoring,
            repair=self._repair,
        )
        worker = Worker(
            [],
            site=self._site.site,
            run=self.settings.run,
            scorer=scorer,
            queue_clips=triton.queue_clips,
            outbox=_Events(self._acceptance, self._counts, self._record_event),
            notify=self._notify_relay,
            pictures=None,
            several_detectors=len(self._site.detectors) > 1,
            listeners=[_Recorder(self._running, self._finished.put, self._accepted)],
        )
        try:
            worker.start()
            self._lengths.start()
            self._replay_all(worker, stop, show, given_up)
        finally:
            self._cut_short = True  # before clips that wait are dropped, which may end alerts
            self._lengths.stop()
            worker.stop()
        stopped = len(self._rows) < len(self._recordings)
        if not stopped:
            self._parts.finish([self._rows[one.name] for one in self._recordings], self._all())
        rows = tuple(self._rows[one.name] for one in self._recordings if one.name in self._rows)
        return Outcome(
            rows,
            len(self._recordings),
            self._kept,
            self._alerts,
            stopped,
            tuple(self._unread),
            scorer_reconnects=self._scoring.reconnects,
        )

    def _replay_all(
        self,
        worker: Worker,
        stop: threading.Event,
        show: Callable[[Progress], None],
        given_up: Callable[[float], str | None],
    ) -> None:
        waiting = iter(self._recordings)
        shown_at = 0.0
        while not stop.is_set():
            while len(self._running) < self._jobs and (one := next(waiting, None)) is not None and not stop.is_set():
                self._begin(one, worker, stop, show)
            if not self._running:
                break
            with contextlib.suppress(queue.Empty):
                self._end(self._finished.get(timeout=_LOOK_SECONDS), worker)
            if (why := self._mismatch or given_up(self._away_seconds)) is not None:
                raise ReplayFailed(why)
            if time.monotonic() >= shown_at + _LOOK_SECONDS:
                shown_at = time.monotonic()
                show(self._progress())
        show(self._progress())

    @property
    def _away_seconds(self) -> float:
        """Seconds since nothing is scored: the scorer is away, or the part that scores the recordings."""
        return max(self._scoring.away_seconds, self._scoring.missing_seconds(Target(self._model, self._part)))

    def _gate(self, watch: Watch) -> GateSettings | None:
        """Return the settings of a camera's motion gate; None where every clip is sent."""
        if not self._served.may_be_gated:
            return None
        camera = None if watch.camera == ANY_CAMERA else watch.camera
        return gate_settings(self._site.gate_of(camera, watch.detector), self._judging.chain_of(watch, self._served))

    def _begin(self, one: Wanted, worker: Worker, stop: threading.Event, show: Callable[[Progress], None]) -> None:
        """Start a recording, unless it is kept already, cannot be read, or ``stop`` comes while it is hashed."""
        damage: list[str] = []
        camera = self._camera_of[one.name]
        watch = Watch(camera or ANY_CAMERA, self._detector)
        try:
            if (opened := self._opened(one, damage, stop, show)) is None:
                return
        except SourceError as error:
            if (kept := self._parts.find(one, None, camera)) is None:
                self._add_row(not_replayed(one, str(error)).row)
                return
            self._unread.append(f"{one.name}: what was scored of it is kept, but it cannot be read now: {error}")
        else:
            source, modified_ns, content = opened
            kept = self._parts.find(one, content, camera)
        if kept is not None:
            self._take_kept(kept)
            return
        try:
            source.check()
        except SourceError as error:
            self._add_row(not_replayed(one, str(error)).row)
            return
        clip = self._clip_of[watch.camera]
        results = self._running[one.name] = RecordingResults(one, source, camera, clip, damage, modified_ns=modified_ns)
        paced: Source = source if self._speed is None else Paced(source, self._speed)
        watched = _Watched(paced, results)
        gate = self._gate_of[watch.camera]
        worker.add(
            CameraPlan(
                one.name,
                lambda _callbacks: watched,
                [
                    DetectorPlan(
                        clip,
                        self._served,
                        partial(self._judging.chain_of, watch),
                        self._detector,
                        self._model,
                        self._part,
                        lambda _served: gate,
                    )
                ],
                self._site.cameras[camera].camera_zones() if camera is not None else CameraZones(),
                tamper=self._site.tamper_of(camera),
            )
        )

    def _opened(
        self, one: Wanted, damage: list[str], stop: threading.Event, show: Callable[[Progress], None]
    ) -> tuple[Recording, int, str] | None:
        """Return a recording, its time of last change (ns), and the hash of its content; None if ``stop`` came first.

        Raises:
            SourceError: it cannot be read.
        """
        try:
            modified_ns = one.path.stat().st_mtime_ns if one.path.exists() else 0
            source = one.open(
                started_at=self._start_time,
                on_damage=damage.append,
                threads=_DECODER_THREADS,
                on_choice=lambda choice: _log.warning("several video streams; --stream chooses", watched=choice),
            )
            if isinstance(source, JoinedSource) and not self._hash(source, stop, show):
                return None
            return source, modified_ns, source.content_hash
        except OSError as error:
            raise SourceError(f"{one.path}: cannot be read: {error.strerror}", code="unreadable") from None

    def _hash(self, archive: JoinedSource, stop: threading.Event, show: Callable[[Progress], None]) -> bool:
        """Hash the files of an archive, which may take hours, with progress; False if ``stop`` came first."""
        shown_at = time.monotonic()

        def on_file(done: int) -> None:
            nonlocal shown_at
            if (now := time.monotonic()) >= shown_at + _LOOK_SECONDS:
                shown_at = now
                show(replace(self._progress(), hashing=(archive.camera, done, len(archive.parts))))

        return archive.hash_files(stop, on_file=on_file)

    def _take_kept(self, kept: Replayed) -> None:
        """Take a recording that is there already; a topic that lacks its events gets them."""
        self._kept += 1
        if self._published is not None and self._acceptance is not None:
            self._published.catch_up(kept.row, kept.events, self._acceptance)
            self._notify_relay()
        self._add_row(kept.row, kept.alerts)

    def _end(self, name: str, worker: Worker) -> None:
        """Keep the results of a recording that has finished."""
        results = self._running[name]
        replayed = results.result()
        if replayed.row.error is None and results.has_changed():
            why = f"{results.wanted.stored_path} has changed while it was read; the same command replays it again"
            replayed = not_replayed(results.wanted, why)
        if replayed.row.error is None:
            self._parts.keep(replayed)
            if self._published is not None:
                self._published.add(replayed.row)
        worker.remove(name)
        del self._running[name]
        self._add_row(replayed.row, results.alerts if replayed.row.error is None else 0)

    def _add_row(self, row: VideoRow, alerts: int = 0) -> None:
        self._rows[row.name] = row
        self._clips += row.clips
        self._gated += row.gated
        self._alerts += alerts
        self._lengths.done(row.name)

    def _all(self) -> Iterator[Replayed]:
        """Every recording, from what is kept."""
        for one in self._recordings:
            row = self._rows[one.name]
            if row.error is not None:
                yield not_replayed(one, row.error, row.content_hash)
                continue
            assert row.content_hash is not None
            kept = self._parts.find(one, row.content_hash, self._camera_of[one.name])
            assert kept is not None, f"{one.name} was kept"
            yield kept

    def _counts(self, event: Event) -> bool:
        """Return whether an event counts: not where its recording will be replayed from its start."""
        return not self._cut_short and self._mismatch is None and self._running[event.subject].is_whole

    def _record_event(self, event: Event) -> None:
        self._running[event.subject].accepted(event)

    def _accepted(self, event: Event) -> None:
        if self._counts(event):
            self._on_event(event)

    def _require_same_model(self, served: ServedModel) -> None:
        """A run is of one model. Raises ClipMismatch."""
        if served != self._served:
            self._mismatch = (
                f"Triton at {self._site.triton.endpoint} now serves {served.name} version {served.version}, and this "
                f"run is of {self._served.name} version {self._served.version}: serve that one and replay again, or "
                "name another folder"
            )
            raise ClipMismatch(self._mismatch)

    def _progress(self) -> Progress:
        running = list(self._running.values())
        return Progress(
            recordings=len(self._recordings),
            done=len(self._rows),
            failed=sum(row.error is not None for row in self._rows.values()),
            clips=self._clips + sum(one.clips for one in running),
            alerts=self._alerts + sum(one.alerts for one in running),
            seconds=self._lengths.done_seconds
            + sum(min(one.seconds, self._lengths.of(one.wanted.name)) for one in running),
            total_seconds=self._lengths.total_seconds,
            gated=self._gated + sum(one.gated_clips for one in running),
        )


class _Watched:
    """``source``, whose failure its results know of before the worker ends an alert because of it."""

    def __init__(self, source: Source, results: RecordingResults) -> None:
        self.camera = source.camera
        self.live = source.live
        self._source = source
        self._results = results

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`."""
        try:
            yield from self._source.frames(specs, stop)
        except Exception:
            self._results.has_failed = True
            raise


class _Recorder(WorkerListener):
    """Hands the worker's calls to the results of the recording that they concern."""

    def __init__(
        self,
        running: Mapping[str, RecordingResults],
        on_finished: Callable[[str], None],
        on_accepted: Callable[[Event], None],
    ) -> None:
        self._running = running
        self._on_finished = on_finished
        self._on_accepted = on_accepted

    def failed(self, camera: str, error: SourceError) -> None:
        self._running[camera].failure = str(error)

    def scored(self, watch: Watch, scored: Scored) -> None:
        self._running[watch.camera].scored(scored)

    def smoothed(self, watch: Watch, score: SmoothedScore) -> None:
        self._running[watch.camera].smoothed(score)

    def dropped(self, watch: Watch, dropped: Dropped) -> None:
        self._running[watch.camera].dropped(dropped)

    def gated(self, watch: Watch, gated: Gated) -> None:
        self._running[watch.camera].gated()

    def accepted(self, watch: Watch, event: AlertEvent) -> None:
        self._on_accepted(event)

    def drifted(self, watch: Watch, event: DriftEvent) -> None:
        self._on_accepted(event)

    def tampered(self, event: TamperEvent) -> None:
        self._on_accepted(event)

    def finished(self, camera: str) -> None:
        self._on_finished(camera)


class _Events:
    """Records events and hands them on, except those that exist only because the replay was cut short.

    Such an event has an id that the replay of the whole recording will use again, with another content perhaps.
    """

    def __init__(
        self,
        acceptance: Acceptance | None,
        counts: Callable[[Event], bool],
        record: Callable[[Event], None],
    ) -> None:
        self._acceptance = acceptance
        self._counts = counts
        self._record = record

    def accept(self, event: Event) -> bool | None:
        if not self._counts(event):
            return True
        is_new = self._acceptance is None or self._acceptance.accept(event)
        self._record(event)  # here, once it is accepted, so that none is left out
        return is_new
