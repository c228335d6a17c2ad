"""A worker's delivery: what a full outbox, a refused event and a sink that is away show in metrics and log."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from scripted_sink import ScriptedServer
from structlog.testing import capture_logs

from pipeline.alerts.outbox_capacity import Fill, OutboxLimits
from pipeline.live.delivery import OutboxLog
from pipeline.live.metrics import Metrics
from pipeline.live.service import Service
from pipeline.settings import SettingsError, Site, site_from_options
from pipeline.sinks import SINKS, SinkKind
from pipeline.sinks.base import Verdict


def value(service: Service, name: str, **labels: str) -> float | None:
    return service.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(
        state_dir=tmp_path / "state",
        cameras={"gate": {"source": "rtsp://127.0.0.1:1/gate"}},
        triton={"address": f"127.0.0.1:{free_port()}"},
        kafka={"bootstrap": f"127.0.0.1:{free_port()}"},
        outbox={"max_events": 100, "max_mb": 1},
    )


def test_a_full_outbox_is_counted_by_camera_and_logged_once(
    site: Site, make_event: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(Service(site)) as service:
        taken = [service.outbox.accept(make_event(f"camera{number}", 0)) for number in range(103)]
        assert taken == [True] * 100 + [None] * 3
        assert value(service, "mistwatch_outbox_events", sink="kafka") == 100
        waiting = service.outbox.fill("kafka").bytes
        assert value(service, "mistwatch_outbox_bytes", sink="kafka") == waiting > 10_000
        size = value(service, "mistwatch_outbox_file_bytes")
        assert size is not None
        assert size > waiting
        refused = [
            value(service, "mistwatch_outbox_refused_total", sink="kafka", camera=f"camera{n}") for n in (99, 102)
        ]
        assert refused == [None, 1]
        first = [event.id for event in service.outbox.deliveries("kafka").pending(50)]
        service.outbox.deliveries("kafka").delivered(first)
        assert service.outbox.accept(make_event("camera200", 0))
    shown = "".join(capfd.readouterr())
    assert shown.count("the outbox is full for this sink") == 1
    assert shown.count("the sink gets new alerts again") == 1
    assert value(service, "mistwatch_outbox_events", sink="kafka") == 51, "after the end, too"


def test_merged_updates_are_counted(site: Site, make_event: Any) -> None:
    with closing(Service(site)) as service:
        for number in range(150):
            assert service.outbox.accept(make_event("gate", number))
        merged = value(service, "mistwatch_outbox_merged_total", sink="kafka")
        events = value(service, "mistwatch_outbox_events", sink="kafka")
        assert merged is not None
        assert events == 150 - merged < 100


def test_a_refused_event_is_counted_and_waits_for_the_dead_letter_topic(
    site: Site, make_event: Any, monkeypatch: pytest.MonkeyPatch, until: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    server = ScriptedServer()
    server.script = [Verdict.NEVER]
    monkeypatch.setitem(SINKS, "kafka", SinkKind(lambda _settings: server.sink()))
    with closing(Service(site)) as service:
        service.outbox.accept(make_event("gate", 0))
        stopped = threading.Event()
        stopped.set()
        service.prepare(stopped, patient=True)
        until(lambda: value(service, "mistwatch_events_set_aside_total", sink="kafka") == 1, "set aside")
        shown: list[str] = []
        until(
            lambda: (
                shown.append("".join(capfd.readouterr()))
                or "waiting for the dead-letter topic; events stay set aside in the outbox" in "".join(shown)
            ),
            "the missing topic is logged",
        )
        [kept] = service.outbox.set_aside()
        assert kept.id == make_event("gate", 0).id
        began = time.monotonic()
    assert time.monotonic() - began < 15
    assert value(service, "mistwatch_dead_letters_total", sink="kafka") is None


def test_the_log_of_a_sink_that_has_room_again_says_how_many_alerts_it_lacks(make_event: Any) -> None:
    log = OutboxLog(Metrics())
    log.full("webhook", Fill(100, 1_000_000))
    for number in range(3):
        log.refused("webhook", make_event(f"camera{number}", 0))
    with capture_logs() as logged:  # whatever form of log an earlier test has configured
        log.has_room("webhook")
    assert [one.get("refused") for one in logged] == [3]


@pytest.mark.parametrize("outbox", [{"max_events": 5}, {"max_mb": 0}, {"max_gb": 1}])
def test_limits_that_cannot_be_are_one_line(outbox: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=r"^outbox\.max_(events|mb|gb): "):
        site_from_options({"cameras": {"any": {"source": "any"}}, "outbox": outbox})


def test_limits_are_reached_by_events_or_bytes() -> None:
    limits = OutboxLimits(10, 1000)
    assert [Fill(*fill).reaches(limits) for fill in ((9, 999), (10, 0), (0, 1000))] == [False, True, True]
    assert Fill(9, 0).reaches(limits, 0.9)
