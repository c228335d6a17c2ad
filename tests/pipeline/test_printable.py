"""Text from outside as a terminal may show it."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.printable import located, printable, storable


@given(st.text())
def test_nothing_that_a_terminal_would_act_on(text: str) -> None:
    assert printable(text).isprintable()


def test_readable_text_stays_as_it_is() -> None:
    assert printable("Küche 1: 門 \x1b[31m\n") == "Küche 1: 門 \\x1b[31m\\n"


def test_bytes_that_are_no_text_are_written_out() -> None:
    assert printable("caf\udce9") == "caf\\udce9"


def test_the_path_of_a_name_that_is_not_utf_8_is_found_again(tmp_path: Path) -> None:
    for name in (b"caf\xe9.mp4", "門.mp4".encode()):
        file = tmp_path / os.fsdecode(name)
        file.touch()
        stored = storable(str(file))
        assert stored.encode()
        assert located(stored) == file
        assert located(storable(file.name), tmp_path) == file


def test_a_name_may_hold_such_an_escape_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "caf\\xe9.mp4"
    file.touch()
    assert located(storable(str(file))) == file


def test_the_path_of_a_file_that_is_gone(tmp_path: Path) -> None:
    assert located(str(tmp_path / "caf\\xe9.mp4")) == tmp_path / "caf\\xe9.mp4"
