"""``mistwatch outbox``: list, retry and drop over an outbox with refused events."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.alerts.outbox import Outbox, OutboxError
from pipeline.alerts.outbox_contents import OutboxContents
from pipeline.cli.main import app
from pipeline.errors import UsageError

SINKS = ("kafka", "webhook")


@pytest.fixture
def ids(tmp_path: Path, make_event: Any) -> list[str]:
    """Three events wait for both sinks; the webhook refuses the first two."""
    events = [make_event("gate", number) for number in range(3)]
    with closing(Outbox(tmp_path / "outbox.sqlite", SINKS)) as outbox:
        for event in events:
            outbox.accept(event)
        for event in events[:2]:
            outbox.deliveries("webhook").set_aside(event.id, "answers 400 Bad Request")
    return [event.id for event in events]


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["outbox", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result.output


def waiting(folder: Path, sink: str) -> list[str]:
    with closing(Outbox(folder / "outbox.sqlite", SINKS)) as outbox:
        found = [event.id for event in outbox.deliveries(sink).pending()]
        assert outbox.fill(sink).events == len(found)
        return found


def test_list_names_what_waits_and_what_is_set_aside(tmp_path: Path, ids: list[str]) -> None:
    lines = run("list", "--state-dir", tmp_path).splitlines()
    assert [line.split(", ")[0] for line in lines[:2]] == ["kafka: 3 event(s) wait", "webhook: 1 event(s) wait"]
    assert lines[2:] == [f"webhook: set aside {identity}: answers 400 Bad Request" for identity in ids[:2]]
    assert waiting(tmp_path, "kafka") == ids, "looking changes nothing"


def test_retry_and_drop(tmp_path: Path, ids: list[str]) -> None:
    assert run("retry", "--state-dir", tmp_path, ids[0], "unknown").startswith("1 event(s) wait again")
    assert waiting(tmp_path, "webhook") == [ids[0], ids[2]]
    assert run("drop", "--state-dir", tmp_path, "--all").startswith("1 event(s) are deleted")
    assert waiting(tmp_path, "webhook") == [ids[0], ids[2]]
    assert waiting(tmp_path, "kafka") == ids, "another sink still waits for it"
    assert "set aside" not in run("list", "--state-dir", tmp_path)


def test_an_empty_outbox(tmp_path: Path) -> None:
    Outbox(tmp_path / "outbox.sqlite", SINKS).close()
    assert run("list", "--state-dir", tmp_path) == "The outbox is empty: every sink has every event.\n"


def test_one_line_for_each_mistake(tmp_path: Path, ids: list[str]) -> None:
    with pytest.raises(UsageError, match="name the ids of events that are set aside, or give --all"):
        run("retry", "--state-dir", tmp_path)
    (tmp_path / "other").mkdir()
    with pytest.raises(OutboxError, match=r"outbox .*: no such file; expected the outbox\.sqlite of a state folder"):
        run("list", "--state-dir", tmp_path / "other")
    with closing(Outbox(tmp_path / "outbox.sqlite", SINKS)), pytest.raises(OutboxError, match="in use"):
        OutboxContents(tmp_path / "outbox.sqlite")
