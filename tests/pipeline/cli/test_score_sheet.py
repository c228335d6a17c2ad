"""The score sheet as people read it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from operators.figures.events import Interval, Outcome, ScoreSheet
from pipeline.cli.score_sheet import Target, kind_lines, lines, tables, worst_kind

#: Two cameras for a minute each; the runner was missed.
SHEET = ScoreSheet(
    outcomes=(Outcome("fall", 1.0), Outcome("runner", None), Outcome("fall", 2.0), Outcome("cart", 4.0)),
    alerts=5,
    false_alarms=2,
    camera_seconds=120.0,
    time_outside=80.0,
    time_in_alert_outside=2.0,
)
TARGETS = {
    "recall": Target(least=0.8),
    "false_alarms": Target(most=2, words="at most 1 a camera"),
    "p95_delay": Target(most=3.92),
    "share_in_alert_outside": Target(most=0.05),
}


def rendered(width: int = 80, **options: object) -> list[str]:
    out = io.StringIO()
    sheet = options.pop("sheet", SHEET)
    Console(file=out, width=width).print(tables(sheet, **({"targets": TARGETS} | options)))  # type: ignore[arg-type]
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_figures_beside_what_is_asked_of_them() -> None:
    figures = {line.label: (line.value, line.counts, line.target, line.met) for line in shown()}
    assert figures == {
        "incidents found": ("75.0 %", "3 of 4", "at least 80.0 %", False),
        "alerts about an incident": ("60.0 %", "3 of 5", "", None),
        "false alarms": ("2", "", "at most 1 a camera", True),
        "false alarms per camera-hour": ("60", "", "", None),  # two in two minutes
        "delay, median": ("2.00 s", "", "", None),
        "delay, 95th percentile": ("3.80 s", "", "at most 3.92 s", True),  # 1, 2, 4: 0.95 · 2 steps, 0.9 into the last
        "time in alert outside incidents": ("2.5 %", "", "at most 5.0 %", True),
    }


def shown(**intervals: Interval) -> list:
    return lines(SHEET, targets=TARGETS, intervals=intervals)


def test_intervals_are_written_as_their_figures_are() -> None:
    figures = {line.label: line.interval for line in shown(recall=Interval(0.5, 0.9), median_delay=Interval(1, 2.5))}
    assert figures["incidents found"] == "50.0 % to 90.0 %"
    assert figures["delay, median"] == "1.00 s to 2.50 s"
    assert figures["false alarms"] == ""


def test_a_figure_that_there_is_not_is_a_misspelling() -> None:
    with pytest.raises(ValueError, match="unknown figure 'recal': expected recall, precision"):
        lines(SHEET, targets={"recal": Target(least=1)}, intervals={})
    with pytest.raises(ValueError, match="unknown figure 'p99_delay'"):
        shown(p99_delay=Interval(1, 2))


def test_the_kinds_begin_with_the_worst() -> None:
    kinds = kind_lines(SHEET, intervals={"fall": Interval(0.5, 1)})
    assert [(kind.kind, kind.found, kind.recall) for kind in kinds] == [
        ("runner", "0 of 1", "0.0 %"),
        ("cart", "1 of 1", "100.0 %"),  # as well found as the fall, but later
        ("fall", "2 of 2", "100.0 %"),
    ]
    assert [kind.interval for kind in kinds] == ["", "", "50.0 % to 100.0 %"]
    assert [kind.median_delay for kind in kinds] == ["–", "4.00 s", "1.50 s"]
    assert worst_kind(SHEET) == "runner"
    assert worst_kind(ScoreSheet()) is None


@pytest.mark.parametrize(
    ("asked", "value", "met"),
    [
        (Target(least=0.8), 0.8, True),
        (Target(least=0.8), 0.79, False),
        (Target(most=6), 6, True),
        (Target(most=6), 6.1, False),
        (Target(least=0.8), None, None),
        (Target(), 0.8, None),
    ],
)
def test_what_is_asked_is_met_to_the_limit(asked: Target, value: float | None, met: bool | None) -> None:
    assert asked.met(value) is met


def test_eighty_columns_hold_it_all() -> None:
    text = rendered(80)
    assert "…" not in "\n".join(text)
    (found,) = (line for line in text if line.startswith("incidents found"))
    assert found.split(maxsplit=2)[2] == "75.0 %  3 of 4  at least 80.0 %     ✗"
    (late,) = (line for line in text if line.startswith("delay, 95th"))
    assert late.endswith("✓")
    assert [line.split()[0] for line in text[-3:]] == ["runner", "cart", "fall"]
    assert not any("interval" in line for line in text)


def test_intervals_have_a_column_of_their_own() -> None:
    text = rendered(120, intervals={"recall": Interval(0.5, 0.9)}, kind_intervals={"fall": Interval(0.25, 1)})
    assert sum("95 % interval" in line for line in text) == 2
    assert any(line.startswith("incidents found") and "50.0 % to 90.0 %" in line for line in text)
    assert any(line.startswith("fall") and "25.0 % to 100.0 %" in line for line in text)


def test_a_sheet_of_nothing_shows_no_number_that_was_not_measured() -> None:
    text = "\n".join(rendered(sheet=ScoreSheet(), targets={}))
    assert "nan" not in text
    assert "None" not in text
    assert "%" not in text
    assert "kind" not in text
