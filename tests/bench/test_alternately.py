"""The measuring of two things alternately, and the files of its runs."""

from __future__ import annotations

import json

import pytest


def test_the_works_take_turns_and_the_first_round_does_not_count(load):
    alternately = load("alternately")
    seen, now = [], iter(range(1000))
    taken = alternately.alternate(
        {"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=3, clock=lambda: next(now)
    )
    assert seen == ["b", "a", "a", "b", "b", "a", "a", "b"]
    assert taken == {"a": [1, 1, 1], "b": [1, 1, 1]}


def test_a_ratio_is_that_of_the_rounds_with_its_spread(load):
    ratio = load("alternately").ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0])
    assert (ratio.median, ratio.low, ratio.rounds) == (2.0, 2.0, 3)
    assert ratio.high == pytest.approx(2.8)  # nine tenths of the way from the first to the third of 2, 2, 3


def test_rounds_that_do_not_pair_are_refused(load):
    with pytest.raises(ValueError, match="zip"):
        load("alternately").ratio([1.0], [1.0, 2.0])


def test_runs_are_appended_and_the_newest_is_read(load, tmp_path):
    alternately = load("alternately")
    assert alternately.newest("speed", tmp_path) is None
    alternately.append("speed", {"gain": alternately.ratio([2.0], [1.0])}, tmp_path)
    alternately.append("speed", {"gain": alternately.ratio([3.0], [1.0])}, tmp_path)
    lines = (tmp_path / "speed.jsonl").read_text().splitlines()
    assert [json.loads(line)["gain"]["median"] for line in lines] == [2.0, 3.0]
    newest = alternately.newest("speed", tmp_path)
    assert newest["gain"] == {"median": 3.0, "low": 3.0, "high": 3.0, "rounds": 1}
    assert newest["machine"]["cores"] >= 1
