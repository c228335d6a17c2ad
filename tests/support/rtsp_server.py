"""A real RTSP server for tests: GStreamer's, in a process of its own (see gst_rtsp_server.py)."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from ports import free_port

SCRIPT = Path(__file__).with_name("gst_rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's GStreamer bindings belong to it


def why_missing() -> str | None:
    """What is not there of Debian's packages, None when the server can run."""
    probe = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
        "Gst.init(None); need = ['x264enc', 'h264parse', 'rtph264pay', 'qtdemux']; "
        "missing = [n for n in need if Gst.ElementFactory.find(n) is None]; assert not missing, missing"
    )
    try:
        result = subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        return f"{SYSTEM_PYTHON} (the RTSP server's interpreter)"
    if result.returncode == 0:
        return None
    return f"GStreamer's RTSP server (`make system` installs it): {result.stderr.strip().splitlines()[-1]}"


class RtspServer:
    """One camera at ``url``. As a context manager it starts on entry and is gone on exit, whatever state it is in.

    Args:
        arguments: of gst_rtsp_server.py, without port and credentials.
        user, password: needed by whoever plays it; None lets everybody in.
        port: 0 takes a free one, which stays this server's while it does not run.
    """

    def __init__(self, *arguments: str, user: str | None = None, password: str | None = None, port: int = 0) -> None:
        self._arguments = arguments
        self.user, self.password = user, password
        self.port = port or free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def bare_url(self) -> str:
        """Without credentials."""
        return f"rtsp://127.0.0.1:{self.port}/cam"

    @property
    def url(self) -> str:
        """With the right credentials, where there are any."""
        if self.user is None:
            return self.bare_url
        userinfo = f"{quote(self.user, safe='')}:{quote(self.password or '', safe='')}"
        return f"rtsp://{userinfo}@127.0.0.1:{self.port}/cam"

    def start(self) -> None:
        """Start it and wait until it listens."""
        assert self._process is None, "the server runs already"
        command = [SYSTEM_PYTHON, str(SCRIPT), "--port", str(self.port), *self._arguments]
        if self.user is not None:
            command += ["--user", self.user, "--password", self.password or ""]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("ready "):
            self.kill()
            raise RuntimeError(f"the RTSP server did not start: {' '.join(command)}")
        self.port = int(line.split()[1])

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        process, self._process = self._process, None
        if process is None:
            return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()

    def freeze(self) -> None:
        """Stop it without closing anything: its connections live on and say nothing."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo :meth:`freeze`."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()


def serve_file(
    path: Path | str,
    transport: str | None = None,
    user: str | None = None,
    password: str | None = None,
    port: int = 0,
) -> RtspServer:
    """A camera that plays an H.264 file (.mp4, .mov, .mkv) in real time, from its start for each connection.

    Args:
        transport: ``tcp`` or ``udp`` offers that one alone; None both.
    """
    offered = ["--transport", transport] if transport else []
    return RtspServer("--file", str(path), *offered, user=user, password=password, port=port)


def serve_live(
    size: str = "320x240",
    *,
    then: tuple[str, float] | None = None,
    transport: str | None = None,
    user: str | None = None,
    password: str | None = None,
) -> RtspServer:
    """A camera with an endless moving picture at 10 frames a second.

    Args:
        size: of the picture, as WxH.
        then: another size, and after how many seconds it changes to that.
    """
    arguments = ["--live", size]
    if then is not None:
        arguments += ["--then", then[0], str(then[1])]
    if transport:
        arguments += ["--transport", transport]
    return RtspServer(*arguments, user=user, password=password)
