"""What `mistwatch replay` says of recordings: their names come from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from judged_runs import clips, row, run, write_run

from pipeline.cli.replay import annotate_run, print_summary
from pipeline.cli.replaying import Options, refuse_failures
from pipeline.errors import MistwatchError
from pipeline.replay.replay import Outcome

NAME = "\x1b[31mred[/b]"


def test_nothing_in_a_name_acts_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored = clips([0.1])
    rows = (row(NAME, scored, damage=f"{NAME}: cut off"), row(f"{NAME}2", error=f"{NAME}2: no video"))
    outcome = Outcome(rows, recordings=2, kept=0, alerts=0, stopped=False)
    print_summary(tmp_path, outcome)
    refuse_failures(outcome, Options(skip_bad=True))
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert told.err.count("\\x1b[31mred[/b]") == 4


def test_each_failure_is_one_line_whatever_its_name() -> None:
    rows = tuple(row(name, error="no video") for name in ("bad\nsecond line", "other"))
    outcome = Outcome(rows, recordings=2, kept=0, alerts=0, stopped=False, unsent=("an event of a\nb",))
    with pytest.raises(MistwatchError) as raised:
        refuse_failures(outcome, Options())
    assert str(raised.value).splitlines() == [
        r"not replayed: bad\nsecond line: no video",
        "not replayed: other: no video",
        r"an event of a\nb",
    ]


def test_a_name_is_no_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal a bar names the recording that is annotated."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    scored = clips([0.1])
    folder = write_run(run([(row(NAME, scored), scored)], folder=tmp_path / "run"))
    with pytest.raises(MistwatchError, match="no such file"):
        annotate_run(folder)
    assert "[31mred[/b]" in capsys.readouterr().err
