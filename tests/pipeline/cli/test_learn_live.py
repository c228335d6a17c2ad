"""`mistwatch learn` from the camera itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import brightness_family
import cv2
import pytest
from in_process import called
from ports import free_port
from walking_films import pictures, write, yard
from web_camera import Page, WebCamera, at_rate

from models.detectors.base import read_detector

PASSWORD = "se:cret"


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "pipeline.cli", "learn", *map(str, arguments)]
    env = os.environ | ({"MISTWATCH_PASSWORD": PASSWORD} if "--username" in arguments else {})
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def learn(*arguments: object) -> tuple[int, str, str]:
    with start(*arguments) as process:
        output, problems = process.communicate(timeout=240)
    return process.returncode, output, problems


def test_a_stream_is_recorded_and_learned(tmp_path: Path) -> None:
    """A film over HTTP comes as fast as it is read. Half of it is recorded, and then not again."""
    film = write(tmp_path / "film.mkv", pictures(50))
    options = ("--camera", "yard", "--minutes", "0.5", "--hold-out", "0.25", "--out", tmp_path / "run")
    with WebCamera(user="op", password=PASSWORD) as server:
        server.pages["/live.mkv"] = Page(film.read_bytes(), "video/x-matroska")
        location = server.url("/live.mkv")
        status, output, problems = learn(location, "--username", "op", *options)
        assert (status, problems) == (0, "gap: runs\nspeeds: runs\nkept/1: runs\nproduct: runs\n")
        asked = len(server.requests)
        again = learn(location, "--username", "op", *options)
        assert len(server.requests) == asked
        slow = write(tmp_path / "slow.mkv", pictures(40, pace=0.5))
        server.pages["/live.mkv"] = Page(slow.read_bytes(), "video/x-matroska")
        updated = learn(location, "--username", "op", "--update", *options)
    assert again[0] == 0
    assert again[2] == "gap: unchanged\nspeeds: unchanged\nkept/1: unchanged\nproduct: unchanged\n"
    assert "learned from " in output
    judged, clips = re.findall(r"^judged (\d+) of about (\d+) clips of the footage$", output, re.MULTILINE)[0]
    assert 0.8 * int(clips) < int(judged) < int(clips), "all but those at the ends of pieces"
    assert PASSWORD not in output
    card = read_detector(tmp_path / "run" / "product")[1]
    assert card.training["learned_seconds"] + card.training["held_back_seconds"] == pytest.approx(60, abs=6)
    # An update records another season, beside what was recorded before.
    assert (updated[0], updated[2]) == (0, "gap: runs\nspeeds: runs\nkept/2: runs\nproduct: runs\n")
    assert card.training["footage"]["earlier"]["learnings"]
    for name in ("footage", "footage-2"):
        assert [path.name for path in (tmp_path / "run" / name).iterdir()] == ["0001.mkv"]


def test_a_stopped_recording_is_kept(tmp_path: Path) -> None:
    footage = tmp_path / "run" / "footage"
    picture = cv2.imencode(".jpg", yard())[1].tobytes()
    with WebCamera() as server:
        server.pages["/mjpeg"] = server.multipart(lambda: at_rate(lambda _number: picture, 20))
        options = ("--camera", "yard", "--minutes", "60", "--out", tmp_path / "run")
        with start(server.url("/mjpeg"), *options) as process:
            until = time.monotonic() + 60
            while time.monotonic() < until and not list(footage.glob("0001.mkv.*.tmp")):
                time.sleep(0.05)
            time.sleep(1)  # several pictures
            process.send_signal(signal.SIGINT)
            output, problems = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    line = rf"mistwatch: stopped, 0\.\d of 60 minutes are in {re.escape(str(footage))}; the same command resumes, .*\n"
    assert re.fullmatch(line, problems)
    assert [path.name for path in footage.iterdir()] == ["0001.mkv"]


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        (
            ["rtsp://op:se:cret@127.0.0.1/cam"],
            [],
            "--minutes: missing (required for a camera: rtsp://***@127.0.0.1/cam)",
        ),
        (["device:///dev/video0"], ["--minutes", "1"], "device:///dev/video0: cannot be recorded; expected rtsp://…"),
        (["rtsp:/op:se:cret@127.0.0.1/cam"], [], "127.0.0.1/cam: no such file or folder"),
        (["rtsp://127.0.0.1/a", "b.mp4"], ["--minutes", "1"], "SOURCE: a camera is recorded by itself (got 2 sources"),
        (["synthetic://courtyard"], ["--minutes", "1"], "synthetic://courtyard: cannot be recorded; expected rtsp://…"),
        (["rtsp://127.0.0.1/cam"], ["--minutes", "1", "--transport", "smtp"], "--transport smtp: expected tcp or udp"),
    ],
)
def test_a_source_that_cannot_be_recorded_is_one_line(
    sources: list[str], options: list[str], message: str, tmp_path: Path
) -> None:
    status, output, problems = called("learn", *sources, "--camera", "yard", *options, "--out", tmp_path / "run")
    assert (status, output, problems.count("\n")) == (2, "", 1)
    assert message in problems
    assert "se:cret" not in problems


def test_a_detector_of_another_family_is_found_before_an_hour_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    brightness_family.train(tmp_path / "run" / "product", 0.2, camera="yard")
    options = ("--camera", "yard", "--minutes", "60", "--out", tmp_path / "run")
    status, output, problems = called("learn", "rtsp://127.0.0.1:9/cam", *options)
    assert (status, output, problems.count("\n")) == (2, "", 1)
    assert "is a detector of another family (got brightness); expected motion; choose another folder" in problems


def test_a_camera_that_is_away_is_one_line(tmp_path: Path) -> None:
    location = f"rtsp://127.0.0.1:{free_port()}/cam"
    status, output, problems = learn(location, "--camera", "yard", "--minutes", "1", "--out", tmp_path / "run")
    assert (status, output, problems.count("\n")) == (1, "", 1)
    assert "connection refused: nothing listens there" in problems
