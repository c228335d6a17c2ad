"""Servers for the fault suite, and the record of its counts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from brokers import apache_kafka, broker, formatted_kafka, kafka_jars, noida_db  # noqa: F401  # fixtures
from forked_worker import Forge
from triton_of_brightness import Server

#: `make faults` runs the whole form; `make test` runs the bounded one.
WHOLE = os.environ.get("MISTWATCH_FAULTS") == "whole"

_rows: list[Row] = []


@dataclass(frozen=True)
class Row:
    """One line of the table in docs/RELIABILITY.md.

    Attributes:
        fault: the injected fault.
        promise: the promise that was checked.
        accepted, arrived, duplicates: counts of the run; None: the fault has no such count.
        recovery_seconds: from the end of the fault to the first sign of recovery; None: nothing was interrupted.
        note: further counts.
    """

    fault: str
    promise: str
    accepted: int | None
    arrived: int | None
    duplicates: int | None
    recovery_seconds: float | None
    note: str = ""


@pytest.fixture(scope="session")
def whole() -> bool:
    """True where the whole form of the suite runs."""
    return WHOLE


@pytest.fixture(scope="session")
def record() -> Callable[..., None]:
    """Keep a row of the table: ``record(fault, promise, accepted, arrived, duplicates, recovery_seconds, note="")``.

    With MISTWATCH_FAULTS_RESULTS the row is also a JSON line of that file. Each test marked faults keeps one row, at
    its end: bench/reliability.py compares their numbers.
    """

    def keep(*values: object, **more: object) -> None:
        row = Row(*values, **more)  # type: ignore[arg-type]
        _rows.append(row)
        if path := os.environ.get("MISTWATCH_FAULTS_RESULTS"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rows of this process."""
    for row in _rows:
        recovery = "–" if row.recovery_seconds is None else f"{row.recovery_seconds:.1f} s"
        counts = f"accepted {row.accepted}, arrived {row.arrived}, duplicates {row.duplicates}, recovery {recovery}"
        terminalreporter.write_line(f"fault: {row.fault}: {counts}{'; ' if row.note else ''}{row.note}")


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running Triton with a model of known scores."""
    server = Server(tmp_path_factory.mktemp("triton"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """The process that forks workers."""
    with Forge(tmp_path_factory.mktemp("forge")) as made:
        yield made


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """Waits for a condition; fails after ``timeout`` seconds, naming it."""

    def wait(condition: Callable[[], object], what: str, timeout: float = 120.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
            time.sleep(0.02)

    return wait
