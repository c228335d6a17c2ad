"""The servers that ``watch`` and ``demo`` bring along when none is named, on loopback: Triton, a broker, cameras."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline import logs
from pipeline.errors import MistwatchError

if TYPE_CHECKING:
    from deploy.broker.server import BrokerServer
    from deploy.camera.server import CameraServer
    from deploy.lifetime import ChildServer
    from deploy.triton.server import TritonServer
    from pipeline.cli.demo.consumer import Consumer

_log = logs.get("embedded")

Server = TypeVar("Server", bound="ChildServer")

#: The name of the model on the embedded Triton.
MODEL = "clip_scorer"


@contextlib.contextmanager
def triton(model: str, log_file: Path) -> Iterator[TritonServer]:
    """Serve ``model``, see :func:`pipeline.cli.repository.serving`, on an embedded Triton.

    The first time the model is exported into the user's cache, and its backbone's weights are fetched.
    """
    from deploy.triton.server import TritonError, TritonServer
    from pipeline.cli.repository import serving

    with (
        serving(model) as repository,
        _running(lambda: TritonServer(repository, log=log_file), TritonError) as server,
    ):
        _log.info("embedded Triton ready", address=server.grpc_address, model=model)
        yield server


@contextlib.contextmanager
def broker(data_dir: Path) -> Iterator[BrokerServer]:
    """Run an embedded broker over ``data_dir``."""
    from deploy.broker.server import BrokerError, BrokerServer

    with _running(lambda: BrokerServer(data_dir), BrokerError) as server:
        _log.info("embedded broker ready", bootstrap=server.bootstrap)
        yield server


@contextlib.contextmanager
def cameras(films: Mapping[str, Path], log_file: Path) -> Iterator[CameraServer]:
    """Play ``films`` as live cameras of these names."""
    from deploy.camera.server import CameraError, CameraServer

    with _running(lambda: CameraServer(films, log=log_file), CameraError) as server:
        _log.info("embedded cameras ready", cameras=len(films), port=server.port)
        yield server


@contextlib.contextmanager
def _running(build: Callable[[], Server], failure: type[Exception]) -> Iterator[Server]:
    """Build a server and run it; ``failure`` to start, its own error, becomes one of ours."""
    try:
        server = build()
        server.start()
    except failure as error:
        raise MistwatchError(str(error)) from error
    try:
        yield server
    finally:
        server.stop()


def ended(servers: Iterable[TritonServer | BrokerServer | CameraServer | Consumer]) -> str | None:
    """Return why waiting is pointless: one of ``servers`` has ended by itself. None while all of them run."""
    for server in servers:
        if not server.alive():
            return f"the embedded {server.name} has ended by itself (log: {server.log})"
    return None
