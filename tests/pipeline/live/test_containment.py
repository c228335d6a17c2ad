"""A site whose decoders crash: an outage of one camera, and nothing for the others."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import rtsp_server
from site_runs import site
from triton_of_brightness import Server

from pipeline.live.service import Service

LIMIT_SECONDS = 240.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


@pytest.mark.realparts
@pytest.mark.skipif(rtsp_server.why_missing() is not None, reason="GStreamer's RTSP server is not installed")
def test_a_crashed_decoder_is_an_outage_of_its_camera(tmp_path: Path, triton: Server, broker: str) -> None:
    with rtsp_server.serve_live() as camera:
        cameras = {name: {"source": camera.url} for name in ("first", "second")}
        service = Service(site(tmp_path, triton.address, broker, cameras))
        try:
            assert service.prepare(threading.Event(), patient=False)
            service.start()
            states = {state.name: state for state in service.board.states}
            until(lambda: all(state.frames > 0 for state in states.values()))
            assert service.decoders is not None
            pids = service.decoders.pids()
            assert len(pids) == 2
            os.kill(pids[0], signal.SIGSEGV)

            def outages(name: str, reason: str = "decoder_crashed") -> float:
                labels = {"camera": name, "reason": reason}
                return service.metrics.registry.get_sample_value("mistwatch_reconnects_total", labels) or 0.0

            until(lambda: outages("first") + outages("second"))
            crashed, other = ("first", "second") if outages("first") else ("second", "first")
            frames = {name: state.frames for name, state in states.items()}
            until(lambda: states[crashed].frames > frames[crashed] + 10)
            assert states[other].frames > frames[other]
            assert outages(crashed) == 1
            assert outages(other) == 0
            assert pids[1] in service.decoders.pids()
        finally:
            service.close()
    assert service.decoders.pids() == []
