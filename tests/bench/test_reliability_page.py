"""The committed results of the fault suite, and the page that is generated from them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def reliability(load: Any) -> Any:
    return load("reliability")


def test_the_page_is_that_of_the_committed_results(reliability: Any) -> None:
    page = reliability.PAGE.read_text(encoding="utf-8")
    assert reliability.generated() in page, "run `python bench/reliability.py`"


def test_the_committed_rows_keep_what_they_promise(reliability: Any) -> None:
    rows = [json.loads(line) for line in reliability.FAULTS.read_text(encoding="utf-8").splitlines()]
    assert rows
    for row in rows:
        assert row["arrived"] == row["accepted"] + row["duplicates"], row
        assert row["accepted"] > 0, row


def test_a_row_without_a_count_shows_a_dash(reliability: Any) -> None:
    row = {"fault": "f", "promise": "p", "accepted": 3, "arrived": None, "duplicates": 0, "recovery_seconds": 1.26}
    last = reliability.table([row | {"note": ""}]).splitlines()[-1]
    assert last == "| f | p | 3 | – | 0 | 1.3 s | – |"


@pytest.mark.parametrize(
    ("status", "rows", "objection"),
    [
        (0, 3, None),
        (1, 3, "not every promise was kept"),
        (0, 2, "2 of 3 tests left a row, the others were skipped or not selected"),
        (5, 0, "not every promise was kept"),
    ],
)
def test_only_a_whole_run_replaces_the_committed_rows(
    reliability: Any, tmp_path: Path, status: int, rows: int, objection: str | None
) -> None:
    fresh = tmp_path / "faults.new"
    fresh.write_text("{}\n" * rows)
    assert reliability.why_not(status, fresh, 3) == objection


def test_a_run_that_leaves_tests_out_changes_nothing(
    reliability: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    committed = tmp_path / "faults.jsonl"
    committed.write_text("kept")
    monkeypatch.setattr(reliability, "FAULTS", committed)
    assert reliability.run(["--collect-only", "-q"]) == 0
    assert committed.read_text() == "kept"
    assert re.match(r"0 of [1-9]\d* tests left a row, the others were skipped or not selected", capsys.readouterr().out)
