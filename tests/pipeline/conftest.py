"""Servers for the tests of whole runs: a Triton with a model of known scores, and a broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from triton_of_brightness import Server

from deploy.broker.server import BrokerServer


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running Triton; who needs one that dies starts its own."""
    server = Server(tmp_path_factory.mktemp("triton"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running broker's bootstrap address; each test takes a topic of its own."""
    with BrokerServer(tmp_path_factory.mktemp("broker")) as server:
        yield server.bootstrap
