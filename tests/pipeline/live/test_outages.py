"""An outage of one real camera ends by itself once the camera is back; another camera loses no frame meanwhile."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
import rtsp_server
from grey_cameras import Site
from rtsp_server import RtspServer, serve_live
from triton_of_brightness import Server, until

from pipeline.live.camera import CameraPlan
from pipeline.live.listener import WorkerListener
from pipeline.live.supervision import Condition, SilenceLimits, State
from pipeline.sources.base import Frame
from pipeline.sources.factory import SourceCallbacks
from pipeline.sources.reconnect import BackoffSettings
from pipeline.sources.rtsp import RtspSource

pytestmark = [pytest.mark.realparts, pytest.mark.waits]
SLOW = pytest.mark.slow

#: The cameras' own limits, seconds; the stall is noticed first.
STALL, READ, OPEN = 1.0, 3.0, 4.0
#: The longest wait between two attempts, seconds.
CAP = 2.0
#: For the attempt that is running when the camera comes back, the opening itself and a busy machine, seconds.
SLACK = OPEN + 15.0
FPS = 10


class Seen(WorkerListener):
    """The conditions and frames of each camera."""

    def __init__(self) -> None:
        self.conditions: dict[str, list[Condition]] = {"gate": [], "yard": []}
        self.frames: dict[str, list[Frame]] = {"gate": [], "yard": []}

    def condition_changed(self, camera: str, condition: Condition) -> None:
        self.conditions[camera].append(condition)

    def frame(self, camera: str, frame: Frame) -> None:
        self.frames[camera].append(frame)

    def states(self, camera: str) -> list[str]:
        return [condition.state for condition in self.conditions[camera]]


@pytest.fixture(autouse=True)
def _server_can_run(require: Callable[[str], NoReturn]) -> None:
    if (missing := rtsp_server.why_missing()) is not None:
        require(missing)


@contextlib.contextmanager
def silent_listener(port: int) -> Iterator[None]:
    """A server that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(16)
        yield


def plan_of(site: Site, camera: str, url: str) -> CameraPlan:
    def build(callbacks: SourceCallbacks) -> RtspSource:
        return RtspSource(
            camera,
            url,
            open_timeout_seconds=OPEN,
            read_timeout_seconds=READ,
            backoff=BackoffSettings(first=0.2, longest=CAP),
            on_outage=callbacks.on_outage,
            on_connected=callbacks.on_connected,
            on_attempt=callbacks.on_attempt,
            on_stamps=callbacks.on_stamps,
        )

    given = site.plan(RtspSource(camera, url))
    return CameraPlan(camera, build, given.detectors, silence=SilenceLimits(streaming=STALL, connecting=60.0))


def fail_and_return(kind: str, server: RtspServer, has_reason: Callable[[], bool]) -> None:
    """Let the camera fail until its outage is known and some attempts are over, and come back."""
    if kind == "frozen":
        server.freeze()
        until(has_reason)
        time.sleep(2 * CAP)
        server.thaw()
        return
    server.kill()
    with silent_listener(server.port) if kind == "silent" else contextlib.nullcontext():
        until(has_reason)
        time.sleep(2 * CAP + OPEN)  # the wait grows to its cap, and an attempt is in vain
    server.start()


# The fault suite kills and silences cameras in CI.
@pytest.mark.parametrize("kind", [pytest.param("killed", marks=SLOW), "frozen", pytest.param("silent", marks=SLOW)])
def test_an_outage_ends_by_itself_and_another_camera_loses_nothing(triton: Server, kind: str) -> None:
    seen = Seen()
    with serve_live() as gate_camera, serve_live() as yard_camera, Site(triton.address, listeners=[seen]) as site:
        site.worker.add(plan_of(site, "gate", gate_camera.url))
        site.worker.add(plan_of(site, "yard", yard_camera.url))
        until(lambda: len(seen.frames["gate"]) > FPS and len(seen.frames["yard"]) > FPS)
        assert seen.states("gate")[-1] == State.STREAMING
        before = len(seen.frames["yard"])

        fail_and_return(kind, gate_camera, lambda: State.BACKING_OFF in seen.states("gate"))
        back_at, frames = time.monotonic(), len(seen.frames["gate"])
        until(lambda: len(seen.frames["gate"]) > frames + FPS)
        recovered = next(frame for frame in seen.frames["gate"][frames:])
        assert recovered.arrived_at - back_at < CAP + SLACK
        assert seen.states("gate")[-1] == State.STREAMING
        print(f"{kind}: frames again {recovered.arrived_at - back_at:.1f} s after the camera was back")

        states = seen.states("gate")
        reasons = {condition.reason for condition in seen.conditions["gate"]}
        if kind == "frozen":  # the others close the connection, and no frame is waited for
            assert states.index("stalled") < states.index("backing_off")
        else:
            assert ("refused" if kind == "killed" else "timeout") in reasons
        assert site.samples("gate")["mistwatch_camera_state[('camera', 'gate'), ('state', 'streaming')]"] == 1
        assert sum(value for name, value in site.samples("gate").items() if "camera_state" in name) == 1
        assert site.samples("gate")["mistwatch_stalls_total[('camera', 'gate')]"] == states.count("stalled")
        until(lambda: len(seen.frames["yard"]) > before + FPS)
        during = list(seen.frames["yard"])
        assert seen.states("yard") == ["streaming"]

    # Every frame of the other camera, by its own clock: none is missing, and its segment goes on.
    assert len({frame.segment.id for frame in during}) == 1
    length = during[-1].pts_seconds - during[0].pts_seconds
    assert len(during) == round(length * FPS) + 1


def test_a_camera_that_comes_late_is_watched(triton: Server) -> None:
    seen = Seen()
    camera = serve_live()
    with Site(triton.address, listeners=[seen]) as site:
        site.worker.add(plan_of(site, "gate", camera.url))
        until(lambda: seen.states("gate").count("backing_off") >= 3)
        assert {condition.reason for condition in seen.conditions["gate"]} == {"refused"}
        assert not seen.frames["gate"]
        with camera:
            began = time.monotonic()
            until(lambda: len(seen.frames["gate"]) > FPS)
            assert seen.frames["gate"][0].arrived_at - began < CAP + SLACK
            assert site.board.states[0].condition.state is State.STREAMING
            site.worker.stop_camera("gate")
            assert seen.conditions["gate"][-1].state is State.STOPPED
            assert seen.conditions["gate"][-1].reason == "shutdown"
