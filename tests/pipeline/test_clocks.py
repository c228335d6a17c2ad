"""Times from outside, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline.alerts.cloud_event import Utc
from pipeline.clocks import in_utc
from pipeline.sources.film_header import creation_time

#: Its UTC is in the year 10000.
BEYOND = "9999-12-31T23:59:59-23:59"


def test_a_time_is_the_same_moment_in_utc() -> None:
    assert in_utc(datetime.fromisoformat("2024-05-01T18:00:00+02:00")) == datetime(2024, 5, 1, 16, tzinfo=UTC)


@pytest.mark.parametrize("beyond", [BEYOND, "0001-01-01T00:00:00+01:00"])
def test_a_time_beyond_the_calendar_is_named(beyond: str) -> None:
    with pytest.raises(ValueError, match="beyond the calendar"):
        in_utc(datetime.fromisoformat(beyond))


def test_an_events_time_beyond_the_calendar_is_an_error_of_the_document() -> None:
    with pytest.raises(ValidationError, match="beyond the calendar"):
        TypeAdapter(Utc).validate_json(f'"{BEYOND}"')


def test_a_film_whose_header_states_such_a_time_states_none() -> None:
    container: Any = SimpleNamespace(metadata={"creation_time": BEYOND})
    assert creation_time(container) is None
