"""Control messages: which are cameras, and what is never sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.live.control import ControlError, camera_of, message_of
from pipeline.settings import CameraSettings

SOURCE = "rtsp://192.0.2.7/stream"


def test_a_camera_comes_back_from_its_message() -> None:
    document = {
        "source": SOURCE,
        "transport": "udp",
        "clip": {"fps": 5},
        "alerts": {"open_threshold": 0.7},
        "zones": {"road": {"points": [[0.0, 0.0], [1.0, 0.0], [1.0, 0.5]]}},
        "schedule": {"timezone": "UTC", "weekdays": ["08:00-18:00"]},
        "detectors": ["fights"],
    }
    name, settings = camera_of("gate", message_of("gate", document))
    assert name == "gate"
    assert settings == CameraSettings.model_validate(document)


def test_the_same_camera_has_the_same_message_whatever_its_order_and_its_defaults() -> None:
    one = message_of("gate", {"source": SOURCE, "clip": {"fps": 5, "stride": 4}})
    other = message_of("gate", {"clip": {"stride": 4, "fps": 5.0}, "transport": "tcp", "source": SOURCE})
    assert one == other


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("../x", b"{}", "the key '../x' is not the name of a camera"),
        ("", b"{}", "the key '' is not the name of a camera"),
        ("Su\u0308d", b"{}", "is not the name of a camera, in composed form"),
        ("gate", b"\xff", "camera gate: the message is not JSON; expected the camera's settings"),
        ("gate", b"[1]", "camera gate: expected a JSON object with the camera's settings"),
        ("gate", b"{}", "camera gate: source: missing (required)"),
        ("gate", b'{"source": "rtsp://h/x", "lens": 4}', "camera gate: lens: unknown key"),
        ("gate", b'{"source": "a.mp4"}', "camera gate: source: a group watches live cameras only"),
        ("gate", b'{"source": "file:///a.mp4"}', "camera gate: source: a group watches live cameras only"),
        ("gate", b'{"source": "gopher://h/x"}', "unknown kind of source gopher://"),
        (
            "gate",
            b'{"source": "rtsp://h/x", "calibration": "c.json"}',
            "calibration: expected an absolute path, the same on each worker (got c.json)",
        ),
    ],
)
def test_a_message_that_is_not_a_camera_is_one_line(key: str, value: bytes, message: str) -> None:
    with pytest.raises(ControlError) as caught:
        camera_of(key, value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def problem_of(key: str, value: bytes) -> str:
    """Return why a message is not a camera; empty where it is one."""
    try:
        camera_of(key, value, environment=False)
    except ControlError as error:
        return str(error)
    return ""


@given(st.binary(max_size=40), st.text(max_size=20))
def test_any_message_is_a_camera_or_one_line(value: bytes, key: str) -> None:
    assert "\n" not in problem_of(key, value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*CameraSettings.model_fields]), JSON, max_size=4))
def test_any_document_is_a_camera_or_one_line(document: dict[str, Any]) -> None:
    assert "\n" not in problem_of("gate", json.dumps(document).encode())


@pytest.mark.parametrize(
    "document",
    [
        {"source": "rtsp://admin:s3cret@192.0.2.7/stream"},
        {"source": "rtsp://192.0.2.7/stream?user=admin&password=s3cret"},
        {"source": SOURCE, "password": "s3cret"},
        {"source": SOURCE, "password_file": "/run/secrets/gate"},
    ],
)
def test_credentials_are_refused_with_what_to_do_and_are_not_shown(document: dict[str, Any]) -> None:
    with pytest.raises(ControlError) as caught:
        message_of("Gate-1", document)
    assert "s3cret" not in str(caught.value)
    assert "MISTWATCH_CAMERAS__GATE_1__PASSWORD" in str(caught.value)
    assert "MISTWATCH_CAMERAS__GATE_1__PASSWORD_FILE" in str(caught.value)


def test_a_message_cannot_name_a_file_of_the_workers() -> None:
    value = json.dumps({"source": SOURCE, "password_file": "/etc/shadow"}).encode()
    assert problem_of("gate", value).startswith("camera gate: password_file: neither secrets nor their files are named")


def test_the_environment_of_a_worker_adds_what_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTWATCH_CAMERAS__GATE_1__PASSWORD", "s3cret")
    monkeypatch.setenv("MISTWATCH_CAMERAS__GATE_1__CLIP__FPS", "5")
    monkeypatch.setenv("MISTWATCH_CAMERAS__DOOR__PASSWORD", "other")
    value = message_of("Gate-1", {"source": SOURCE, "username": "admin", "clip": {"stride": 4}})
    assert b"s3cret" not in value
    _, settings = camera_of("Gate-1", value)
    assert settings.password is not None
    assert settings.password.get_secret_value() == "s3cret"
    assert (settings.username, settings.clip.fps, settings.clip.stride) == ("admin", 5.0, 4)
