"""A group's worker adds and changes cameras at run time: the requests that it makes, and what it refuses."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import noida_db  # noqa: F401  # fixture
from ports import free_port

from pipeline.errors import MistwatchError
from pipeline.live import service as service_module
from pipeline.live.ownership import Ownership
from pipeline.live.score_states import ScoreRecord
from pipeline.live.service import Service
from pipeline.scoring.served_model import ScorerUnavailable, ServedModel, Trouble
from pipeline.scoring.tls_address import TlsAddress
from pipeline.settings import CameraSettings, GroupSite
from pipeline.sinks.compacted_topic import CompactedTopic
from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError
from pipeline.windows import ClipSpec

CLIP = ClipSpec(frames=16, stride=16, height=224, width=224)
CAMERA = CameraSettings(source="rtsp://192.0.2.7/stream")
CAMERA_MESSAGE = b'{"source": "rtsp://192.0.2.7/stream"}'
#: Far more than a busy machine needs.
SECONDS = 60.0


class NoWorker:
    """In place of the worker and of the scorer; takes every call."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments, **_options: None


def prepared(folder: Path, bootstrap: str) -> Service:
    """A worker's service without a server of models; it is prepared, but for its requests."""
    site = GroupSite.model_validate(
        {
            "site": "test",
            "state_dir": folder / "state",
            "triton": {"address": f"127.0.0.1:{free_port()}", "tls": {}},
            "kafka": {"bootstrap": bootstrap},
            "decoding": "threads",
            "detectors": {"fights": {"model": "m"}},
        }
    )
    made = Service(site, group="g")
    made.worker = made._scorer = NoWorker()  # type: ignore[assignment]
    return made


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The same without a broker."""
    made = prepared(tmp_path, f"127.0.0.1:{free_port()}")
    yield made
    made.close(relay_seconds=0.1)


def test_every_request_for_a_model_goes_over_tls(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def not_there(address: str, model: str, *, part: str) -> ServedModel:
        asked.append(address)
        raise ScorerUnavailable(Trouble.UNREACHABLE, "Triton: connection refused")

    monkeypatch.setattr(service_module, "served_model", not_there)
    with pytest.raises(ScorerUnavailable):
        service.add_camera("gate", CAMERA, None)
    service.site = service.site.with_camera("gate", CAMERA)  # type: ignore[attr-defined]
    assert not service.can_complete("gate")
    assert len(asked) == 2
    assert all(isinstance(address, TlsAddress) for address in asked)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"detectors": ["typo"]}, "typo"),
        ({"clip": {"frames": 8}}, "frames"),
        ({"alerts": {"close_threshold": 0.9}}, "close_threshold"),
        ({"source": "ftp://192.0.2.7/stream"}, "unknown kind of source"),
    ],
)
def test_a_camera_is_checked_without_a_change(
    service: Service, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], refusal: str
) -> None:
    served = ServedModel("m", "1", CLIP, threshold=0.5)
    monkeypatch.setattr(service_module, "served_model", lambda *_arguments, **_options: served)
    service.add_camera("gate", CAMERA, None)
    site, judging = service.site, dict(service._judging._rules)
    service.check_camera("gate", CAMERA)
    with pytest.raises(MistwatchError, match=refusal):
        service.check_camera("gate", CameraSettings.model_validate({"source": CAMERA.source} | change))
    assert service.site is site
    assert service._judging._rules == judging


@pytest.mark.alone
def test_a_stop_at_a_frozen_broker_ends_within_10_seconds(
    noida_db: Any,  # noqa: F811
    tmp_path: Path,
    make_event: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its group cannot be left, a claim is in flight, an event, a state and a report wait."""
    served = ServedModel("m", "1", CLIP, threshold=0.5)
    monkeypatch.setattr(service_module, "served_model", lambda *_arguments, **_options: served)
    service = prepared(tmp_path, noida_db.bootstrap)
    service._relays.start()
    service.start()
    topic = CompactedTopic(Broker(noida_db.bootstrap), "mistwatch.control", partitions=1)
    topic.send_now("gate", CAMERA_MESSAGE)
    until(lambda: "gate" in service.site.cameras, "the camera is watched")
    assert service.ownership is not None
    assert service.states is not None
    os.kill(noida_db.pid, signal.SIGSTOP)
    try:
        claim = threading.Thread(target=_claim_in_vain, args=(service.ownership,), daemon=True)
        claim.start()
        until(service.states.topic._sending.locked, "the claim is in flight")
        assert service.outbox.accept(make_event("gate", 0))
        service.states.put(ScoreRecord(site="test", camera="gate", generation=1, smoothed=0.5))
        began = time.monotonic()
        service.close()
        took = time.monotonic() - began
    finally:
        os.kill(noida_db.pid, signal.SIGCONT)
    assert took < 10.0
    claim.join(SECONDS)
    service.states.topic.close()
    topic.close()


def _claim_in_vain(ownership: Ownership) -> None:
    with contextlib.suppress(BrokerUnavailableError):
        ownership.claim("yard")


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS:g} s: {what}"
        time.sleep(0.05)
