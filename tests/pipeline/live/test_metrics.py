"""The metrics as a Prometheus server reads them."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from pipeline.live.metrics import Metrics, MetricsError


def test_a_scrape_shows_what_was_counted() -> None:
    metrics = Metrics()
    metrics.clips_dropped.labels("gate", "overload").inc(3)
    server = metrics.serve("127.0.0.1", 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
    finally:
        server.close()
    assert 'mistwatch_clips_dropped_total{camera="gate",reason="overload"} 3.0' in text


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MetricsError, match=rf"127\.0\.0\.1:{port} cannot be listened on"):
            Metrics().serve("127.0.0.1", port)
