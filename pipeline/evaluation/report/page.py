"""The report of a judged run: one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from pipeline.evaluation.report.data import ReportData

#: So many videos have a timeline of their own: all of a set of this size, else the worst and some of the best.
MOST_TIMELINES = 40


def write_report(data: ReportData, file: Path, *, most_timelines: int = MOST_TIMELINES) -> None:
    """Write ``data`` as one HTML file with its pictures in it; it appears complete or not at all.

    Args:
        data: what to show.
        file: is replaced where it exists.
        most_timelines: so many videos have a timeline.

    Raises:
        OSError: it cannot be written.
        ImportError: jinja2 is not installed; one line that says what to install.
    """
    raise NotImplementedError
