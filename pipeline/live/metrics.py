"""The worker's Prometheus metrics, in a registry of their own, served on the address that the site names."""

from __future__ import annotations

from threading import Thread
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from pipeline.errors import MistwatchError

# A clip is captured in 0.6 s to 1.6 s and scored in 0.02 s to 0.3 s; an overloaded scorer makes it tens of seconds.
_LATENCY_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)


class MetricsError(MistwatchError):
    """The metrics address cannot be listened on."""


class Metrics:
    """Counters and histograms of one worker. Every method of the Prometheus objects is thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        common: dict[str, Any] = {"registry": self.registry, "namespace": "mistwatch"}
        self.frames_decoded = Counter("frames_decoded", "Frames taken from a source", ["camera"], **common)
        self.clips_scored = Counter("clips_scored", "Clips that Triton scored", ["camera"], **common)
        self.clips_dropped = Counter("clips_dropped", "Clips without a score", ["camera", "reason"], **common)
        self.clips_in_flight = Gauge("clips_in_flight", "Clips sent to Triton and not answered", **common)
        self.reconnects = Counter("reconnects", "Outages of a live source", ["camera", "reason"], **common)
        self.connected = Gauge("camera_connected", "1 while the source delivers frames", ["camera"], **common)
        self.alerts = Counter("alerts", "Alerts begun", ["camera"], **common)
        self.capture_to_score = Histogram(
            "capture_to_score_seconds",
            "From a clip's last frame to its score, live sources",
            ["camera"],
            buckets=_LATENCY_BUCKETS,
            **common,
        )
        self.capture_to_published = Histogram(
            "capture_to_published_seconds",
            "From the last frame of an event's last clip to the broker's acknowledgement, live sources",
            ["camera"],
            buckets=_LATENCY_BUCKETS,
            **common,
        )
        self.outbox_depth = Gauge("outbox_depth", "Alert events that some sink has not acknowledged", **common)

    def forget(self, camera: str) -> None:
        """Give up the series of a camera that has gone: a replay of thousands of recordings would keep them all."""
        for metric in (self.frames_decoded, self.clips_scored, self.clips_dropped, self.alerts):
            metric.remove_by_labels({"camera": camera})

    def serve(self, host: str, port: int) -> MetricsServer:
        """Answer ``/metrics`` on ``host:port`` until the returned server is closed.

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
