"""An ingest worker's install has no torch: its process never asks for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from triton_of_brightness import Server

from deploy.broker.server import BrokerServer

#: Runs the command with all of the groups train, serve, evaluate, demo, console and s3 made impossible to import.
WORKER = """
import sys

REFUSED = {"torch", "torchvision", "openvino", "safetensors", "sklearn", "pytriton", "noida_db", "cv2"}
REFUSED |= {"pyarrow", "scipy", "jinja2", "fastapi", "starlette", "uvicorn", "argon2", "authlib", "obstore"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"an ingest worker has no {name}", name=name)

sys.meta_path.insert(0, Refuse())
from pipeline.cli.main import main
main()
"""


@pytest.mark.realparts
def test_a_worker_watches_a_recording_without_torch(data: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "triton-server")
    server.start()
    try:
        with BrokerServer(tmp_path / "broker") as broker:
            arguments = ["watch", str(data / "cctv" / "vtest.avi"), "--json", "--out", str(tmp_path / "run")]
            arguments += ["--triton", server.address, "--kafka", broker.bootstrap]
            result = subprocess.run(
                [sys.executable, "-P", "-c", WORKER, *arguments],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
    finally:
        server.stop()
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["clips_scored"] == (795 - 4) // 2 + 1  # the served model's clips: 4 frames, stride 2
    assert summary["clips_dropped"] == 0


def test_the_guard_of_the_test_above_guards() -> None:
    """The same refusal does stop a command that needs torch."""
    script = WORKER.replace("from pipeline.cli.main import main\nmain()", "import models.backbones.i3d")
    result = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode != 0
    assert "an ingest worker has no torch" in result.stderr


@pytest.mark.parametrize(
    "command", [["weights", "fetch", "i3d-kinetics400"], ["train", "generator", "a", "--out", "b"]]
)
def test_a_command_of_another_group_says_what_to_install(command: list[str], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-P", "-c", WORKER, *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "pip install 'mistwatch[train]'" in result.stderr
