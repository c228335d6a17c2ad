"""The event of an operator's verdict on an alert or a group of a topic's memory."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pipeline.alerts.judgement import JudgementEvent, judgement_event
from pipeline.alerts.reach import reach
from pipeline.alerts.topic_memory import SiteMemory
from pipeline.errors import UsageError

Verdict = Literal["normal", "real", "withdrawn"]

#: A mute ends by itself after so many days unless the operator says otherwise: a place changes with the season.
NORMAL_DAYS = 90
#: Longest note, characters: it is repeated in every alert that it mutes.
LONGEST_NOTE = 500


def judgement_on(
    memory: SiteMemory,
    target: str,
    group: bool,
    verdict: Verdict,
    note: str,
    similarity: float | None,
    now: datetime,
    expires_at: datetime | None,
) -> JudgementEvent:
    """Return the event of a judgement.

    Args:
        target: id of an alert or group, or the beginning of one.
        similarity: None: that of the site.
        expires_at: None: it does not expire.

    Raises:
        UsageError: the target is not known, it cannot be compared, or the judgement would expire before it begins.
    """
    history = memory.history
    if verdict == "withdrawn":
        known = memory.judgement(target, "group" if group else "alert")
        identity, camera, version, exemplars = known.target, known.camera, known.embedding_version, []
    elif group:
        identity, camera, version = memory.group(target), None, history.embedding_version
        try:
            exemplars = history.exemplars_of(identity)
        except KeyError:
            raise UsageError(f"group {str(identity)[:8]}: too long ago to be judged; judge one of its alerts") from None
    else:
        alert = memory.alert(target)
        identity, camera, version, exemplars = (
            alert.alert_id,
            alert.camera,
            history.embedding_version,
            [alert.embedding],
        )
    # The newest judgement holds, also where the clock of the machine that made the last one is ahead of this one.
    earlier = [one.judged_at for one in history.judgements() if one.target == identity]
    judged_at = max([now, *(moment + timedelta(microseconds=1) for moment in earlier)])
    if expires_at is not None and expires_at <= judged_at:
        raise UsageError(
            f"--expires: must be after {judged_at:%Y-%m-%dT%H:%M}Z, the time of the last judgement of this target (got "
            f"{expires_at:%Y-%m-%dT%H:%M}Z); the clock of the machine that judged it was ahead"
        )
    return judgement_event(
        site=history.site,
        target=identity,
        camera=camera,
        verdict=verdict,
        note=note,
        judged_at=judged_at,
        expires_at=expires_at,
        similarity=history.mute_similarity if similarity is None else similarity,
        embedding_version=version,
        exemplars=exemplars,
    )


def check_reach(memory: SiteMemory, event: JudgementEvent, now: datetime, force: bool) -> str:
    """Return words on the alerts that are like the judged ones. Raises UsageError: it must be forced."""
    found = reach(memory.history, event.data, now)
    if (reason := found.refusal()) is not None and not force:
        raise UsageError(
            f"{event.data.about} {str(event.data.target)[:8]}: not judged, because {reason}, at a similarity of "
            f"{event.data.similarity:g} or more; raise --similarity, judge single alerts, or use --force"
        )
    return f"  ({found.muted} of {found.alerts} alerts of the topic are that similar)"
