"""The launcher of the embedded Triton, with the real tritonserver and a model of a few lines."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from deploy.triton.server import TritonError, TritonServer

pytestmark = pytest.mark.realparts

#: What ends, ends well within this, on a machine that is busy with other things too.
SOON = 20.0
#: More than Triton needs to answer what is in flight and to unload its models.
DRAIN_SECONDS = 60.0

CONFIG = """
backend: "python"
max_batch_size: 4
input [{ name: "X", data_type: TYPE_FP32, dims: [1] }]
output [{ name: "Y", data_type: TYPE_FP32, dims: [1] }]
instance_group [{ kind: KIND_CPU, count: 1 }]
"""
MODEL = """
import os
import triton_python_backend_utils

class TritonPythonModel:
    def initialize(self, args):
        {initialize}

    def execute(self, requests):
        {execute}
"""


@pytest.fixture(autouse=True)
def _wheel(require: Callable[[str], NoReturn]) -> None:
    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_model(tmp_path / "repository", "pass")


def write_model(folder: Path, initialize: str, name: str = "tiny", execute: str = "return []") -> Path:
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(CONFIG)
    (folder / name / "1" / "model.py").write_text(MODEL.format(initialize=initialize, execute=execute))
    return folder


@pytest.fixture
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, models=["tiny"]) as running:
        yield running


def ask(method: str, address: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection(address, timeout=SOON)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def get(address: str, path: str) -> tuple[int, bytes]:
    return ask("GET", address, path)


def processes_with(text: str) -> dict[int, str]:
    """Process id → command line of every process that has ``text`` in it; zombies have none."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in line:
                found[int(entry.parent.name)] = line
    return found


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether ``holds`` within a while: a process that was killed takes a moment to be gone."""
    deadline = time.monotonic() + SOON
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def gone(identity: str) -> bool:
    """True once nothing of the server is left: no process, no shared memory, no folder."""

    def nothing_left() -> bool:
        files = [*Path("/dev/shm").glob(f"{identity}*"), *Path("/tmp").glob(f"{identity}*")]
        return not files and not processes_with(identity)

    return eventually(nothing_left)


def identity(server: TritonServer) -> str:
    return str(json.loads(get(server.http_address, "/v2")[1])["name"])


class TestRunning:
    def test_is_ready_when_start_returns(self, server: TritonServer) -> None:
        assert get(server.http_address, "/v2/models/tiny/ready")[0] == 200
        assert b"nv_inference_count" in get(server.metrics_address, "/metrics")[1]
        with socket.create_connection((server.host, server.grpc_port), timeout=SOON):
            pass

    def test_every_model_of_the_repository_is_loaded_at_each_start(self, repository: Path) -> None:
        write_model(repository, "pass", name="other")
        with TritonServer(repository) as server:
            assert server.models == ("other", "tiny")
            for model in server.models:
                assert get(server.http_address, f"/v2/models/{model}/ready")[0] == 200
            server.stop()
            write_model(repository, "pass", name="third")
            server.start()
            assert get(server.http_address, "/v2/models/third/ready")[0] == 200

    def test_metrics_answer_when_start_returns(self, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Triton opens /metrics some 40 ms after HTTP: asked without a pause, its readiness falls between the two."""
        monkeypatch.setattr("deploy.triton.server._POLL_SECONDS", 0.001)
        with TritonServer(repository, models=["tiny"]) as server:
            assert get(server.metrics_address, "/metrics")[0] == 200

    def test_a_stranger_who_takes_the_metrics_port_meanwhile(self, repository: Path) -> None:
        """Triton finds out last, when HTTP is ready already, and ends; start() then takes other ports."""
        stranger: http.server.HTTPServer | None = None

        class Crowded(TritonServer):
            def _launch(self, binary: Path, stub: Path) -> None:
                nonlocal stranger
                if stranger is None:
                    stranger = http.server.HTTPServer(
                        ("127.0.0.1", self.metrics_port), http.server.BaseHTTPRequestHandler
                    )
                    threading.Thread(target=stranger.serve_forever, args=(0.05,)).start()
                super()._launch(binary, stub)

        try:
            with Crowded(repository, models=["tiny"]) as server:
                assert stranger is not None
                assert server.metrics_port != stranger.server_port
                assert b"nv_inference_count" in get(server.metrics_address, "/metrics")[1]
        finally:
            if stranger is not None:
                stranger.shutdown()
                stranger.server_close()

    def test_listens_on_loopback_alone(self, server: TritonServer) -> None:
        ports = {int(address.rsplit(":")[1]) for address in (server.grpc_address, server.http_address)}
        ports.add(int(server.metrics_address.rsplit(":")[1]))
        listening: dict[int, set[str]] = {}
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for row in Path(table).read_text().splitlines()[1:]:
                _, local, _, state, *_ = row.split()
                host, port = local.split(":")
                if state == "0A" and int(port, 16) in ports:
                    listening.setdefault(int(port, 16), set()).add(host)
        # 127.0.0.1 in the kernel's notation, as gRPC binds it also mapped into IPv6.
        assert set(listening) == ports
        assert set.union(*listening.values()) <= {"0100007F", "0000000000000000FFFF00000100007F"}

    @pytest.mark.parametrize(("drain_seconds", "ending"), [(0.0, "killed"), (DRAIN_SECONDS, "status 0")])
    def test_stops_and_leaves_nothing(
        self, repository: Path, tmp_path: Path, drain_seconds: float, ending: str
    ) -> None:
        log = tmp_path / "triton.log"
        with TritonServer(repository, log=log, drain_seconds=drain_seconds) as server:
            mine = identity(server)
            assert any("triton_python_backend_stub" in line for line in processes_with(mine).values())
            started = time.monotonic()
            server.stop()
            assert time.monotonic() - started < SOON
            assert not server.alive()
            assert gone(mine)
        assert log.read_text().splitlines()[-1] == f"tritonserver: {ending}"

    def test_a_request_in_flight_is_answered_by_a_server_that_drains(self, tmp_path: Path) -> None:
        begun = tmp_path / "begun"
        execute = (
            f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(1.5);"
            "y = triton_python_backend_utils.get_input_tensor_by_name(requests[0], 'X').to_dlpack();"
            "y = triton_python_backend_utils.Tensor.from_dlpack('Y', y);"
            "return [triton_python_backend_utils.InferenceResponse([y])]"
        )
        repository = write_model(tmp_path / "repository", "pass", execute=execute)
        question = {"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 1], "data": [0.5]}]}
        answers = []
        with TritonServer(repository, drain_seconds=DRAIN_SECONDS) as server:
            path = "/v2/models/tiny/infer"
            asking = threading.Thread(
                target=lambda: answers.append(ask("POST", server.http_address, path, json.dumps(question)))
            )
            asking.start()
            assert eventually(begun.exists)
            server.stop()
            asking.join(SOON)
        ((status, answer),) = answers
        assert status == 200
        assert json.loads(answer)["outputs"][0]["data"] == [0.5]

    def test_starts_again_on_the_same_ports(self, server: TritonServer) -> None:
        before = (server.grpc_address, server.http_address, server.metrics_address)
        server.stop()
        server.start()
        assert (server.grpc_address, server.http_address, server.metrics_address) == before
        assert get(server.http_address, "/v2/models/tiny/ready")[0] == 200

    def test_a_second_stop_is_harmless(self, server: TritonServer) -> None:
        server.stop()
        server.stop()

    def test_survives_the_end_of_the_thread_that_started_it(self, repository: Path) -> None:
        server = TritonServer(repository, models=["tiny"])
        starter = threading.Thread(target=server.start)
        starter.start()
        starter.join()
        try:
            time.sleep(0.5)
            assert server.alive()
        finally:
            server.stop()

    def test_a_frozen_server_is_killed_when_the_time_for_draining_is_over(self, repository: Path) -> None:
        with TritonServer(repository, drain_seconds=1.0) as server:
            mine = identity(server)
            binary = next(pid for pid, line in processes_with(mine).items() if "/bin/tritonserver --id" in line[:200])
            os.kill(binary, signal.SIGSTOP)
            server.stop()
        assert gone(mine)

    def test_a_killed_server_leaves_nothing_and_says_so(self, server: TritonServer) -> None:
        mine = identity(server)
        binary = next(pid for pid, line in processes_with(mine).items() if "/bin/tritonserver --id" in line[:200])
        os.kill(binary, signal.SIGKILL)
        assert eventually(lambda: not server.alive())
        assert eventually(lambda: not processes_with(mine))
        assert not list(Path("/dev/shm").glob(f"{mine}*"))

    def test_a_killed_guard_leaves_nothing_after_stop(self, server: TritonServer) -> None:
        mine = identity(server)
        guard = next(pid for pid, line in processes_with(mine).items() if "guard.py" in line)
        os.kill(guard, signal.SIGKILL)
        server.stop()
        assert gone(mine)

    def test_a_killed_stub_is_recovered_by_a_reload(self, server: TritonServer) -> None:
        def stub() -> set[int]:
            return {pid for pid, line in processes_with(mine).items() if "triton_python_backend_stub" in line[:200]}

        mine = identity(server)
        first = stub()
        os.kill(next(iter(first)), signal.SIGKILL)
        for action in ("unload", "load"):
            assert ask("POST", server.http_address, f"/v2/repository/models/tiny/{action}")[0] == 200
        assert stub()
        assert eventually(lambda: not stub() & first)
        assert get(server.http_address, "/v2/models/tiny/ready")[0] == 200

    def test_the_log_can_be_kept(self, repository: Path, tmp_path: Path) -> None:
        log = tmp_path / "logs" / "triton.log"
        with TritonServer(repository, models=["tiny"], log=log):
            pass
        assert "successfully loaded 'tiny'" in log.read_text()


class TestOrphans:
    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
    def test_the_server_ends_with_the_process_that_started_it(
        self, repository: Path, root: Path, how: signal.Signals
    ) -> None:
        program = (
            "import sys, time; from pathlib import Path; from deploy.triton.server import TritonServer;"
            f"s = TritonServer(Path({str(repository)!r}), models=['tiny']); s.start();"
            "print(s.http_address, flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True) as parent:
            try:
                assert parent.stdout is not None
                address = parent.stdout.readline().strip()
                mine = json.loads(get(address, "/v2")[1])["name"]
                assert processes_with(mine)
            finally:
                parent.send_signal(how)
        assert gone(mine)


class TestWhereverItRuns:
    def test_from_a_folder_with_packages_of_our_names(self, tmp_path: Path, root: Path) -> None:
        for name in ("models", "operators", "deploy", "numpy"):
            (tmp_path / "elsewhere" / name).mkdir(parents=True)
            (tmp_path / "elsewhere" / name / "__init__.py").write_text("raise RuntimeError('the wrong package')")
        # The stub must find our own packages (the torch engine needs them) and this environment's numpy.
        write_model(tmp_path / "elsewhere" / "repository", "import models, operators, numpy")
        program = (
            f"import sys; sys.path[0] = {str(root)!r}; from pathlib import Path;"
            "from deploy.triton.server import TritonServer;"
            "s = TritonServer(Path('repository'), models=['tiny']); s.start(); s.stop(); print('fine')"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path / "elsewhere", capture_output=True, text=True, timeout=120
        )
        assert done.stdout == "fine\n", done.stderr

    def test_with_a_proxy_in_the_environment(self, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        with TritonServer(repository, models=["tiny"]) as server:
            assert server.alive()


class TestRefusals:
    def start_failing(self, server: TritonServer) -> str:
        """The one line of the refusal, which comes long before the time for starting is over."""
        started = time.monotonic()
        with pytest.raises(TritonError) as refused:
            server.start(240)
        assert time.monotonic() - started < 60
        assert not server.alive()
        assert "\n" not in str(refused.value)
        return str(refused.value)

    def test_a_model_that_raises(self, tmp_path: Path) -> None:
        repository = write_model(tmp_path, "raise FileNotFoundError('no weights at /nowhere/scorer.xml')")
        said = self.start_failing(TritonServer(repository, models=["tiny"]))
        assert said == "embedded Triton: model tiny/1: FileNotFoundError: no weights at /nowhere/scorer.xml"

    def test_a_model_that_dies(self, tmp_path: Path) -> None:
        said = self.start_failing(TritonServer(write_model(tmp_path, "os._exit(3)"), models=["tiny"]))
        assert "model tiny/1" in said

    def test_a_model_without_code(self, repository: Path) -> None:
        (repository / "tiny" / "1" / "model.py").unlink()
        assert "model.py" in self.start_failing(TritonServer(repository, models=["tiny"]))

    def test_a_model_that_cannot_be_imported(self, repository: Path) -> None:
        (repository / "tiny" / "1" / "model.py").write_text("import a_package_that_is_not_there")
        assert "a_package_that_is_not_there" in self.start_failing(TritonServer(repository, models=["tiny"]))

    def test_a_configuration_that_is_none(self, repository: Path) -> None:
        (repository / "tiny" / "config.pbtxt").write_text("max_batch_size: many")
        assert "tiny" in self.start_failing(TritonServer(repository, models=["tiny"]))

    def test_a_missing_repository(self, tmp_path: Path) -> None:
        said = self.start_failing(TritonServer(tmp_path / "nowhere"))
        assert str(tmp_path / "nowhere") in said
        assert "mistwatch export" in said

    def test_a_repository_without_models(self, tmp_path: Path) -> None:
        (tmp_path / ".draft").mkdir()
        (tmp_path / ".draft" / "config.pbtxt").write_text(CONFIG)
        said = self.start_failing(TritonServer(tmp_path))
        assert said == (
            f"embedded Triton: the repository {tmp_path} has no model (no */config.pbtxt); write one: mistwatch export"
        )

    def test_one_of_several_models_that_raises(self, repository: Path) -> None:
        write_model(repository, "raise FileNotFoundError('no weights')", name="torn")
        said = self.start_failing(TritonServer(repository))
        assert said == "embedded Triton: model torn/1: FileNotFoundError: no weights"

    def test_a_missing_model(self, repository: Path) -> None:
        assert "'other'" in self.start_failing(TritonServer(repository, models=["other"]))

    @pytest.mark.parametrize("which", ["grpc", "http", "metrics"])
    def test_a_taken_port(self, repository: Path, tmp_path: Path, which: str) -> None:
        log = tmp_path / "triton.log"
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            said = self.start_failing(TritonServer(repository, models=["tiny"], log=log, **{f"{which}_port": port}))
        assert not log.exists()  # refused before Triton was launched
        assert f"{which} port 127.0.0.1:{port}: the port is taken" in said

    def test_a_host_that_is_not_ours(self, repository: Path) -> None:
        assert "203.0.113.1" in self.start_failing(TritonServer(repository, models=["tiny"], host="203.0.113.1"))

    def test_a_log_that_cannot_be_written(self, repository: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        server = TritonServer(repository, models=["tiny"], log=tmp_path / "file" / "triton.log")
        assert str(tmp_path / "file" / "triton.log") in self.start_failing(server)

    def test_a_model_that_takes_too_long(self, tmp_path: Path) -> None:
        repository = write_model(tmp_path, "import time; time.sleep(60)")
        server = TritonServer(repository, models=["tiny"])
        with pytest.raises(TritonError, match=r"not ready within 1 s"):
            server.start(1)
        assert not server.alive()

    def test_started_twice(self, server: TritonServer) -> None:
        with pytest.raises(TritonError, match="already running"):
            server.start()
        assert server.alive()

    def test_a_missing_wheel(self, root: Path, tmp_path: Path) -> None:
        """Python without its site-packages has no wheel; the launcher needs the standard library alone."""
        program = (
            f"import sys; sys.path[0] = {str(root)!r}; from pathlib import Path;"
            "from deploy.triton.server import TritonServer, TritonError\n"
            "try: TritonServer(Path('.')).start()\nexcept TritonError as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert "nvidia-pytriton is not installed" in done.stdout, done.stderr
        assert done.stdout.count("\n") == 1
