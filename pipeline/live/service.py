"""One site's running system, put together from its settings: sources, scorer, operators, outbox, relay, metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from operators.alerting import AlertSettings
from operators.chain import ChainSettings
from pipeline import logs
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.evidence import EvidenceStore
from pipeline.alerts.outbox import Outbox
from pipeline.calibration.file import Calibration, CalibrationError, read_calibration
from pipeline.live.metrics import Metrics
from pipeline.live.worker import CameraPlan, Worker, WorkerHooks
from pipeline.scoring.dispatcher import ClipMismatch, DropReason, Scorer, ServedModel, served_model, wait_for_model
from pipeline.settings import AlertTuning, CameraSettings, ClipSettings, Site
from pipeline.sinks import configured_sinks
from pipeline.sinks.relay import Relay, RelayListener, Relays
from pipeline.sources.factory import SourceOptions, open_source
from pipeline.windows import ClipSpec

_log = logs.get("service")

#: Where nobody names a close threshold, an alert closes at this share of its open threshold.
CLOSE_SHARE = 0.8


def clip_spec(wanted: ClipSettings, served: ServedModel) -> ClipSpec:
    """The served model's clips with what the site (or one of its cameras) sets on top."""
    changes = wanted.model_dump(exclude_none=True)
    if changes.get("fps") == "native":
        changes["fps"] = None
    return replace(served.clip, **changes)


def chain_settings(
    tuning: AlertTuning, served: ServedModel, *, max_in_flight: int, calibration: Calibration | None = None
) -> ChainSettings:
    """The operators' settings: the site's, else the served model's suggestions, else the operators' own defaults.

    Args:
        calibration: its settings are the site's own, as long as ``served`` is the version that it was made for.

    Raises:
        ValueError: neither the site nor the model names a threshold, or the settings contradict each other.
    """
    chosen = tuning.model_dump(exclude_none=True)
    if calibration is not None and calibration.made_for(served):
        chosen = calibration.applied(chosen)
    suggested = served.close_threshold if "open_threshold" not in chosen else None  # the two belong together
    opens = chosen.pop("open_threshold", served.threshold)
    if opens is None:
        raise ValueError(f"the served model {served.name} suggests no threshold: set alerts.open_threshold")
    closes = chosen.pop("close_threshold", opens * CLOSE_SHARE if suggested is None else suggested)
    # Every clip in flight may be of one camera: a hole that long is no hole yet.
    chain = {"max_hole": max(chosen.pop("max_hole", 8), max_in_flight)}
    kernel = chosen.pop("kernel", served.kernel)
    if kernel is not None:
        chain["kernel"] = kernel
    return ChainSettings(alert=AlertSettings(open_threshold=opens, close_threshold=closes, **chosen), **chain)


def source_options(settings: CameraSettings) -> SourceOptions:
    """What the configuration says of one camera, as its source wants it."""
    return SourceOptions(
        transport=settings.transport,
        user=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        open_timeout_seconds=settings.open_timeout_seconds,
        read_timeout_seconds=settings.read_timeout_seconds,
        started_at=settings.start_time,
    )


class Judging:
    """How each of a site's cameras cuts its clips and judges their scores, whichever model scores."""

    def __init__(self, site: Site) -> None:
        """Raises CalibrationError."""
        self._site = site
        files = {camera: file for camera in site.cameras if (file := site.calibration_of(camera)) is not None}
        self._calibrations = {camera: read_calibration(file) for camera, file in files.items()}
        self._clips: dict[str, ClipSpec] = {}  # that cameras cut, whichever version scores
        self._uncalibrated: set[tuple[str, str, str]] = set()  # (camera, model, version) that the log has named

    def clip_of(self, camera: str, served: ServedModel) -> ClipSpec:
        """The clips that this camera has ``served`` score.

        Raises:
            ClipMismatch: it asks for others than the model was trained with.
            ValueError: as :func:`chain_settings`; its calibration was made with other clips.
        """
        clip = clip_spec(self._site.clip_of(camera), served)
        served.require(clip, asked_by=f"camera {camera}")
        self.chain_of(camera, served)  # refused now rather than by the first score
        self._check_calibration(camera, clip, served)
        self._clips[camera] = clip
        return clip

    def chain_of(self, camera: str, served: ServedModel) -> ChainSettings:
        """How this camera judges the scores of ``served``. Raises ValueError as :func:`chain_settings`."""
        calibration = self._calibrations.get(camera)
        try:
            chain = chain_settings(
                self._site.alerts_of(camera, calibrated=calibration is not None and calibration.made_for(served)),
                served,
                max_in_flight=self._site.triton.max_in_flight,
                calibration=calibration,
            )
        except ValueError as error:
            raise ValueError(f"camera {camera}: {error}") from error
        if calibration is not None:
            self._tell_uncalibrated(camera, calibration, served, chain)
        return chain

    def own_share_of(self, camera: str, served: ServedModel) -> float | None:
        """Which part of the open threshold the close one is without the camera's calibration; None where none holds."""
        calibration = self._calibrations.get(camera)
        if calibration is None or not calibration.made_for(served):
            return None
        try:
            own = chain_settings(self._site.alerts_of(camera), served, max_in_flight=self._site.triton.max_in_flight)
        except ValueError:  # neither the site nor the model names a threshold
            return CLOSE_SHARE
        return own.alert.close_threshold / own.alert.open_threshold

    def check_fit(self, served: ServedModel) -> None:
        """Whether every camera can judge the scores of a model that takes another's place.

        Cameras cut the clips that :meth:`clip_of` told them, also for this model.

        Raises:
            ClipMismatch: one line that names the camera.
        """
        try:
            for camera in self._site.cameras:
                self.chain_of(camera, served)
                self._check_calibration(camera, self._clips[camera], served)
        except ValueError as error:
            raise ClipMismatch(f"version {served.version} of the served model: {error}") from error

    def _tell_uncalibrated(
        self, camera: str, calibration: Calibration, served: ServedModel, chain: ChainSettings
    ) -> None:
        """Say once that a calibration does not hold for what scores now; the camera is watched all the same."""
        known = (camera, served.name, served.version)
        if calibration.made_for(served) or known in self._uncalibrated:
            return
        self._uncalibrated.add(known)
        _log.warning(
            "the camera's calibration is of another version and is not used: its budget of false alarms is not kept; "
            "calibrate again",
            camera=camera,
            calibrated=f"{calibration.model.name} version {calibration.model.version}",
            scores=f"{served.name} version {served.version}",
            threshold=chain.alert.open_threshold,
        )

    def _check_calibration(self, camera: str, clip: ClipSpec, served: ServedModel) -> None:
        """Refuse clips that the camera's calibration was not made with. Raises ValueError."""
        calibration = self._calibrations.get(camera)
        if calibration is None or not calibration.made_for(served):
            return
        try:
            calibration.require_clip(clip)
        except CalibrationError as error:
            raise ValueError(f"camera {camera}: {error}") from error


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run has done, over all cameras."""

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
        hooks: WorkerHooks | None = None,
    ) -> None:
        """Open what the site keeps: outbox, pictures, the metrics port.

        Args:
            run: names this run in the ids of alerts from recordings.
            repair_scorer: the scorer is ours alone: load its model anew when its process has died.
            published: called with every event that the topic has, on the relay's thread.

        Raises:
            CalibrationError, OutboxError, MetricsError, KafkaSecurityError, OSError: one line each.
        """
        self.site = site
        self.metrics = Metrics()
        self.worker: Worker | None = None
        self._run = run
        self._repair = repair_scorer
        self._published = published
        self._hooks = hooks
        self._waiting_since: float | None = None
        self._judging = Judging(site)
        site.state_dir.mkdir(parents=True, exist_ok=True)
        self._sinks = configured_sinks(site)
        self.outbox = Outbox(site.state_dir / "outbox.sqlite", self._sinks)
        self.evidence = EvidenceStore(
            site.state_dir / "evidence",
            quota_bytes=site.evidence.quota_mb * 1_000_000,
            max_age_seconds=site.evidence.max_age_days * 86_400,
        )
        self.metrics.outbox_depth.set_function(self.outbox.depth)
        self._relays = Relays(
            Relay(sink, self.outbox.deliveries(name), listener=_RelayNews(self, name, str(sink)))
            for name, sink in self._sinks.items()
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
            ScorerUnavailable, SinkUnavailableError: not there, and not patient.
            ClipMismatch: the site asks for other clips than the model was trained with.
            ValueError: no threshold, or settings that contradict each other.
            SourceError: a recording that is not there or is no video.
        """
        for camera, settings in self.site.cameras.items():
            open_source(camera, settings.source, source_options(settings))  # refused before anything is waited for
        triton = self.site.triton
        news = _ScoringNews(self)
        if patient:
            self._relays.start()  # what an earlier run has left need not wait for the scorer
            found = wait_for_model(triton.address, triton.model, stop, news)
            if found is None:
                return False
            served = found
        else:
            served = served_model(triton.address, triton.model)
            self._relays.check()
            self._relays.start()
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
            notify=self._relays.notify,
            pictures=self.evidence,
            metrics=self.metrics,
            hooks=self._hooks,
        )
        return True

    def _plan(self, camera: str, settings: CameraSettings, served: ServedModel) -> CameraPlan:
        return CameraPlan(
            camera,
            partial(open_source, camera, settings.source, source_options(settings)),
            self._judging.clip_of(camera, served),
            served,
            partial(self._judging.chain_of, camera),
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
        """For how long the scorer has been away; 0 when it is there."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def summary(self) -> Summary:
        states = self.worker.states if self.worker else []
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
            how many accepted events the topic does not have yet. They stay in the outbox; the next run publishes them.
        """
        if self.worker is not None:
            self.worker.stop()
        elif self._scorer is not None:
            self._scorer.close()
        self._relays.stop(relay_seconds)
        left = self.outbox.depth()
        self.metrics.outbox_depth.set_function(lambda: left)
        self.outbox.close()
        if self._metrics_server is not None:
            self._metrics_server.close()
        return left


class _ScoringNews:
    """What the scoring client tells, as metrics and log lines."""

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


class _RelayNews(RelayListener):
    """Turns the callbacks of one sink's relay into metrics and log lines."""

    def __init__(self, service: Service, sink: str, place: str) -> None:
        self._service = service
        self._sink = sink
        self._place = place

    def published(self, event: AlertEvent, delay_seconds: float | None) -> None:
        if self._sink != next(iter(self._service._sinks)):
            return  # an event counts and is shown once, when the first sink has it
        if delay_seconds is not None:
            self._service.metrics.capture_to_published.labels(event.subject).observe(delay_seconds)
        self._service._published(event)

    def waiting(self, reason: str) -> None:
        _log.warning("waiting for the sink; alerts are kept", sink=self._sink, reason=reason)

    def resumed(self) -> None:
        _log.info("the sink accepts alerts", sink=self._sink, place=self._place)

    def failed(self, event: AlertEvent, reason: str) -> None:
        _log.error("the sink refuses this alert permanently; it is set aside", id=event.id, reason=reason)
