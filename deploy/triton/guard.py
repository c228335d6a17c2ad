"""Runs tritonserver so that nothing of it outlives the process that wanted it.

tritonserver starts a stub process for every instance of a Python model. When the server is killed, its stubs go on
for ever, ignore SIGTERM, and leave their shared memory behind. So the launcher starts this little program as the leader
of a session of its own, and this one starts tritonserver. It ends the server on SIGTERM, or when its own parent has
died; and however the server ended, it removes its shared memory and kills what remains of the group, itself included.

It is run as a file, with the standard library alone:
``python -I -S guard.py PARENT_PID SHM_PREFIX FOLDER DRAIN_SECONDS COMMAND...``. It kills the server DRAIN_SECONDS after
SIGTERM.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

_POLL_SECONDS = 0.1
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where shm_open puts its regions on Linux; names are unguessable


def remove_shared_memory(prefix: str) -> None:
    """Delete the shared-memory regions whose names begin with ``prefix``."""
    for region in _SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def main() -> None:
    parent, shm_prefix, folder, drain_seconds, *command = sys.argv[1:]
    stop_by: float | None = None

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stop_by
        if stop_by is None:
            stop_by = time.monotonic() + float(drain_seconds)
            server.terminate()

    # Blocked until there is a server to pass the signal on to; the server itself must not inherit the block.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminated = {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, terminated)
    server = subprocess.Popen(command, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, terminated))
    signal.signal(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, terminated)

    orphaned = False
    while server.poll() is None and not orphaned and (stop_by is None or time.monotonic() < stop_by):
        time.sleep(_POLL_SECONDS)
        orphaned = os.getppid() != int(parent)
    print("tritonserver:", "killed" if server.returncode is None else f"status {server.returncode}", flush=True)
    server.kill()
    server.wait()  # its ports are free when the launcher's stop returns
    remove_shared_memory(shm_prefix)
    if orphaned:  # else the parent still wants to read the log in it
        shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
