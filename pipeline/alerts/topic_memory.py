"""The alerts and judgements of a whole topic, in memory: for commands that answer one question and end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from pipeline.alerts.event import AlertEvent
from pipeline.alerts.history import AlertHistory, HistoryLimits
from pipeline.alerts.history_file import RememberedAlert
from pipeline.alerts.judgement import JudgementData, JudgementEvent
from pipeline.alerts.reading import Event
from pipeline.errors import MistwatchError, UsageError

#: A topic of this many alerts is read completely; of a larger one, the newest.
_LIMITS = HistoryLimits(alerts=100_000, max_age=None, groups=20_000)
#: Shortest beginning of an id that names an alert.
LEAST_PREFIX = 4


class SiteMemory:
    """The alerts of one site whose embeddings are of its newest version.

    Attributes:
        history: these alerts, and the site's judgements.
        cameras: camera of each alert of the site, also of those without likeness.
        versions: embedding version of each alert that has a likeness.
    """

    def __init__(self, history: AlertHistory, cameras: dict[UUID, str], versions: dict[UUID, str]) -> None:
        self.history = history
        self.cameras = cameras
        self.versions = versions

    @property
    def left_out(self) -> list[str]:
        """Lines on the alerts that are not compared."""
        plain = len(self.cameras) - len(self.versions)
        other = sum(version != self.history.embedding_version for version in self.versions.values())
        lines = []
        if plain:
            lines.append(f"alerts without likeness are left out ({plain})")
        if other:
            lines.append(f"alerts with embeddings of another version are left out ({other})")
        return lines

    def alert(self, text: str) -> RememberedAlert:
        """Return the alert that an id, or the beginning of one, names.

        Raises:
            UsageError: no alert or several begin like this, or it cannot be compared.
        """
        identity = one_of(text, self.cameras, "alert")
        if identity not in self.versions:
            raise UsageError(f"alert {identity}: has no likeness, so it cannot be compared")
        found = {one.alert_id: one for one in self.history.alerts()}.get(identity)
        if found is None:
            raise UsageError(
                f"alert {identity}: its embedding is of another version (got {self.versions[identity]}); expected "
                f"{self.history.embedding_version}, the newest of the topic"
            )
        return found

    def group(self, text: str) -> UUID:
        """Return the group that an id, or the beginning of one, names: a group's, or that of one of its alerts.

        Raises:
            UsageError: as :meth:`alert`.
        """
        groups = {one.id for one in self.history.groups()}
        named = [group for group in groups if str(group).startswith(_prefix(text, "group"))]
        return named[0] if len(named) == 1 else self.alert(text).group

    def judgement(self, text: str, about: Literal["alert", "group"]) -> JudgementData:
        """Return the verdict on a target; expired or of any version. The target itself may be gone from the topic.

        Args:
            text: the id, or the beginning of one, of the target, of its judgement (``muted_because`` has it), or of an
                alert of a judged group.

        Raises:
            UsageError: there is none, or several begin like this.
        """
        judged = {one.target: one for one in self.history.judgements() if one.about == about}
        judged = {target: one for target, one in judged.items() if one.verdict != "withdrawn"}
        prefix = _prefix(text, f"judged {about}")
        by_judgement = [one for one in judged.values() if str(one.judgement_id).startswith(prefix)]
        if len(by_judgement) == 1:
            return by_judgement[0]
        if about == "group" and not any(str(target).startswith(prefix) for target in judged):
            with contextlib.suppress(UsageError):  # no alert of this id either
                if (group := self.group(text)) in judged:
                    return judged[group]
        return judged[one_of(text, judged, f"judged {about}")]


class TopicMemory:
    """Takes the events of a topic, in any order."""

    def __init__(self) -> None:
        self._histories: dict[tuple[str, str], AlertHistory] = {}
        self._judgements: dict[str, list[JudgementEvent]] = {}
        self._cameras: dict[str, dict[UUID, str]] = {}
        self._versions: dict[str, dict[UUID, str]] = {}
        self._newest: dict[str, tuple[datetime, str]] = {}

    def take(self, event: Event) -> None:
        """Take an event."""
        site = event.data.site
        if isinstance(event, JudgementEvent):
            self._judgements.setdefault(site, []).append(event)
        elif isinstance(event, AlertEvent):
            data = event.data
            self._cameras.setdefault(site, {})[data.alert_id] = data.camera
            versions = self._versions.setdefault(site, {})
            if (likeness := data.likeness) is None:
                return
            version = versions[data.alert_id] = likeness.embedding_version
            moment = data.published_at or data.scored_at or datetime.min.replace(tzinfo=UTC)
            self._newest[site] = max(self._newest.get(site, (moment, version)), (moment, version))
            if (history := self._histories.get((site, version))) is None:
                history = self._histories[site, version] = AlertHistory(
                    None,
                    site=site,
                    embedding_version=version,
                    similarity=likeness.group.similarity,
                    mute_similarity=likeness.group.mute_similarity,
                    limits=_LIMITS,
                )
            history.take(event)

    def of_site(self, site: str | None) -> SiteMemory:
        """Return the memory of a site; it must be named where the topic has several.

        Raises:
            UsageError: the topic has no events of this site, or of several.
            MistwatchError: the site has no alerts with a likeness.
        """
        sites = sorted(self._cameras)
        if not sites:
            raise MistwatchError("the topic has no alerts")
        if site is None and len(sites) > 1:
            raise UsageError(f"--site: the topic has several sites (got none); expected one of {', '.join(sites)}")
        chosen = sites[0] if site is None else site
        if chosen not in sites:
            raise UsageError(f"--site: the topic has no alerts of it (got {chosen}); expected {', '.join(sites)}")
        if chosen not in self._newest:
            raise MistwatchError(
                f"site {chosen}: no alert on the topic has a likeness (alerts: {len(self._cameras[chosen])}); name a "
                "model of embeddings in the site's configuration"
            )
        history = self._histories[chosen, self._newest[chosen][1]]
        # Copies: in the console another thread takes events meanwhile.
        history.take_all(list(self._judgements.get(chosen, [])))
        return SiteMemory(history, dict(self._cameras[chosen]), dict(self._versions[chosen]))


def one_of(text: str, known: Iterable[UUID], kind: str) -> UUID:
    """Return the id that ``text`` names.

    Raises:
        UsageError: too short, no id or several begin like this.
    """
    prefix = _prefix(text, kind)
    found = sorted(str(identity) for identity in known if str(identity).startswith(prefix))
    if not found:
        raise UsageError(f"{kind} {text}: the topic has no {kind} of this id")
    if len(found) > 1:
        named = ", ".join(identity[: max(8, len(prefix) + 4)] for identity in found[:3])
        raise UsageError(f"{kind} {text}: {len(found)} ids begin like this ({named}, …); give more of it")
    return UUID(found[0])


def _prefix(text: str, kind: str) -> str:
    prefix = text.lower()
    if len(prefix) < LEAST_PREFIX or set(prefix) - set("0123456789abcdef-"):
        raise UsageError(f"{kind} {text}: expected an id, or at least its first {LEAST_PREFIX} characters")
    return prefix
