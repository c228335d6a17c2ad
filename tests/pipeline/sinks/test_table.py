"""The table of sinks, and a sink of a test's own: one module (tests/support/json_lines_sink.py) and one line."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from json_lines_sink import JsonLinesSettings, JsonLinesSink
from ports import free_port

from pipeline.live.service import Service
from pipeline.settings import KafkaSettings, SettingsError, Site, site_from_options
from pipeline.sinks import SINKS, SinkKind, configured_sinks


@pytest.fixture
def with_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SINKS, "json_lines", SinkKind(JsonLinesSink, JsonLinesSettings))


def test_a_site_as_it_is_has_kafka_alone() -> None:
    site = site_from_options({"cameras": {"any": {"source": "any"}}, "kafka": {"bootstrap": "kafka:9092"}})
    assert {name: str(sink) for name, sink in configured_sinks(site.sink_settings).items()} == {
        "kafka": "Kafka kafka:9092"
    }


@pytest.mark.usefixtures("with_json_lines")
def test_sinks_are_built_for_the_settings_that_are_there(tmp_path: Path) -> None:
    settings = JsonLinesSettings(path=tmp_path / "alerts.jsonl")
    kafka = KafkaSettings(bootstrap="kafka:9092")
    both = configured_sinks({"json_lines": settings, "kafka": kafka})
    assert {name: str(sink) for name, sink in both.items()} == {
        "kafka": "Kafka kafka:9092",
        "json_lines": f"file {tmp_path / 'alerts.jsonl'}",
    }
    assert list(configured_sinks({"json_lines": settings})) == ["json_lines"]


@pytest.mark.usefixtures("with_json_lines")
def test_a_service_delivers_to_an_added_sink_while_kafka_is_away(tmp_path: Path, make_event: Any, until: Any) -> None:
    file = tmp_path / "alerts.jsonl"
    site = Site(
        state_dir=tmp_path / "state",
        cameras={"gate": {"source": "rtsp://127.0.0.1:1/gate"}},
        triton={"address": f"127.0.0.1:{free_port()}"},
        kafka={"bootstrap": f"127.0.0.1:{free_port()}"},
        sinks={"json_lines": {"path": file}},
    )
    service = Service(site)
    stop = threading.Event()
    with closing(service):
        service.outbox.accept(make_event("gate", 0))
        preparing = threading.Thread(target=service.prepare, args=(stop,), kwargs={"patient": True})
        preparing.start()
        try:
            until(lambda: file.exists() and file.read_text().endswith("\n"), "the file has the event")
            until(lambda: service.outbox.deliveries("json_lines").depth() == 0, "and the outbox knows it")
            assert service.outbox.deliveries("kafka").depth() == 1
            assert service.metrics.registry.get_sample_value("mistwatch_outbox_depth") == 1
        finally:
            stop.set()
            preparing.join()
    [line] = file.read_text().splitlines()
    assert json.loads(line)["id"] == make_event("gate", 0).id


@pytest.mark.usefixtures("with_json_lines")
@pytest.mark.parametrize(
    ("sinks", "problem"),
    [
        ({"json_line": {"path": "a"}}, "sinks: unknown sink json_line; expected webhook, mqtt, json_lines"),
        (
            {"kafka": {"bootstrap": "kafka:9092"}},
            "sinks: unknown sink kafka; expected webhook, mqtt, json_lines (Kafka has the key kafka)",
        ),
        ({"json_lines": {}}, "sinks: json_lines.path: Field required"),
        (["json_lines"], "sinks: must be a mapping of sinks to their settings"),
    ],
)
def test_a_sink_that_cannot_be_is_one_line(sinks: object, problem: str) -> None:
    with pytest.raises(SettingsError) as error:
        site_from_options({"cameras": {"any": {"source": "any"}}, "sinks": sinks})
    assert str(error.value).startswith(problem)
    assert "\n" not in str(error.value)
