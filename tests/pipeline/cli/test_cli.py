"""Bad input, as a person meets it: one line that names the thing, the right status, no traceback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import rtsp_server
from in_process import called as mistwatch
from ports import free_port
from site_runs import wait_for_metric
from triton_of_brightness import Server, write_repository

from pipeline.sources.source_names import source_names

NOBODY = "127.0.0.1:9"  # the discard port: nobody listens


def assert_one_line(result: tuple[object, str, str], status: int, *named: str) -> None:
    """The command ended with this status, and the last line on standard error names what is wrong."""
    found, output, problems = result
    assert found == status, (output, problems)
    assert "Traceback" not in problems
    lines = [line for line in problems.splitlines() if line.startswith("mistwatch: ")]
    assert len(lines) == 1, problems
    for text in named:
        assert text in lines[0]


@pytest.fixture
def servers(triton: Server, broker: str, tmp_path: Path) -> list[str]:
    """The options that name both servers and a folder."""
    return ["--triton", triton.address, "--kafka", broker, "--out", str(tmp_path / "run")]


def test_a_missing_file(tmp_path: Path) -> None:
    assert_one_line(mistwatch("watch", tmp_path / "nowhere.mp4"), 2, "nowhere.mp4")


def test_a_file_that_is_not_a_video(tmp_path: Path) -> None:
    file = tmp_path / "notes.mp4"
    file.write_text("not a film\n" * 100)
    assert_one_line(mistwatch("watch", file), 2, "notes.mp4")


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    assert_one_line(mistwatch("watch", tmp_path), 2, str(tmp_path))


@pytest.mark.parametrize(
    "option",
    [
        ("--fps", "fast"),
        ("--fps", "-3"),
        ("--threshold", "1.5"),
        ("--stride", "0"),
        ("--stream", "-1"),
        ("--snapshot-seconds", "1"),  # of an RTSP camera
    ],
)
def test_an_impossible_option(tmp_path: Path, option: tuple[str, str]) -> None:
    result = mistwatch("watch", "rtsp://192.0.2.1/a", *option, "--out", tmp_path)
    assert_one_line(result, 2, option[0].strip("-"))


def test_an_unknown_kind_of_source(tmp_path: Path) -> None:
    result = mistwatch("watch", "gopher://192.0.2.1/a", "--triton", NOBODY, "--kafka", NOBODY, "--out", tmp_path)
    assert_one_line(result, 2, "gopher://")


def test_an_unknown_model(tmp_path: Path, data: Path) -> None:
    result = mistwatch("watch", data / "cctv" / "vtest.avi", "--model", "dragons", "--out", tmp_path)
    assert_one_line(result, 2, "dragons", "fights")


def test_a_recording_does_not_wait_for_a_missing_triton(data: Path, broker: str, tmp_path: Path) -> None:
    result = mistwatch(
        *("watch", data / "cctv" / "vtest.avi", "--triton", NOBODY, "--kafka", broker, "--out", tmp_path)
    )
    assert_one_line(result, 1, NOBODY)


@pytest.mark.realparts
def test_a_recording_does_not_wait_for_a_missing_broker(data: Path, triton: Server, tmp_path: Path) -> None:
    result = mistwatch(
        *("watch", data / "cctv" / "vtest.avi", "--triton", triton.address, "--kafka", NOBODY, "--out", tmp_path)
    )
    assert_one_line(result, 1, NOBODY)


@pytest.mark.realparts
def test_a_camera_that_refuses(servers: list[str]) -> None:
    result = mistwatch("watch", f"rtsp://viewer:hunter2@{NOBODY}/a", *servers)
    assert_one_line(result, 1, NOBODY, "refused")
    assert "hunter2" not in result[1] + result[2]


@pytest.mark.realparts
def test_wrong_credentials(
    servers: list[str], require: Callable[[str], NoReturn], monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing := rtsp_server.why_missing():
        require(missing)
    monkeypatch.setenv("MISTWATCH_PASSWORD", "wr0ng-secret")
    with rtsp_server.serve_live(user="viewer", password="right") as camera:
        result = mistwatch("watch", camera.bare_url, "--username", "viewer", *servers)
    assert_one_line(result, 1, "password")
    assert "wr0ng-secret" not in result[1] + result[2]


@pytest.mark.realparts
def test_a_live_camera_without_configuration(
    servers: list[str], require: Callable[[str], NoReturn], tmp_path: Path
) -> None:
    """`watch` on a camera runs until it is told to stop, and then says what it did."""
    if missing := rtsp_server.why_missing():
        require(missing)
    with rtsp_server.serve_live(user="viewer", password="right") as camera:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "pipeline.cli",
                "watch",
                camera.bare_url,
                "--username",
                "viewer",
                "--json",
                "--metrics-port",
                str(port := free_port()),
                *servers,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "MISTWATCH_PASSWORD": "right"},
        )
        try:
            (name,) = source_names([camera.bare_url])
            wait_for_metric(process, port, f'mistwatch_clips_scored_total{{camera="{name}"}}', 6)
            process.terminate()
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert json.loads(output.splitlines()[-1])["clips_scored"] > 5


@pytest.mark.realparts
def test_a_model_of_other_clips(servers: list[str], data: Path) -> None:
    result = mistwatch("watch", data / "cctv" / "vtest.avi", "--fps", "12.5", *servers)
    assert_one_line(result, 2, "fps native", "fps 12.5")


@pytest.mark.realparts
def test_a_taken_metrics_port(servers: list[str], data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = mistwatch("watch", data / "cctv" / "vtest.avi", "--metrics-port", str(port), *servers)
    assert_one_line(result, 1, f"127.0.0.1:{port}")


@pytest.mark.realparts
def test_a_taken_port_for_serve(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = ["--grpc-port", str(port), "--http-port", "0", "--metrics-port", "0"]
        result = mistwatch("serve", "--repository", write_repository(tmp_path / "models"), *ports)
    assert_one_line(result, 1, str(port))


def test_an_outbox_in_use(tmp_path: Path, data: Path) -> None:
    from pipeline.alerts.outbox import Outbox

    folder = tmp_path / "run"
    outbox = Outbox(folder / "outbox.sqlite", ["kafka"])
    try:
        result = mistwatch(
            *("watch", data / "cctv" / "vtest.avi", "--triton", NOBODY, "--kafka", NOBODY, "--out", folder)
        )
    finally:
        outbox.close()
    assert_one_line(result, 1, "outbox.sqlite", "in use")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cameras: {gate: {source: a.mp4}}\nkafak: {}\n", "kafak"),
        ("cameras: {gate: {source: a.mp4, clip: {fps: 0}}}\n", "cameras.gate.clip.fps"),
        ("cameras: [\n", "line"),
    ],
)
@pytest.mark.parametrize("command", [("config", "check"), ("run", "--config")])
def test_a_configuration_that_cannot_be_used(tmp_path: Path, command: tuple[str, str], text: str, named: str) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(text)
    assert_one_line(mistwatch(*command, file), 2, str(file), named)


def test_every_problem_of_a_configuration_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("cameras: {gate: {source: a.mp4, pasword: x}}\nkafak: {}\n")
    status, _, problems = mistwatch("config", "check", file)
    assert status == 2
    assert [line.split(": ")[2] for line in problems.splitlines()] == ["cameras.gate.pasword", "kafak"]


def test_a_source_that_run_would_refuse_is_refused_by_config_check(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(
        f"cameras:\n  door: {{source: '{tmp_path}/nowhere.mp4'}}\n  yard: {{source: 'rtsp://192.0.2.1/a'}}\n"
        "  gate: {source: 'rtsp://me:hunter2@192.0.2.1:99x/a'}\n"
    )
    status, _, problems = mistwatch("config", "check", file)
    assert status == 2
    door, gate = problems.splitlines()
    assert "camera door" in door
    assert "nowhere.mp4" in door
    assert "camera gate" in gate
    assert "port" in gate
    assert "hunter2" not in problems


@pytest.mark.parametrize("command", [("config", "check"), ("run", "--config")])
def test_an_evidence_store_without_the_name_of_the_worker_is_refused(tmp_path: Path, command: tuple[str, str]) -> None:
    file = tmp_path / "site.yaml"
    text = f"state_dir: {tmp_path}/state\ncameras: {{gate: {{source: 'rtsp://192.0.2.1/a'}}}}\n"
    file.write_text(f"{text}evidence: {{store: 's3://films/north'}}\n")
    assert_one_line(mistwatch(*command, file), 2, "worker: missing (evidence.store needs it); set worker or MIST")
    assert not (tmp_path / "state").exists()


def test_config_check_takes_an_evidence_store_with_the_name_of_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.yaml"
    text = "cameras: {gate: {source: 'rtsp://192.0.2.1/a'}}\nevidence: {store: 's3://films/north'}\n"
    file.write_text(f"worker: north\n{text}")
    assert mistwatch("config", "check", file)[0] == 0
    file.write_text(text)
    monkeypatch.setenv("MISTWATCH_WORKER", "north")
    assert mistwatch("config", "check", file)[0] == 0


def test_config_check_says_that_each_worker_of_a_group_needs_a_name_for_the_evidence_store(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("evidence: {store: 's3://films/north'}\n")
    result = mistwatch("config", "check", file, "--group")
    assert_one_line(result, 0, str(file), "worker: missing (evidence.store needs it); set worker or MISTWATCH_WORKER")


def test_the_schema_of_a_configuration_is_printed() -> None:
    status, output, _ = mistwatch("config", "schema")
    assert status == 0
    assert "cameras" in json.loads(output)["properties"]
