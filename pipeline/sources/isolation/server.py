"""The fork server: a small process without threads that imports the decoders once, and then forks one for the asking.

    python -m pipeline.sources.isolation.server DESCRIPTOR

A forked process shares the pages of the imported code until it writes to them, and starts within milliseconds. The
worker itself cannot fork: it has threads, and gRPC does not survive a fork. Requests and reports are JSON packets over
the socket of the given descriptor. The server ends with the worker, and every decoder process with the server.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress

from pipeline.sources.isolation.host import run_host
from pipeline.sources.isolation.process import die_with, ignore_stops, limit_memory

_PACKET_BYTES = 1 << 12

#: After the worker's end the decoder processes have so long to end by themselves. Seconds.
LINGER_SECONDS = 2.0


class ForkServer:
    """Forks decoder processes, and reports how each of them ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._woken, wake = socket.socketpair()
        self._woken.setblocking(False)
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler the descriptor is not written to
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._wake = wake

    def run(self) -> None:
        """Serve until the worker is gone."""
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._control, selectors.EVENT_READ)
            waiting.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in waiting.select()}
                if self._woken in ready:
                    with suppress(BlockingIOError):
                        self._woken.recv(_PACKET_BYTES)
                    self._reap()
                if self._control in ready and not self._serve():
                    break
            # The decoder processes have lost the worker, too, and say goodbye to their cameras.
            waiting.unregister(self._control)
            until = time.monotonic() + LINGER_SECONDS
            while self._children and (left := until - time.monotonic()) > 0:
                waiting.select(left)
                with suppress(BlockingIOError):
                    self._woken.recv(_PACKET_BYTES)
                self._reap()

    def _serve(self) -> bool:
        """Serve one request; returns whether there may be more."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, _PACKET_BYTES, 1)
        except ConnectionResetError:  # the worker is gone, with reports unread
            return False
        if not data:
            return False
        request = json.loads(data)
        if request["do"] == "fork":
            self._fork(request, descriptors[0])
        elif request["do"] == "kill" and request["pid"] in self._children:
            os.kill(request["pid"], signal.SIGKILL)
        return True

    def _fork(self, request: dict[str, int], descriptor: int) -> None:
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for own in (self._control, self._woken, self._wake):
                    own.close()
                die_with(server)
                limit_memory(request["memory_bytes"])
                run_host(socket.socket(fileno=descriptor))
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        os.close(descriptor)
        self._children.add(pid)
        self._report("forked", number=request["number"], pid=pid)

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._children.discard(pid)
            self._report("ended", pid=pid, exit_code=os.waitstatus_to_exitcode(status))

    def _report(self, what: str, **fields: int) -> None:
        with suppress(OSError):  # the worker is gone, which the next request shows
            self._control.send(json.dumps({"what": what, **fields}).encode())


def main() -> None:
    ignore_stops()
    control = socket.socket(fileno=int(sys.argv[1]))
    gc.collect()
    gc.freeze()  # the collector would write to pages that the decoders share
    ForkServer(control).run()


if __name__ == "__main__":
    main()
