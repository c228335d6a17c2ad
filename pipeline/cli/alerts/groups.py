"""``mistwatch alerts groups``: the alerts of the topic, alike ones together."""

from __future__ import annotations

import json as json_module
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.alerts.memory import DEFAULT_TOPIC, Bootstrap, Since, Site, Topic, read_memory
from pipeline.cli.alerts.tail import report
from pipeline.cli.output import print_lines
from pipeline.errors import UsageError
from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.alerts.group_summary import GroupSummary


def groups(
    bootstrap: Bootstrap,
    topic: Topic = DEFAULT_TOPIC,
    site: Site = None,
    since: Since = None,
    camera: Annotated[
        list[str] | None, typer.Option(help="Only groups with an alert of this camera; may be repeated.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with pictures instead.")] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With --html: take pictures only from this folder, such as the worker's or a copy of it.",
            show_default="files that alerts name",
        ),
    ] = None,
) -> None:
    """List groups of alike alerts, the largest first.

    Read the topic to its present end. Alerts without likeness, and those of an earlier version of embeddings, are left
    out. Times and hours are UTC.
    """
    if evidence is not None and html is None:
        raise UsageError("--evidence: pictures are only on a page; give --html FILE, too")
    if evidence is not None and not evidence.is_dir():
        raise UsageError(f"--evidence: {evidence} is not a folder")
    if html is not None and json:
        raise UsageError("--html and --json: two outputs; give one of them")
    memory = read_memory(bootstrap, topic, since, site)
    from pipeline.alerts.group_summary import summaries

    now = datetime.now(UTC)
    found = summaries(memory.history, now, cameras=camera or ())
    if camera and not found:
        raise UsageError(f"--camera: no alert with likeness is of {', '.join(camera)}")
    if html is not None:
        from pipeline import files
        from pipeline.evaluation.groups_page import write_groups

        with files.writing(html):
            write_groups(html, found, site=memory.history.site, now=now, evidence=evidence, notes=memory.left_out)
        report(f"wrote {html}")
        return
    print_lines(json_module.dumps(group.as_json()) if json else printable(as_text(group)) for group in found)


def as_text(group: GroupSummary) -> str:
    """Return a group in one line."""
    cameras = ", ".join(f"{name} ({count})" if len(group.cameras) > 1 else name for name, count in group.cameras)
    parts = [
        str(group.id)[:8],
        f"{group.size} alert{'' if group.size == 1 else 's'}",
        f"{group.last_day} in the last 24 h",
        cameras,
        _times(group),
    ]
    if any(group.hours):
        parts.append(f"hours {hours_of_day(group.hours)}")
    if group.judgement is not None:
        until = group.judgement.expires_at
        words = f"judged {group.judgement.verdict}" + ("" if until is None else f" until {until:%Y-%m-%d}")
        parts.append(words + (f" ({group.judgement.note})" if group.judgement.note else ""))
    parts += [f"{count} judged {verdict}" for verdict, count in group.judged_alerts.items() if count]
    if group.muted:
        parts.append(f"{group.muted} muted")
    return "  ".join(parts)


def hours_of_day(counts: tuple[int, ...]) -> str:
    """Return the hours of the day that have alerts.

    >>> hours_of_day(tuple(hour in (0, 6, 7, 8, 23) for hour in range(24)))
    '0, 6-8, 23'
    """
    with_alerts = [hour for hour, count in enumerate(counts) if count]
    runs = [[hour for _, hour in run] for _, run in groupby(enumerate(with_alerts), key=lambda pair: pair[1] - pair[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _times(group: GroupSummary) -> str:
    if group.last_at is None:
        return "times unknown"
    first = group.first_at or group.last_at
    return f"{first:%Y-%m-%d %H:%M}Z to {group.last_at:%Y-%m-%d %H:%M}Z"
