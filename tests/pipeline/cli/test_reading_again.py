"""``kill -HUP`` of a running worker: the site's file is read again, good, wrong or unreadable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import noida_db  # noqa: F401  # fixture
from group_workers import Pictures
from ports import free_port
from site_runs import read_until, start_run, wait_for_metric, write_site
from triton_of_brightness import Server

CAMERA = "  {name}: {{source: '{url}', snapshot_seconds: 0.2{more}}}\n"


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "triton")
    server.start()
    yield server
    server.stop()


@pytest.mark.realparts
@pytest.mark.waits
def test_a_file_that_is_read_again_is_in_force_or_is_one_line(
    tmp_path: Path,
    triton: Server,
    noida_db: Any,  # noqa: F811
) -> None:
    port = free_port()

    def write(cameras: str) -> Path:
        return write_site(tmp_path, triton.address, noida_db.bootstrap, cameras, metrics_port=port)

    with Pictures() as pictures:
        url = pictures.url("/picture")
        gate = CAMERA.format(name="gate", url=url, more="")
        process = start_run(file := write(gate))
        try:
            wait_for_metric(process, port, 'mistwatch_clips_scored_total{camera="gate"}', 1)

            write(gate + CAMERA.format(name="yard", url=url, more=""))
            process.send_signal(signal.SIGHUP)
            read_until(process, "the site's file is in force")
            wait_for_metric(process, port, 'mistwatch_clips_scored_total{camera="yard"}', 1)

            write(CAMERA.format(name="gate", url=url, more=", lens: 5"))
            process.send_signal(signal.SIGHUP)
            log = read_until(process, "everything goes on as before")
            assert "cameras.gate.lens: unknown key" in log

            file.unlink()
            process.send_signal(signal.SIGHUP)
            log = read_until(process, "everything goes on as before")
            assert "no such file" in log

            now = wait_for_metric(process, port, 'mistwatch_clips_scored_total{camera="gate"}', 1)
            for camera in ("gate", "yard"):
                name = f'mistwatch_clips_scored_total{{camera="{camera}"}}'
                wait_for_metric(process, port, name, now[name] + 1)
            assert now['mistwatch_camera_connected{camera="yard"}'] == 1
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


HANGS_UP = """
import os, signal, sys, time
from types import SimpleNamespace
from pipeline.cli.live import reading_again, stopping

asked = []
with stopping() as stop, reading_again(SimpleNamespace(ask=lambda: asked.append(1)), stop):
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(0.05)
    assert asked == [1] and not stop.is_set()
    os.write(int(sys.argv[1]), b"ready")
    ended = stop.wait(30)
os.write(int(sys.argv[1]), b"ended" if ended else b"not ended")
"""


def test_a_closed_terminal_ends_a_worker_that_kill_hup_does_not() -> None:
    reader, writer = os.pipe()
    pid, terminal = os.forkpty()
    if pid == 0:
        os.set_inheritable(writer, True)
        os.execv(sys.executable, [sys.executable, "-P", "-c", HANGS_UP, str(writer)])
    os.close(writer)
    assert os.read(reader, 100) == b"ready"
    os.close(terminal)
    assert os.read(reader, 100) == b"ended"
    os.waitpid(pid, 0)
    os.close(reader)


def test_a_worker_under_nohup_reads_its_file_again_and_goes_on() -> None:
    code = HANGS_UP.replace("stop.wait(30)", "stop.wait(0.2)")
    reader, writer = os.pipe()
    subprocess.run(
        ["nohup", sys.executable, "-P", "-c", code, str(writer)],
        pass_fds=[writer],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert os.read(reader, 100) == b"readynot ended"
    os.close(reader)
    os.close(writer)
