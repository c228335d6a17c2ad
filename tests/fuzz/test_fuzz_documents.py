"""Documents from outside: site files, manifests, alert documents, messages of the topic, calibrations, keys."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from certificates import Authority
from fuzzing import fuzz, mutated, mutated_bytes, mutated_text, outcome, refused
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.alerting import AlertState, AlertTransition
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.event import event_from
from pipeline.alerts.evidence import file_name
from pipeline.alerts.evidence_uri import picture_of
from pipeline.alerts.reading import Event, explain_unreadable, read_event
from pipeline.calibration.file import read_calibration
from pipeline.manifests.manifest import read_manifest
from pipeline.secret_file import read_secret
from pipeline.settings import SettingsError, load_site
from pipeline.sinks.tail import parse_message
from pipeline.tls import verifying_context

pytestmark = pytest.mark.fuzz

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "configs" / "site.example.yaml").read_text(encoding="utf-8")

SITES: list[dict[str, Any]] = [
    yaml.safe_load(EXAMPLE),
    {
        "site": "yard",
        "state_dir": "state",
        "triton": {"address": "127.0.0.1:8001", "max_in_flight": 2, "deadline_seconds": 5, "queue_clips": 3},
        "kafka": {"bootstrap": "127.0.0.1:9092,[::1]:9093", "topic": "alerts", "security": {"tls": True}},
        "detectors": {"mist": {"model": "clip_scorer"}, "gate-only": {"model": "learned", "camera": "gate"}},
        "metrics": {"host": "127.0.0.1", "port": 9100},
        "evidence": {"quota_mb": 10, "max_age_days": 3},
        "cameras": {
            "gate": {
                "source": "rtsps://camera/stream1",
                "username": "viewer",
                "password": "s3cr3t-w0rd",
                "transport": "tcp",
                "tls": {"verify": True, "server_name": "camera"},
                "clip": {"fps": 10},
                "alerts": {"open_threshold": 0.7, "close_threshold": 0.5},
                "gate": {"mode": "off"},
                "zones": {"door": {"points": [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]}},
            },
            "yard": {"source": "http://camera/x.jpg", "snapshot_seconds": 2, "detectors": ["mist"]},
        },
    },
]


def alert(state: AlertState, sequence: int) -> bytes:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    times = ClipTimes(now, now, now, now, 1.0)

    def clip(index: int) -> ClipScore:
        return ClipScore("gate", "segment", index, 0.64 * index, 0.64 * (index + 1), 0.75, "m", "1", times)

    peak, newest = SmoothedScore(clip(0), 0.75), SmoothedScore(clip(sequence), 0.5)
    transition = AlertTransition(state, "gate", "segment", sequence, peak.clip, newest.clip, peak, 0.6, (newest,), None)
    evidence = ["file:///evidence/gate/a.jpg"]
    return event_from(transition, site="yard", run="", evidence=evidence, replay=False).published(now).to_json()


ALERTS = [alert(AlertState.BEGIN, 0), alert(AlertState.UPDATE, 3)]
MANIFEST_LINES = [
    {"path": "one.mp4", "label": 0},
    {"path": "two.mp4", "label": 1, "intervals": [[3, 9], [20, 30]], "split": "test", "group": "a"},
    {"path": "pictures", "label": 1, "fps": 25.0, "masks": "masks"},
]
CALIBRATION = {
    "schema_version": 1,
    "model": {"name": "mean", "version": "1"},
    "clip": {"frames": 4, "stride": 2, "height": 16, "width": 16, "fit": "crop", "fps": None},
    "alerts": {
        "kernel": 3,
        "open_threshold": 0.7,
        "close_threshold": 0.5,
        "min_clips": 1,
        "cooldown_seconds": 10.0,
        "max_duration_seconds": 300.0,
    },
    "promise": {
        "budget": "1/hour",
        "budget_per_hour": 1.0,
        "confidence": 0.9,
        "hours": 10.0,
        "false_alarms": 2,
        "at_most_per_hour": 0.6,
    },
    "footage": [{"name": "one.mp4", "hours": 10.0, "false_alarms": 2}],
    "created_at": "2026-03-01T12:00:00Z",
    "mistwatch": "0.2.0",
}


def is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for file in ("one.mp4", "two.mp4"):
            (place / file).touch()
        for each in ("pictures", "masks"):
            (place / each).mkdir()
        yield place


@pytest.fixture(scope="module", autouse=True)
def _plain_environment() -> Iterator[None]:
    kept = {name: value for name, value in os.environ.items() if name.startswith("MISTWATCH_")}
    for name in kept:
        del os.environ[name]
    yield
    os.environ.update(kept)


def write(folder: Path, content: bytes) -> Path:
    file = folder / "fuzzed"
    file.write_bytes(content)
    return file


def test_the_documents_can_be_read_before_they_are_mutated(folder: Path) -> None:
    for site in SITES:
        load_site(write(folder, yaml.safe_dump(site).encode()))
    for document in ALERTS:
        assert parse_message(document) is not None
    lines = "\n".join(map(json.dumps, MANIFEST_LINES))
    assert len(read_manifest(write(folder, lines.encode()))) == len(MANIFEST_LINES)
    read_calibration(write(folder, json.dumps(CALIBRATION).encode()))


@fuzz(0.12, document=mutated(SITES))
def test_a_site_as_a_document(folder: Path, document: Any) -> None:
    text = yaml.safe_dump(document, allow_unicode=True)
    outcome("site, document", lambda: load_site(write(folder, text.encode("utf-8", "surrogatepass"))))


@fuzz(0.08, content=mutated_bytes([EXAMPLE.encode(), yaml.safe_dump(SITES[1]).encode()]) | st.binary(max_size=200))
def test_a_site_as_bytes(folder: Path, content: bytes) -> None:
    outcome("site, bytes", lambda: load_site(write(folder, content)))


@pytest.mark.parametrize("sign", ["[", "{", "- ", '{"a":', "a: ["])
def test_a_site_nested_without_end_is_refused_soon(folder: Path, sign: str) -> None:
    """PyYAML's time grows with the square of the depth, and its recursion ends in an error of Python's."""
    file = write(folder, (sign * 20_000).encode())
    with pytest.raises(SettingsError) as caught:
        load_site(file)
    assert "\n" not in str(caught.value)


def _read(content: bytes) -> Event | str:
    try:
        return read_event(content)
    except ValidationError as error:
        return explain_unreadable(error)


def _one_line(target: str, content: bytes) -> None:
    """Read an alert, and a message of the topic, of which a person sees a line."""
    event = outcome(target, lambda: _read(content))
    message = parse_message(content)
    if isinstance(event, str):
        refused[target] += 1
        assert event.isprintable()
        assert message is None
        return
    assert event is not None
    event.model_dump_json()
    if message is not None:
        json.loads(message.as_json())
        assert message.as_text().isprintable()


@fuzz(0.16, document=mutated([json.loads(each) for each in ALERTS]))
def test_an_alert_as_a_document(document: Any) -> None:
    _one_line("alert, document", json.dumps(document).encode("utf-8", "surrogatepass"))


@fuzz(0.12, content=mutated_bytes(ALERTS) | st.binary(max_size=100))
def test_an_alert_as_bytes(content: bytes) -> None:
    _one_line("alert, bytes", content)


@fuzz(0.1, lines=st.lists(mutated(MANIFEST_LINES), min_size=1, max_size=3))
def test_a_manifest_as_documents(folder: Path, lines: list[Any]) -> None:
    content = "\n".join(json.dumps(line) for line in lines).encode("utf-8", "surrogatepass")
    outcome("manifest, documents", lambda: read_manifest(write(folder, content)))


@fuzz(0.05, content=mutated_bytes(["\n".join(map(json.dumps, MANIFEST_LINES)).encode()]) | st.binary(max_size=100))
def test_a_manifest_as_bytes(folder: Path, content: bytes) -> None:
    outcome("manifest, bytes", lambda: read_manifest(write(folder, content)))


@fuzz(0.04, document=mutated([CALIBRATION]))
def test_a_calibration(folder: Path, document: Any) -> None:
    content = json.dumps(document).encode("utf-8", "surrogatepass")
    outcome("calibration", lambda: read_calibration(write(folder, content)))


@fuzz(0.04, uri=mutated_text([f"file:///evidence/gate/{uuid.UUID(int=0)}.jpg", "file:///../x.png", "http://h/a.jpg"]))
def test_the_picture_of_an_alert_stays_in_its_folder(folder: Path, uri: str) -> None:
    evidence = folder / "evidence"
    (evidence / "gate").mkdir(parents=True, exist_ok=True)
    (evidence / "gate" / "a.jpg").touch()
    (folder / "secret.jpg").touch()
    found = outcome("evidence", lambda: picture_of([uri, "file:///evidence/gate/a.jpg"], evidence))
    assert found is None or found.resolve().is_relative_to(evidence.resolve())


@fuzz(0.04, name=st.text(min_size=1) | mutated_text(["gate/../../x", "../x", "a\x00b"]))
def test_a_name_becomes_one_component_of_a_path(name: str) -> None:
    made = outcome("names of files", lambda: file_name(name))
    assert made is not None
    assert "/" not in made
    assert "\x00" not in made
    assert made not in ("", ".", "..")
    assert len(made.encode("utf-8", "surrogateescape")) < 256


@fuzz(0.03, content=mutated_bytes([b"s3cr3t\n", b"\n", "pässword\r\nmore".encode()]) | st.binary(max_size=50))
def test_a_file_with_a_password(folder: Path, content: bytes) -> None:
    secret = outcome("secret file", lambda: read_secret("password file", write(folder, content)))
    assert secret is None or "\n" not in secret


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Authority(tmp_path_factory.mktemp("pem")).sign("one", "DNS:h").in_one_file().read_bytes()


@fuzz(0.03, seed=st.data())
def test_a_file_of_certificates(folder: Path, pem: bytes, seed: Any) -> None:
    file = write(folder, seed.draw(mutated_bytes([pem])))
    outcome("certificates", lambda: verifying_context("TLS", ca=file, certificate=file))
