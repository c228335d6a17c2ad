"""The servers that ``watch`` and ``demo`` bring along when none is named, on loopback: Triton, a broker, cameras."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import logs

if TYPE_CHECKING:
    from deploy.broker.server import BrokerServer
    from deploy.camera.server import CameraServer
    from deploy.triton.server import TritonServer
    from pipeline.cli.demo.consumer import Consumer

_log = logs.get("embedded")

#: The name of the model on the embedded Triton.
MODEL = "clip_scorer"


@contextlib.contextmanager
def triton(repository: AbstractContextManager[Path], log_file: Path) -> Iterator[TritonServer]:
    """Serve the models of a repository, see :mod:`pipeline.cli.repository`, on an embedded Triton.

    The first time a model is exported into the user's cache, and its backbone's weights are fetched.
    """
    from deploy.triton.server import TritonServer

    with repository as folder, TritonServer(folder, log=log_file) as server:
        _log.info("embedded Triton ready", address=server.grpc_address)
        yield server


@contextlib.contextmanager
def broker(data_dir: Path, topic: str | None = None) -> Iterator[BrokerServer]:
    """Run an embedded broker over ``data_dir``, with a topic of this name that keeps its messages."""
    from deploy.broker.server import BrokerServer
    from pipeline.sinks.kafka_broker import Broker

    with BrokerServer(data_dir) as server:
        if topic is not None:
            Broker(server.bootstrap).ensure_topic(topic, create=True, keep=True)
        _log.info("embedded broker ready", bootstrap=server.bootstrap)
        yield server


@contextlib.contextmanager
def cameras(films: Mapping[str, Path], log_file: Path) -> Iterator[CameraServer]:
    """Play ``films`` as live cameras of these names."""
    from deploy.camera.server import CameraServer

    with CameraServer(films, log=log_file) as server:
        _log.info("embedded cameras ready", cameras=len(films), port=server.port)
        yield server


def ended(servers: Iterable[TritonServer | BrokerServer | CameraServer | Consumer]) -> str | None:
    """Return why waiting is pointless: one of ``servers`` has ended by itself. None while all of them run."""
    for server in servers:
        if not server.alive():
            return f"the embedded {server.name} has ended by itself (log: {server.log})"
    return None
