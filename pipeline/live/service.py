"""One site's running system, put together from its settings: sources, scorer, operators, outbox, relays, metrics."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from operators.gate import GateSettings
from pipeline import logs
from pipeline.alerts.alert_film import FilmLengths
from pipeline.alerts.camera_report import TakesChanges
from pipeline.alerts.evidence import EvidenceStore, file_name
from pipeline.alerts.films import FilmKeeper
from pipeline.alerts.object_store import ObjectStore
from pipeline.alerts.outbox import Outbox
from pipeline.alerts.outbox_capacity import OutboxLimits
from pipeline.alerts.reading import Event
from pipeline.alerts.uploads import Uploads
from pipeline.errors import MistwatchError, UsageError
from pipeline.live.applied_changes import AppliedChanges
from pipeline.live.audit import Change
from pipeline.live.awaited_parts import LOOK_SECONDS, AwaitedParts
from pipeline.live.board import Board
from pipeline.live.camera import CameraPlan, DetectorPlan
from pipeline.live.change_kinds import Difference, Inherited, Kind, difference, rules_difference
from pipeline.live.deadline import Deadline, at_once
from pipeline.live.delivery import DeadLetterLog, OutboxLog, RelayLog, ignore
from pipeline.live.group import Group
from pipeline.live.health import SinkState
from pipeline.live.judging import Judging, Rules, gate_settings, rules_of, site_rules
from pipeline.live.likeness import SiteLikeness
from pipeline.live.listener import Watch, WorkerListener
from pipeline.live.live_pictures import LivePictures
from pipeline.live.metrics import CountedUploads, Metrics, MetricsListener
from pipeline.live.ownership import Claim, Ownership
from pipeline.live.places import SitePlaces
from pipeline.live.reporting import CameraReports, default_worker_id
from pipeline.live.score_states import PARTITIONS, ScoreStates
from pipeline.live.sink_cameras import SinkCameras
from pipeline.live.site_group import site_group
from pipeline.live.supervision import ENDED, SilenceLimits
from pipeline.live.worker import STOP_SECONDS, Worker
from pipeline.scoring.outcomes import OutageLog
from pipeline.scoring.scorer import ScoredModel, Scorer, wait_for_model
from pipeline.scoring.served_model import ScorerUnavailable, ServedModel, Trouble, served_model
from pipeline.scoring.target import Target
from pipeline.settings import (
    CameraSettings,
    EvidenceSettings,
    GroupSite,
    LikenessSettings,
    PlacesSettings,
    SettingsError,
    Site,
)
from pipeline.sinks import SINKS, configured_sinks
from pipeline.sinks.compacted_topic import CompactedTopic
from pipeline.sinks.dead_letters import DeadLetters
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.relay import Relay, Relays
from pipeline.sources.factory import SourceOptions, open_source
from pipeline.sources.filming.orders import RingLimits
from pipeline.sources.hardware import Hwaccel, find_device
from pipeline.sources.isolation.pool import DecoderPool, Decoding
from pipeline.sources.isolation.source import open_contained
from pipeline.sources.joined import JoinedSource

_log = logs.get("service")

#: Limit for the last reports of the cameras' states.
_REPORTS_SECONDS = 1.0
#: Limit for the end of the thread that asks for missing parts.
_AWAITED_SECONDS = 1.0
#: Limit of a stop, with the relays' limit as it is by default. The process takes one or two seconds more to end.
_STOP_SECONDS, _RELAY_SECONDS = 8.5, 2.0
#: Limits within the stop of a group's worker, seconds: to leave the group, and until others have claimed its cameras.
_LEAVE_SECONDS, _GROUP_SECONDS = 3.5, 5.0
#: The last states of cameras may take so long.
_STATES_SECONDS = 2.0
#: Limits for the ends of the thread of dead letters, and of the one that follows claims.
_DEAD_LETTERS_SECONDS, _OWNERSHIP_SECONDS = 0.5, 1.0
#: Seconds that a stop keeps for what is published last, and for the threads that end after that.
_LAST_SECONDS, _ENDS_SECONDS = 2.0, 1.2
#: Least time for the worker to accept its last events, and for the last publications: others may have used it up.
_LEAST_WORKER_SECONDS, _LEAST_LAST_SECONDS = 2.5, 0.5
#: An alert is decided at most so much later than its first frame comes, usually: clips, their average, the wait for the
#: scorer. The packets of a camera are kept for so much longer than the pre-roll. Seconds.
_DECISION_SECONDS = 30.0
#: Films that are done may take so long to reach the disk when the service stops. Seconds.
_FILMS_SECONDS = 1.0
#: The last pictures and films may take so long to the object store; the next start uploads the others. Seconds.
_UPLOADS_SECONDS = 0.5
#: Relays and publishers end a little after their limit.
_GRACE_SECONDS = 0.3


def source_options(
    settings: CameraSettings, device: str | None = None, ring: RingLimits | None = None
) -> SourceOptions:
    """Return the options of a camera's source, from its settings.

    Args:
        device: kind of the device that decodes it; None: software.
        ring: limits of the packets that it keeps for films; None: it makes none.
    """
    return SourceOptions(
        transport=settings.transport,
        user=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        password_file=settings.password_file,
        tls=settings.tls.verification(),
        open_timeout_seconds=settings.open_timeout_seconds,
        read_timeout_seconds=settings.read_timeout_seconds,
        snapshot_seconds=settings.snapshot_seconds,
        video_stream=settings.stream,
        device=device,
        started_at=settings.start_time,
        ring=ring,
    )


def ring_limits(evidence: EvidenceSettings) -> RingLimits | None:
    """Return the limits of the packets that each camera keeps for films, from the settings; None: no films."""
    if not evidence.films:
        return None
    return RingLimits(evidence.ring_mb * 1_000_000, evidence.pre_roll_seconds + _DECISION_SECONDS)


def silence_limits(settings: CameraSettings) -> SilenceLimits:
    """Return the time without frames after which a camera is stalled, from its settings.

    Opening it, and asking it why it refuses, have three limits of their own; a limit fires late by as much again.
    """
    pause = settings.snapshot_seconds or 0.0
    return SilenceLimits(
        streaming=pause + (settings.stall_seconds or settings.read_timeout_seconds),
        connecting=pause + 2 * (3 * settings.open_timeout_seconds + settings.read_timeout_seconds),
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals of a run, over all cameras and detectors.

    Attributes:
        scorer_reconnects: connections to Triton that had died without a sign and were replaced.
    """

    clips_scored: int
    clips_dropped: int
    clips_gated: int
    alerts: int
    cameras: int
    scorer_reconnects: int = 0


def place_in_store(site: Site) -> str:
    """Return the folder of this worker in the evidence store; empty: the site has no store.

    Raises:
        UsageError: the worker has no name. Two that took their host's would remove each other's objects.
    """
    if site.evidence.store is None:
        return ""
    if site.worker is None:
        raise UsageError(
            "worker: missing (evidence.store needs it); set worker or MISTWATCH_WORKER to a name that no other worker "
            "of the store has, and that stays the same over restarts"
        )
    return f"{file_name(site.site)}/{file_name(site.worker)}"


class Service:
    """A site's system. Build it, :meth:`prepare`, :meth:`start`, and :meth:`close` it whatever happened."""

    def __init__(
        self,
        site: Site,
        *,
        run: str = "",
        repair_scorer: bool = False,
        published: Callable[[Event], None] = lambda _event: None,
        listeners: Sequence[WorkerListener] = (),
        check_model: Callable[[ServedModel], None] = lambda _served: None,
        group: str | None = None,
        on_fenced: Callable[[str, int], None] | None = None,
        changeable: bool = False,
    ) -> None:
        """Open the outbox, the folder of pictures and the metrics port.

        Args:
            run: names this run in the ids of alerts from recordings.
            repair_scorer: no other process uses the scorer: load its model anew when its process has died.
            published: called with every event that the topic has, on the relay's thread.
            listeners: of the worker, besides the board and the metrics.
            check_model: called in :meth:`prepare` with each model that is served; what it raises ends the start.
            group: with a :class:`~pipeline.settings.GroupSite`: the group of workers that share its cameras.
            on_fenced: workers share cameras (:attr:`ownership` is there), and :meth:`close` leaves alerts open; see
                :class:`pipeline.live.ownership.Ownership`.
            changeable: the site's cameras may change while it runs; see :mod:`pipeline.live.site_update`.

        Raises:
            UsageError: an evidence store needs the worker's name, or cannot be used.
            CalibrationError, OutboxError, MetricsError, KafkaSecurityError, OSError: one line each.
        """
        place = place_in_store(site)
        self.site = site
        self.metrics = Metrics(detectors=bool(site.detectors))
        self.board = Board()
        self.worker: Worker | None = None
        self._run = run
        self._repair = repair_scorer
        self._check_model = check_model
        self._changeable = changeable
        self._counted = MetricsListener(self.metrics)
        self._others: set[str] = set()  # cameras that this worker of a group has left to others
        self.changes = AppliedChanges(self._takes_changes(), self._report_change)
        self.reports = self._camera_reports()
        self.live_pictures = self._live_pictures()
        publishers: list[WorkerListener] = [one for one in (self.reports, self.live_pictures) if one is not None]
        self._listeners: list[WorkerListener] = [self.board, self._counted, *publishers, *listeners]
        self._scoring = _ScoringLog(self.metrics, self._watches_by)
        self._judging = Judging(site_rules(site), max_in_flight=site.triton.max_in_flight)
        site.state_dir.mkdir(parents=True, exist_ok=True)
        worker = site.worker or default_worker_id() if isinstance(site, GroupSite) else None
        sinks = configured_sinks(site.sink_settings, site=site.site, cameras=list(site.cameras), worker=worker)
        self._listeners.append(SinkCameras(sinks.values()))
        self._sinks = list(sinks)
        self._outbox_log = OutboxLog(self.metrics)
        limits = OutboxLimits(site.outbox.max_events, site.outbox.max_mb * 1_000_000)
        dead_topic = KafkaSink.for_dead_letters(site.kafka)
        self.outbox = Outbox(site.state_dir / "outbox.sqlite", sinks, limits=limits, listener=self._outbox_log)
        self._dead_letters = DeadLetters(dead_topic, self.outbox, site.site, DeadLetterLog(self.metrics))
        address = site.evidence.store_address
        store = None if address is None else ObjectStore(address)
        self.evidence = EvidenceStore(
            site.state_dir / "evidence",
            quota_bytes=site.evidence.quota_mb * 1_000_000,
            max_age_seconds=site.evidence.max_age_days * 86_400,
            heat=site.evidence.attention,
            zones=site.evidence.zones,
            uri_of=None if store is None else lambda name: store.uri_of(f"{place}/{name}"),
        )
        self.uploads = None if store is None else self._uploads(store, place)
        self.films = self._film_keeper()
        self._outbox_log.watch(self.outbox, self._sinks)
        self.states = self._score_states()
        self._group: Group | None = None
        if isinstance(site, GroupSite):
            assert group is not None, "a site without cameras is a group's"
            self._group = site_group(site, group, host=self, metrics=self.metrics)
            on_fenced = self._group.fenced
        self.ownership: Ownership | None = None  #: of the cameras, where workers share them
        if on_fenced is not None:
            self.ownership = self._shared_ownership(on_fenced)
        self.likeness = None if site.likeness is None else self._site_likeness(site.likeness)
        self.places = None if site.places is None else self._site_places(site.places)

        def delivered(event: Event, delay_seconds: float | None, publish_seconds: float | None) -> None:
            self._counted.published(event, delay_seconds, publish_seconds)
            published(event)

        first = next(iter(sinks), None)  # an event counts and is shown once, when the first sink has it
        self._relay_logs = {
            name: RelayLog(
                self.metrics, name, str(sink), delivered if name == first else ignore, self._dead_letters.notify
            )
            for name, sink in sinks.items()
        }
        self._relays = Relays(
            Relay(
                sink,
                self.outbox.deliveries(name),
                listener=self._relay_logs[name],
                most_backoff_seconds=SINKS[name].most_backoff_seconds,
                is_late=_never_late
                if self.ownership is None
                else partial(self.ownership.is_late, is_patient=name == "kafka"),
            )
            for name, sink in sinks.items()
        )
        self.decoders = DecoderPool(memory_mb=site.decoder_memory_mb) if site.decoding is Decoding.PROCESSES else None
        self._scorer: Scorer | None = None
        self._is_member = False  # of the group
        self._changing = threading.Lock()  # cameras of a group come and go one after the other
        self._live: set[str] = set()  # cameras whose source is live
        self._inherited: dict[str, Inherited] = {}  # with which cameras are watched
        self._served: dict[Target, ServedModel] = {}
        self._missing: list[Target] = []  # parts that live cameras lack at the start
        self._misfits: dict[Target, str] = {}  # why a late part is not used, as it was logged
        self._awaited: AwaitedParts | None = None
        self._has_started = self._is_stopping = False
        self._metrics_server = (
            self.metrics.serve(site.metrics.host, site.metrics.port, _Probed(self))
            if site.metrics is not None
            else None
        )

    def prepare(self, stop: threading.Event, *, patient: bool) -> bool:
        """Find the scorer, compare its clips with the site's, and open every source; False when ``stop`` came first.

        Publishing the contents of the outbox begins here. At a site with several detectors all their models must be
        served once before the cameras start. Where a hosting model lacks the part of a live camera, the camera's other
        detectors and the other cameras start without it.

        Args:
            patient: wait for a missing scorer and log it; otherwise a missing scorer or broker is an error.

        Raises:
            ScorerUnavailable, SinkUnavailableError: not there, and not patient.
            ClipMismatch: the site asks for other clips than the model was trained with.
            JudgingError: no threshold, or settings that contradict each other.
            SourceError: a recording that is not there or is not a video.
        """
        for camera, settings in self.site.cameras.items():
            source = open_source(camera, settings.source, source_options(settings))  # refused before any waiting
            if source.live:
                self._live.add(camera)
            if isinstance(source, JoinedSource) and (line := source.passed_over.line()) is not None:
                _log.info("files passed over", camera=camera, files=line)
        self._dead_letters.start()
        if patient:
            self._relays.start()  # events that an earlier run has left need not wait for the scorer
        served = self._find_models(stop, patient=patient)
        if served is None:
            return False
        for model in served.values():
            self._check_model(model)
        if self.likeness is not None:
            self._prepare_likeness(self.likeness, served, patient=patient)
        if self.places is not None:
            self._prepare_places(self.places, patient=patient)
        if not patient:
            self._relays.check()
            self._relays.start()
        triton = self.site.triton
        self._served = served
        plans = [plan for camera in self.site.cameras if (plan := self._plan(camera)).detectors]
        self._inherited = {camera: Inherited.of(self.site, camera) for camera in self.site.cameras}
        self._scorer = Scorer(
            triton.endpoint,
            [self._scored_model(target, model) for target, model in served.items()],
            max_in_flight=triton.max_in_flight,
            deadline_seconds=triton.deadline_seconds,
            listener=self._scoring,
            repair=self._repair,
        )
        self.worker = Worker(
            plans,
            site=self.site.site,
            run=self._run,
            scorer=self._scorer,
            queue_clips=triton.queue_clips,
            outbox=self.outbox,
            notify=self._relays.notify,
            pictures=self.evidence,
            films=self.films,
            listeners=self._listeners,
            several_detectors=len(self.site.detectors) > 1,
            likeness=self.likeness,
            places=self.places,
            states=self.states,
        )
        return True

    def _film_keeper(self) -> FilmKeeper | None:
        """The keeper of films; None where the site has switched them off."""
        evidence = self.site.evidence
        if not evidence.films:
            return None
        lengths = FilmLengths(evidence.pre_roll_seconds, evidence.post_roll_seconds, evidence.film_seconds)
        return FilmKeeper(self.evidence, lengths, self._counted.film)

    def _uploads(self, store: ObjectStore, place: str) -> Uploads:
        """The uploads of the evidence, which begin with what an earlier run has left."""
        evidence = self.site.evidence
        uploads = Uploads(
            self.evidence,
            store,
            place,
            quota_bytes=evidence.store_quota_mb * 1_000_000,
            max_age_seconds=evidence.max_age_days * 86_400,
            watch=CountedUploads(self.metrics),
        )
        uploads.start()
        return uploads

    def _score_states(self) -> ScoreStates | None:
        """The publisher of scores; None where the site has switched it off."""
        kafka = self.site.kafka
        if kafka.scores_topic is None:
            return None
        topic = CompactedTopic(
            Broker(kafka.bootstrap, kafka.security),
            kafka.scores_topic,
            partitions=PARTITIONS,
            create=kafka.create_topic,
        )
        return ScoreStates(
            topic,
            site=self.site.site,
            on_unsecured=lambda watch: self.metrics.unsecured.labels(*self.metrics.labels_of(watch)).inc(),
        )

    def _shared_ownership(self, on_fenced: Callable[[str, int], None]) -> Ownership:
        """The ownership of cameras. Raises UsageError: the site has switched the topic of scores off."""
        if self.states is None:
            raise UsageError(
                "kafka.scores_topic: workers that share cameras need it (got null); expected the name of a topic"
            )
        ownership = Ownership(self.states, worker=self.site.worker or default_worker_id(), on_fenced=on_fenced)
        ownership.start()
        return ownership

    def _find_models(self, stop: threading.Event, *, patient: bool) -> dict[Target, ServedModel] | None:
        """The models of the site's detectors, or the parts of its cameras in them; None when ``stop`` came first.

        A part that a live camera lacks is left out where ``patient``: everything else starts.
        """
        found: dict[Target, ServedModel] = {}
        for name in self.site.watched_models:
            if (served := self._find(Target(name), stop, patient=patient)) is None:
                return None
            if not served.hosts_parts:
                found[Target(name)] = served
                continue
            cameras = [watch.camera for watch in self._watches() if self.site.model_of(watch.detector) == name]
            for target in dict.fromkeys(Target(name, camera) for camera in cameras):
                if patient and target.part in self._live and self._lacks(target):
                    self._missing.append(target)
                elif (part := self._find(target, stop, patient=patient)) is None:
                    return None
                else:
                    found[target] = part
        while self._missing and not found:  # nothing can start without one of them
            for target in list(self._missing):
                with contextlib.suppress(ScorerUnavailable):
                    found[target] = served_model(self.site.triton.endpoint, target.model, part=target.part)
                    self._missing.remove(target)
                    self._scoring.part_there(target)
            if not found and stop.wait(LOOK_SECONDS):
                return None
        return found

    def _find(self, target: Target, stop: threading.Event, *, patient: bool) -> ServedModel | None:
        address = self.site.triton.endpoint
        if patient:
            return wait_for_model(address, target.model, stop, self._scoring, part=target.part)
        return served_model(address, target.model, part=target.part)

    def _lacks(self, target: Target) -> bool:
        """Return whether a part is missing or damaged, which is logged."""
        try:
            served_model(self.site.triton.endpoint, target.model, part=target.part)
        except ScorerUnavailable as error:
            if error.trouble is Trouble.PART:
                self._scoring.part_waiting(target, str(error))
                return True
        return False

    def _add_late(self, target: Target, served: ServedModel) -> bool:
        """Watch a camera by its part, which is there now; return whether it can be used."""
        assert self.worker is not None
        assert self._scorer is not None
        if target.part not in self.site.cameras:
            return True  # it was removed meanwhile, and is waited for no longer
        try:
            self._check_model(served)
            for watch in self._watches_by(target):
                self._judging.clip_of(watch, served)
        except MistwatchError as error:
            if self._misfits.get(target) != (line := str(error)):
                self._misfits[target] = line
                self._scoring.part_waiting(target, line)
            return False
        self._served[target] = served
        self._scorer.add_model(self._scored_model(target, served))
        with contextlib.suppress(RuntimeError):  # the worker is stopped
            self.worker.put(self._plan(target.part))
        self._scoring.part_there(target)
        return True

    def _camera_reports(self) -> CameraReports | None:
        kafka = self.site.kafka
        if kafka.cameras_topic is None:
            return None
        broker = Broker(kafka.bootstrap, kafka.security)
        topic = CompactedTopic(broker, kafka.cameras_topic, partitions=1, create=kafka.create_topic)
        return CameraReports(
            self.board,
            topic,
            site=self.site.site,
            worker=self.site.worker or default_worker_id(),
            generation_of=lambda camera: None if self.ownership is None else self.ownership.generation_of(camera),
            owns=lambda camera: camera not in self._others,
            settings_of=lambda camera: self.site.cameras.get(camera),
            changes=self.changes,
        )

    def _takes_changes(self) -> TakesChanges:
        if self._is_group:
            return "group"
        return "site" if self._changeable and self.site.kafka.changes_topic is not None else "none"

    def _report_change(self, camera: str) -> None:
        if self.reports is not None:
            self.reports.note(camera)

    def _live_pictures(self) -> LivePictures | None:
        """The publisher of small live pictures; None where the site does not ask for them."""
        kafka = self.site.kafka
        if kafka.pictures_topic is None:
            return None
        broker = Broker(kafka.bootstrap, kafka.security)
        return LivePictures(broker, kafka.pictures_topic, site=self.site.site, create=kafka.create_topic)

    def _site_likeness(self, settings: LikenessSettings) -> SiteLikeness:
        return SiteLikeness(
            settings,
            site=self.site.site,
            address=self.site.triton.endpoint,
            state_dir=self.site.state_dir,
            kafka=self.site.kafka,
            repair=self._repair,
            on_outcome=self._counted.likeness,
        )

    def _prepare_likeness(self, likeness: SiteLikeness, served: Mapping[Target, ServedModel], *, patient: bool) -> None:
        """Look for the embedding model; alerts go without likeness until it is there.

        Raises:
            ScorerUnavailable: it is not there, and not patient.
            ClipMismatch: it takes other features than those of the detector that describes alerts.
        """
        try:
            likeness.check()
        except ScorerUnavailable as error:
            if not patient:
                raise
            _log.warning("waiting for the embedding model; alerts go without likeness", reason=str(error))
        for target, model in served.items():
            if self._describes_alerts(target):
                likeness.require(model)
        likeness.start()

    def _site_places(self, settings: PlacesSettings) -> SitePlaces:
        return SitePlaces(
            settings,
            address=self.site.triton.endpoint,
            state_dir=self.site.state_dir,
            repair=self._repair,
            on_outcome=self._counted.place,
        )

    def _prepare_places(self, places: SitePlaces, *, patient: bool) -> None:
        """Look for the model of places; alerts go without place until it is there.

        Raises:
            ScorerUnavailable: it is not there, and not patient.
            ClipMismatch: the model of this name is not one of places.
        """
        try:
            places.check()
        except ScorerUnavailable as error:
            if not patient:
                raise
            _log.warning("waiting for the model of places; alerts go without place", reason=str(error))
        places.start()

    def _describes_alerts(self, target: Target) -> bool:
        """Return whether a model's features describe the alerts of a camera."""
        likeness = self.likeness
        return likeness is not None and any(likeness.describes(watch) for watch in self._possible_watches(target))

    def _reads_heat(self, target: Target) -> bool:
        """Return whether heat is drawn on pictures, or names places or zones."""
        if self.site.evidence.attention or self.places is not None or self._is_group or self._changeable:
            return True  # a camera with zones may come, or get some
        return any(self.site.cameras[watch.camera].camera_zones().names_alerts for watch in self._watches_by(target))

    def _scored_model(self, target: Target, served: ServedModel) -> ScoredModel:
        return ScoredModel(
            target.model,
            served.clip,
            fits=lambda version: self._judging.check_fit(version, self._watches_by(target)),
            heat=self._reads_heat(target),
            features=self._describes_alerts(target),
            part=target.part,
        )

    def _watches(self, camera: str | None = None) -> list[Watch]:
        """The detectors of one camera, or of all."""
        cameras = self.site.cameras if camera is None else [camera]
        return [Watch(each, detector) for each in cameras for detector in self.site.detectors_of(each)]

    def _watches_by(self, target: Target) -> list[Watch]:
        """The cameras and detectors whose clips a model or part scores."""
        watches = self._watches(target.part or None)
        return [watch for watch in watches if self.site.model_of(watch.detector) == target.model]

    def _possible_watches(self, target: Target) -> list[Watch]:
        """The watches of a model, with one for each detector of it whose cameras may still come."""
        may_come = self._is_group or self._changeable
        coming = [Watch("", name) for name in self.site.detectors or [""]] if may_come else []
        return self._watches_by(target) + [
            watch for watch in coming if self.site.model_of(watch.detector) == target.model
        ]

    @property
    def _is_group(self) -> bool:
        """Return whether cameras come at run time."""
        return isinstance(self.site, GroupSite)

    def _target_of(self, watch: Watch) -> Target:
        """The model, or its part, that scores the clips of a camera and detector."""
        name = self.site.model_of(watch.detector)
        return Target(name) if Target(name) in self._served else Target(name, watch.camera)

    def _plan(self, camera: str) -> CameraPlan:
        """The plan of a camera and those of its detectors that are there."""
        settings = self.site.cameras[camera]
        return CameraPlan(
            camera,
            partial(
                open_contained,
                camera,
                settings.source,
                source_options(settings, self._device_for(settings), ring_limits(self.site.evidence)),
                pool=self.decoders,
            ),
            [
                self._detector_plan(watch, target)
                for watch in self._watches(camera)
                if (target := self._target_of(watch)) in self._served
            ],
            settings.camera_zones(),
            silence=silence_limits(settings),
            tamper=self.site.tamper_of(camera),
        )

    def _device_for(self, settings: CameraSettings) -> str | None:
        """Return the kind of the device that decodes a camera; None: software."""
        return self._device if (settings.hwaccel or self.site.hwaccel) is Hwaccel.AUTO else None

    @cached_property
    def _device(self) -> str | None:
        """The kind of the device that decodes where the settings ask for one; it is looked for and logged once."""
        found = find_device()
        if found.kind is None:
            _log.warning("decoding in software", reason=f"no device can be used ({found.why})")
        else:
            _log.info("decoding by a device", device=found.kind)
        return found.kind

    def _detector_plan(self, watch: Watch, target: Target) -> DetectorPlan:
        model = self._served[target]
        clip = self._judging.clip_of(watch, model)
        chain = partial(self._judging.chain_of, watch)

        def gate(served: ServedModel) -> GateSettings | None:
            # Asked for again when the settings have changed. A camera that is being removed needs none.
            known = watch.camera in (site := self.site).cameras
            return gate_settings(site.gate_of(watch.camera, watch.detector), chain(served)) if known else None

        return DetectorPlan(clip, model, chain, watch.detector, target.model, target.part, gate)

    # -- cameras that come at run time ---------------------------------------------------------------------------

    def check_camera(self, name: str, settings: CameraSettings) -> None:
        """Check that a camera of a group can be watched with these settings, and change nothing.

        Raises:
            ScorerUnavailable, MistwatchError: as :meth:`add_camera`.
        """
        site, rules = self._rules_with(name, settings)
        open_source(name, settings.source, source_options(settings))
        judging = Judging(rules, max_in_flight=site.triton.max_in_flight)
        found = self._find_served(rules)
        for watch, model in found.items():
            if isinstance(model, ServedModel):
                self._check_model(model)
                judging.clip_of(watch, model)
        _require_one(found.values())

    def difference(self, name: str, settings: CameraSettings) -> Difference:
        """Return what differs from the settings with which a camera is watched. Raises MistwatchError."""
        found = difference(self.site.cameras[name], settings)
        if found.kind is Kind.SOURCE:
            return found
        site, rules = self._rules_with(name, settings)
        kinds = [rules_difference(self._judging.rules(watch), rule) for watch, rule in rules.items()]
        if (inherited := self._inherited.get(name)) is not None:
            kinds.append(inherited.difference(Inherited.of(site, name)))
        return replace(found, kind=max([found.kind, *kinds]))

    def judge_camera(self, name: str, settings: CameraSettings) -> bool:
        """Judge a camera by other settings while it goes on; return whether that was done. See :meth:`difference`.

        Raises:
            ClipMismatch, JudgingError, SettingsError: they cannot be used; nothing has changed.
        """
        assert self.worker is not None, "prepare() comes first"
        with self._changing:
            site, rules = self._rules_with(name, settings)
            before = self.site, {watch: self._judging.rules(watch) for watch in rules}
            done = False
            try:
                self._adopt(rules)
                self.site = site
                done = self.worker.judge_anew(name, settings.camera_zones())
            except KeyError:  # it waits for its part, and will be judged so
                done = True
            finally:
                if done:
                    self._inherited[name] = Inherited.of(site, name)
                else:
                    self.site, old = before
                    self._adopt(old)
        return done

    def _adopt(self, rules: Mapping[Watch, Rules]) -> None:
        """Judge by these rules. Raises ClipMismatch, JudgingError: they cannot be used."""
        for watch, rule in rules.items():
            self._judging.adopt(watch, rule)
        for watch in rules:
            if (served := self._served.get(self._target_of(watch))) is not None:
                self._judging.clip_of(watch, served)

    def _rules_with(self, name: str, settings: CameraSettings) -> tuple[Site, dict[Watch, Rules]]:
        """Return the site with a camera, and the camera's rules. Raises MistwatchError: it does not fit the site."""
        try:
            site = self.site.with_camera(name, settings)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        return site, {Watch(name, detector): rules_of(site, name, detector) for detector in site.detectors_of(name)}

    def add_camera(self, name: str, settings: CameraSettings, claim: Claim | None) -> bool:
        """Watch one more camera of a group; return whether all its detectors are there.

        Raises:
            ScorerUnavailable: none of its detectors is there.
            MistwatchError: it does not fit the site or the models; one line.
        """
        assert self.worker is not None, "prepare() comes first"
        self._others.discard(name)
        with self._changing:
            site, rules = self._rules_with(name, settings)
            for watch, rule in rules.items():
                self._judging.adopt(watch, rule)
            self.site = site
            try:
                complete = self._use_models(rules)
                self.worker.add(self._plan(name), claim)
            except BaseException:
                self.site = site.without_camera(name)
                raise
            self._inherited[name] = Inherited.of(site, name)
            self._note_live(name, settings)
        return complete

    def remove_camera(self, name: str) -> Collection[str]:
        """Watch a camera of a group no longer: its open alert ends. Return the names of its detectors."""
        assert self.worker is not None
        detectors = self.site.detectors_of(name)
        with contextlib.suppress(KeyError):
            self.worker.remove(name)
        self._forget_camera(name)
        return detectors

    def hand_over_camera(self, name: str) -> None:
        """Watch a camera of a group no longer, and leave its open alert to the worker that does."""
        assert self.worker is not None
        self._others.add(name)
        with contextlib.suppress(KeyError):
            self.worker.hand_over(name)
        self._forget_camera(name)

    def restart_camera(self, name: str, settings: CameraSettings) -> None:
        """Stop a camera of a site and start it with other settings, checked before; its counts continue.

        Raises:
            ScorerUnavailable, MistwatchError: it cannot be started so; it is as before.
        """
        assert self.worker is not None, "prepare() comes first"
        with self._changing:
            site, rules = self._rules_with(name, settings)
            before = self.site
            self.site = site
            try:
                for watch, rule in rules.items():
                    self._judging.adopt(watch, rule)
                self._use_models(rules)
                self.worker.put(self._plan(name))
            except BaseException:
                self.site = before
                self._adopt({watch: rules_of(before, *watch) for watch in self._watches(name)})
                if name not in self.worker.cameras:
                    with contextlib.suppress(MistwatchError, RuntimeError):
                        self.worker.add(self._plan(name))
                raise
            self._inherited[name] = Inherited.of(site, name)
            self._note_live(name, settings)

    def _note_live(self, name: str, settings: CameraSettings) -> None:
        self._live.discard(name)
        if open_source(name, settings.source, source_options(settings)).live:
            self._live.add(name)

    def turn_to(self, site: Site) -> None:
        """Use the rules that are the whole site's from here on; those of its cameras come with each camera."""
        with self._changing:
            self.site = site

    def can_complete(self, name: str) -> bool:
        """Return whether a detector that a camera of a group lacks is there now."""
        lacking = [watch for watch in self._watches(name) if self._target_of(watch) not in self._served]
        for watch in lacking:
            with contextlib.suppress(ScorerUnavailable):
                served_model(self.site.triton.endpoint, self.site.model_of(watch.detector), part=name)
                return True
        return False

    def note_change(self, name: str, change: Change | None, problem: str = "") -> None:
        """Report that a change of a camera is in force, or why it is not."""
        self.changes.note(name, change, problem)

    def _forget_camera(self, name: str) -> None:
        self.changes.forget(name)
        with self._changing:
            self.site = self.site.without_camera(name)
            self._inherited.pop(name, None)

    def _use_models(self, watches: Iterable[Watch]) -> bool:
        """Find the models or parts of a camera, and send clips to those that are new; return whether all are there.

        Raises:
            ScorerUnavailable: none is.
            ClipMismatch, JudgingError: one cannot be used with the camera's settings.
        """
        assert self._scorer is not None
        found = self._find_served(watches)
        for watch, model in found.items():
            target = self._target_of(watch)
            if isinstance(model, ScorerUnavailable):
                self._scoring.part_waiting(target, str(model))
                continue
            self._check_model(model)
            self._judging.clip_of(watch, model)
            if target not in self._served:
                self._scorer.add_model(self._scored_model(target, model))
                self._served[target] = model
                self._scoring.part_there(target)
        _require_one(found.values())
        return all(isinstance(model, ServedModel) for model in found.values())

    def _find_served(self, watches: Iterable[Watch]) -> dict[Watch, ServedModel | ScorerUnavailable]:
        """Return the model or part of each watch, or why it is not there. Raises ClipMismatch."""
        found: dict[Watch, ServedModel | ScorerUnavailable] = {}
        for watch in watches:
            target = self._target_of(watch)
            try:
                found[watch] = self._served.get(target) or served_model(
                    self.site.triton.endpoint, target.model, part=target.part
                )
            except ScorerUnavailable as error:
                found[watch] = error
        return found

    def start(self) -> None:
        """Begin to read and score."""
        assert self.worker is not None, "prepare() comes first"
        if self.reports is not None:
            self.reports.start()
        if self.live_pictures is not None:
            self.live_pictures.start()
        self.worker.start()
        self._has_started = True
        if self._group is not None:
            assert self.ownership is not None
            self._group.start(self.ownership)
            self._is_member = True
        if self._missing:
            self._awaited = AwaitedParts(self.site.triton.endpoint, self._missing, self._add_late)
            self._awaited.start()

    def wait(self, timeout: float) -> bool:
        """Wait until every camera is a recording that is done, has failed or was stopped, and its films are there.

        Returns:
            True when that is so.
        """
        assert self.worker is not None, "prepare() comes first"
        if self._group is not None:
            time.sleep(timeout)
            return False  # cameras may always come
        # The awaited cameras first: one that joins after the others have ended is waited for, too.
        if not ((self._awaited is None or self._awaited.wait(timeout)) and self.worker.wait(timeout)):
            return False
        if not self._changing.acquire(timeout=timeout):
            return False  # a camera is being started anew; meanwhile all others may have ended
        try:
            if not self.worker.wait(0):
                return False
        finally:
            self._changing.release()
        return self.films is None or self.films.await_due(timeout)

    def flush(self, stop: threading.Event, seconds: float) -> None:
        """Wait until the topic has every accepted event, for at most ``seconds`` or until ``stop``.

        Raises:
            OutboxError: the outbox cannot be read.
        """
        limit = time.monotonic() + seconds
        while self.outbox.depth() > 0 and time.monotonic() < limit:
            if stop.wait(0.05):
                return

    @property
    def scorer_away_seconds(self) -> float:
        """Seconds since nothing is scored: the scorer is away, or the parts of all cameras are missing; else 0."""
        return max(self._scoring.away_seconds, min(map(self._missing_seconds, self._going()), default=0.0))

    def _going(self) -> set[str]:
        """The cameras that have not ended."""
        return {state.camera for state in self.board.states if state.condition.state not in ENDED}

    def _missing_seconds(self, camera: str) -> float:
        """Seconds since no clip of a camera is scored for want of a part; 0 when one is scored."""
        of_each = [self._scoring.missing_seconds(self._target_of(watch)) for watch in self._watches(camera)]
        # A recording waits for each of its detectors, and a live camera drops the clips of the one that waits.
        return min(of_each) if camera in self._live else max(of_each)

    @property
    def summary(self) -> Summary:
        states = self.board.states
        return Summary(
            clips_scored=sum(state.scored for state in states),
            clips_dropped=sum(state.dropped for state in states),
            clips_gated=sum(state.gated for state in states),
            alerts=sum(state.alerts for state in states),
            cameras=len(self.site.cameras),
            scorer_reconnects=self._scoring.reconnects,
        )

    def close(self, *, relay_seconds: float = _RELAY_SECONDS) -> int:
        """Stop everything, within about 10 s at the default, also when the broker is away or frozen.

        Args:
            relay_seconds: how long the relays may go on publishing the contents of the outbox.

        Returns:
            Number of accepted events that some sink does not have yet. They stay in the outbox; the next run publishes
            them.
        """
        self._is_stopping = True
        deadline = Deadline(_STOP_SECONDS + max(relay_seconds - _RELAY_SECONDS, 0.0))
        if self._group is not None and self._is_member:
            self._others.update(state.camera for state in self.board.states)
            self._group.leave(leave_seconds=_LEAVE_SECONDS, seconds=_GROUP_SECONDS)
        if self.likeness is not None:
            self.likeness.stop()
        if self._awaited is not None:
            self._awaited.close(_AWAITED_SECONDS)
        if self.worker is not None:
            seconds = deadline.share(STOP_SECONDS, keep=max(relay_seconds, _LAST_SECONDS))
            self.worker.stop(hand_over=self.ownership is not None, seconds=max(seconds, _LEAST_WORKER_SECONDS))
        elif self._scorer is not None:
            self._scorer.close()
        self._publish_last(deadline, relay_seconds)
        ends = [] if self.ownership is None else [partial(self.ownership.close, _OWNERSHIP_SECONDS)]
        # The relays have asked the ownership until now.
        at_once([*ends, partial(self._dead_letters.stop, _DEAD_LETTERS_SECONDS)], _ENDS_SECONDS)
        if self.uploads is not None:
            self.uploads.close(_UPLOADS_SECONDS)  # after the last films
        self.evidence.prune()  # also where nothing was saved since the wall clock was set
        left = self._outbox_log.freeze(self.outbox, self._sinks)
        self.outbox.close()
        if self._metrics_server is not None:
            self._metrics_server.close()
        return left

    def _publish_last(self, deadline: Deadline, relay_seconds: float) -> None:
        """Publish the last reports, states and events at the same time: at an absent broker each takes its limit."""
        seconds = max(deadline.share(math.inf, keep=_ENDS_SECONDS + _GRACE_SECONDS), _LEAST_LAST_SECONDS)
        ends: list[Callable[[], object]] = []
        if self.decoders is not None:
            ends.append(self.decoders.close)
        if self.films is not None:
            ends.append(partial(self.films.close, min(_FILMS_SECONDS, seconds)))
        if self.likeness is not None:
            ends.append(self.likeness.close)
        if self.places is not None:
            ends.append(self.places.close)
        if self.reports is not None:
            ends.append(partial(self.reports.close, _REPORTS_SECONDS))
        if self.live_pictures is not None:
            ends.append(partial(self.live_pictures.close, _REPORTS_SECONDS))
        if self.states is not None:
            ends.append(partial(self.states.stop, min(_STATES_SECONDS, seconds)))
        ends.append(partial(self._relays.stop, min(relay_seconds, seconds)))
        at_once(ends, seconds + _GRACE_SECONDS)


class _Probed:
    """A service as its probes see it; see :class:`pipeline.live.health.Probed`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def dead_threads(self) -> list[str]:
        worker = self._service.worker
        return [*(worker.dead_threads() if worker is not None else ()), *self._service._relays.dead_threads()]

    def step_seconds(self) -> float:
        worker = self._service.worker
        return 0.0 if worker is None else worker.step_seconds

    def starting(self) -> str:
        if self._service._has_started:
            return ""
        return "the scorer and its models" if self._service._scoring.away_seconds > 0 else "cameras and models"

    def is_stopping(self) -> bool:
        return self._service._is_stopping

    def scorer_away(self) -> float:
        return self._service.scorer_away_seconds

    def outbox_blocked(self) -> bool:
        worker = self._service.worker
        return worker is not None and worker.is_outbox_blocked

    def sink_states(self) -> list[SinkState]:
        full = self._service._outbox_log.is_full
        return [SinkState(name, log.is_away, full(name)) for name, log in self._service._relay_logs.items()]


class _ScoringLog(OutageLog):
    """Turns the scoring client's callbacks into metrics and log lines.

    Args:
        watches_by: returns the cameras and detectors whose clips a part scores.
    """

    def __init__(self, metrics: Metrics, watches_by: Callable[[Target], Sequence[Watch]]) -> None:
        super().__init__("service")
        self._metrics = metrics
        self._watches_by = watches_by

    def part_waiting(self, part: Target, reason: str) -> None:
        super().part_waiting(part, reason)
        self._set_missing(part, missing=True)

    def part_there(self, part: Target) -> None:
        super().part_there(part)
        self._set_missing(part, missing=False)

    def _set_missing(self, part: Target, *, missing: bool) -> None:
        for watch in self._watches_by(part):
            self._metrics.part_missing.labels(*self._metrics.labels_of(watch)).set(missing)

    def waiting(self, reason: str) -> None:
        super().waiting(reason)
        self._metrics.scorer_away.set(1)

    def recovered(self) -> None:
        super().recovered()
        self._metrics.scorer_away.set(0)

    def in_flight(self, clips: int) -> None:
        self._metrics.clips_in_flight.set(clips)

    def reconnected(self, line: str) -> None:
        super().reconnected(line)
        self._metrics.scorer_reconnects.inc()

    def exchanged(self, served: ServedModel) -> None:
        _log.warning(
            "another model scores from here on",
            model=served.name,
            version=served.version,
            threshold=served.threshold,
        )


def _require_one(found: Iterable[ServedModel | ScorerUnavailable]) -> None:
    """Raise the first ScorerUnavailable unless a model is there, or none is asked for."""
    models = list(found)
    missing = [each for each in models if isinstance(each, ScorerUnavailable)]
    if missing and len(missing) == len(models):
        raise missing[0]


def _never_late(_event: Event) -> bool:
    return False
