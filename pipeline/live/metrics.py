"""The worker's Prometheus metrics, in a registry of their own, served on the address that the site names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from threading import Lock, Thread
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    make_wsgi_app,
    start_http_server,
)

from operators.background import SceneKind
from operators.chain import ChainSettings
from operators.drift import DriftSeen, DriftState
from operators.scores import SmoothedScore
from pipeline.alerts.enrich import Outcome
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.films import FilmOutcome
from pipeline.alerts.judgement import JudgementEvent
from pipeline.alerts.reading import Event
from pipeline.alerts.tamper import TamperEvent
from pipeline.alerts.uploads import UploadDrop, UploadWatch
from pipeline.errors import MistwatchError
from pipeline.live.health import Probed, with_probes
from pipeline.live.listener import Watch, WorkerListener
from pipeline.live.supervision import Condition, State
from pipeline.scoring.outcomes import Dropped, Gated, Scored
from pipeline.scoring.served_model import ServedModel
from pipeline.sources.arrival import CLOCK_FAULTS, StampFault, StampReport
from pipeline.sources.base import Frame
from pipeline.sources.reconnect import Outage

# A clip is captured in 0.6 s to 1.6 s and scored in 0.02 s to 0.3 s; an overloaded scorer makes it tens of seconds.
_LATENCY_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)
# Smoothing takes less than a millisecond where no earlier clip is outstanding.
_STAGE_BUCKETS = (0.001, 0.003, 0.01, 0.03, *_LATENCY_BUCKETS[1:])


class Stage(StrEnum):
    """The stages on the way from a clip's first frame to the broker: each begins where the one before ends.

    Every clip passes the first four, and every alert event the others with its last clip.
    """

    WINDOW = "window"  #: from the first frame to the last one
    QUEUE = "queue"  #: scaled, cut and waiting, until it is sent to Triton
    SCORE = "score"  #: until the answer
    SMOOTH = "smooth"  #: waiting for the operators and for earlier clips, until it is smoothed
    OUTBOX = "outbox"  #: picture and additions, until the event is committed
    PUBLISH = "publish"  #: until the broker acknowledges the event


class MetricsError(MistwatchError):
    """The metrics address cannot be listened on."""


class Metrics:
    """Counters and histograms of one worker. Every method of the Prometheus objects is thread-safe.

    Args:
        detectors: whether the site names its detectors. The series of clips and alerts then have the label
            ``detector``; otherwise they do not, so that a site without ``detectors:`` keeps its series.
    """

    def __init__(self, *, detectors: bool = False) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # its memory, processor time and descriptors, and when it started
        self._labelled_by_detector = detectors
        common: dict[str, Any] = {"registry": self.registry, "namespace": "mistwatch"}
        watch = ["camera", "detector"] if detectors else ["camera"]
        self.frames_decoded = Counter("frames_decoded", "Frames taken from a source", ["camera"], **common)
        self.pictures_scaled = Counter(
            "pictures_scaled", "Pictures scaled for clips, one a frame for each distinct size", ["camera"], **common
        )
        self.pictures_dropped = Counter(
            "pictures_dropped",
            "Pictures of a live source left out for their time stamp",
            ["camera", "reason"],
            **common,
        )
        self.stamps_unusable = Counter(
            "stamps_unusable",
            "Connections in which the time of arrival took over from time stamps",
            ["camera"],
            **common,
        )
        self.clock_faults = Counter(
            "clock_faults", "Faults of the wall clock of a camera, and drift", ["camera", "reason"], **common
        )
        self.negative_times = Counter(
            "negative_times", "Times between two events that were below 0 and count as 0", **common
        )
        self.clips_scored = Counter("clips_scored", "Clips that Triton scored", watch, **common)
        self.clips_dropped = Counter("clips_dropped", "Clips without a score", [*watch, "reason"], **common)
        self.clips_gated = Counter("clips_gated", "Clips not sent, because nothing moved in them", watch, **common)
        self.clips_in_flight = Gauge("clips_in_flight", "Clips sent to Triton and not answered", **common)
        self.scorer_away = Gauge("scorer_away", "1 while clips or the start wait for Triton or a model", **common)
        self.scorer_reconnects = Counter(
            "scorer_reconnects", "Connections to Triton that had died without a sign and were replaced", **common
        )
        self.reconnects = Counter("reconnects", "Outages of a live source", ["camera", "reason"], **common)
        self.connected = Gauge("camera_connected", "1 while the source delivers frames", ["camera"], **common)
        self.camera_state = Gauge(
            "camera_state", "1 for the state of a live camera, 0 for the others", ["camera", "state"], **common
        )
        self.stalls = Counter("stalls", "Times that a live camera gave no frame for its limit", ["camera"], **common)
        self.part_missing = Gauge(
            "part_missing", "1 while the camera waits for its part in a hosting model", watch, **common
        )
        self.background_known = Gauge(
            "background_known", "1 while clips are scored against the background of the last minutes", watch, **common
        )
        self.alerts = Counter("alerts", "Alerts begun", watch, **common)
        self.likeness = Counter(
            "alerts_likeness", "Alerts by when their likeness was known", [*watch, "outcome"], **common
        )
        self.place = Counter("alerts_place", "Alerts by when their place was known", [*watch, "outcome"], **common)
        self.films = Counter("films", "Films of alerts by what became of them", ["camera", "outcome"], **common)
        self.evidence_uploads = Counter(
            "evidence_uploads", "Attempts to copy pictures and films to the object store", ["outcome"], **common
        )
        self.evidence_dropped = Counter(
            "evidence_dropped", "Pictures and films that never reached the object store", ["reason"], **common
        )
        self.evidence_waiting = Gauge("evidence_waiting", "Pictures and films that wait for the object store", **common)
        self.evidence_store_away = Gauge(
            "evidence_store_away", "1 while the object store takes no pictures and films; they are kept", **common
        )
        self.unsecured = Counter(
            "alerts_unsecured", "Alerts begun while the topic of scores could not take their state", watch, **common
        )
        self.left = Counter(
            "events_left", "Events left to another worker, which had claimed the camera", ["camera"], **common
        )
        self.muted = Counter("alerts_muted", "Alerts that ended muted, by a judgement or a schedule", watch, **common)
        self.drift = Gauge("drift", "1 while the camera no longer looks as it was learned", watch, **common)
        self.tamper_active = Gauge("tamper_active", "1 while the camera is tampered with", ["camera", "kind"], **common)
        self.tamper = Counter("tamper", "Tamperings begun", ["camera", "kind"], **common)
        self.rare_clips_share = Gauge(
            "rare_clips_share",
            "Share of clips, in the last hour of footage, with a score that a tenth of the learned ones has",
            watch,
            **common,
        )
        self.capture_to_score = Histogram(
            "capture_to_score_seconds",
            "From a clip's last frame to its score, live sources",
            watch,
            buckets=_LATENCY_BUCKETS,
            **common,
        )
        self.capture_to_published = Histogram(
            "capture_to_published_seconds",
            "From the last frame of an event's last clip to the broker's acknowledgement, live sources",
            watch,
            buckets=_LATENCY_BUCKETS,
            **common,
        )
        self.stage = Histogram(
            "stage_seconds",
            "Time in each stage on the way from a clip's first frame to the broker, live sources",
            ["stage", *watch[1:]],  # of all cameras together: a series for each would be many
            buckets=_STAGE_BUCKETS,
            **common,
        )
        self.sink_away = Gauge("sink_away", "1 while a sink takes no events; they are kept", ["sink"], **common)
        self.sink_reconnects = Counter(
            "sink_reconnects", "Connections to a sink that failed and were replaced", ["sink"], **common
        )
        self.events_set_aside = Counter(
            "events_set_aside", "Events that a sink refuses or this version cannot read", ["sink"], **common
        )
        self.dead_letters = Counter(
            "dead_letters",
            "Events that a sink refuses or this version cannot read, on the dead-letter topic",
            ["sink"],
            **common,
        )
        self.outbox_events = Gauge("outbox_events", "Events that wait for a sink", ["sink"], **common)
        self.outbox_bytes = Gauge("outbox_bytes", "Bytes of the events that wait for a sink", ["sink"], **common)
        self.outbox_file_bytes = Gauge("outbox_file_bytes", "Size of the outbox's file with its log", **common)
        self.outbox_merged = Counter(
            "outbox_merged", "Updates merged into later ones while a sink was away", ["sink"], **common
        )
        self.outbox_refused = Counter(
            "outbox_refused", "Alerts that a sink does not get, as too much waits for it", ["sink", "camera"], **common
        )
        self.outbox_dropped = Counter(
            "outbox_dropped", "Events set aside that were deleted, as there were too many", ["sink"], **common
        )
        self.outbox_depth = Gauge("outbox_depth", "Events that some sink has not acknowledged", **common)

    def labels_of(self, watch: Watch) -> tuple[str, ...]:
        """The values of the labels that name a camera and its detector, in their order."""
        return tuple(watch) if self._labelled_by_detector else (watch.camera,)

    def observe_stage(self, stage: Stage, watch: Watch, seconds: float) -> None:
        """Count the time that a clip or an event of a live camera has spent in a stage."""
        self.observe_time(self.stage.labels(stage, *self.labels_of(watch)[1:]), seconds)

    def observe_time(self, histogram: Histogram, seconds: float) -> None:
        """Count a time between two events; one below 0, by an error of a clock, is counted as 0 and apart."""
        if not seconds >= 0:  # also NaN
            self.negative_times.inc()
            seconds = 0.0
        histogram.observe(seconds)

    def forget(self, camera: str) -> None:
        """Remove every series of a camera."""
        for metric in (
            self.frames_decoded,
            self.pictures_scaled,
            self.pictures_dropped,
            self.stamps_unusable,
            self.clock_faults,
            self.clips_scored,
            self.clips_dropped,
            self.clips_gated,
            self.films,
            self.unsecured,
            self.reconnects,
            self.connected,
            self.camera_state,
            self.stalls,
            self.part_missing,
            self.background_known,
            self.alerts,
            self.likeness,
            self.place,
            self.left,
            self.muted,
            self.drift,
            self.tamper_active,
            self.tamper,
            self.rare_clips_share,
            self.capture_to_score,
            self.capture_to_published,
            self.outbox_refused,
        ):
            metric.remove_by_labels({"camera": camera})

    def serve(self, host: str, port: int, probed: Probed | None = None) -> MetricsServer:
        """Answer ``/metrics`` on ``host:port`` until the returned server is closed.

        Args:
            probed: asked for the answers to ``/healthz`` and ``/readyz``; see :mod:`pipeline.live.health`.

        Raises:
            MetricsError: the address cannot be listened on; the text names it.
        """
        try:
            server, thread = start_http_server(port, addr=host, registry=self.registry)
        except OSError as error:
            raise MetricsError(
                f"metrics address {host}:{port} cannot be listened on ({error.strerror}): "
                "set metrics.port to a free port, or leave it out"
            ) from error
        if probed is not None:
            server.set_app(with_probes(make_wsgi_app(self.registry), probed))
        return MetricsServer(server, thread)


class MetricsServer:
    """The listening side of :meth:`Metrics.serve`."""

    def __init__(self, server: Any, thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.port: int = server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=0.5)


class CountedUploads(UploadWatch):
    """Counts uploads of evidence."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def uploaded(self) -> None:
        self._metrics.evidence_uploads.labels("uploaded").inc()

    def failed(self) -> None:
        self._metrics.evidence_uploads.labels("failed").inc()

    def dropped(self, reason: UploadDrop) -> None:
        self._metrics.evidence_dropped.labels(reason).inc()

    def waiting(self, files: int) -> None:
        self._metrics.evidence_waiting.set(files)

    def away(self, is_away: bool) -> None:
        self._metrics.evidence_store_away.set(is_away)


class MetricsListener(WorkerListener):
    """Counts the worker's calls in :class:`Metrics`, and the relay's deliveries. Thread-safe."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._live: set[str] = set()
        self._removed: set[str] = set()
        self._frame_counters: dict[str, tuple[Counter, Counter]] = {}  # looking them up costs more than counting
        self._lock = Lock()  # of a camera's removal: no late delivery may bring its series back

    def camera_added(self, camera: str, watches: Sequence[Watch], *, live: bool) -> None:
        with self._lock:
            self._removed.discard(camera)
        if live:
            self._live.add(camera)
            self._metrics.connected.labels(camera).set(0)  # also while its very first attempt hangs
            self._metrics.stalls.labels(camera)
            self._set_state(camera, State.CONNECTING)

    def condition_changed(self, camera: str, condition: Condition) -> None:
        with self._lock:
            if camera not in self._live:  # a recording, or removed meanwhile
                return
            self._set_state(camera, condition.state)
            if condition.state is State.STALLED:
                self._metrics.stalls.labels(camera).inc()

    def _set_state(self, camera: str, present: State) -> None:
        for state in State:
            self._metrics.camera_state.labels(camera, state).set(state is present)

    def connected(self, camera: str) -> None:
        self._metrics.connected.labels(camera).set(1)

    def away(self, outage: Outage) -> None:
        self._metrics.reconnects.labels(outage.camera, outage.code).inc()
        self._metrics.connected.labels(outage.camera).set(0)

    def frame(self, camera: str, frame: Frame) -> None:
        counters = self._frame_counters.get(camera)
        if counters is None:
            counters = self._metrics.frames_decoded.labels(camera), self._metrics.pictures_scaled.labels(camera)
            self._frame_counters[camera] = counters
        decoded, scaled = counters
        decoded.inc()
        scaled.inc(frame.scaled)

    def stamps(self, report: StampReport) -> None:
        if report.fault is StampFault.UNUSABLE:
            self._metrics.stamps_unusable.labels(report.camera).inc()
        elif report.fault in CLOCK_FAULTS:
            self._metrics.clock_faults.labels(report.camera, report.fault).inc()
        else:
            self._metrics.pictures_dropped.labels(report.camera, report.fault).inc()

    def judged(self, watch: Watch, served: ServedModel, settings: ChainSettings) -> None:
        if served.scene is not SceneKind.BACKGROUND:
            self._metrics.background_known.remove(*self._metrics.labels_of(watch))

    def scored(self, watch: Watch, scored: Scored) -> None:
        labels = self._metrics.labels_of(watch)
        self._metrics.clips_scored.labels(*labels).inc()
        if scored.served.scene is SceneKind.BACKGROUND:
            window = scored.window
            is_known = window.scene is not None and window.scene_kind is SceneKind.BACKGROUND
            self._metrics.background_known.labels(*labels).set(is_known)
        if scored.window.segment.live:
            self._metrics.observe_time(self._metrics.capture_to_score.labels(*labels), scored.delay_seconds)
            self._observe_scoring(watch, scored)

    def _observe_scoring(self, watch: Watch, scored: Scored) -> None:
        window, sent = scored.window, scored.sent_monotonic
        if window.began_monotonic is not None:
            self._metrics.observe_stage(Stage.WINDOW, watch, window.captured_monotonic - window.began_monotonic)
        if sent is not None:
            self._metrics.observe_stage(Stage.QUEUE, watch, sent - window.captured_monotonic)
            self._metrics.observe_stage(Stage.SCORE, watch, scored.scored_monotonic - sent)

    def smoothed(self, watch: Watch, score: SmoothedScore) -> None:
        scored = score.clip.times.scored_monotonic
        if watch.camera in self._live and scored is not None:
            self._metrics.observe_stage(Stage.SMOOTH, watch, time.monotonic() - scored)

    def dropped(self, watch: Watch, dropped: Dropped) -> None:
        self._metrics.clips_dropped.labels(*self._metrics.labels_of(watch), dropped.reason).inc()

    def gated(self, watch: Watch, gated: Gated) -> None:
        self._metrics.clips_gated.labels(*self._metrics.labels_of(watch)).inc()

    def accepted(self, watch: Watch, event: AlertEvent) -> None:
        if event.decided_monotonic is not None:
            self._metrics.observe_stage(Stage.OUTBOX, watch, time.monotonic() - event.decided_monotonic)
        if event.data.sequence == 0:
            self._metrics.alerts.labels(*self._metrics.labels_of(watch)).inc()
        if event.data.state == "end" and event.data.muted:
            self._metrics.muted.labels(*self._metrics.labels_of(watch)).inc()

    def left(self, camera: str, event: Event) -> None:
        self._metrics.left.labels(camera).inc()

    def likeness(self, watch: Watch, outcome: Outcome) -> None:
        """Count an alert by what became of its likeness."""
        self._metrics.likeness.labels(*self._metrics.labels_of(watch), outcome).inc()

    def place(self, watch: Watch, outcome: Outcome) -> None:
        """Count an alert by what became of its place."""
        self._metrics.place.labels(*self._metrics.labels_of(watch), outcome).inc()

    def film(self, camera: str, outcome: FilmOutcome) -> None:
        """Count a film; that of a removed camera brings none of its series back."""
        with self._lock:
            if camera not in self._removed:
                self._metrics.films.labels(camera, outcome).inc()

    def drift_seen(self, watch: Watch, seen: DriftSeen) -> None:
        labels = self._metrics.labels_of(watch)
        if seen.share is None:
            self._metrics.drift.remove(*labels)
            self._metrics.rare_clips_share.remove(*labels)
        else:
            self._metrics.drift.labels(*labels).set(seen.state is DriftState.DRIFTED)
            self._metrics.rare_clips_share.labels(*labels).set(seen.share)

    def tampered(self, event: TamperEvent) -> None:
        labels = (event.data.camera, str(event.data.kind))
        begun = event.data.state == "begin"
        self._metrics.tamper_active.labels(*labels).set(begun)
        if begun:
            self._metrics.tamper.labels(*labels).inc()

    def published(self, event: Event, delay_seconds: float | None, publish_seconds: float | None) -> None:
        """The topic has an event; see :meth:`pipeline.sinks.relay.RelayListener.published`."""
        if isinstance(event, JudgementEvent | TamperEvent):  # not of a clip: no delay from its capture is known
            return
        watch = Watch(event.subject, event.data.detector or "")
        if publish_seconds is not None:
            self._metrics.observe_stage(Stage.PUBLISH, watch, publish_seconds)
        with self._lock:
            if delay_seconds is not None and watch.camera not in self._removed:
                histogram = self._metrics.capture_to_published.labels(*self._metrics.labels_of(watch))
                self._metrics.observe_time(histogram, delay_seconds)

    def finished(self, camera: str) -> None:
        if camera in self._live:
            self._metrics.connected.labels(camera).set(0)

    def camera_removed(self, camera: str) -> None:
        with self._lock:
            self._live.discard(camera)
            self._removed.add(camera)
            self._frame_counters.pop(camera, None)
            self._metrics.forget(camera)
