"""A real Triton with a tiny model of known scores, and the faults that a real server can be given."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import av
import numpy as np
import pytest
import tritonclient.grpc as triton

from deploy.triton.server import TritonServer
from pipeline.scoring import Dropped, DropReason, Scored
from pipeline.sources.base import Fit, Segment
from pipeline.windows import ClipSpec, ClipWindow

MODEL = Path(__file__).parent / "clip_scorer" / "model.py"
T, H, W = 4, 16, 16  #: the tiny model's clips


def _config(model: str, **parameters: str) -> str:
    told = {
        "name": "mean", "clip_frames": str(T), "clip_height": str(H), "clip_width": str(W), "clip_stride": "2",
        "clip_fit": "crop", "clip_fps": "native", "threshold": "0.5", "kernel": "3",
    } | parameters  # fmt: skip
    lines = [
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in told.items() if value
    ]
    return f"""
name: "{model}"
backend: "python"
max_batch_size: 8
input [ {{ name: "CLIP" data_type: TYPE_UINT8 dims: [ {T}, {told["clip_height"]}, {told["clip_width"]}, 3 ] }} ]
output [ {{ name: "SCORE" data_type: TYPE_FP32 dims: [ 1 ] }},
         {{ name: "FEATURES" data_type: TYPE_FP32 dims: [ 4 ] }} ]
dynamic_batching {{ }}
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
{os.linesep.join(lines)}
"""


def write_repository(folder: Path, model: str = "clip_scorer", **parameters: str) -> Path:
    """A model repository with the tiny model; ``parameters`` override what its config.pbtxt says of the clips."""
    version = folder / model / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copy(MODEL, version / "model.py")
    (folder / model / "config.pbtxt").write_text(_config(model, **parameters))
    return folder


class Server:
    """An embedded Triton over the tiny model, on ports that stay its own, so that it can die and come back."""

    def __init__(self, folder: Path) -> None:
        self.repository = write_repository(folder / "models")
        self._triton = TritonServer(self.repository, log=folder / "triton.log")

    @property
    def address(self) -> str:
        return self._triton.grpc_address

    def start(self) -> None:
        """Start, and wait until it is ready."""
        self._triton.stop()  # tidies up after a killed one
        self._triton.start(timeout=60)

    def stop(self) -> None:
        self._triton.stop()

    @property
    def http_address(self) -> str:
        return self._triton.http_address

    def load(self, model: str = "clip_scorer") -> None:
        """Load a model of the repository, or load it anew after its files changed."""
        with triton.InferenceServerClient(self.address) as client:
            client.load_model(model, client_timeout=30)

    def unload(self, model: str = "clip_scorer") -> None:
        with triton.InferenceServerClient(self.address) as client:
            client.unload_model(model, client_timeout=30)

    def freeze(self) -> None:
        """SIGSTOP to the server and its stubs: connections stay open, and nobody answers."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._processes():
            os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the server itself; its port refuses when this returns."""
        os.kill(self._processes()[0], signal.SIGKILL)
        until(lambda: not self._triton.alive(), 5)

    def kill_stub(self) -> None:
        """SIGKILL to the model's process alone; the server stays."""
        stubs = self._processes()[1:]
        assert stubs, "no stub to kill"
        for pid in stubs:
            os.kill(pid, signal.SIGKILL)

    def _processes(self) -> list[int]:
        """The server's process and, after it, its stubs."""
        parents = {}
        server = None
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().split(b"\0")
                parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has just ended
            if f"--model-repository={self.repository}".encode() in command and b"tritonserver" in command[0]:
                server = int(process.name)
        assert server is not None, "the server does not run"
        return [server, *(pid for pid, parent in parents.items() if parent == server)]


@pytest.fixture(scope="session")
def new_server(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]
) -> Iterator[Callable[[], Server]]:
    """Makes servers (not started); all of them are stopped at the end."""
    if importlib.util.find_spec("pytriton") is None:
        require("tritonserver (make venv installs the wheel nvidia-pytriton)")
    servers: list[Server] = []

    def make() -> Server:
        servers.append(Server(tmp_path_factory.mktemp("triton")))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(new_server: Callable[[], Server]) -> Server:
    """One running server; a test that harms it mends it."""
    server = new_server()
    server.start()
    return server


CLIP = ClipSpec(frames=T, stride=2, height=H, width=W, fit=Fit.CROP)
_MIDDLE = av.VideoFrame(32, 32, "rgb24")


def make_window(
    camera: str, index: int, *, live: bool = True, slow: int = 0, raises: bool = False, nan: bool = False
) -> ClipWindow:
    """A clip of random pixels; ``slow`` × 10 ms is its service time."""
    pixels = np.random.default_rng(index).integers(0, 256, (T, H, W, 3), np.uint8)
    pixels[0, 0, 0] = (slow, 255 * raises, 255 * nan)
    return ClipWindow(
        segment=Segment(f"{camera}-1", camera, live),
        index=index,
        start=float(index),
        end=index + 1.0,
        started_at=None,
        ended_at=None,
        captured_at=datetime.now(UTC),
        pixels=pixels,
        middle=_MIDDLE,
        middle_pts=index + 0.5,
    )


class Consumer:
    """Takes one camera's outcomes, and sees to it that they come from one thread at a time."""

    def __init__(self) -> None:
        self.outcomes: list[Scored | Dropped] = []
        self.overlapped = False
        self.before: Callable[[Scored | Dropped], object] = lambda outcome: None
        self._busy = threading.Lock()

    def __call__(self, outcome: Scored | Dropped) -> None:
        if not self._busy.acquire(blocking=False):
            self.overlapped = True
            return
        try:
            self.outcomes.append(outcome)
            self.before(outcome)
        finally:
            self._busy.release()

    @property
    def scored(self) -> list[int]:
        return [outcome.window.index for outcome in self.outcomes if isinstance(outcome, Scored)]

    def dropped(self, *reasons: DropReason) -> list[int]:
        return [
            outcome.window.index
            for outcome in self.outcomes
            if isinstance(outcome, Dropped) and (not reasons or outcome.reason in reasons)
        ]

    def check(self, submitted: int) -> None:
        """Every window 0..submitted-1 exactly once, with the score that its pixels say."""
        assert not self.overlapped
        assert sorted(outcome.window.index for outcome in self.outcomes) == list(range(submitted))
        for outcome in self.outcomes:
            if isinstance(outcome, Scored):
                assert outcome.score == pytest.approx(outcome.window.pixels.astype(float).mean() / 255, abs=1e-6)


class Listener:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.most_in_flight = 0
        self.counts: Counter[str] = Counter()
        self.said: list[str] = []  # waiting's reasons, and "recovered"
        self.said_at: list[float] = []  # monotonic
        self.in_server: list[float] = []

    def in_flight(self, clips: int) -> None:
        self.most_in_flight = max(self.most_in_flight, clips)

    def scored(self, camera: str, seconds_in_queue: float, seconds_in_server: float) -> None:
        self.counts[f"{camera} scored"] += 1
        self.in_server.append(seconds_in_server)
        assert seconds_in_queue >= 0

    def dropped(self, camera: str, reason: DropReason) -> None:
        self.counts[f"{camera} {reason}"] += 1

    def waiting(self, reason: str) -> None:
        self.said.append(reason)
        self.said_at.append(time.monotonic())

    def recovered(self) -> None:
        self.waiting("recovered")


def until(condition: Callable[[], object], timeout: float = 20.0) -> None:
    """Wait until the condition holds."""
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def kit() -> SimpleNamespace:
    """What the tests of this folder share (test modules cannot import each other)."""
    return SimpleNamespace(
        clip=CLIP, window=make_window, repository=write_repository, Consumer=Consumer, Listener=Listener, until=until
    )
