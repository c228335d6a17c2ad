"""A group of alerts in figures: for a list, a page, or another program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pipeline.alerts.history import AlertHistory, RememberedGroup
from pipeline.alerts.history_file import RememberedAlert
from pipeline.alerts.judgement import JudgementData

_DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """One group.

    Attributes:
        size: alerts so far; ``alerts`` has those that are remembered.
        alerts: in the order of their times, those of unknown times first.
        cameras: names and numbers of alerts, most alerts first.
        first_at, last_at: times of the earliest and the latest alert (UTC), None when unknown.
        hours: 24 numbers of alerts, by the hour of the day (UTC).
        last_day: alerts in the 24 hours before now.
        muted: alerts that were muted.
        judgement: the one of the group that is in force, if any.
        judged_alerts: its alerts with a verdict of their own that is in force: how many are normal, how many real.
    """

    id: UUID
    size: int
    alerts: tuple[RememberedAlert, ...]
    cameras: tuple[tuple[str, int], ...]
    first_at: datetime | None
    last_at: datetime | None
    hours: tuple[int, ...]
    last_day: int
    muted: int
    judgement: JudgementData | None
    judged_alerts: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON has them."""
        judgement = self.judgement
        return {
            "group": str(self.id),
            "size": self.size,
            "cameras": dict(self.cameras),
            "first_at": _iso(self.first_at),
            "last_at": _iso(self.last_at),
            "hours_utc": list(self.hours),
            "last_day": self.last_day,
            "muted": self.muted,
            "judgement": None
            if judgement is None
            else {
                "judgement_id": str(judgement.judgement_id),
                "verdict": judgement.verdict,
                "note": judgement.note,
                "judged_at": _iso(judgement.judged_at),
                "expires_at": _iso(judgement.expires_at),
                "similarity": judgement.similarity,
            },
            "judged_alerts": self.judged_alerts,
            "alerts": [str(one.alert_id) for one in self.alerts],
        }


def summaries(history: AlertHistory, now: datetime, *, cameras: Collection[str] = ()) -> list[GroupSummary]:
    """Return the groups, the largest first; of equally large ones the latest first.

    Args:
        now: UTC.
        cameras: groups without an alert of one of them are left out; none: all groups.
    """
    judged = {one.target: one for one in history.judgements() if one.about == "alert" and one.in_force(now)}
    found = [
        _summary(group, now, judged, history.embedding_version)
        for group in history.groups()
        if not cameras or any(one.camera in cameras for one in group.alerts)
    ]
    return sorted(found, key=lambda one: (-one.size, -_seconds(one.last_at), str(one.id)))


def _summary(
    group: RememberedGroup, now: datetime, judged: dict[UUID, JudgementData], embedding_version: str
) -> GroupSummary:
    alerts = tuple(sorted(group.alerts, key=lambda one: (_seconds(one.started_at), one.seen_at, str(one.alert_id))))
    moments = [one.started_at for one in alerts if one.started_at is not None]
    hours = Counter(moment.hour for moment in moments)
    verdicts = Counter(
        judged[one.alert_id].verdict
        for one in alerts
        if one.alert_id in judged and judged[one.alert_id].embedding_version == embedding_version
    )
    return GroupSummary(
        id=group.id,
        size=group.size,
        alerts=alerts,
        cameras=tuple(sorted(Counter(one.camera for one in alerts).items(), key=lambda pair: (-pair[1], pair[0]))),
        first_at=group.first_at,
        last_at=max(moments, default=None),
        hours=tuple(hours[hour] for hour in range(24)),
        last_day=sum(now - _DAY <= moment <= now for moment in moments),
        muted=sum(one.muted for one in alerts),
        judgement=group.judgement,
        judged_alerts={verdict: verdicts[verdict] for verdict in ("normal", "real")},
    )


def _seconds(moment: datetime | None) -> float:
    return float("-inf") if moment is None else moment.timestamp()


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
