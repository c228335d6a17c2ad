"""``kill -HUP`` of a running worker: the site's file is read again, good, wrong or unreadable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import noida_db  # noqa: F401  # fixture
from group_workers import GroupWorker, Pictures, add_cameras
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


@pytest.mark.realparts
@pytest.mark.waits
def test_a_worker_of_a_group_goes_on_and_says_in_one_line_what_needs_a_restart(
    tmp_path: Path,
    triton: Server,
    noida_db: Any,  # noqa: F811
) -> None:
    worker = GroupWorker(tmp_path / "worker", triton.address, noida_db.bootstrap)
    file = worker.config.read_text()

    def hang_up(text: str, expected: str) -> str:
        """Replace the file, send the signal, and return the line that comes with these words."""
        worker.config.write_text(text)
        known = len(worker.log.splitlines())
        worker.send(signal.SIGHUP)
        until = time.monotonic() + 60
        while not (found := [line for line in worker.log.splitlines()[known:] if expected in line]):
            assert worker.is_running, worker.log[-2000:]
            assert time.monotonic() < until, f"no line with {expected!r}: {worker.log[-2000:]}"
            time.sleep(0.1)
        (line,) = found
        return line

    def wait_for_clips() -> None:
        before, until = worker.scored().get("gate", 0.0), time.monotonic() + 120
        while worker.scored().get("gate", 0.0) <= before:
            assert time.monotonic() < until, worker.log[-2000:]
            time.sleep(0.1)

    with Pictures() as pictures:
        worker.start()
        try:
            add_cameras(noida_db.bootstrap, pictures, ["gate"], partitions=1)
            wait_for_clips()
            assert "mistwatch.control" in hang_up(file, "the file has not changed")
            changed = file.replace("open_threshold: 0.01", "open_threshold: 0.02").replace("site: test", "site: other")
            line = hang_up(changed, "settings of the file that need a restart")
            assert '"settings": "alerts, site"' in line
            assert "alerts.lens: unknown key" in hang_up(
                file.replace("{min_clips: 1,", "{lens: 1,"), "goes on as before"
            )
            wait_for_clips()
            assert worker.terminate(30) < 30
            assert worker.process is not None
            assert worker.process.returncode == 0
        finally:
            worker.kill()


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
