"""A real broker, a made-up site on it, and a console over both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import console_scene as made
import pytest
from brokers import NoidaDb, TestBroker, end, noida_db  # noqa: F401  # a fixture

from pipeline.console.readers import Topics
from pipeline.console.serving import Console


@pytest.fixture(scope="module")
def console_broker(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]
) -> Iterator[TestBroker]:
    """A running embedded broker."""
    try:
        import noida_db  # noqa: F401
    except ImportError:
        require("noida-db, the embedded broker (pip install noida-db)")
    broker = NoidaDb(tmp_path_factory.mktemp("broker"))
    yield broker
    end(broker)


@pytest.fixture(scope="module")
def scene(console_broker: TestBroker) -> Iterator[made.Scene]:
    """The topics of a site, empty."""
    scene = made.Scene(console_broker.bootstrap)
    yield scene
    scene.close()


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of evidence."""
    return tmp_path_factory.mktemp("evidence")


@pytest.fixture(scope="module")
def console(console_broker: TestBroker, scene: made.Scene, evidence: Path) -> Iterator[Console]:
    """A console that serves on a free port."""
    served = Console(console_broker.bootstrap, Topics(), evidence=evidence, port=0)
    served.start()
    yield served
    served.stop()
