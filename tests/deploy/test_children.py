"""Servers in processes of their own: they listen on loopback, and see no secret, in arguments or environment."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
import typer.main
from ports import free_port

from deploy.broker.server import BrokerServer
from deploy.camera.server import CameraServer
from pipeline.live.metrics import Metrics
from pipeline.settings import MetricsSettings, Site

SECRET = "s3cr3t-w0rd"

#: Addresses of loopback, as /proc/net/tcp and tcp6 have them.
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator gives them."""
    for name in ("PASSWORD", "CAMERAS__GATE__PASSWORD", "KAFKA__SECURITY__PASSWORD"):
        monkeypatch.setenv(f"MISTWATCH_{name}", SECRET)
    monkeypatch.setenv("MISTWATCH_KAFKA__SECURITY__USER", "alerts")


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread, or a child, has ended meanwhile
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def listening(pid: int) -> set[str]:
    """Addresses at which a process listens."""
    inodes = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile: that of a connection, for example
            target = str(file.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    return found


def check(pid: int | None) -> None:
    assert pid is not None
    members = family(pid)
    heard: set[str] = set()
    for member in members:
        heard |= listening(member)
        for name in ("cmdline", "environ"):
            assert SECRET.encode() not in Path(f"/proc/{member}/{name}").read_bytes()
    assert heard
    assert heard <= LOOPBACK


def test_the_camera_server(tmp_path: Path, ffmpeg_film: Path) -> None:
    with CameraServer({"cam": ffmpeg_film}, log=tmp_path / "log") as server:
        check(server.pid)


@pytest.mark.realparts
def test_the_broker(tmp_path: Path) -> None:
    pytest.importorskip("noida_db")
    with BrokerServer(tmp_path, port=free_port()) as server:
        check(server.pid)


@pytest.mark.realparts
def test_triton(tmp_path: Path, require: Callable[[str], NoReturn]) -> None:
    if importlib.util.find_spec("pytriton") is None:
        require("tritonserver (make venv installs the wheel nvidia-pytriton)")
    from triton_of_brightness import write_repository

    from deploy.triton.server import TritonServer

    with TritonServer(write_repository(tmp_path / "models"), log=tmp_path / "triton.log") as server:
        check(server.pid)


def test_the_metrics() -> None:
    assert MetricsSettings(port=1).host == "127.0.0.1"
    server = Metrics().serve("127.0.0.1", free_port())
    try:
        assert listening(os.getpid()) <= LOOPBACK
    finally:
        server.close()


def options(command: click.Command, path: str = "mistwatch") -> Iterator[tuple[str, Any]]:
    for parameter in command.params:
        for name in parameter.opts:
            yield f"{path} {name}", parameter
    for name, each in getattr(command, "commands", {}).items():
        yield from options(each, f"{path} {name}")


def test_no_option_of_the_command_takes_a_secret() -> None:
    from pipeline.cli.main import app

    named = [name for name, _ in options(typer.main.get_command(app))]
    assert len(named) > 100
    words = ("password", "secret", "token", "credential", "passphrase")
    options_alone = [name.rpartition(" ")[2] for name in named]
    assert not [name for name in options_alone if any(word in name for word in words) and not name.endswith("-file")]


def test_every_address_of_a_site_is_loopback_by_default() -> None:
    site = Site(cameras={"gate": {"source": "synthetic://courtyard"}})  # type: ignore[dict-item]
    assert site.triton.address.startswith("127.0.0.1:")
    assert site.kafka.bootstrap.startswith("127.0.0.1:")
    assert site.metrics is None


@pytest.fixture(scope="module")
def ffmpeg_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import av
    import numpy as np

    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.options = {"bf": "0", "g": "5"}
        for value in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), value, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
