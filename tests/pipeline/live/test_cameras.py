"""Cameras added, stopped and removed one by one while the worker runs, on a real Triton of known scores."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from grey_cameras import GreyCamera, Site
from site_runs import BRIGHT, DARK, write_video
from triton_of_brightness import Server, until

from operators.scores import SmoothedScore
from pipeline.live.listener import Watch, WorkerListener
from pipeline.live.supervision import State
from pipeline.sources.files import FileSource

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

#: Limits within a removal sum to about 5 s; beyond them a busy machine takes its time.
REMOVE_SECONDS = 15.0


def test_a_running_live_camera_is_removed_and_its_name_is_free_again(triton: Server) -> None:
    with Site(triton.address) as site:
        site.worker.add(site.plan(GreyCamera("gate", BRIGHT)))
        site.worker.add(site.plan(GreyCamera("yard", DARK)))
        gate, yard = site.board.states
        until(lambda: gate.alert_open and yard.scored > 5)
        assert site.samples("gate")

        began = time.monotonic()
        site.worker.remove("gate")
        assert time.monotonic() - began < REMOVE_SECONDS

        begin, end = site.outbox.events
        assert (begin.data.state, end.data.state, end.data.end_reason) == ("begin", "end", "shutdown")
        assert [state.camera for state in site.board.states] == ["yard"]
        assert not site.samples("gate")
        scored = yard.scored
        until(lambda: yard.scored > scored + 5)
        assert yard.dropped == 0
        assert not site.worker.wait(0)

        site.worker.add(site.plan(GreyCamera("gate", BRIGHT)))
        until(lambda: len(site.outbox.events) == 3)
        again = site.outbox.events[2].data
        assert again.state == "begin"
        assert again.alert_id != begin.data.alert_id, "a live camera's segments are unique for ever"
        assert site.samples("gate")


def test_a_camera_that_is_stopped_stays_in_the_table_until_it_is_removed(triton: Server) -> None:
    with Site(triton.address) as site:
        site.worker.add(site.plan(GreyCamera("gate", BRIGHT)))
        (gate,) = site.board.states
        until(lambda: gate.alert_open)
        site.worker.stop_camera("gate")
        assert gate.condition.state is State.STOPPED
        assert not gate.alert_open
        assert [event.data.state for event in site.outbox.events] == ["begin", "end"]
        frames = gate.frames
        assert site.samples("gate")["mistwatch_camera_connected[('camera', 'gate')]"] == 0
        assert site.worker.wait(5), "no camera is left that runs"
        time.sleep(0.3)
        assert gate.frames == frames
        site.worker.stop_camera("gate")  # a second time changes nothing
        site.worker.remove("gate")
        assert not site.board.states
        assert not site.samples("gate")


def test_a_recording_is_removed_before_its_end(triton: Server, tmp_path: Path) -> None:
    video = write_video(tmp_path / "bright.mp4", [(400.0, BRIGHT)], size=(64, 48))
    with Site(triton.address) as site:
        site.worker.add(site.plan(FileSource("cam", video)))
        (cam,) = site.board.states
        until(lambda: cam.alert_open)
        site.worker.remove("cam")
        assert [event.data.state for event in site.outbox.events] == ["begin", "end"]
        assert site.outbox.events[1].data.end_reason == "shutdown"
        assert cam.scored + cam.dropped < 2000 - 2, "it was read to its end"
        site.worker.add(site.plan(FileSource("cam", video)))  # the name is free


def test_a_camera_that_hangs_in_a_read_is_removed_all_the_same(triton: Server) -> None:
    """Once it wakes up, nothing of it comes back, and the next camera of its name is left alone."""
    awake = threading.Event()
    with Site(triton.address) as site:
        hanging = GreyCamera("gate", BRIGHT, hang=(20, awake))
        site.worker.add(site.plan(hanging))
        until(lambda: site.board.states[0].alert_open)
        assert hanging.hangs.wait(60)
        began = time.monotonic()
        site.worker.remove("gate")
        assert time.monotonic() - began < REMOVE_SECONDS
        assert site.outbox.events[-1].data.end_reason == "shutdown"
        awake.set()
        until(lambda: hanging.pump is not None and hanging.pump.pictures == 21)
        time.sleep(0.5)
        assert not site.samples("gate")
        assert [event.data.state for event in site.outbox.events] == ["begin", "end"]
        site.worker.add(site.plan(GreyCamera("gate", DARK)))
        (gate,) = site.board.states
        until(lambda: gate.scored > 5)


def test_a_name_is_given_once(triton: Server) -> None:
    with Site(triton.address) as site:
        site.worker.add(site.plan(GreyCamera("gate", DARK)))
        with pytest.raises(ValueError, match="camera gate: there is a camera of this name already"):
            site.worker.add(site.plan(GreyCamera("gate", DARK)))
        with pytest.raises(KeyError, match="yard"):
            site.worker.remove("yard")
        (gate,) = site.board.states
        until(lambda: gate.scored > 5)


class Faulty(WorkerListener):
    """Raises from the two threads that call it for every camera."""

    def frame(self, camera: str, frame: object) -> None:
        raise RuntimeError("a listener's own mistake")

    def smoothed(self, watch: Watch, score: SmoothedScore) -> None:
        raise RuntimeError("a listener's own mistake")


def test_a_listener_that_raises_is_logged_and_harms_nothing(triton: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with Site(triton.address, listeners=[Faulty()]) as site:
        site.worker.add(site.plan(GreyCamera("gate", BRIGHT)))
        (gate,) = site.board.states
        until(lambda: gate.alert_open and gate.frames > 10)
        site.worker.stop_camera("gate")
    assert [event.data.state for event in site.outbox.events] == ["begin", "end"]
    assert site.samples("gate")["mistwatch_alerts_total[('camera', 'gate')]"] == 1
    said = "".join(capsys.readouterr())
    assert "a listener of the worker failed" in said
    assert "a listener's own mistake" in said
