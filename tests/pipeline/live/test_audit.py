"""Who has made a change, as a record's header says it."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from pipeline.live.audit import HEADER, Change, change_of, new_change, this_user

VALUES = st.dictionaries(st.text(max_size=8), st.none() | st.floats(0, 1) | st.text(max_size=8), max_size=3)


@given(st.sampled_from(["ada", "ada@host", "Zoë (console)"]), st.datetimes(timezones=st.just(UTC)), VALUES, VALUES)
def test_a_change_comes_back_from_its_header(by: str, at: datetime, before: dict, after: dict) -> None:  # type: ignore[type-arg]
    change = Change(by, at, before, after)
    assert change_of([("content-type", b"x"), *change.headers]) == change


@given(st.binary(max_size=40) | st.sampled_from([b'{"by": 5, "at": "2026-05-01"}', b'{"by": "a", "at": "2026-05-01"}']))
def test_a_header_that_cannot_be_read_names_nobody_and_raises_nothing(value: bytes) -> None:
    assert change_of([(HEADER, value)]) is None
    assert change_of([(HEADER, None)]) is None
    assert change_of(None) is None


def test_a_change_without_an_author_is_this_users_and_a_name_is_safe_for_a_log() -> None:
    assert new_change(None).by == this_user()
    assert "@" in this_user()
    assert new_change("a\x1b[31mb\n").by == "a\\x1b[31mb\\n"
    assert len(new_change("x" * 999).by) == 200
