"""Records of the topic of the cameras' states."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fuzzing import fuzz, mutated, outcome
from hypothesis import strategies as st
from pydantic import ValidationError

camera_report = pytest.importorskip("pipeline.alerts.camera_report")

pytestmark = pytest.mark.fuzz

REPORT: dict[str, Any] = {
    "site": "yard",
    "camera": "gate",
    "worker": "one",
    "state": "streaming",
    "since": "2026-03-01T12:00:00Z",
    "generation": None,
    "frames": 3,
    "clips": {},
    "alerts": [],
}


@fuzz(0.02, value=st.binary(max_size=60) | mutated([REPORT]).map(lambda each: json.dumps(each).encode()))
def test_the_state_of_a_camera(value: bytes) -> None:
    outcome("state of a camera", lambda: camera_report.CameraReport.model_validate_json(value), ValidationError)
