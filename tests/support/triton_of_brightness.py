"""A real Triton with a tiny model of known scores (a clip's brightness), and the faults it can be given."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import tritonclient.grpc as triton
from forgetful_proxy import ForgetfulProxy
from ports import free_port

from deploy.triton.server import GrpcTls, TritonServer
from pipeline.scoring.transport import TritonTransport

MODEL = Path(__file__).with_name("brightness_model.py")
T, H, W = 4, 16, 16  #: the tiny model's clips


def _config(model: str, heat: str, scene: str, features: bool = True, **parameters: str) -> str:
    said = {
        "name": "mean", "clip_frames": str(T), "clip_height": str(H), "clip_width": str(W), "clip_stride": "2",
        "clip_fit": "crop", "clip_fps": "native", "threshold": "0.5", "kernel": "3", "heat": heat, "scene": scene,
    } | parameters  # fmt: skip
    lines = [
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in said.items() if value
    ]
    outputs = [
        '{ name: "SCORE" data_type: TYPE_FP32 dims: [ 1 ] }',
        *([f'{{ name: "FEATURES" data_type: TYPE_FP32 dims: [ {T} ] }}'] if features else []),
        *(['{ name: "HEAT" data_type: TYPE_FP32 dims: [ 2, 2 ] }'] if heat else []),
    ]
    size = f"{said['clip_height']}, {said['clip_width']}, 3"
    inputs = [
        f'{{ name: "CLIP" data_type: TYPE_UINT8 dims: [ {T}, {size} ] }}',
        *([f'{{ name: "SCENE" data_type: TYPE_UINT8 dims: [ {size} ] optional: true }}'] if scene else []),
    ]
    return f"""
name: "{model}"
backend: "python"
max_batch_size: 8
input [ {", ".join(inputs)} ]
output [ {", ".join(outputs)} ]
dynamic_batching {{ }}
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
{os.linesep.join(lines)}
"""


def write_repository(
    folder: Path,
    model: str = "clip_scorer",
    *,
    version: int = 1,
    heat: str = "",
    scene: str = "",
    features: bool = True,
    **parameters: str,
) -> Path:
    """A model repository with the tiny model, to serve this version of it; others that are there stay.

    Args:
        heat: the kind of its output HEAT, [2, 2]; empty for a model without one.
        scene: the kind of scene that it reads; empty for a model without the input SCENE.
        features: it has the output FEATURES, [T].
        parameters: override what its config.pbtxt says of the clips.
    """
    home = folder / model / str(version)
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(MODEL, home / "model.py")
    policy = f"version_policy {{ specific {{ versions: [ {version} ] }} }}\n"
    (folder / model / "config.pbtxt").write_text(policy + _config(model, heat, scene, features, **parameters))
    return folder


def write_version(folder: Path, *, heat: str = "", scene: str = "", **parameters: str) -> Path:
    """A version of the tiny model as ``mistwatch export`` would hand it to ``models.serving.versions.add``."""
    folder.mkdir()
    shutil.copy(MODEL, folder / "model.py")
    (folder / "config.pbtxt").write_text(_config("clip_scorer", heat, scene, **parameters))
    return folder


class ForgetfulPath(ForgetfulProxy):
    """A proxy in front of a Triton."""

    def transport(self) -> TritonTransport:
        return TritonTransport(self.address, shared_clips=4)


class Server:
    """An embedded Triton over the tiny model, on ports that stay its own, so that it can die and come back."""

    def __init__(self, folder: Path, *, grpc_tls: GrpcTls | None = None) -> None:
        self.repository = write_repository(folder / "models")
        ports = {f"{name}_port": free_port() for name in ("grpc", "http", "metrics")}
        self._triton = TritonServer(self.repository, log=folder / "triton.log", grpc_tls=grpc_tls, **ports)

    @property
    def address(self) -> str:
        return self._triton.grpc_address

    def start(self) -> None:
        """Start, and wait until it is ready."""
        self._triton.stop()  # tidies up after a killed one
        self._triton.start(timeout=120)

    @property
    def running(self) -> bool:
        return self._triton.alive()

    def stop(self) -> None:
        self._triton.stop()

    @property
    def http_address(self) -> str:
        return self._triton.http_address

    def load(self, model: str = "clip_scorer") -> None:
        """Load a model of the repository, or load it anew after its files changed."""
        with triton.InferenceServerClient(self.address) as client:
            client.load_model(model, client_timeout=30)

    def serve(
        self,
        model: str = "clip_scorer",
        *,
        version: int = 1,
        heat: str = "",
        scene: str = "",
        features: bool = True,
        name: str = "mean",
        height: int = H,
    ) -> None:
        """Write this version of a model into the repository, and load it."""
        write_repository(
            self.repository,
            model,
            version=version,
            heat=heat,
            scene=scene,
            features=features,
            name=name,
            clip_height=str(height),
        )
        self.load(model)

    def transport(self) -> TritonTransport:
        return TritonTransport(self.address, shared_clips=4)

    @contextmanager
    def forgetful_path(self) -> Iterator[ForgetfulPath]:
        """A way to this server whose connections can die without a sign."""
        with ForgetfulPath(self.address) as path:
            yield path

    def unload(self, model: str = "clip_scorer") -> None:
        with triton.InferenceServerClient(self.address) as client:
            client.unload_model(model, client_timeout=30)

    def freeze(self) -> None:
        """SIGSTOP to the server and its stubs: connections stay open without an answer."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, what: signal.Signals) -> None:
        for pid in self._processes():
            with suppress(ProcessLookupError):  # a stub of a model that is being unloaded
                os.kill(pid, what)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze for the block: clips sent meanwhile stay in flight, however slow this machine is."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def kill(self) -> None:
        """SIGKILL to the server itself; its port refuses when this returns."""
        os.kill(self._processes()[0], signal.SIGKILL)
        until(lambda: not self._triton.alive())

    def kill_stub(self) -> None:
        """SIGKILL to the model's process alone; the server stays."""
        stubs = self._processes()[1:]
        assert stubs, "no stub to kill"
        for pid in stubs:
            with suppress(ProcessLookupError):
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


def until(condition: Callable[[], object], timeout: float = 60.0) -> None:
    """Wait until the condition holds."""
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)
