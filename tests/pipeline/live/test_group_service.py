"""A group's worker adds and changes cameras at run time: the requests that it makes, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

from pipeline.errors import MistwatchError
from pipeline.live import service as service_module
from pipeline.live.service import Service
from pipeline.scoring.served_model import ScorerUnavailable, ServedModel, Trouble
from pipeline.scoring.tls_address import TlsAddress
from pipeline.settings import CameraSettings, GroupSite
from pipeline.windows import ClipSpec

CLIP = ClipSpec(frames=16, stride=16, height=224, width=224)
CAMERA = CameraSettings(source="rtsp://192.0.2.7/stream")


class NoWorker:
    """In place of the worker and of the scorer; takes every call."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments, **_options: None


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A worker's service without a broker or a server of models; it is prepared, but for its requests."""
    site = GroupSite.model_validate(
        {
            "site": "test",
            "state_dir": tmp_path / "state",
            "triton": {"address": f"127.0.0.1:{free_port()}", "tls": {}},
            "kafka": {"bootstrap": f"127.0.0.1:{free_port()}"},
            "decoding": "threads",
            "detectors": {"fights": {"model": "m"}},
        }
    )
    made = Service(site, group="g")
    made.worker = made._scorer = NoWorker()  # type: ignore[assignment]
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
