"""The embedded Kafka broker (noida-db) for demonstrations, tests and development.

It speaks the Kafka protocol over TCP and keeps its topics in one folder. When it is killed it may lose messages that it
acknowledged in the last second: name a real Kafka in the site's configuration where that matters.
"""

from __future__ import annotations

import importlib.resources
import importlib.util
import re
import socket
import subprocess
import time
from pathlib import Path

from deploy.errors import DeployError
from deploy.lifetime import ChildServer, child_environment, end_with_parent

#: The broker's line on standard output that names its port.
_LISTENING = re.compile(r"^\s*kafka\s+\S+:(\d+)\s*$", re.MULTILINE)
#: Its line on standard error when it cannot start.
_FAILURE = re.compile(r"^error:\s*(?:kafka:\s*)?(.+)$", re.MULTILINE)
_POLL_SECONDS = 0.02


class BrokerError(DeployError):
    """The embedded broker cannot be started or has ended. The text is one line for an operator."""


class BrokerServer(ChildServer):
    """One embedded broker with its data in a folder of its own.

    The process runs in a session of its own, so that Ctrl-C at a terminal reaches the pipeline first and the pipeline
    can still deliver accepted alerts. It ends with the thread that starts it. A broker that is started again after a
    stop keeps its port.

    Args:
        data_dir: folder for topics and for ``broker.log``; created when missing. One broker at a time can use it.
        port: TCP port; 0 lets the system choose one.
        host: address to bind to. The broker has no authentication: keep it on loopback.
    """

    name = "broker"

    def __init__(self, data_dir: Path, port: int = 0, host: str = "127.0.0.1") -> None:
        self.data_dir = data_dir
        self.host = host
        self.port = port

    @property
    def bootstrap(self) -> str:
        """``host:port`` for Kafka clients. The port is known once the broker has started."""
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> Path:
        """The file with the broker's output."""
        return self.data_dir / "broker.log"

    def start(self, timeout: float = 15.0) -> None:
        """Start the broker and wait, at most ``timeout`` seconds, until it accepts connections.

        Raises:
            BrokerError: it is not installed, its folder cannot be written, the port is taken, it ended, or it did
                not become ready in time. No process is left behind.
        """
        if self.alive():
            raise BrokerError(f"embedded broker: already running on {self.bootstrap}")
        command = [str(_binary()), "start", "--only", "kafka", "--host", self.host]
        command += ["--kafka-port", str(self.port), "--data-dir", "."]  # noida-db takes only paths that are UTF-8
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                printed_before = log.tell()
                self._process = subprocess.Popen(
                    command,
                    cwd=self.data_dir,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=child_environment(),
                    start_new_session=True,
                    preexec_fn=end_with_parent,
                )
        except OSError as error:
            raise BrokerError(f"embedded broker: cannot start in {self.data_dir}: {error.strerror}") from None
        try:
            self._wait_ready(printed_before, timeout)
        except BaseException:
            self.stop(0.0)
            raise

    def _wait_ready(self, printed_before: int, timeout: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            status = self._process.poll()
            text = self.log.read_bytes()[printed_before:].decode(errors="replace")
            if status is not None:
                failure = _FAILURE.search(text)
                why = failure.group(1) if failure else f"ended with status {status}"
                raise BrokerError(f"embedded broker on {self.bootstrap}: {why} (log: {self.log})")
            listening = _LISTENING.search(text)
            if listening and _accepts(self.host, int(listening.group(1))):
                self.port = int(listening.group(1))
                return
            time.sleep(_POLL_SECONDS)
        raise BrokerError(f"embedded broker on {self.bootstrap}: not ready within {timeout:g} s (log: {self.log})")


def _binary() -> Path:
    """Return the path of the server itself; its Python wrapper would leave it orphaned when killed."""
    if importlib.util.find_spec("noida_db") is None:
        raise BrokerError(
            "embedded broker: the package noida-db is not installed; install mistwatch[serve], "
            "or name an outside broker in the configuration"
        )
    return Path(str(importlib.resources.files("noida_db") / "noida-db")).absolute()


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
