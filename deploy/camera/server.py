"""Launcher of the camera server: H.264 files played as live cameras over RTSP, for demonstrations and tests.

A camera's time runs from the start, with or without clients: a client that joins sees the present, from the next key
frame on, and at its end the file begins again. The server records when it sent each frame.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from deploy.camera import record
from deploy.camera.record import Sending
from deploy.errors import DeployError
from deploy.lifetime import ChildServer, child_environment, end_with_parent

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_STOP_SECONDS = 2.0


class CameraError(DeployError):
    """The camera server cannot be started, or has no such camera. The text is one line for an operator."""


class CameraServer(ChildServer):
    """A server that plays files as live cameras, ``rtsp://HOST:PORT/NAME`` each.

    RTP is sent only inside the RTSP connection (TCP). The process runs in a session of its own, so that Ctrl-C at a
    terminal reaches the pipeline first. It ends with the thread that starts it. After a stop it may be started again;
    it keeps its port and restarts every file.

    Args:
        files: each camera's file by its name: H.264 in mp4, mov or mkv, without B frames, beginning with a
            key frame. A file is held in memory. Clients can join at its key frames.
        host: address to bind to. The server has no authentication: keep it on loopback.
        port: TCP port; 0 lets the system choose one.
        log: file to which the server's output is appended; None drops it.

    Raises:
        CameraError: no camera is given, or a name does not fit into a URL.
    """

    name = "cameras"

    def __init__(
        self, files: Mapping[str, Path], *, host: str = "127.0.0.1", port: int = 0, log: Path | None = None
    ) -> None:
        self.files = {name: path.absolute() for name, path in files.items()}
        self.host = host
        self.port = port
        self.log = log.absolute() if log else None
        self._record: IO[bytes] | None = None
        if not self.files:
            raise CameraError("camera server: no camera given")
        for name in self.files:
            if not _NAME.fullmatch(name):
                raise CameraError(f"camera server: {name!r} cannot name a camera: letters, digits, '-', '_' and '.'")

    def url(self, name: str) -> str:
        """Return a camera's URL on this machine. The port is known once the server has started.

        Raises:
            CameraError: unknown camera.
        """
        self._number(name)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared with
        return f"rtsp://[{host}]:{self.port}/{name}" if ":" in host else f"rtsp://{host}:{self.port}/{name}"

    def sent(self, name: str) -> list[Sending]:
        """Return every frame that a camera has sent since the last start, in order, with or without clients.

        A start clears the record; a stop and the death of the server do not.

        Raises:
            CameraError: unknown camera.
        """
        number = self._number(name)
        return [] if self._record is None else record.read(self._record.fileno(), number)

    def start(self, timeout: float = 60.0) -> None:
        """Start the server and wait, at most ``timeout`` seconds, until it accepts connections and its cameras run.

        Raises:
            CameraError: a file is missing, not H.264 or has B frames; the port is taken; it runs already; it ended,
                or was not ready in time. No process is left behind.
        """
        if self.alive():
            raise CameraError(f"camera server: already running on {self.host}:{self.port}")
        self.stop(0.0)
        command = [sys.executable, "-P", "-m", "deploy.camera.process", "--host", self.host, "--port", str(self.port)]
        try:
            # It has no name, so it needs no cleaning up, in whichever order the processes end.
            self._record = tempfile.TemporaryFile()  # noqa: SIM115 - sent() reads it even after the stop
            command += ["--record", str(self._record.fileno())]
            command += [f"{name}={path}" for name, path in self.files.items()]
            with contextlib.ExitStack() as opened:
                if self.log:
                    self.log.parent.mkdir(parents=True, exist_ok=True)
                    log: IO[bytes] | int = opened.enter_context(self.log.open("ab"))
                else:
                    log = subprocess.DEVNULL
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    pass_fds=(self._record.fileno(),),
                    env=child_environment(),
                    start_new_session=True,
                    preexec_fn=end_with_parent,
                )
        except OSError as error:
            where = error.filename or "in the temporary folder"
            raise CameraError(f"camera server: cannot start: {where}: {error.strerror}") from None
        try:
            self._wait_ready(timeout)
        except BaseException:
            self.stop(0.0)
            raise

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """See :meth:`deploy.lifetime.ChildServer.stop`."""
        super().stop(timeout)

    def _number(self, name: str) -> int:
        """Return a camera's number in the record."""
        if name not in self.files:
            raise CameraError(f"camera server: no camera {name!r}; it has {', '.join(self.files)}")
        return list(self.files).index(name)

    def _wait_ready(self, timeout: float) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout
        output = b""
        while not output.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise CameraError(f"camera server: not ready within {timeout:g} s{self._see_log()}")
            part = os.read(pipe, 4096)
            if not part:
                status = self._process.wait()
                raise CameraError(f"camera server: ended with status {status}{self._see_log()}")
            output += part
        word, _, rest = output.decode(errors="replace").strip().partition(" ")
        if word != "ready":
            raise CameraError(f"camera server: {rest}")
        self.port = int(rest)

    def _see_log(self) -> str:
        return f" (log: {self.log})" if self.log else ""
