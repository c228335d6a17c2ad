"""The newest alerts of the topic in bounded memory, with filters, pages and judgements."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipeline.alerts.judgement import JudgementData, JudgementEvent
from pipeline.alerts.reading import Event
from pipeline.console.alert_entry import AlertEntry, Kind, fold
from pipeline.errors import UsageError

MOST_ALERTS = 20_000
#: Judgements that are kept; the oldest go.
_MOST_JUDGEMENTS = 10_000
#: Shortest beginning of an id that names an alert.
_LEAST_PREFIX = 4

Judged = Literal["normal", "real", "none"]


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Conditions that an alert meets all of; None: any.

    Attributes:
        since, until: bounds of the begin, seconds of the epoch: since ≤ begin < until.
        place: a part of its place, zones or headline, in any case.
    """

    since: float | None = None
    until: float | None = None
    camera: str | None = None
    detector: str | None = None
    place: str | None = None
    group: str | None = None
    judgement: Judged | None = None
    muted: bool | None = None
    kind: Kind | None = None
    is_open: bool | None = None

    def takes(self, entry: AlertEntry, verdict: str | None) -> bool:
        """Return whether an alert with this verdict meets the conditions, apart from ``since`` and ``until``."""
        return (
            (self.camera is None or entry.camera == self.camera)
            and (self.kind is None or entry.kind == self.kind)
            and (self.detector is None or entry.detector == self.detector)
            and (self.muted is None or (entry.muted is True) == self.muted)
            and (self.group is None or entry.group == self.group)
            and (self.is_open is None or entry.is_open == self.is_open)
            and (self.judgement is None or (verdict or "none") == self.judgement)
            and (self.place is None or self._is_at(entry, self.place.casefold()))
        )

    @staticmethod
    def _is_at(entry: AlertEntry, words: str) -> bool:
        texts = (entry.place, entry.headline, *entry.zones)
        return any(words in text.casefold() for text in texts)


@dataclass(frozen=True, slots=True)
class AlertPage:
    """One page of alerts, newest first.

    Attributes:
        following: cursor of the next page; None: this is the last one.
    """

    entries: list[AlertEntry]
    following: str | None


class AlertBook:
    """Alerts, tamperings and drifts by the time of their begin. Not thread-safe."""

    def __init__(self, most: int = MOST_ALERTS) -> None:
        self._most = most
        self._entries: dict[str, AlertEntry] = {}
        self._order: list[tuple[float, str]] = []  # (begin, id), oldest first
        self._open: dict[str, set[str]] = {}  # ids of alerts without an end, by camera
        self._judgements: dict[tuple[str, str], JudgementData] = {}  # by kind and id of the target
        self.forgotten = 0  #: alerts that went because there were too many

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, event: Event, raw: bytes, at: float) -> AlertEntry | None:
        """Take an event; return its alert, None for a judgement or an alert that is older than all that are kept.

        Args:
            raw: the event's document.
            at: when the broker had it, seconds of the epoch.
        """
        if isinstance(event, JudgementEvent):
            self._judge(event.data)
            return None
        data = event.data
        identity = str(getattr(data, "alert_id", None) or getattr(data, "tamper_id", None) or data.drift_id)  # type: ignore[union-attr]
        known = self._entries.get(identity)
        entry = fold(known, event, raw, at)
        unended = self._open.setdefault(entry.camera, set())
        (unended.add if entry.is_open else unended.discard)(identity)
        if known is None:
            self._entries[identity] = entry
            insort(self._order, (entry.at, identity))
            if len(self._order) > self._most:
                _, oldest = self._order.pop(0)
                self._open[self._entries.pop(oldest).camera].discard(oldest)
                self.forgotten += 1
                if oldest == identity:
                    return None
        return entry

    def get(self, identity: str) -> AlertEntry | None:
        """Return the alert of an id; None: it is not known."""
        return self._entries.get(identity)

    def named(self, text: str) -> AlertEntry | None:
        """Return the alert that an id, or the beginning of one, names; None: not one."""
        prefix = text.lower()
        if (entry := self._entries.get(prefix)) is not None or len(prefix) < _LEAST_PREFIX:
            return entry
        found = [identity for identity in self._entries if identity.startswith(prefix)]
        return self._entries[found[0]] if len(found) == 1 else None

    def unended(self, camera: str) -> list[AlertEntry]:
        """Return the alerts of a camera that have no end, newest first."""
        entries = [self._entries[identity] for identity in self._open.get(camera, ())]
        return sorted(entries, key=lambda entry: (entry.at, entry.id), reverse=True)

    def entries(self) -> Iterator[AlertEntry]:
        """Yield all alerts, newest first."""
        for _, identity in reversed(self._order):
            yield self._entries[identity]

    def page(self, condition: AlertFilter, now: datetime, *, limit: int, cursor: str | None = None) -> AlertPage:
        """Return the newest alerts that meet the conditions, from the cursor on.

        A page is the same however many newer alerts have come since the one before it.

        Raises:
            UsageError: not a cursor.
        """
        end = len(self._order)
        if condition.until is not None:
            end = bisect_left(self._order, (condition.until, ""))
        if cursor is not None:
            end = min(end, bisect_left(self._order, _position(cursor)))
        found: list[AlertEntry] = []
        for place in range(end - 1, -1, -1):
            at, identity = self._order[place]
            if condition.since is not None and at < condition.since:
                break
            entry = self._entries[identity]
            if not condition.takes(entry, self.verdict(entry, now) if condition.judgement is not None else None):
                continue
            if len(found) == limit:
                return AlertPage(found, f"{found[-1].at!r}~{found[-1].id}")
            found.append(entry)
        return AlertPage(found, None)

    def judgement(self, entry: AlertEntry, now: datetime) -> JudgementData | None:
        """Return the judgement of an alert that is in force, else that of its group; None: none is."""
        own = self._judgements.get(("alert", entry.id))
        if own is not None and own.in_force(now):
            return own
        group = None if entry.group is None else self._judgements.get(("group", entry.group))
        return group if group is not None and group.in_force(now) else None

    def verdict(self, entry: AlertEntry, now: datetime) -> str | None:
        """Return the verdict of :meth:`judgement`."""
        found = self.judgement(entry, now)
        return None if found is None else found.verdict

    def group_judgement(self, group: str, now: datetime) -> JudgementData | None:
        """Return the judgement of a group that is in force."""
        found = self._judgements.get(("group", group))
        return found if found is not None and found.in_force(now) else None

    def _judge(self, data: JudgementData) -> None:
        key = (data.about, str(data.target))
        known = self._judgements.get(key)
        if known is None or data.replaces(known):
            self._judgements.pop(key, None)
            self._judgements[key] = data
            if len(self._judgements) > _MOST_JUDGEMENTS:
                del self._judgements[next(iter(self._judgements))]


def _position(cursor: str) -> tuple[float, str]:
    at, _, identity = cursor.partition("~")
    try:
        return float(at), identity
    except ValueError:
        raise UsageError(
            f"cursor: expected that of an earlier page, got {cursor[:40]!r}; load the list again"
        ) from None
