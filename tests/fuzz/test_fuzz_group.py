"""Records of the topics of a group: cameras to watch, their states, and the documents of its members."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from fuzzing import fuzz, mutated, mutated_bytes, mutated_text, outcome
from hypothesis import strategies as st

control = pytest.importorskip("pipeline.live.control")
assignment = pytest.importorskip("pipeline.live.assignment")

pytestmark = pytest.mark.fuzz

CAMERAS: list[dict[str, Any]] = [
    {"source": "rtsp://camera/stream1", "username": "viewer", "transport": "udp", "alerts": {"open_threshold": 0.7}},
    {"source": "https://camera/x.jpg", "snapshot_seconds": 2.0, "tls": {"verify": False}},
]
MEMBERS = [
    {"form": 1, "worker": "one", "version": "0.3", "capacity": 8, "owned": [0, 3], "generation": 12},
    {"form": 1, "partitions": 32, "workers": {"one": "0.3"}, "capacity": 16, "strangers": 0},
]


@pytest.fixture(scope="module", autouse=True)
def _plain_environment() -> Iterator[None]:
    kept = {name: value for name, value in os.environ.items() if name.startswith("MISTWATCH_")}
    for name in kept:
        del os.environ[name]
    yield
    os.environ.update(kept)


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode("utf-8", "surrogatepass")


def test_the_cameras_can_be_read_before_they_are_mutated() -> None:
    for document in CAMERAS:
        assert control.camera_of("gate", as_json(document))[0] == "gate"


@fuzz(0.04, key=st.just("gate") | mutated_text(["gate", "Tür-2"]), document=mutated(CAMERAS))
def test_a_camera_as_a_document(key: str, document: Any) -> None:
    outcome("control, document", lambda: control.camera_of(key, as_json(document)))


@fuzz(0.02, value=mutated_bytes([as_json(each) for each in CAMERAS]) | st.binary(max_size=60))
def test_a_camera_as_bytes(value: bytes) -> None:
    outcome("control, bytes", lambda: control.camera_of("gate", value))


@fuzz(0.02, value=mutated(MEMBERS).map(as_json) | mutated_bytes([as_json(each) for each in MEMBERS]))
def test_a_member_of_the_group(value: bytes) -> None:
    assert outcome("group, member", lambda: assignment.Member.from_bytes(value)) is not None
    outcome("group, view", lambda: assignment.GroupView.from_bytes(value))
