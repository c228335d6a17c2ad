"""`mistwatch serve` and `mistwatch export` as a person meets them: what is printed, and the exit status."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_process import called

MISTWATCH = [sys.executable, "-P", "-m", "pipeline.cli"]
CONFIG = """
name: "clip_scorer"
backend: "python"
max_batch_size: 1
input [{ name: "CLIP", data_type: TYPE_UINT8, dims: [ 1 ] }]
output [{ name: "SCORE", data_type: TYPE_FP32, dims: [ 1 ] }]
instance_group [{ kind: KIND_CPU }]
"""
MODEL = """
class TritonPythonModel:
    def execute(self, requests):
        return []
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model of the right name, and nothing in it: these tests are about the command around it."""
    folder = tmp_path / "repository"
    (folder / "clip_scorer" / "1").mkdir(parents=True)
    (folder / "clip_scorer" / "config.pbtxt").write_text(CONFIG)
    (folder / "clip_scorer" / "1" / "model.py").write_text(MODEL)
    return folder


def run(*arguments: str, cwd: Path) -> tuple[object, str, str]:
    return called(*arguments, folder=cwd)


def one_line(stderr: str) -> str:
    """The error, which must be all there is."""
    assert stderr.count("\n") == 1, stderr
    assert stderr.startswith("mistwatch: ")
    return stderr


@contextlib.contextmanager
def serving(repository: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command and the HTTP address that it printed."""
    ports = ["--grpc-port", "0", "--http-port", "0", "--metrics-port", "0"]
    command = [*MISTWATCH, "serve", "--repository", repository.name, *ports]
    with subprocess.Popen(command, cwd=repository.parent, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(
                r"Triton is ready: gRPC (\S+:\d+), HTTP (\S+:\d+), metrics http://\S+:\d+/metrics\n", line
            )
            assert found, line
            yield process, found.group(2)
        finally:
            if process.poll() is None:
                process.kill()


def answers(address: str) -> bool:
    try:
        with contextlib.closing(http.client.HTTPConnection(address, timeout=10)) as connection:
            connection.request("GET", "/v2/models/clip_scorer/ready")
            return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


def tritonserver_of(repository: Path) -> int:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().split(b"\0")
            if words[0].endswith(b"/tritonserver") and f"--model-repository={repository}".encode() in words:
                return int(entry.parent.name)
    raise AssertionError(f"no tritonserver over {repository}")


@pytest.mark.realparts
class TestServe:
    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_it_serves_until_a_signal_comes(self, repository: Path, how: signal.Signals) -> None:
        with serving(repository) as (process, address):
            assert answers(address)
            asked = time.monotonic()
            process.send_signal(how)
            process.send_signal(how)  # impatience must not leave a half-stopped server behind
            assert process.wait(60) == 0
            assert time.monotonic() - asked < 25  # limits of 8 s in all; beyond them a busy machine takes its time
            assert process.stdout is not None
            assert process.stdout.read() == "stopped\n"
        assert not answers(address)

    def test_a_server_that_dies_ends_it(self, repository: Path) -> None:
        with serving(repository) as (process, address):
            os.kill(tritonserver_of(repository), signal.SIGKILL)
            assert process.wait(60) == 1
        assert not answers(address)

    def test_killed_outright_it_takes_the_server_with_it(self, repository: Path) -> None:
        with serving(repository) as (process, address):
            process.kill()
            process.wait(60)
            deadline = time.monotonic() + 30
            while answers(address) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not answers(address)

    def test_a_taken_port(self, repository: Path, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            status, _, said = run("serve", "--repository", str(repository), "--grpc-port", str(port), cwd=tmp_path)
        assert status == 1
        assert f"grpc port 127.0.0.1:{port}" in one_line(said)

    def test_a_model_that_raises(self, repository: Path, tmp_path: Path) -> None:
        (repository / "clip_scorer" / "1" / "model.py").write_text("raise RuntimeError('out of luck')")
        ports = ["--grpc-port", "0", "--http-port", "0", "--metrics-port", "0"]
        status, _, said = run("serve", "--repository", str(repository), *ports, cwd=tmp_path)
        assert status == 1
        assert "out of luck" in one_line(said)

    def test_a_missing_repository(self, tmp_path: Path) -> None:
        status, _, said = run("serve", "--repository", "nowhere", cwd=tmp_path)
        assert status == 2
        assert str(tmp_path / "nowhere") in one_line(said)


def test_serving_an_unknown_model(tmp_path: Path) -> None:
    status, _, said = run("serve", "--model", "nowhere", cwd=tmp_path)
    assert status == 2
    assert "no model 'nowhere'" in one_line(said)


class TestExport:
    def test_an_unknown_model(self, tmp_path: Path) -> None:
        status, _, said = run("export", "--model", "nowhere", "--out", "out", cwd=tmp_path)
        assert status == 2
        assert "no model 'nowhere'" in one_line(said)
        assert not (tmp_path / "out").exists()

    def test_a_folder_that_holds_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        status, _, said = run("export", "--model", "empty", "--out", "out", cwd=tmp_path)
        assert status == 2
        assert "model-card.json" in one_line(said)

    def test_a_name_that_cannot_be_a_served_models(self, tmp_path: Path) -> None:
        status, _, said = run("export", "--out", "out", "--as", "../up", cwd=tmp_path)
        assert status == 2
        assert "got '../up'" in one_line(said)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("wrong", [["--max-batch", "0"], ["--engine", "abacus"]])
    def test_an_impossible_setting(self, tmp_path: Path, wrong: list[str]) -> None:
        status, _, said = run("export", "--out", "out", *wrong, cwd=tmp_path)
        assert status == 2
        assert wrong[0] in said
