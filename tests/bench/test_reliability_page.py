"""The committed results of the fault suite, and the page that is generated from them."""

from __future__ import annotations

import json
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
