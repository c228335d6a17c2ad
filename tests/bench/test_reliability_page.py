"""The committed results of the fault suite, and the page that is generated from them."""

from __future__ import annotations

import json
import os
import sys
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


def test_the_committed_failover_keeps_the_fourth_promise(reliability: Any) -> None:
    found = json.loads(reliability.FAILOVER.with_suffix(".json").read_text(encoding="utf-8"))
    assert len(found["killed"]) >= 20
    assert all(each["seconds"] <= 15 and each["cameras_lost"] > 0 for each in found["killed"])
    assert found["rolling_restart"]["longest_gap_seconds"] <= 5
    assert (found["begins_after"], found["begun_twice"], found["ends"]) == (found["cameras"], 0, 0)


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


#: A suite of two tests, each of which leaves a row; the second one needs a part.
SUITE = """
import os
import pytest

@pytest.fixture
def record():
    with open(os.environ["MISTWATCH_FAULTS_RESULTS"], "a") as file:
        file.write("{}\\n")

def test_one(record): ...

def test_two(request):
    if os.environ.get("PART") != "there":
        pytest.skip("missing")
    request.getfixturevalue("record")
"""


@pytest.mark.parametrize(
    ("part", "selection", "status", "objection"),
    [
        ("there", [], 0, None),
        ("there", ["-k", "one"], 0, "1 of 2 tests left a row, the others were skipped or not selected"),
        ("missing", [], 1, "1 of 2 tests left a row, the others were skipped or not selected"),
    ],
)
def test_a_run_that_leaves_tests_out_changes_nothing(
    reliability: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    part: str,
    selection: list[str],
    status: int,
    objection: str | None,
) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    committed = tmp_path / "faults.jsonl"
    committed.write_text("kept")
    suite = [sys.executable, "-m", "pytest", "-c", os.devnull, "-p", "no:cacheprovider", str(tmp_path)]
    written: list[None] = []
    for name, value in (("SUITE", suite), ("FAULTS", committed), ("write_page", lambda: written.append(None))):
        monkeypatch.setattr(reliability, name, value)
    monkeypatch.setenv("PART", part)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take seconds to import
    assert reliability.run(selection) == status
    assert (committed.read_text(), len(written)) == (("{}\n{}\n", 1) if objection is None else ("kept", 0))
    assert capsys.readouterr().out.partition(":")[0] == (objection or "")


def test_what_failed_is_run_again_by_itself_and_its_row_joins_the_others(
    reliability: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suite").mkdir()
    failing = SUITE.replace('pytest.skip("missing")', 'pytest.fail("broken")').replace('"{}\\n"', 'f"{os.getpid()}\\n"')
    (tmp_path / "suite" / "test_suite.py").write_text(failing)
    committed = tmp_path / "faults.jsonl"
    committed.write_text("kept")
    suite = [sys.executable, "-m", "pytest", "-c", os.devnull, "-o", f"cache_dir={tmp_path / 'cache'}"]
    for name, value in (("SUITE", [*suite, str(tmp_path / "suite")]), ("FAULTS", committed), ("write_page", list)):
        monkeypatch.setattr(reliability, name, value)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PART", "missing")
    assert reliability.run([]) == 1
    assert committed.read_text() == "kept"
    (first,) = committed.with_suffix(".new").read_text().splitlines()
    monkeypatch.setenv("PART", "there")
    assert reliability.run([], again=True) == 0
    rows = committed.read_text().splitlines()
    assert rows[0] == first, "the row of the first run"
    assert len(set(rows)) == 2, "and one of another process"
