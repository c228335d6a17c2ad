"""The alerts that a judgement would mute, before it is published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
import numpy.typing as npt

from operators.grouping import Embedding
from pipeline.alerts.history import AlertHistory
from pipeline.alerts.history_file import RememberedAlert
from pipeline.alerts.judgement import JudgementData
from pipeline.alerts.likeness import embedding_from
from pipeline.alerts.muting import Judgements, similarity_to

#: Fewer alerts say nothing about a share.
LEAST_ALERTS = 10
#: A mute of more than this share of the other alerts is refused.
MOST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Reach:
    """Alerts of a history that a judgement *normal* would mute.

    Attributes:
        alerts: all of them.
        muted: of these, muted by it.
        others: alerts outside the target's group.
        others_muted: of these, muted by it.
        real: alerts that are judged real, and as similar to it as its threshold.
    """

    alerts: int
    muted: int
    others: int
    others_muted: int
    real: tuple[UUID, ...]

    def refusal(self) -> str | None:
        """Return why the judgement must be forced, with figures; None if it need not be."""
        if self.real:
            named = ", ".join([*(str(alert)[:8] for alert in self.real[:3]), *(["…"] if len(self.real) > 3 else [])])
            return f"it covers alerts that are judged real ({len(self.real)}: {named})"
        if self.others >= LEAST_ALERTS and self.others_muted > MOST_SHARE * self.others:
            return f"it would mute {self.others_muted} of {self.others} alerts outside its own group"
        if self.alerts >= LEAST_ALERTS and self.muted == self.alerts:
            return f"it would mute all {self.alerts} alerts"
        return None


def reach(history: AlertHistory, judgement: JudgementData, now: datetime) -> Reach:
    """Return the remembered alerts that a judgement *normal* would mute.

    Args:
        judgement: of the history's embedding version; not a part of the history yet.
        now: UTC; judgements that have expired then do not protect.
    """
    alerts = history.alerts()
    others = [one for one in history.judgements() if (one.about, one.target) != (judgement.about, judgement.target)]
    judgements = Judgements(history.embedding_version)
    for other in others:
        judgements.add(other, now)
    real = [
        exemplar
        for one in others
        if one.verdict == "real" and judgements.in_force(one.about, one.target, now)
        for exemplar in map(embedding_from, one.exemplars)
    ]
    covers = _nearest(alerts, [embedding_from(text) for text in judgement.exemplars])
    covered = covers >= judgement.similarity
    muted = covered & (covers > _nearest(alerts, real))
    group = _group_of(alerts, judgement)
    outside = np.array([one.group != group for one in alerts], bool)
    return Reach(
        alerts=len(alerts),
        muted=int(muted.sum()),
        others=int(outside.sum()),
        others_muted=int((muted & outside).sum()),
        real=tuple(
            one.alert_id
            for one, is_covered in zip(alerts, covered, strict=True)
            if is_covered and _is_real(judgements, one, now)
        ),
    )


def _is_real(judgements: Judgements, alert: RememberedAlert, now: datetime) -> bool:
    own = judgements.in_force("alert", alert.alert_id, now) or judgements.in_force("group", alert.group, now)
    return own is not None and own.verdict == "real"


def _group_of(alerts: Sequence[RememberedAlert], judgement: JudgementData) -> UUID | None:
    if judgement.about == "group":
        return judgement.target
    return next((one.group for one in alerts if one.alert_id == judgement.target), None)


def _nearest(alerts: Sequence[RememberedAlert], exemplars: Sequence[Embedding]) -> npt.NDArray[np.float64]:
    """Return the similarity of each alert to its nearest exemplar, (n,); −1 without one of its length."""
    nearest = np.full(len(alerts), -1.0)
    rows = np.array([one.embedding for one in alerts], np.float32)
    for exemplar in exemplars:
        if len(alerts) and len(exemplar) == rows.shape[1]:
            nearest = np.maximum(nearest, similarity_to(rows, exemplar))
    return nearest
