"""The embedded Triton Inference Server: the real ``tritonserver`` of the wheel nvidia-pytriton, no container.

The wheel is installed for its binary alone; nothing of its Python is imported and nothing is written into it. The
Python backend and the stub for this version of Python are linked together in a temporary folder, which is also the
server's working directory: a folder ``models/`` in the user's working directory is never on the stub's path.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import DeployError
from deploy.lifetime import ChildServer, child_environment, signal_group
from deploy.triton.guard import remove_shared_memory

_GUARD = Path(__file__).with_name("guard.py")
_POLL_SECONDS = 0.05
#: A stub that cannot even import its model prints this and ends, and Triton waits for it for ever.
_STUB_GAVE_UP = re.compile(r"Failed to preinitialize Python stub: (.+)$", re.MULTILINE)
_PORT_TAKEN = re.compile(r"failed to start (\w+) service: .*Socket '(\S+)' already in use")
_ASK_SECONDS = 2.0  # limit of one readiness question; the server is on this machine
#: Time for the guard to end after the server was stopped or killed.
_GUARD_SECONDS = 2.0
#: Another process may take a port between our choice and Triton's bind; then we choose again.
_PORT_ATTEMPTS = 3


class TritonError(DeployError):
    """The embedded Triton cannot be started or has ended. The text is one line for an operator."""


class NoRepositoryError(TritonError):
    """The model repository is missing, or lacks a wanted model."""

    exit_status = 2


class _PortTakenError(TritonError):
    """Triton found a port taken."""


@dataclass(frozen=True)
class GrpcTls:
    """PEM files of the gRPC interface.

    Attributes:
        clients: authority of the clients, who then must show a certificate; None asks for none.
    """

    certificate: Path
    key: Path
    clients: Path | None = None

    def arguments(self) -> list[str]:
        """Return tritonserver's options."""
        options = ["--grpc-use-ssl=1", f"--grpc-server-cert={self.certificate}", f"--grpc-server-key={self.key}"]
        if self.clients is not None:
            options += ["--grpc-use-ssl-mutual=1", f"--grpc-root-cert={self.clients}"]
        return options


class TritonServer(ChildServer):
    """One embedded Triton over one model repository.

    It runs in a session of its own, so that Ctrl-C at a terminal reaches the pipeline first; it ends when this process
    ends, however that happens. After a stop it may be started again and keeps the ports it had.

    Args:
        repository: the model repository, as ``mistwatch export`` writes it.
        models: names of the models to load; None loads every model that the repository holds when the server starts.
        host: address to bind to. Triton has no authentication: keep it on loopback.
        grpc_port, http_port, metrics_port: TCP ports; 0 chooses a free one.
        log: file to which Triton's output is appended; None keeps it only while the server runs.
        drain_seconds: time in which a stop lets Triton answer the requests in flight and unload its models, which takes
            it 2 to 5 s. 0 kills it at once: no request of a caller that has all its answers is lost, and Triton keeps
            nothing on disk.
        grpc_tls: certificate and key for gRPC; None serves it in clear. HTTP and metrics stay in clear.
    """

    name = "Triton"

    def __init__(
        self,
        repository: Path,
        *,
        models: Iterable[str] | None = None,
        host: str = "127.0.0.1",
        grpc_port: int = 0,
        http_port: int = 0,
        metrics_port: int = 0,
        log: Path | None = None,
        drain_seconds: float = 0.0,
        grpc_tls: GrpcTls | None = None,
    ) -> None:
        self.repository = repository.absolute()
        self.models = () if models is None else tuple(models)
        self._every_model = models is None
        self.host = host
        self.grpc_port = grpc_port
        self.http_port = http_port
        self.metrics_port = metrics_port
        self.log = log.absolute() if log else None
        self.drain_seconds = drain_seconds
        self.grpc_tls = grpc_tls
        self._folder: Path | None = None
        self._id = ""
        self._log_path = Path()
        self._log_start = 0

    @property
    def grpc_address(self) -> str:
        """``host:port`` for gRPC clients on this machine. The port is known once the server has started."""
        return f"{self._reachable}:{self.grpc_port}"

    @property
    def http_address(self) -> str:
        """``host:port`` of the HTTP interface (health, statistics, model control)."""
        return f"{self._reachable}:{self.http_port}"

    @property
    def metrics_address(self) -> str:
        """``host:port`` where ``/metrics`` is served for Prometheus."""
        return f"{self._reachable}:{self.metrics_port}"

    @property
    def _reachable(self) -> str:
        return "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104 - compared with, not bound to

    def start(self, timeout: float = 120.0) -> None:
        """Start Triton and wait, at most ``timeout`` seconds, until it is ready for requests.

        Ready means that all ``models`` are, and that gRPC, HTTP and ``/metrics`` all answer.

        Raises:
            NoRepositoryError: the repository or a model in it is missing.
            TritonError: the wheel is missing, a port is taken, a model cannot be loaded, or it was not ready in time.
                Names the cause as Triton's log gives it. No process is left behind.
        """
        if self.alive():
            raise TritonError(f"embedded Triton: already running on {self.grpc_address}")
        binary, stub = _find_server()
        self._find_models()
        deadline = time.monotonic() + timeout
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            asked = (self.grpc_port, self.http_port, self.metrics_port)
            try:
                self._choose_ports()
                self._launch(binary, stub)
                self._wait_ready(deadline, timeout)
            except _PortTakenError:
                self.stop()
                self.grpc_port, self.http_port, self.metrics_port = asked
                if 0 not in asked or attempt == _PORT_ATTEMPTS:
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                return

    def stop(self, timeout: float | None = None) -> None:
        """Stop within ``timeout`` seconds (None: ``drain_seconds`` and a little), else kill; nothing of it remains."""
        guard, self._process = self._process, None
        folder, self._folder = self._folder, None
        if guard is None or folder is None:
            return
        if guard.poll() is None:
            guard.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                guard.wait(self.drain_seconds + _GUARD_SECONDS if timeout is None else timeout)
        signal_group(guard, signal.SIGKILL)  # the guard has done this itself, unless it was killed or is stuck
        guard.wait()
        remove_shared_memory(self._id)
        shutil.rmtree(folder, ignore_errors=True)

    def _find_models(self) -> None:
        """Choose the models to load, and refuse a repository that lacks them."""
        if not self.repository.is_dir():
            raise NoRepositoryError(
                f"embedded Triton: no model repository at {self.repository}; write one: mistwatch export"
            )
        if self._every_model:
            self.models = tuple(sorted(file.parent.name for file in self.repository.glob("[!.]*/config.pbtxt")))
        if not self.models:
            raise NoRepositoryError(
                f"embedded Triton: the repository {self.repository} has no model (no */config.pbtxt); "
                "write one: mistwatch export"
            )
        for model in self.models:
            if not (self.repository / model / "config.pbtxt").is_file():
                raise NoRepositoryError(
                    f"embedded Triton: the repository {self.repository} has no model {model!r} "
                    f"(no {model}/config.pbtxt); write one: mistwatch export"
                )

    def _choose_ports(self) -> None:
        """Give every 0 a free port, and refuse the others at once when they are taken."""
        with contextlib.ExitStack() as held:
            for name in ("grpc_port", "http_port", "metrics_port"):
                port = getattr(self, name)
                probe = held.enter_context(socket.socket())
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free to Triton
                try:
                    probe.bind((self.host, port))
                except OSError as error:
                    why = "the port is taken" if port else "cannot bind"
                    raise TritonError(
                        f"embedded Triton: {name.replace('_', ' ')} {self.host}:{port}: {why} ({error.strerror})"
                    ) from None
                setattr(self, name, probe.getsockname()[1])

    def _launch(self, binary: Path, stub: Path) -> None:
        # The id names the server's shared memory, and distinguishes it in the wait below from another on the same port.
        self._id = f"mistwatch_triton_{secrets.token_hex(6)}_"
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=self._id))
        except OSError as error:
            raise TritonError(f"embedded Triton: no temporary folder can be made: {error.strerror}") from None
        backend = self._folder / "backends" / "python"
        backend.mkdir(parents=True)
        library = binary.parent.parent / "backends" / "python"
        for part in (library / "libtriton_python.so", library / "triton_python_backend_utils.py", stub):
            (backend / part.name).symlink_to(part)

        command = [str(binary), f"--id={self._id}", f"--model-repository={self.repository}"]
        command += [
            f"--backend-directory={backend.parent}",
            f"--backend-config=python,shm-region-prefix-name={self._id}",
        ]
        command += ["--model-control-mode=explicit", *(f"--load-model={model}" for model in self.models)]
        # Our models say everything in their config.pbtxt; completing it would start a stub just to ask (1.2 s).
        command += ["--disable-auto-complete-config", "--exit-timeout-secs=5"]
        for interface in ("grpc", "http", "metrics"):
            command += [
                f"--{interface}-address={self.host}",
                f"--{interface}-port={getattr(self, interface + '_port')}",
            ]
        if self.grpc_tls is not None:
            command += self.grpc_tls.arguments()
        guarded = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), self._id, str(self._folder)]
        guarded += [str(self.drain_seconds), *command]

        self._log_path = self.log or self._folder / "triton.log"
        try:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            with self._log_path.open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(
                    guarded,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    env=_environment(binary),
                    start_new_session=True,
                )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise TritonError(f"embedded Triton: cannot write its log {self._log_path}: {error.strerror}") from None

    def _wait_ready(self, deadline: float, timeout: float) -> None:
        while time.monotonic() < deadline:
            alive = self.alive()  # asked first: what it printed last is then in the log
            printed = self._printed()
            if not alive or _STUB_GAVE_UP.search(printed):
                raise self._failure(printed)
            if self._ready():
                return
            time.sleep(_POLL_SECONDS)
        where = f" (log: {self.log})" if self.log else ""
        raise TritonError(f"embedded Triton: not ready within {timeout:g} s{where}")

    def _ready(self) -> bool:
        """Return whether our own server answers, on all its ports, and all its models are ready."""
        try:
            status, answer = self._ask("/v2")
            if status != http.HTTPStatus.OK or json.loads(answer)["name"] != self._id:
                return False
            questions = ["/v2/health/ready", *(f"/v2/models/{model}/ready" for model in self.models)]
            if not all(self._ask(question)[0] == http.HTTPStatus.OK for question in questions):
                return False
            # Triton opens gRPC, HTTP and, a little later, metrics; a port that it finds taken ends it only then.
            socket.create_connection((self._reachable, self.grpc_port), _ASK_SECONDS).close()
            status, answer = self._ask("/metrics", port=self.metrics_port)
            return status == http.HTTPStatus.OK and b"nv_inference_" in answer
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return False  # no server listens yet, or another one

    def _ask(self, path: str, port: int | None = None) -> tuple[int, bytes]:
        # Not urllib: it would send a question for 127.0.0.1 through the machine's proxy.
        connection = http.client.HTTPConnection(self._reachable, port or self.http_port, timeout=_ASK_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _printed(self) -> str:
        """Return the server's output since this start."""
        with self._log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _failure(self, printed: str) -> TritonError:
        """Return the reason why the server ended, in one line, from its output."""
        if taken := _PORT_TAKEN.search(printed):
            return _PortTakenError(f"embedded Triton: {taken[1].lower()} port {taken[2]}: the port is taken")
        where = f" (log: {self.log})" if self.log else ""
        return TritonError(f"embedded Triton: {_cause(printed)}{where}")


def _cause(printed: str) -> str:
    """Return the line of Triton's output that explains why it ended, or never will be ready."""
    found = _STUB_GAVE_UP.findall(printed)
    if not found:
        found = re.findall(r"^error: creating server: (.+)$", printed, re.MULTILINE)
        found = [text for text in found if "failed to load all models" not in text]  # then an E line says why
    if not found:
        found = re.findall(r'^E\d{4} .*?\] "(.*)"$', printed, re.MULTILINE)
        # This one is always there on a machine without CUDA and stops nothing.
        found = [text.replace("\\n", "\n") for text in found if "CudaDriverHelper" not in text]
    if not found:
        found = [line for line in printed.splitlines() if line.strip()] or ["it ended without any output"]
    return _one_line(found[-1])


def _one_line(text: str) -> str:
    """Triton's own words about a failure, without the Python stack and the wrapping around the cause."""
    text = text.split("\n\nAt:")[0]
    text = re.sub(r"^(?:Internal|Invalid argument|Unavailable|Not found) - ", "", text)
    text = re.sub(r"load failed for model '(\w+)': version (\d+) is at UNAVAILABLE state:", r"model \1/\2:", text)
    text = re.sub(r"(?<=: )Internal: ", "", text)
    return " ".join(text.split()).rstrip(";")


def _find_server() -> tuple[Path, Path]:
    """Paths of tritonserver and of the stub for this version of Python."""
    package = importlib.util.find_spec("pytriton")
    if package is None or not package.submodule_search_locations:
        raise TritonError(
            "embedded Triton: the wheel nvidia-pytriton is not installed "
            "(pip install --no-deps nvidia-pytriton==0.7.0); or name an outside Triton in the configuration"
        )
    root = Path(package.submodule_search_locations[0]) / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = root / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        has = ", ".join(sorted(path.parent.name for path in root.glob("python_backend_stubs/*/*"))) or "none"
        raise TritonError(
            f"embedded Triton: the wheel nvidia-pytriton has no stub for Python {version} (it has: {has})"
        )
    # The stub is linked against it. Without it Triton would wait for the stub for ever.
    library = f"libpython{version}.so.1.0"
    if not (_library_folder() / library).exists():
        try:
            ctypes.CDLL(library)
        except OSError:
            raise TritonError(
                f"embedded Triton: this Python has no shared library {library} in {_library_folder()}; "
                "use a Python built with --enable-shared (Debian: apt install libpython3-dev)"
            ) from None
    return root / "bin" / "tritonserver", stub


def _library_folder() -> Path:
    return Path(str(sysconfig.get_config_var("LIBDIR")))


def _environment(binary: Path) -> dict[str, str]:
    """The environment in which the stub finds this Python's packages and every library finds its neighbours."""
    bundled = binary.parents[3] / "nvidia_pytriton.libs"
    libraries = [str(_library_folder()), str(bundled), os.environ.get("LD_LIBRARY_PATH", "")]
    environment = child_environment()
    # The stub takes the packages of the first `python3` on PATH; PYTHONHOME would mislead it.
    environment.pop("PYTHONHOME", None)
    environment["PATH"] = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)])
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
    return environment
