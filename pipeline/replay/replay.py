"""Recordings through the pipeline that runs live: the same windows, scoring client, operators and alert events.

A worker (:mod:`pipeline.live.worker`) to which recordings come and go as cameras, so many at a time. Nothing is
dropped: a recording waits for the scorer. What has come of each is written into the run folder when it is through.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from pipeline import logs
from pipeline.alerts.event import AlertEvent
from pipeline.errors import MistwatchError
from pipeline.live.metrics import Metrics
from pipeline.live.service import Judging
from pipeline.live.worker import Acceptance, CameraPlan, CameraState, Worker, WorkerHooks
from pipeline.replay.lengths import Lengths
from pipeline.replay.pace import Paced
from pipeline.replay.published import Published
from pipeline.replay.results import Replayed, Taking, not_replayed
from pipeline.runs.folder import CameraPart, RunChain, RunClip, RunModel, RunSettings, VideoRow
from pipeline.runs.parts import Parts
from pipeline.runs.recordings import Wanted, camera_of
from pipeline.scoring.dispatcher import ClipMismatch, DropReason, Scorer, ServedModel
from pipeline.settings import CameraSettings, Site
from pipeline.sources.base import Frame, FrameSpec, SegmentOver, Source, SourceError
from pipeline.sources.recordings import Recording, open_recording
from pipeline.windows import ClipSpec

_log = logs.get("replay")

#: The camera that stands for the site's own settings, by which a recording is judged that is no camera's.
#: No camera can have this name.
ANY_CAMERA = "(recordings)"
_LOOK_SECONDS = 0.25
#: A clip's answer may take this long: nobody waits for it as for a live camera's, and one that is sent again while the
#: server still works on it makes a slow server slower.
_DEADLINE_SECONDS = 60.0
#: Of each recording's decoder. Of a damaged film FFmpeg makes up what is missing from the pictures around, and where
#: several are decoded at once, which of these are there is chance: the next run would have other scores. Several
#: recordings at a time use the cores as well.
_DECODER_THREADS = 1


class ReplayFailed(MistwatchError):
    """The replay cannot go on; what is finished is kept. One line."""


#: Told what a run is made with; see :class:`Replay`.
Settled = Callable[[RunSettings], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is. Seconds are of the recordings; ``total_seconds`` is None until all have said how long they are."""

    recordings: int
    done: int
    failed: int
    clips: int
    alerts: int
    seconds: float
    total_seconds: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of every recording, in order.

    Attributes:
        rows: of the recordings that are through.
        recordings: how many there are to be.
        kept: how many of them were there already.
        unread: a line on each of those that could not be read now; what was kept of them stays in the run.
        unsent: a line on what a topic has not got; the replay itself does not know.
    """

    rows: tuple[VideoRow, ...]
    recordings: int
    kept: int
    alerts: int
    stopped: bool
    unread: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()


def run_settings(
    site: Site, served: ServedModel, cameras: Mapping[str, tuple[ClipSpec, RunChain]], start_time: datetime | None
) -> RunSettings:
    """What a run is made with. Its name is a hash of that, so that the same run has the same alert ids.

    Args:
        cameras: how the recordings of each camera are cut and judged; :data:`ANY_CAMERA` is one of them.
    """
    parts = {name: CameraPart(clip=_clip(clip), chain=chain) for name, (clip, chain) in cameras.items()}
    usual = parts.pop(ANY_CAMERA)
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
        ),
        clip=usual.clip,
        chain=usual.chain,
        start_time=start_time,
        cameras=parts,
    )
    told = settings.model_dump_json(exclude={"mistwatch"})
    return settings.model_copy(update={"run": f"replay-{hashlib.sha256(told.encode()).hexdigest()[:12]}"})


class Replay:
    """One run over recordings. Build it, :meth:`run` it once.

    Args:
        recordings: each name once.
        split: replay those that a manifest puts there, and of the others only what the folder holds of them: that
            stays in the run, so that the folder can be of one split first and of another one, or of all, later.
        folder: of the run, for this process alone (:func:`pipeline.runs.parts.alone_in`).
        site: how clips are cut and scores judged, and where Triton is.
        cameras: of the site, whose recordings are judged by their settings.
        served: the model that Triton serves now; another one ends the replay.
        jobs: recordings at a time.
        speed: of a recording's clock, None: as fast as scoring allows.
        start_time: of the one recording's first frame.
        acceptance: is given every alert event; None where nobody else wants them.
        topic: of which broker the events go to from there: what was scored earlier, and not sent to
            it then, goes there too.
        told: called with every alert event that was accepted.
        repair_scorer: the scorer is ours alone.
        settled: told what the run is made with before anything is written; what it raises ends it.

    Raises:
        OtherRunError, RunError: as :class:`pipeline.runs.parts.Parts`.
        ClipMismatch, ValueError: as :class:`pipeline.live.service.Judging`.
    """

    def __init__(
        self,
        recordings: Sequence[Wanted],
        folder: Path,
        *,
        site: Site,
        served: ServedModel,
        split: str | None = None,
        cameras: Mapping[str, CameraSettings] | None = None,
        jobs: int = 2,
        speed: float | None = None,
        start_time: datetime | None = None,
        acceptance: Acceptance | None = None,
        topic: str = "",
        notify: Callable[[], None] = lambda: None,
        told: Callable[[AlertEvent], None] = lambda _event: None,
        repair_scorer: bool = False,
        settled: Settled = lambda _settings: None,
    ) -> None:
        self._served = served
        self._jobs = jobs
        self._speed = speed
        self._start_time = start_time
        self._told = told
        self._site = site.model_copy(
            update={"cameras": {ANY_CAMERA: CameraSettings(source="any recording"), **(cameras or {})}}
        )
        self._judging = Judging(self._site)
        self._camera_of = {one.name: camera_of(one.path, cameras or {}) for one in recordings}
        # Of all, whatever the split: the run is the same one, and its alerts' ids with it.
        used = {ANY_CAMERA, *(name for name in self._camera_of.values() if name is not None)}
        self._clip_of = {name: self._judging.clip_of(name, served) for name in sorted(used)}
        chains = {
            name: RunChain.of(self._judging.chain_of(name, served), self._judging.own_share_of(name, served))
            for name in self._clip_of
        }
        self.settings = run_settings(
            self._site, served, {name: (clip, chains[name]) for name, clip in self._clip_of.items()}, start_time
        )
        settled(self.settings)
        self._parts = Parts(folder, self.settings, recordings)
        self._recordings = [one for one in recordings if split in (None, one.split) or self._parts.holds(one)]
        self._news = _ScoringNews()
        self._acceptance = acceptance
        self._published = Published(folder, topic, self.settings.run) if acceptance is not None else None
        self._notify = notify
        self._repair = repair_scorer
        self._takings: dict[str, Taking] = {}
        self._finished: queue.SimpleQueue[CameraState] = queue.SimpleQueue()
        self._rows: dict[str, VideoRow] = {}
        self._kept = 0
        self._unread: list[str] = []
        self._alerts = 0
        self._clips = 0
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
            show: told how far it is, a few times a second.
            given_up: asked now and then, with the seconds for which the scorer has been away, why nothing more is to be
                waited for.

        Raises:
            ReplayFailed: it cannot go on.
            OSError: the run folder cannot be written.
        """
        triton = self._site.triton
        scorer = Scorer(
            triton.address,
            self._served.clip,
            model=triton.model,
            max_in_flight=triton.max_in_flight,
            deadline_seconds=max(triton.deadline_seconds, _DEADLINE_SECONDS),
            listener=self._news,
            fits=self._require_same_model,
            attention=True,
            repair=self._repair,
        )
        worker = Worker(
            [],
            site=self._site.site,
            run=self.settings.run,
            scorer=scorer,
            queue_clips=triton.queue_clips,
            outbox=_Events(self._acceptance, self._counts, self._take_down),
            notify=self._notify,
            pictures=None,
            metrics=Metrics(),
            hooks=WorkerHooks(
                accepted=self._accepted,
                scored=lambda scored: self._takings[scored.window.segment.camera].scored(scored),
                smoothed=lambda score: self._takings[score.clip.camera].smoothed(score),
                dropped=lambda dropped: self._takings[dropped.window.segment.camera].dropped(dropped),
                finished=self._finished.put,
            ),
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
        return Outcome(rows, len(self._recordings), self._kept, self._alerts, stopped, tuple(self._unread))

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
            while len(self._takings) < self._jobs and (one := next(waiting, None)) is not None and not stop.is_set():
                self._begin(one, worker)
            if not self._takings:
                break
            with contextlib.suppress(queue.Empty):
                self._end(self._finished.get(timeout=_LOOK_SECONDS), worker)
            if (why := self._mismatch or given_up(self._news.away_seconds)) is not None:
                raise ReplayFailed(why)
            if time.monotonic() >= shown_at + _LOOK_SECONDS:
                shown_at = time.monotonic()
                show(self._progress())
        show(self._progress())

    def _begin(self, one: Wanted, worker: Worker) -> None:
        """Send a recording on its way, unless it is kept already or cannot be read."""
        damage: list[str] = []
        camera = self._camera_of[one.name]
        judged_as = camera or ANY_CAMERA
        try:
            source, modified_ns, content = self._opened(one, damage)
        except SourceError as error:
            if (kept := self._parts.find(one, None, camera)) is None:
                self._note(not_replayed(one, str(error)).row)
                return
            self._unread.append(f"{one.name}: what was scored of it is kept, but it cannot be read now: {error}")
        else:
            kept = self._parts.find(one, content, camera)
        if kept is not None:
            self._take_kept(kept)
            return
        try:
            source.check()
        except SourceError as error:
            self._note(not_replayed(one, str(error)).row)
            return
        clip = self._clip_of[judged_as]
        taking = self._takings[one.name] = Taking(one, source, camera, clip, damage, modified_ns=modified_ns)
        paced: Source = source if self._speed is None else Paced(source, self._speed)
        watched = _Watched(paced, taking)
        worker.add(
            CameraPlan(
                one.name,
                lambda **_told: watched,
                clip,
                self._served,
                lambda served: self._judging.chain_of(judged_as, served),
            )
        )

    def _opened(self, one: Wanted, damage: list[str]) -> tuple[Recording, int, str]:
        """A recording, when it was last written (ns), and the hash of its content. Raises SourceError."""
        try:
            modified_ns = one.path.stat().st_mtime_ns if one.path.exists() else 0
            source = open_recording(
                one.path,
                camera=one.name,
                fps=one.fps,
                started_at=self._start_time,
                on_damage=damage.append,
                threads=_DECODER_THREADS,
            )
            return source, modified_ns, source.content_hash
        except OSError as error:
            raise SourceError(f"{one.path}: cannot be read: {error.strerror}", code="unreadable") from None

    def _take_kept(self, kept: Replayed) -> None:
        """A recording is there already; a topic that has not got its events gets them."""
        self._kept += 1
        if self._published is not None and self._acceptance is not None:
            self._published.catch_up(kept.row, kept.alerts, self._acceptance)
            self._notify()
        self._note(kept.row, kept.alerts.count(b'"state":"begin"'))

    def _end(self, state: CameraState, worker: Worker) -> None:
        """Write down what has come of a recording."""
        taking = self._takings[state.camera]
        replayed = taking.result(state)
        if replayed.row.error is None and taking.has_changed():
            why = f"{taking.wanted.stored_path} has changed while it was read; the same command replays it again"
            replayed = not_replayed(taking.wanted, why)
        if replayed.row.error is None:
            self._parts.keep(replayed)
            if self._published is not None:
                self._published.add(replayed.row)
        worker.remove(state.camera)
        del self._takings[state.camera]
        self._note(replayed.row, taking.alerts if replayed.row.error is None else 0)

    def _note(self, row: VideoRow, alerts: int = 0) -> None:
        self._rows[row.name] = row
        self._clips += row.clips
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

    def _counts(self, event: AlertEvent) -> bool:
        """Whether anybody is to know of an event: not where its recording will be replayed from its start."""
        return not self._cut_short and self._mismatch is None and self._takings[event.subject].is_whole

    def _take_down(self, event: AlertEvent) -> None:
        self._takings[event.subject].accepted(event)

    def _accepted(self, event: AlertEvent) -> None:
        if self._counts(event):
            self._told(event)

    def _require_same_model(self, served: ServedModel) -> None:
        """A run is of one model. Raises ClipMismatch."""
        if served != self._served:
            self._mismatch = (
                f"Triton at {self._site.triton.address} now serves {served.name} version {served.version}, and this "
                f"run is of {self._served.name} version {self._served.version}: serve that one and replay again, or "
                "name another folder"
            )
            raise ClipMismatch(self._mismatch)

    def _progress(self) -> Progress:
        takings = list(self._takings.values())
        return Progress(
            recordings=len(self._recordings),
            done=len(self._rows),
            failed=sum(row.error is not None for row in self._rows.values()),
            clips=self._clips + sum(taking.clips for taking in takings),
            alerts=self._alerts + sum(taking.alerts for taking in takings),
            seconds=self._lengths.done_seconds
            + sum(min(taking.seconds, self._lengths.of(taking.wanted.name)) for taking in takings),
            total_seconds=self._lengths.total_seconds,
        )


class _Watched:
    """``source``, whose failure its taking knows of before the worker ends an alert because of it."""

    def __init__(self, source: Source, taking: Taking) -> None:
        self.camera = source.camera
        self.live = source.live
        self._source = source
        self._taking = taking

    def frames(self, spec: FrameSpec, stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`."""
        try:
            yield from self._source.frames(spec, stop)
        except Exception:
            self._taking.has_failed = True
            raise


class _Events:
    """Has events taken down, and hands them on, but for those that are only there because the replay was cut short.

    Such an event has an id that the replay of the whole recording will use again, and may say something else.
    """

    def __init__(
        self,
        acceptance: Acceptance | None,
        counts: Callable[[AlertEvent], bool],
        take_down: Callable[[AlertEvent], None],
    ) -> None:
        self._acceptance = acceptance
        self._counts = counts
        self._take_down = take_down

    def accept(self, event: AlertEvent) -> bool:
        if not self._counts(event):
            return True
        is_new = self._acceptance is None or self._acceptance.accept(event)
        self._take_down(event)  # here, once it is accepted: whatever those do who are told of it, none is left out
        return is_new


class _ScoringNews:
    """For how long the scorer has been away; and a line in the log."""

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def away_seconds(self) -> float:
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def in_flight(self, clips: int) -> None: ...
    def scored(self, camera: str, seconds_in_queue: float, seconds_in_server: float) -> None: ...
    def dropped(self, camera: str, reason: DropReason) -> None: ...

    def waiting(self, reason: str) -> None:
        if self._since is None:
            self._since = time.monotonic()
        _log.warning("waiting for the scorer", reason=reason)

    def recovered(self) -> None:
        self._since = None
        _log.info("the scorer is there")

    def exchanged(self, served: ServedModel) -> None: ...


def _clip(clip: ClipSpec) -> RunClip:
    return RunClip(
        frames=clip.frames, stride=clip.stride, height=clip.height, width=clip.width, fit=clip.fit.value, fps=clip.fps
    )
