"""One site's running system, put together from its settings: sources, scorer, operators, outbox, relay, metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline import logs
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.evidence import EvidenceStore
from pipeline.alerts.outbox import Outbox
from pipeline.live.board import Board
from pipeline.live.camera import CameraPlan, DetectorPlan
from pipeline.live.judging import Judging, site_rules
from pipeline.live.listener import Watch, WorkerListener
from pipeline.live.metrics import Metrics, MetricsListener
from pipeline.live.worker import Worker
from pipeline.scoring.dispatcher import DropReason, Scorer, ServedModel, served_model, wait_for_model
from pipeline.settings import CameraSettings, Site
from pipeline.sinks.connection import Broker
from pipeline.sinks.kafka import KafkaRelay
from pipeline.sources.factory import SourceOptions, open_source

_log = logs.get("service")


def source_options(settings: CameraSettings) -> SourceOptions:
    """Return the options of a camera's source, from its settings."""
    return SourceOptions(
        transport=settings.transport,
        user=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        open_timeout_seconds=settings.open_timeout_seconds,
        read_timeout_seconds=settings.read_timeout_seconds,
        started_at=settings.start_time,
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals of a run, over all cameras."""

    clips_scored: int
    clips_dropped: int
    alerts: int
    cameras: int


class Service:
    """A site's system. Build it, :meth:`prepare`, :meth:`start`, and :meth:`close` it whatever happened."""

    def __init__(
        self,
        site: Site,
        *,
        run: str = "",
        repair_scorer: bool = False,
        published: Callable[[AlertEvent], None] = lambda _event: None,
        listeners: Sequence[WorkerListener] = (),
    ) -> None:
        """Open the outbox, the folder of pictures and the metrics port.

        Args:
            run: names this run in the ids of alerts from recordings.
            repair_scorer: no other process uses the scorer: load its model anew when its process has died.
            published: called with every event that the topic has, on the relay's thread.
            listeners: of the worker, beside the table and the metrics.

        Raises:
            CalibrationError, OutboxError, MetricsError, KafkaSecurityError, OSError: one line each.
        """
        self.site = site
        self.metrics = Metrics(detectors=bool(site.detectors))
        self.board = Board()
        self.worker: Worker | None = None
        self._run = run
        self._repair = repair_scorer
        self._published = published
        self._counted = MetricsListener(self.metrics)
        self._listeners = [self.board, self._counted, *listeners]
        self._waiting_since: float | None = None
        self._judging = Judging(site_rules(site), max_in_flight=site.triton.max_in_flight)
        site.state_dir.mkdir(parents=True, exist_ok=True)
        self.outbox = Outbox(site.state_dir / "outbox.sqlite")
        self.evidence = EvidenceStore(
            site.state_dir / "evidence",
            quota_bytes=site.evidence.quota_mb * 1_000_000,
            max_age_seconds=site.evidence.max_age_days * 86_400,
        )
        self.metrics.outbox_depth.set_function(self.outbox.depth)
        self._relay = KafkaRelay(
            self.outbox,
            site.kafka.bootstrap,
            site.kafka.topic,
            create_topic=site.kafka.create_topic,
            security=site.kafka.security,
            listener=_RelayNews(self),
        )
        self._scorer: Scorer | None = None
        self._metrics_server = (
            self.metrics.serve(site.metrics.host, site.metrics.port) if site.metrics is not None else None
        )

    def prepare(self, stop: threading.Event, *, patient: bool) -> bool:
        """Find the scorer, compare its clips with the site's, and open every source; False when ``stop`` came first.

        Publishing what the outbox holds begins here.

        Args:
            patient: wait for a missing scorer and say so; otherwise a missing scorer or broker is an error.

        Raises:
            ScorerUnavailable, BrokerUnavailableError: not there, and not patient.
            ClipMismatch: the site asks for other clips than the model was trained with.
            ValueError: no threshold, or settings that contradict each other.
            SourceError: a recording that is not there or is no video.
        """
        for camera, settings in self.site.cameras.items():
            open_source(camera, settings.source, source_options(settings))  # refused before anything is waited for
        triton = self.site.triton
        news = _ScoringNews(self)
        if patient:
            self._relay.start()  # what an earlier run has left need not wait for the scorer
            found = wait_for_model(triton.address, triton.model, stop, news)
            if found is None:
                return False
            served = found
        else:
            served = served_model(triton.address, triton.model)
            Broker(self.site.kafka.bootstrap, self.site.kafka.security).check_listening()
            self._relay.start()
        plans = [self._plan(camera, settings, served) for camera, settings in self.site.cameras.items()]
        self._scorer = Scorer(
            triton.address,
            served.clip,
            model=triton.model,
            max_in_flight=triton.max_in_flight,
            deadline_seconds=triton.deadline_seconds,
            listener=news,
            fits=self._judging.check_fit,
            attention=self.site.evidence.attention,
            repair=self._repair,
        )
        self.worker = Worker(
            plans,
            site=self.site.site,
            run=self._run,
            scorer=self._scorer,
            queue_clips=triton.queue_clips,
            outbox=self.outbox,
            notify=self._relay.notify,
            pictures=self.evidence,
            listeners=self._listeners,
            several_detectors=len(self.site.detectors) > 1,
        )
        return True

    def _plan(self, camera: str, settings: CameraSettings, served: ServedModel) -> CameraPlan:
        watches = [Watch(camera, detector) for detector in self.site.detectors_of(camera)]
        return CameraPlan(
            camera,
            partial(open_source, camera, settings.source, source_options(settings)),
            [
                DetectorPlan(
                    self._judging.clip_of(watch, served),
                    served,
                    partial(self._judging.chain_of, watch),
                    watch.detector,
                )
                for watch in watches
            ],
        )

    def start(self) -> None:
        """Begin to read and score."""
        assert self.worker is not None, "prepare() comes first"
        self.worker.start()

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
        """Seconds since the scorer went away; 0 when it is there."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def summary(self) -> Summary:
        states = self.board.states
        return Summary(
            clips_scored=sum(state.scored for state in states),
            clips_dropped=sum(state.dropped for state in states),
            alerts=sum(state.alerts for state in states),
            cameras=len(self.site.cameras),
        )

    def close(self, *, relay_seconds: float = 2.0) -> int:
        """Stop everything, within about 10 s at the default.

        Args:
            relay_seconds: how long the relay may go on publishing what is in the outbox.

        Returns:
            Number of accepted events that the topic does not have yet. They stay in the outbox; the next run publishes
            them.
        """
        if self.worker is not None:
            self.worker.stop()
        elif self._scorer is not None:
            self._scorer.close()
        left = self._relay.stop(relay_seconds)
        self.metrics.outbox_depth.set_function(lambda: left)
        self.outbox.close()
        if self._metrics_server is not None:
            self._metrics_server.close()
        return left


class _ScoringNews:
    """Turns the scoring client's calls into metrics and log lines."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def in_flight(self, clips: int) -> None:
        self._service.metrics.clips_in_flight.set(clips)

    def scored(self, camera: str, seconds_in_queue: float, seconds_in_server: float) -> None:
        pass  # counted by the worker, with the capture's time

    def dropped(self, camera: str, reason: DropReason) -> None:
        pass  # counted by the worker

    def waiting(self, reason: str) -> None:
        if self._service._waiting_since is None:
            self._service._waiting_since = time.monotonic()
        _log.warning("waiting for the scorer", reason=reason)

    def recovered(self) -> None:
        self._service._waiting_since = None
        _log.info("the scorer is there")

    def exchanged(self, served: ServedModel) -> None:
        _log.warning(
            "another model scores from here on",
            model=served.name,
            version=served.version,
            threshold=served.threshold,
        )


class _RelayNews:
    """Turns the relay's calls into metrics and log lines."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def published(self, event: AlertEvent, delay_seconds: float | None) -> None:
        self._service._counted.published(event, delay_seconds)
        self._service._published(event)

    def waiting(self, reason: str) -> None:
        _log.warning("waiting for the broker; alerts are kept", reason=reason)

    def resumed(self) -> None:
        _log.info("the broker is there", topic=self._service.site.kafka.topic)

    def failed(self, event: AlertEvent, reason: str) -> None:
        _log.error("the broker refuses this alert for good; it is set aside", id=event.id, reason=reason)
