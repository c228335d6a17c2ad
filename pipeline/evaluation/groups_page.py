"""The page of alike alerts: one HTML file with a strip of pictures for each group."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import av

from pipeline import files
from pipeline.alerts.evidence_uri import picture_of
from pipeline.alerts.group_summary import GroupSummary
from pipeline.alerts.history_file import RememberedAlert
from pipeline.evaluation.report.pictures import picture_thumbnail
from pipeline.evaluation.report.templates import templates
from pipeline.evaluation.report.writing import counted

#: Pictures of a group: the newest alerts.
MOST_PICTURES = 12
#: Groups on a page; the others are counted. With all pictures a page of this size has 10 MB.
MOST_GROUPS = 100
#: Height of a picture on the page, pixels.
_HEIGHT = 120
#: Height of the highest bar of a chart, pixels.
_BAR = 44


@dataclass(frozen=True, slots=True)
class _Picture:
    """An alert in the strip: a data URI, "" without a picture."""

    uri: str
    words: str
    alert: str
    muted: bool


@dataclass(frozen=True, slots=True)
class _Bar:
    """The alerts of one hour of the day."""

    hour: int
    count: int
    height: float


def write_groups(
    page: Path,
    groups: Sequence[GroupSummary],
    *,
    site: str,
    now: datetime,
    evidence: Path | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write the page, in full or not at all. An alert whose picture is gone has an empty place.

    Args:
        groups: in the order in which they are shown.
        now: UTC, when the page is made.
        evidence: see :func:`pipeline.alerts.evidence_uri.picture_of`.
        notes: sentences on what is not shown.

    Raises:
        OSError: it cannot be written.
        ModuleNotFoundError: jinja2 is not installed; the command line explains what to do.
    """
    shown = groups[:MOST_GROUPS]
    left_out = len(groups) - len(shown)
    text = (
        templates()
        .get_template("groups.html")
        .render(
            site=site,
            made=f"{now:%Y-%m-%d %H:%M} UTC",
            alerts=counted(sum(group.size for group in groups), "alert"),
            groups=counted(len(groups), "group"),
            cards=[_card(group, evidence) for group in shown],
            notes=[*notes, *([f"{counted(left_out, 'smaller group')} left out"] if left_out else [])],
            bar=_BAR,
        )
    )
    files.write_text(page, text)


def _card(group: GroupSummary, evidence: Path | None) -> dict[str, Any]:
    newest = group.alerts[::-1][:MOST_PICTURES]
    judgement = group.judgement
    verdicts = [f"{count} judged {verdict}" for verdict, count in group.judged_alerts.items() if count]
    most = max(group.hours)
    return {
        "id": str(group.id),
        "short": str(group.id)[:8],
        "size": counted(group.size, "alert"),
        "last_day": group.last_day,
        "cameras": ", ".join(f"{name} ({count})" if len(group.cameras) > 1 else name for name, count in group.cameras),
        "first": _time(group.first_at),
        "last": _time(group.last_at),
        "muted": group.muted,
        "verdict": "" if judgement is None else judgement.verdict,
        "until": "" if judgement is None or judgement.expires_at is None else f"{judgement.expires_at:%Y-%m-%d}",
        "note": "" if judgement is None else judgement.note,
        "verdicts": ", ".join(verdicts),
        "pictures": [_picture(alert, evidence) for alert in newest],
        "more": max(group.size - len(newest), 0),
        "bars": [_Bar(hour, count, _BAR * count / most if most else 0.0) for hour, count in enumerate(group.hours)],
        "most": most,
        "dated": most > 0,
    }


def _picture(alert: RememberedAlert, evidence: Path | None) -> _Picture:
    uri = ""
    if (file := picture_of(alert.evidence, evidence)) is not None:
        try:
            jpeg = picture_thumbnail(file, _HEIGHT).jpeg(None)
            uri = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
        except (av.FFmpegError, OSError, ValueError):  # damaged, or removed since
            pass
    when = _time(alert.started_at)
    return _Picture(uri, f"{alert.camera}, {when}", str(alert.alert_id)[:8], alert.muted)


def _time(moment: datetime | None) -> str:
    return "time unknown" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
