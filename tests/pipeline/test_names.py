"""Names hold letters of any script, and one form of them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.names import LONGEST_NAME, ascii_name, checked_name, name_from

DECOMPOSED, COMPOSED = "Zufahrt-Su\u0308d", "Zufahrt-S\u00fcd"


@pytest.mark.parametrize(
    "name", ["gate", "G-7.b_c", "監視カメラ", "駐車場", "Вход-2", "مدخل", "कैमरा", "กล้อง", "7", COMPOSED]
)
def test_letters_of_any_script_are_kept(name: str) -> None:
    assert checked_name(name) == name
    assert name_from(name) == name


def test_two_forms_of_a_name_are_one() -> None:
    assert checked_name(DECOMPOSED) == name_from(DECOMPOSED) == COMPOSED


@pytest.mark.parametrize(
    "text", ["", "-gate", ".gate", "a b", "a/b", "a\n", "caf\udce9", "\u0301a", "a\u200bb", "x" * 65]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="begins with a letter or digit"):
        checked_name(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("gate 3", "gate-3"),
        ("-yard", "yard"),
        ("100% sicher", "100-sicher"),
        ('O\'Brien "gate"', "O-Brien-gate"),
        ("two\nlines", "two-lines"),
        ("Zufahrt Su\u0308d", COMPOSED),
        ("دوربین\u200cها", "دوربینها"),
        ("...", ""),
        ("\u0301", ""),
    ],
)
def test_a_name_is_made_from_any_text(text: str, name: str) -> None:
    assert name_from(text) == name


@given(st.text(max_size=100))
def test_what_is_made_is_accepted(text: str) -> None:
    name = name_from(text)[:LONGEST_NAME]
    assert not name or checked_name(name) == name
    assert unicodedata.is_normalized("NFC", name_from(text))


def test_ascii_names_of_different_names_differ() -> None:
    names = ["Süd", "Sød", "S_d", "gate-3", "駐車場", "監視場"]
    written = [ascii_name(name) for name in names]
    assert len(set(written)) == len(names)
    assert (written[2], written[3]) == ("S_d", "gate-3")
    assert all(name.isascii() for name in written)
