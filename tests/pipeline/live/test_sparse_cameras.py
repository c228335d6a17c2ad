"""A live camera whose pictures are too far apart for a clip is not silent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from structlog.testing import capture_logs

from pipeline.live.camera import Watcher
from pipeline.live.listener import Watch
from pipeline.scoring.served_model import ServedModel
from pipeline.sources.base import Frame, Segment
from pipeline.windows import ClipSpec, ClipWindow

SPEC = ClipSpec(frames=4, stride=4, height=4, width=4)
NOW = datetime(2024, 5, 1, 18, tzinfo=UTC)


def taken(times: Sequence[float], *, live: bool) -> tuple[list[ClipWindow], list[Any]]:
    """The clips that a watcher hands in, and what it logs."""
    windows: list[ClipWindow] = []
    plan: Any = SimpleNamespace(clip=SPEC, served=ServedModel("mean", "1", SPEC), gate=lambda _served: None)
    assembler: Any = None
    drift: Any = None
    watcher = Watcher(Watch("gate"), plan, assembler, drift)
    port: Any = SimpleNamespace(submit=windows.append)
    watcher.port = port
    segment, native = Segment("gate/1/0", "gate", live), av.VideoFrame(16, 16, "gray")
    image = np.zeros((4, 4, 3), np.uint8)
    with capture_logs() as logged:
        for time in times:
            watcher.take(Frame(segment, time, NOW, NOW, {SPEC.frame_spec: image}, native))
    return windows, [entry for entry in logged if entry["event"] == "no clip yet"]


@pytest.mark.parametrize(("live", "lines"), [(True, 1), (False, 0)])
def test_pictures_ten_seconds_apart_are_reported_once(live, lines):
    """Of a recording the cause is said at its end."""
    windows, logged = taken([10.0 * n for n in range(40)], live=live)
    assert (len(windows), len(logged)) == (0, lines)
    assert all((entry["frames"], entry["camera"]) == (12, "camera gate") for entry in logged)
    assert all(entry["a_clip_needs"] == "4 without a pause of more than 5 s" for entry in logged)


def test_a_camera_with_clips_is_not_reported():
    windows, logged = taken([n / 10 for n in range(40)], live=True)
    assert (len(windows), logged) == (10, [])
