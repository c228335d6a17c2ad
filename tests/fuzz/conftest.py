"""The count of a run's inputs, printed at its end."""

from __future__ import annotations

import pytest
from fuzzing import counts, refused


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the inputs by target."""
    if not counts:
        return
    terminalreporter.section("fuzzing")
    for target, count in sorted(counts.items()):
        terminalreporter.write_line(f"{target:28} {count:7} inputs, {refused[target]:7} refused in a line")
    terminalreporter.write_line(f"{'all':28} {sum(counts.values()):7} inputs")
