"""The worker's side of the fork server: decoder processes, and how each of them ended."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.sources.base import SourceError
from pipeline.sources.filming.orders import FilmEnd, FilmOrder
from pipeline.sources.isolation import messages
from pipeline.sources.isolation.host import FILM, RELEASE, STOP, CameraRequest
from pipeline.sources.isolation.ring import SlotReader, create_memory
from pipeline.sources.isolation.server import LINGER_SECONDS

#: Limit for a fork, which takes milliseconds, and for the start of the fork server with its imports. Seconds.
_FORK_SECONDS = 60.0

#: Settings of a site, passwords among them, are variables of this kind; a decoder, which cameras feed, needs none.
_SETTINGS_PREFIX = "MISTWATCH_"

#: Fixed limits of glibc's allocator (mallopt(3)); other C libraries ignore them. Damaged packets can pass for a picture
#: of tens of megabytes. By default the limits rise with the largest block that was ever freed, and the decoder would
#: keep the place of such a picture for as long as it runs. Bytes.
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_TRIM_THRESHOLD_": str(4 << 20)}

#: Room for a picture's message and for the calls of a camera that has much to report. Bytes.
_SOCKET_BYTES = 1 << 20


class Decoding(StrEnum):
    """The settings for the place where live cameras are decoded."""

    PROCESSES = "processes"  #: a process for each camera: a crash of its decoder is its own
    THREADS = "threads"  #: the worker: less memory, and a crash of one decoder ends all


#: Memory of a decoder process, by default, MB: a decoder of 4K holds some 400 MB.
MEMORY_MB = 2048


@dataclass(eq=False)
class _Host:
    """A decoder process.

    Attributes:
        control: takes more cameras; closing it ends the process when its cameras have ended.
        server: the socket of the fork server that it belongs to.
        ended: set when it has ended; ``exit_code`` is then its status, below 0 a signal; None: not known.
    """

    control: socket.socket
    server: socket.socket
    cameras: int = 0
    pid: int | None = None
    exit_code: int | None = None
    forked: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


class Attachment:
    """One camera in a decoder process, on the thread of the camera."""

    def __init__(self, pool: DecoderPool, host: _Host, link: socket.socket, memory: int) -> None:
        self._pool = pool
        self._host = host
        self._link = link
        self._memory = memory
        self.reader = SlotReader(memory)

    def receive(self, seconds: float) -> bytes | None:
        """Return the next message; empty: the process, or this camera in it, has ended. None: none came in time."""
        self._link.settimeout(seconds)
        try:
            return receive(self._link)
        except TimeoutError:
            return None

    def release(self, slot: int) -> None:
        """Let the decoder write to a slot again."""
        with contextlib.suppress(OSError):  # it has ended, which the next message shows
            self._link.send(RELEASE + bytes([slot]))

    def begin_film(self, order: FilmOrder, descriptor: int) -> bool:
        """Order a film, whose file the process gets as a descriptor; return whether the order was sent."""
        try:
            socket.send_fds(self._link, [FILM + messages.encode_order(order)], [descriptor])
        except OSError:
            return False
        return True

    def end_film(self, end: FilmEnd) -> None:
        """Pass on the end of a film's alert."""
        with contextlib.suppress(OSError):
            self._link.send(FILM + messages.encode_end(end))

    def stop(self) -> None:
        """Let the camera's source end by itself; its films are written and reported first."""
        with contextlib.suppress(OSError):
            self._link.send(STOP)

    def describe_end(self, seconds: float) -> str:
        """Return how the process ended, for which it has so many seconds left."""
        if not self._host.ended.wait(seconds):
            return "stopped without a reason"
        return _describe(self._host.exit_code)

    def kill(self) -> None:
        """End the process, and all its cameras, at once."""
        self._pool.kill(self._host)

    def close(self) -> None:
        """Let the camera's source end by itself, and leave the process."""
        self.stop()
        self._link.close()
        self.reader.close()
        os.close(self._memory)
        self._pool.leave(self._host)


def receive(link: socket.socket) -> bytes:
    """Return the next packet; empty: the other side is gone, and all that it had sent is read.

    A peer that ends with packets of ours unread resets the connection. That error comes once, before what it had sent.

    Raises:
        TimeoutError: none came within the socket's limit.
    """
    for _ in range(2):
        try:
            return link.recv(messages.MOST_BYTES)
        except ConnectionResetError:
            continue
        except TimeoutError:
            raise
        except OSError:
            break
    return b""


def decoder_environment() -> dict[str, str]:
    """Return this process's environment without the site's settings, its search path of modules and `_ALLOCATOR`."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_SETTINGS_PREFIX)}
    return {**_ALLOCATOR, **kept, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}


def _describe(exit_code: int | None) -> str:
    if exit_code is None:
        return "ended with the fork server"
    if exit_code >= 0:
        return f"ended with status {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


class DecoderPool:
    """Starts decoder processes for cameras through the fork server, which it starts with the first of them.

    Thread-safe. A fork server that died is replaced with the next camera.

    Args:
        cameras_each: cameras that share a process, and its crash.
        memory_mb: memory that a process may ask for, for each camera; None: no limit.
    """

    def __init__(self, *, cameras_each: int = 1, memory_mb: int | None = MEMORY_MB) -> None:
        self._cameras_each = cameras_each
        self._memory_bytes = None if memory_mb is None else memory_mb * cameras_each * 1_000_000
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._number = 0
        self._hosts: dict[int, _Host] = {}  # by the number of their request
        self._closed = False

    @property
    def server_pid(self) -> int | None:
        """The process number of the fork server, where there is one."""
        return None if self._server is None else self._server.pid

    def pids(self) -> list[int]:
        """Return the process numbers of the decoder processes that run."""
        with self._lock:
            return [host.pid for host in self._hosts.values() if host.pid is not None and not host.ended.is_set()]

    def attach(self, request: CameraRequest) -> Attachment:
        """Have a process watch a camera.

        Raises:
            SourceError: ``decoder_crashed``: no process can be started.
        """
        problem = None
        try:
            with self._lock:
                host = self._host_with_room()
                host.cameras += 1
            try:
                return self._join(host, request)
            except BaseException:
                self.leave(host)
                raise
        except OSError as error:
            problem = error.strerror or type(error).__name__
        raise SourceError(
            f"camera {request.camera}: no decoder process can be started: {problem}", code="decoder_crashed"
        )

    def leave(self, host: _Host) -> None:
        """Take note that a camera has left its process, which ends with its last one."""
        with self._lock:
            host.cameras -= 1
            if host.cameras == 0:
                host.control.close()
                self._forget_if_done(host)

    def kill(self, host: _Host) -> None:
        """End a process at once; the fork server knows whether it is still that process."""
        with self._lock, contextlib.suppress(OSError):
            if self._control is not None and host.pid is not None:
                self._control.send(json.dumps({"do": "kill", "pid": host.pid}).encode())

    def close(self) -> None:
        """End all processes; their cameras must have ended."""
        with self._lock:
            self._closed = True
            server, self._server = self._server, None
            if self._control is not None:
                with contextlib.suppress(OSError):  # the fork server has ended already
                    self._control.shutdown(socket.SHUT_WR)
        if server is None:
            return
        try:
            server.wait(2 * LINGER_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def _join(self, host: _Host, request: CameraRequest) -> Attachment:
        if not host.forked.wait(_FORK_SECONDS) or host.ended.is_set():
            raise OSError(0, _describe(host.exit_code) if host.ended.is_set() else "the fork server does not answer")
        link, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = create_memory()
        try:
            others.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
            with self._lock:
                socket.send_fds(host.control, [pickle.dumps(request)], [others.fileno(), memory])
        except BaseException:
            link.close()
            os.close(memory)
            raise
        finally:
            others.close()
        return Attachment(self, host, link, memory)

    def _host_with_room(self) -> _Host:
        """Return a process that takes one more camera, which may not be forked yet. Raises OSError."""
        if self._closed:
            raise OSError(0, "the worker stops")
        for host in self._hosts.values():
            if 0 < host.cameras < self._cameras_each and not host.ended.is_set():
                return host
        if self._server is None or self._server.poll() is not None:
            self._start_server()
        assert self._control is not None
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._number += 1
        host = self._hosts[self._number] = _Host(mine, self._control)
        request = {"do": "fork", "number": self._number, "memory_bytes": self._memory_bytes}
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], [its.fileno()])
        except OSError:
            del self._hosts[self._number]
            mine.close()
            raise
        finally:
            its.close()
        return host

    def _start_server(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A session of its own: Ctrl-C at the terminal is the worker's.
        with its:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "pipeline.sources.isolation.server", str(its.fileno())],
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=decoder_environment(),
                start_new_session=True,
            )
        threading.Thread(target=self._listen, args=(self._control,), name="decoder pool", daemon=True).start()

    def _listen(self, control: socket.socket) -> None:
        """Take the reports of one fork server until it ends."""
        while True:
            data = receive(control)
            if not data:
                break
            with self._lock:
                self._take(control, json.loads(data))
        with self._lock:
            for host in [host for host in self._hosts.values() if host.server is control]:
                self._end(host, None)

    def _take(self, control: socket.socket, report: dict[str, Any]) -> None:
        """Take a report; the lock is held."""
        if report["what"] == "forked":
            host = self._hosts[report["number"]]
            host.pid = report["pid"]
            host.forked.set()
            return
        for host in list(self._hosts.values()):
            if host.server is control and host.pid == report["pid"] and not host.ended.is_set():
                self._end(host, report["exit_code"])

    def _end(self, host: _Host, exit_code: int | None) -> None:
        """Take note of the end of a process; the lock is held."""
        host.exit_code = exit_code
        host.ended.set()
        host.forked.set()
        self._forget_if_done(host)

    def _forget_if_done(self, host: _Host) -> None:
        if host.cameras == 0 and host.ended.is_set():
            self._hosts = {number: known for number, known in self._hosts.items() if known is not host}
