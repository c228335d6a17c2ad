"""``mistwatch compare`` of runs that should not be compared, or of which more is to be known."""

from __future__ import annotations

import json

import pytest
from judged_runs import clips, row, run, write_run
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.errors import UsageError


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """``compared(one, other, *words)``: two runs of rows, and what the command says of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(one, other, *words):
        for name, rows in (("a", one), ("b", other)):
            write_run(run(rows, folder=tmp_path / name))
        done = CliRunner().invoke(app, ["compare", "a", "b", "--draws", "5", *words])
        if isinstance(done.exception, UsageError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    return call


def rows(intervals=((16, 48),), *, tell=None):
    """A fight that a model was trained with, and two videos that it had not seen."""
    fight, calm, brawl = clips([0.1, 0.9, 0.9, 0.1]), clips([0.1, 0.2]), clips([0.9, 0.1])
    return [
        (row("fight", fight, label=1, intervals=intervals, split="train"), fight),
        (row("calm", calm, split="test", **(tell or {})), calm),
        (row("brawl", brawl, label=1, intervals=[(0, 16)], split="test"), brawl),
    ]


def test_runs_of_another_truth_are_refused_with_the_first_video(compared):
    with pytest.raises(UsageError, match=r"fight is abnormal in frames \[16, 48\) in the first") as refused:
        compared(rows(), rows([(0, 16)]))
    assert "\n" not in str(refused.value)


def test_what_figures_leave_out_is_said_once_for_both(compared):
    bad = (row("bad", error="bad.mp4: not a video"), clips([]))
    said = compared([*rows(), bad], [*rows(tell={"damage": "cut off"}), bad])
    assert said.count("A and B: left out is bad: bad.mp4: not a video\n") == 1
    assert "\nB: calm: cut off\n" in said
    assert said.count("A and B: 1 of 4 videos are of split train; --split test judges only the others.") == 1


def test_a_split_alone_is_compared(compared):
    document = json.loads(compared(rows(), rows([(0, 16)]), "--split", "test", "--json"))
    assert (document["videos"], document["first"]["notes"]) == (2, [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "tset"], "--split tset: expected train, validation or test"),
        (["--split", "test", "--labels", "l.npz"], "files of scores have no splits"),
        (["--split", "validation"], "no video of split validation there; the manifest names test, train"),
    ],
)
def test_a_split_that_cannot_be_is_refused(compared, words, message):
    with pytest.raises(UsageError, match=message):
        compared(rows(), rows(), *words)
