"""The whole path on real parts: the embedded Triton with the committed model, a broker, an RTSP server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import rtsp_server
from joined_stream import Joined, build

from deploy.broker.server import BrokerServer
from deploy.triton.server import TritonServer
from models.engines.precision import Precision
from models.serving.export import ensure_repository


@pytest.fixture(scope="session")
def rtsp(require: Callable[[str], NoReturn]) -> None:
    """GStreamer's RTSP server can be started."""
    if missing := rtsp_server.why_missing():
        require(missing)


@pytest.fixture(scope="session")
def ffmpeg(require: Callable[[str], NoReturn]) -> str:
    """Debian's ffmpeg, the independent decoder."""
    program = shutil.which("ffmpeg")
    if program is None:
        require("ffmpeg (`make system` installs it)")
    return program


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton that serves the committed fights model; its backbone is fetched when the cache has none."""
    folder = tmp_path_factory.mktemp("triton")
    with TritonServer(ensure_repository("fights", precision=Precision.FP32), log=folder / "triton.log") as server:
        yield server


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker's bootstrap address."""
    with BrokerServer(tmp_path_factory.mktemp("broker")) as server:
        yield server.bootstrap


@pytest.fixture(scope="session")
def joined(data: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Joined:
    """Four fights between normal clips at known times, of sources that the committed model has not seen; 50 s."""
    card = root / "models" / "weights" / "fights" / "model-card.json"
    return build(data, card, tmp_path_factory.mktemp("joined") / "joined.mp4", clips=25)
