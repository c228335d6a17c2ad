"""The memory of a site's alerts: their embeddings, groups and judgements.

It answers the operator's first question, *have I seen this before?*, for a new alert of this process
(:meth:`AlertHistory.consider`). It learns the alerts of other workers and the judgements from the topic
(:meth:`AlertHistory.take`), in any order and as often as they come. It is bounded by number and age, and bound to one
version of embeddings.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from operators.grouping import Embedding, Grouping
from pipeline import logs
from pipeline.alerts.embedding_rows import EmbeddingRows
from pipeline.alerts.event import AlertData, AlertEvent
from pipeline.alerts.history_file import HistoryError, HistoryFile, HistoryRows, RememberedAlert
from pipeline.alerts.judgement import MOST_EXEMPLARS, JudgementData, JudgementEvent
from pipeline.alerts.likeness import (
    MOST_SIMILAR,
    GroupSeen,
    Likeness,
    MutedBecause,
    SimilarAlert,
    Verdict,
    embedding_from,
    embedding_text,
)
from pipeline.alerts.muting import Judgements
from pipeline.alerts.reading import Event
from pipeline.clocks import UNSET_BEFORE

_log = logs.get("history")

_DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """Bounds of a history; the oldest go first.

    Attributes:
        alerts: most alerts: 20 000 of 128 values take 10 MB.
        max_age: alerts seen longer ago are dropped; None: whatever their age.
        groups: most groups; the one extended longest ago is forgotten, though its alerts are still compared.
        exemplars: most embeddings that make a group's centre.
        judgements: most judgements.
    """

    alerts: int = 20_000
    max_age: timedelta | None = timedelta(days=90)
    groups: int = 2000
    exemplars: int = 64
    judgements: int = 2000

    def __post_init__(self) -> None:
        if self.alerts < 1 or self.judgements < 1 or (self.max_age is not None and self.max_age <= timedelta(0)):
            raise ValueError(f"limits of an alert history must be positive, got {self}")


@dataclass(frozen=True, slots=True)
class RememberedGroup:
    """A group of the site.

    Attributes:
        id: alert_id of the alert that founded it.
        size: its alerts so far, also those that are not remembered any more.
        first_at: time of its earliest alert (UTC), None when unknown.
        alerts: those that are remembered, in the order in which they joined.
        judgement: the one of the group that is in force, if any.
    """

    id: UUID
    size: int
    first_at: datetime | None
    alerts: tuple[RememberedAlert, ...]
    judgement: JudgementData | None


class AlertHistory:
    """The memory of one site's alerts, of one version of embeddings. Thread-safe.

    An alert joins the most similar group; see :mod:`operators.grouping`. A group that another worker has chosen is
    kept. An event that is not of the site, or whose embedding is of another version, changes nothing.

    Args:
        path: the file, created when missing. None: in memory only.
        site: the site's name.
        embedding_version: names the model of the embeddings. A file of another version loses its alerts, with a line in
            the log; its judgements stay and do nothing.
        similarity: least similarity of an alert to the centre of its group, in (0, 1].
        mute_similarity: similarity that a judgement takes where the operator names none, in (0, 1]; ``similarity`` by
            default.
        limits: bounds of the memory.
        clock: gives the time (UTC), for ages and expiries.

    Raises:
        HistoryError: the file is not a history, damaged, not writable, held by another process, of another site, or
            written by a later version.
        ValueError: ``similarity`` outside its range.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        site: str,
        embedding_version: str,
        similarity: float,
        mute_similarity: float | None = None,
        limits: HistoryLimits | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.site = site
        self.embedding_version = embedding_version
        self.similarity = similarity
        self.mute_similarity = similarity if mute_similarity is None else mute_similarity
        self._limits = limits or HistoryLimits()
        self._clock = clock
        self._lock = threading.RLock()
        self._grouping = Grouping(similarity, exemplars=self._limits.exemplars, groups=self._limits.groups)
        self._judgements = Judgements(embedding_version, most=self._limits.judgements)
        self._alerts: dict[UUID, RememberedAlert] = {}  # in the order in which they joined their groups
        self._members: dict[UUID, dict[UUID, None]] = {}  # of each group, in that order
        self._first_at: dict[UUID, datetime | None] = {}  # of each group
        self._rows = EmbeddingRows()
        self._oldest: list[tuple[datetime, int, UUID]] = []  # a heap; the number keeps ids from being compared
        self._count = itertools.count()
        self._own: set[UUID] = set()  # alerts that were considered in this process
        self._write_failed = False
        self._file = HistoryFile(path, site=site, embedding_version=embedding_version)
        try:
            self._load()
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        """Return the number of alerts."""
        return len(self._alerts)

    @property
    def is_empty(self) -> bool:
        """True if it knows neither alerts nor judgements nor positions: it is to be read from the topic's beginning."""
        with self._lock:
            return not (self._alerts or len(self._judgements) or self._file.positions())

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._file.close()

    # -- what the topic says ---------------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Take an event of the topic. Raises HistoryError as :meth:`take_all`."""
        self.take_all([event])

    def take_all(self, events: Iterable[Event], positions: Mapping[int, int] | None = None) -> None:
        """Take events of the topic, in any order; an event that was taken before changes nothing.

        An alert keeps what its event with the highest sequence says. An alert that was considered in this process keeps
        its own embedding and group.

        A new alert waits meanwhile, so give a hundred events at once and not thousands.

        Args:
            positions: offsets from which to read on after these events; written in the same commit.

        Raises:
            HistoryError: it cannot be written. The memory has the events; the caller may give them again.
        """
        with self._lock, self._file.writing() as rows:
            for event in events:
                if event.data.site != self.site:
                    continue
                if isinstance(event, AlertEvent):
                    self._take_alert(event.data, rows)
                elif isinstance(event, JudgementEvent):
                    dropped = self._judgements.add(event.data, self._clock())
                    rows.delete_judgements(dropped)
                    if event.data in self._judgements:
                        rows.put_judgement(event.data)
            self._prune(rows)
            rows.put_positions(positions or {})

    def positions(self) -> dict[int, int]:
        """Return the offset from which to read on in each partition of the topic. Raises HistoryError."""
        return self._file.positions()

    def positions_in(self, topic: str) -> dict[int, int]:
        """Return the positions in a topic, and bind them to it: those of another topic are forgotten.

        Args:
            topic: its name with the brokers'.

        Raises:
            HistoryError: the file cannot be read or written.
        """
        with self._file.writing() as rows:
            rows.bind_positions(topic)
        return self._file.positions()

    def set_positions(self, positions: Mapping[int, int]) -> None:
        """Remember from which offset to read on in each of these partitions. Raises HistoryError."""
        with self._file.writing() as rows:
            rows.put_positions(positions)

    # -- a new alert -----------------------------------------------------------------------------------------------

    def consider(
        self, alert_id: UUID, embedding: Embedding, camera: str, started_at: datetime | None
    ) -> tuple[Likeness, MutedBecause | None]:
        """Return the likeness of an alert of this process and the judgement that mutes it, and remember the alert.

        The same alert again, with the picture of a new peak, keeps its group unless it is no longer similar enough to
        the group's centre. The founder of a group stays in it. 4 ms of a core among 20 000 alerts of 128
        values (``bench/alert_history.py``).

        If the file cannot be written, this is logged, and the alert is remembered in memory: no alert waits for a disk.
        Its event comes back by the topic.

        Args:
            embedding: float32 (D,), of length 1.
            started_at: wall-clock time of the alert's first frame; None when unknown.

        Raises:
            ValueError: not an embedding, or of another D than the remembered ones.
        """
        text = embedding_text(embedding)
        given = embedding_from(text)  # as the readers of the event will have it
        with self._lock:
            if not self._rows.fits(given):
                raise ValueError(
                    f"embeddings of version {self.embedding_version} have another length than {len(given)}"
                )
            now = self._clock()
            mute = self._judgements.mute(given, now)
            known = self._alerts.get(alert_id)
            joins = known is None or not self._stays(known, given)
            if joins and known is not None:
                self._drop(known, counted=False)
            if joins or known is None:
                group = self._grouping.assign(str(alert_id), given).group
            else:
                group = str(known.group)
                self._grouping.replace(str(alert_id), given, group)
            alert = RememberedAlert(
                alert_id=alert_id,
                camera=camera,
                started_at=started_at,
                seen_at=now if known is None else known.seen_at,
                sequence=-1 if known is None else known.sequence,
                group=UUID(group),
                muted=mute is not None,
                evidence=() if known is None else known.evidence,
                embedding=given,
            )
            self._own.add(alert_id)
            self._remember(alert, new=known is None)
            self._save(alert, joined=joins)
            return self._likeness(alert, text, now), mute

    def _likeness(self, alert: RememberedAlert, embedding: str, now: datetime) -> Likeness:
        group = alert.group
        judgement = self._judgements.in_force("group", group, now)
        seen = GroupSeen(
            id=group,
            size=self._grouping.size(str(group)),
            first_at=self._first_at[group],
            last_day=self._last_day(alert),
            judgement=None if judgement is None else _verdict(judgement),
            similarity=self.similarity,
            mute_similarity=self.mute_similarity,
        )
        return Likeness(
            embedding_version=self.embedding_version,
            embedding=embedding,
            group=seen,
            similar=tuple(self._similar(alert, MOST_SIMILAR, now, before=alert.started_at)),
        )

    def _last_day(self, alert: RememberedAlert) -> int | None:
        """Return the number of alerts of its group in the 24 hours before an alert; None when its time is unknown."""
        if (end := alert.started_at) is None:
            return None
        others = (self._alerts[member].started_at for member in self._members[alert.group] if member != alert.alert_id)
        return sum(began is not None and end - _DAY <= began <= end for began in others)

    def _similar(
        self, alert: RememberedAlert, count: int, now: datetime, *, before: datetime | None
    ) -> list[SimilarAlert]:
        found = self._rows.nearest(alert.embedding, count, without=alert.alert_id, before=before)
        return [
            SimilarAlert(
                alert_id=identity,
                camera=self._alerts[identity].camera,
                started_at=self._alerts[identity].started_at,
                similarity=similarity,
                judgement=self._verdict_on(self._alerts[identity], now),
            )
            for identity, similarity in found
        ]

    def _verdict_on(self, alert: RememberedAlert, now: datetime) -> Verdict | None:
        judgement = self._judgements.in_force("alert", alert.alert_id, now)
        judgement = judgement or self._judgements.in_force("group", alert.group, now)
        return None if judgement is None else _verdict(judgement)

    # -- questions of commands and pages ---------------------------------------------------------------------------

    def alerts(self) -> list[RememberedAlert]:
        """Return the alerts, in the order in which they joined their groups."""
        with self._lock:
            return list(self._alerts.values())

    def groups(self) -> list[RememberedGroup]:
        """Return the groups that have remembered alerts, in no order."""
        with self._lock:
            now = self._clock()
            return [
                RememberedGroup(
                    id=group,
                    size=self._size(group),
                    first_at=self._first_at[group],
                    alerts=tuple(self._alerts[member] for member in members),
                    judgement=self._judgements.in_force("group", group, now),
                )
                for group, members in self._members.items()
            ]

    def judgements(self) -> list[JudgementData]:
        """Return the latest judgement of each target, also those that are withdrawn, expired or of another version."""
        with self._lock:
            return list(self._judgements)

    def verdict_on(self, alert_id: UUID) -> Verdict | None:
        """Return the verdict on an alert, else on its group, that is in force. Raises KeyError: an unknown alert."""
        with self._lock:
            return self._verdict_on(self._alerts[alert_id], self._clock())

    def similar_to(self, alert_id: UUID, count: int) -> list[SimilarAlert]:
        """Return at most ``count`` alerts, earlier or later, most similar first. Raises KeyError: an unknown alert."""
        with self._lock:
            return self._similar(self._alerts[alert_id], count, self._clock(), before=None)

    def exemplars_of(self, group: UUID) -> list[Embedding]:
        """Return embeddings for a judgement of a group: its centre, then some of its alerts; at most 16.

        An alert that joins the group is similar enough to its centre, so the centre mutes as the group groups.

        Raises:
            KeyError: an unknown group, or one that is forgotten.
        """
        with self._lock:
            centre, members = self._grouping.centre(str(group)), self._grouping.exemplars(str(group))
            chosen = [*([centre] if centre.any() else []), *members.values()]
            return chosen[:MOST_EXEMPLARS]

    # -- changes of the memory; under the lock ---------------------------------------------------------------------

    def _load(self) -> None:
        sizes = {group: (size, first_at) for group, size, first_at in self._file.groups()}
        for alert in self._file.alerts():
            if self._rows.fits(alert.embedding):
                self._grouping.adopt(str(alert.alert_id), alert.embedding, str(alert.group))
                self._remember(alert, new=True)
        for group in self._members:
            size, first_at = sizes.get(group, (0, None))
            if str(group) in self._grouping:
                self._grouping.count_at_least(str(group), size)
            self._first_at[group] = _earliest(self._first_at[group], first_at)
        now = self._clock()
        for data in self._file.judgements():
            self._judgements.add(data, now)
        with self._file.writing() as rows:
            self._prune(rows)
            rows.delete_empty_groups()

    def _take_alert(self, data: AlertData, rows: HistoryRows) -> None:
        likeness = data.likeness
        if likeness is None or likeness.embedding_version != self.embedding_version:
            return
        known = self._alerts.get(data.alert_id)
        embedding = embedding_from(likeness.embedding)
        if (known is not None and data.sequence < known.sequence) or not self._rows.fits(embedding):
            return
        alert = RememberedAlert(
            alert_id=data.alert_id,
            camera=data.camera,
            started_at=data.started_at,
            seen_at=self._seen_at(data) if known is None else known.seen_at,
            sequence=data.sequence,
            group=likeness.group.id,
            muted=data.muted is True,
            evidence=data.evidence,
            embedding=embedding,
        )
        is_own = known is not None and data.alert_id in self._own
        if known is not None and is_own:
            alert = replace(alert, group=known.group, embedding=known.embedding)
        joins = known is None or known.group != alert.group
        if known is not None and joins:
            self._drop(known, counted=False)
        if joins:
            self._grouping.adopt(str(alert.alert_id), alert.embedding, str(alert.group))
        elif str(alert.group) in self._grouping:
            self._grouping.replace(str(alert.alert_id), alert.embedding, str(alert.group))
        self._remember(alert, new=known is None)
        if not is_own:
            self._first_at[alert.group] = _earliest(self._first_at[alert.group], likeness.group.first_at)
            if str(alert.group) in self._grouping:
                self._grouping.count_at_least(str(alert.group), likeness.group.size)
        self._write(alert, rows, joined=joins)

    def _stays(self, known: RememberedAlert, embedding: Embedding) -> bool:
        """Return whether an alert with this embedding of a new peak keeps its group."""
        group = str(known.group)
        return group in self._grouping and (
            known.group == known.alert_id or self._grouping.resemblance(group, embedding) >= self.similarity
        )

    def _remember(self, alert: RememberedAlert, *, new: bool) -> None:
        """Add or replace an alert, which is in its group."""
        if new:
            heapq.heappush(self._oldest, (alert.seen_at, next(self._count), alert.alert_id))
        self._alerts[alert.alert_id] = alert
        self._rows.put(alert.alert_id, alert.embedding, alert.started_at)
        self._members.setdefault(alert.group, {})[alert.alert_id] = None
        self._first_at[alert.group] = _earliest(self._first_at.get(alert.group), alert.started_at)

    def _drop(self, alert: RememberedAlert, *, counted: bool) -> None:
        """Remove an alert; ``counted``: its group's size stays."""
        group, key = alert.group, str(alert.alert_id)
        del self._alerts[alert.alert_id]
        self._rows.remove(alert.alert_id)
        del self._members[group][alert.alert_id]
        self._grouping.leave(key, str(group), counted=counted)
        if not self._members[group]:
            del self._members[group], self._first_at[group]
        elif len(self._members[group]) >= self._limits.exemplars and str(group) in self._grouping:
            self._refill(group)

    def _refill(self, group: UUID) -> None:
        """Let remembered members take the place of an exemplar that is gone."""
        if len(self._grouping.exemplars(str(group))) < self._limits.exemplars:
            members = self._members[group]
            self._grouping.offer(str(group), [(str(one), self._alerts[one].embedding) for one in members])

    def _prune(self, rows: HistoryRows, *, but: UUID | None = None) -> None:
        """Drop the oldest alerts beyond the limits. An emptied group's row goes when the file is next opened.

        Args:
            but: an alert that stays, whatever the clock says: it is being considered.
        """
        max_age = self._limits.max_age
        too_old = None if max_age is None else self._clock() - max_age
        while self._oldest:
            seen_at, _, identity = self._oldest[0]
            if (alert := self._alerts.get(identity)) is not None and alert.seen_at == seen_at:
                if len(self._alerts) <= self._limits.alerts and (too_old is None or seen_at >= too_old):
                    return
                if identity == but:
                    return
                self._own.discard(identity)
                self._drop(alert, counted=True)
                rows.delete_alert(identity)
            heapq.heappop(self._oldest)

    def _save(self, alert: RememberedAlert, *, joined: bool) -> None:
        """Write a considered alert as far as the file can be written."""
        try:
            with self._file.writing() as rows:
                self._write(alert, rows, joined=joined)
                self._prune(rows, but=alert.alert_id)
        except HistoryError as error:
            if not self._write_failed:
                _log.error("the alert history cannot be written; it goes on in memory", error=str(error))
            self._write_failed = True
        else:
            self._write_failed = False

    def _write(self, alert: RememberedAlert, rows: HistoryRows, *, joined: bool) -> None:
        rows.put_alert(alert, joined=joined)
        rows.put_group(alert.group, self._size(alert.group), self._first_at[alert.group])

    def _size(self, group: UUID) -> int:
        return self._grouping.size(str(group)) if str(group) in self._grouping else len(self._members[group])

    def _seen_at(self, data: AlertData) -> datetime:
        """Return when an alert was published, as far as the clocks of the worker and of this machine were set."""
        now = self._clock()
        seen = data.published_at or data.scored_at
        return now if seen is None or seen < UNSET_BEFORE else min(seen, now)


def _verdict(judgement: JudgementData) -> Verdict | None:
    return None if judgement.verdict == "withdrawn" else judgement.verdict


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(filter(None, (one, other)), default=None)
