"""Text from outside as a terminal may show it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.printable import printable


@given(st.text())
def test_nothing_that_a_terminal_would_act_on(text: str) -> None:
    assert printable(text).isprintable()


def test_readable_text_stays_as_it_is() -> None:
    assert printable("Küche 1: 門 \x1b[31m\n") == "Küche 1: 門 \\x1b[31m\\n"


def test_bytes_that_are_no_text_are_written_out() -> None:
    assert printable("caf\udce9") == "caf\\udce9"
