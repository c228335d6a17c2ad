"""The servers that ``watch`` and ``demo`` bring along when none is named: Triton and a broker, on loopback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipeline import logs
from pipeline.cli.errors import RunFailure

_log = logs.get("embedded")


@contextlib.contextmanager
def triton(model: str, log_file: Path) -> Iterator[str]:
    """Serve ``model`` (a committed one's name, or a directory) on an embedded Triton; gives its gRPC address.

    The first time the model is exported into the user's cache, and its backbone's weights are fetched.
    """
    from deploy.triton.server import TritonError, TritonServer
    from pipeline.cli.repository import repository_of

    server = TritonServer(repository_of(model), log=log_file)
    try:
        server.start()
    except TritonError as error:
        raise RunFailure(str(error)) from error
    _log.info("embedded Triton ready", address=server.grpc_address, model=model)
    try:
        yield server.grpc_address
    finally:
        server.stop()


@contextlib.contextmanager
def broker(data_dir: Path) -> Iterator[str]:
    """Run an embedded broker over ``data_dir``; gives its bootstrap address."""
    from deploy.broker.server import BrokerError, BrokerServer

    server = BrokerServer(data_dir)
    try:
        server.start()
    except BrokerError as error:
        raise RunFailure(str(error)) from error
    _log.info("embedded broker ready", bootstrap=server.bootstrap)
    try:
        yield server.bootstrap
    finally:
        server.stop()
