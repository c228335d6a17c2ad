"""The loop around a live source: waits, reasons, and the stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.sources.base import EndReason, Segment, SegmentOver, SourceError
from pipeline.sources.reconnect import Backoff, BackoffSettings, Outage, reconnecting

SETTINGS = BackoffSettings(first=1.0, longest=30.0, healthy=10.0)
ITEM = SegmentOver(Segment("s", "gate", live=True), EndReason.DISCONNECTED)


def test_waits_double_up_to_the_longest():
    backoff = Backoff(SETTINGS, draw=lambda: 1.0)
    waits = [backoff.wait_after("refused", 0.0) for _ in range(7)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_waits_are_drawn_between_half_and_whole():
    assert Backoff(SETTINGS, draw=lambda: 0.0).wait_after("refused", 0.0) == 0.5
    backoff = Backoff(BackoffSettings(first=8.0, longest=8.0))
    waits = [backoff.wait_after("refused", 0.0) for _ in range(200)]
    assert all(4.0 <= wait <= 8.0 for wait in waits)
    assert len(set(waits)) > 100, "cameras behind one switch must not come back at the same moment"


def test_a_healthy_connection_starts_the_waits_afresh():
    backoff = Backoff(SETTINGS, draw=lambda: 1.0)
    waits = [backoff.wait_after("stream_end", up) for up in (0.0, 0.0, 9.9, 10.0, 0.0)]
    assert waits == [1.0, 2.0, 4.0, 1.0, 2.0]


def test_wrong_credentials_wait_longest_at_once():
    assert Backoff(SETTINGS, draw=lambda: 1.0).wait_after("unauthorized", 0.0) == 30.0


def test_months_of_outage():
    backoff = Backoff(SETTINGS, draw=lambda: 1.0)
    assert {backoff.wait_after("refused", 0.0) for _ in range(5000)} <= {1.0, 2.0, 4.0, 8.0, 16.0, 30.0}


@pytest.mark.parametrize("values", [{"first": 0.0}, {"first": -1.0}, {"first": 5.0, "longest": 1.0}, {"healthy": -1.0}])
def test_impossible_settings(values):
    with pytest.raises(ValueError, match="backoff"):
        BackoffSettings(**values)


class Camera:
    """A script: per connection how many items come, and how it ends."""

    def __init__(self, *script: tuple[int, SourceError | None], stop: threading.Event) -> None:
        self.script = list(script)
        self.stop = stop
        self.closed = 0

    def connect(self) -> Iterator[SegmentOver]:
        items, ending = self.script.pop(0)
        if not self.script:
            self.stop.set()
        try:
            for _ in range(items):
                yield ITEM
            if ending is not None:
                raise ending
        finally:
            self.closed += 1


FAST = Backoff(BackoffSettings(first=0.001, longest=0.001))


def test_every_outage_is_reported_with_its_reason():
    stop = threading.Event()
    camera = Camera(
        (0, SourceError("camera gate: refused", code="refused")),
        (2, SourceError("camera gate: gone", code="stream_end")),
        (1, None),
        (0, None),
        stop=stop,
    )
    outages: list[Outage] = []
    connected: list[str] = []
    items = list(
        reconnecting(
            "gate", camera.connect, stop=stop, backoff=FAST, on_outage=outages.append, on_connected=connected.append
        )
    )
    assert len(items) == 3
    assert [(outage.camera, outage.code) for outage in outages] == [
        ("gate", "refused"),
        ("gate", "stream_end"),
        ("gate", "stream_end"),
    ]
    assert outages[0].message == "camera gate: refused"
    assert all(0 < outage.retry_in_seconds <= 0.001 for outage in outages)
    assert connected == ["gate", "gate"]
    assert camera.closed == 4


def test_what_no_retry_mends_is_raised():
    stop = threading.Event()
    camera = Camera((0, SourceError("camera gate: no such protocol", code="usage")), (0, None), stop=stop)
    with pytest.raises(SourceError, match="no such protocol"):
        list(reconnecting("gate", camera.connect, stop=stop, backoff=FAST))


def test_a_stop_cuts_the_wait_short():
    stop = threading.Event()
    camera = Camera((0, SourceError("camera gate: refused", code="refused")), (0, None), stop=stop)
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    assert list(reconnecting("gate", camera.connect, stop=stop, backoff=Backoff(BackoffSettings(60.0, 60.0)))) == []
    assert time.monotonic() - started < 20  # it would wait for 30 s at least


def test_who_stops_listening_closes_the_connection():
    camera = Camera((5, None), (0, None), stop=threading.Event())
    items = reconnecting("gate", camera.connect, stop=camera.stop, backoff=FAST)
    next(items)
    assert camera.closed == 0
    items.close()
    assert camera.closed == 1
