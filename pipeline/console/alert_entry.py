"""One alert, tampering or drift as its events together describe it."""

from __future__ import annotations

import json
import zlib
from array import array
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pipeline.alerts.drift import DriftEvent
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.tamper import TamperEvent

Kind = Literal["alert", "tamper", "drift"]

#: Clips whose scores are kept of one alert; the oldest go.
_MOST_SCORES = 1_000
#: Numbers of events that are kept of one alert to know repeated ones; an alert may last for days.
_MOST_SEEN = 1_000


@dataclass(slots=True)
class AlertEntry:
    """The newest state of one alert, tampering or drift.

    Times are seconds of the epoch.

    Attributes:
        at: when it began; where that is not known, when its first event came.
        order: generation and sequence of the newest event.
        seen: those of the events so far but for old ones, ``seen_to`` and below, all of which count as seen.
        is_late: its first event was sent when another worker already had the camera.
        muted: None: not known.
        headline: the thing and place, the kind of tampering, or empty.
        scores: triples of (time, score, smoothed score), oldest first.
        document: the newest event as it came, compressed.
    """

    id: str
    kind: Kind
    site: str
    camera: str
    at: float
    detector: str = ""
    order: tuple[int, int] = (-1, -1)
    seen: set[tuple[int, int]] = field(default_factory=set)
    seen_to: tuple[int, int] = (-1, -1)
    started_at: float | None = None
    ended_at: float | None = None
    is_open: bool = True
    end_reason: str | None = None
    is_late: bool = False
    peak: float | None = None
    threshold: float | None = None
    muted: bool | None = None
    muted_note: str | None = None
    headline: str = ""
    place: str = ""
    zones: tuple[str, ...] = ()
    group: str | None = None
    model: str = ""
    evidence: tuple[str, ...] = ()
    film: dict[str, Any] | None = None
    scores: array[float] = field(default_factory=lambda: array("d"))
    document: bytes = b""
    updated_at: float = 0.0

    @property
    def raw(self) -> bytes:
        """The newest event, as it came."""
        return uncompressed(self.document)


def uncompressed(document: bytes) -> bytes:
    """Return the event of :attr:`AlertEntry.document`, as it came."""
    return zlib.decompress(document)


def fold(entry: AlertEntry | None, event: AlertEvent | TamperEvent | DriftEvent, raw: bytes, at: float) -> AlertEntry:
    """Return the entry with one more event; a new one where ``entry`` is None.

    An event that was taken before changes nothing. The event with the highest generation and sequence says what holds;
    an earlier one that arrives later adds only its scores, pictures and film.

    Args:
        raw: the event's document.
        at: when the broker had it, seconds of the epoch.
    """
    if isinstance(event, AlertEvent):
        return _fold_alert(entry, event, raw, at)
    data = event.data
    identity = str(data.tamper_id if isinstance(event, TamperEvent) else data.drift_id)  # type: ignore[union-attr]
    kind: Kind = "tamper" if isinstance(event, TamperEvent) else "drift"
    started = _seconds(data.started_at)
    if entry is None:
        entry = AlertEntry(identity, kind, data.site, data.camera, at if started is None else started)
        entry.is_late = data.late is True
    if not _is_new(entry, (data.generation or 0, data.sequence)):
        return entry
    is_newest = entry.order == (data.generation or 0, data.sequence)
    entry.started_at = started if entry.started_at is None else entry.started_at
    if isinstance(event, TamperEvent):
        entry.evidence = tuple(dict.fromkeys([*entry.evidence, *event.data.evidence]))
        entry.headline = str(event.data.kind)
        measure, threshold = event.data.measure, event.data.threshold
    else:
        entry.detector = event.data.detector or ""
        entry.headline, measure, threshold = "no longer as learned", event.data.share, event.data.learned_share
        entry.model = f"{event.data.model}/{event.data.model_version}"
    entry.peak = measure if entry.peak is None else max(entry.peak, measure)
    if is_newest:
        entry.threshold = threshold
        entry.is_open = data.state != "end"
        entry.end_reason = data.end_reason
        entry.ended_at = None if entry.is_open else _seconds(data.last_at) or at
        entry.document, entry.updated_at = zlib.compress(raw, 1), at
    return entry


def _fold_alert(entry: AlertEntry | None, event: AlertEvent, raw: bytes, at: float) -> AlertEntry:
    data = event.data
    started = _seconds(data.started_at)
    if entry is None:
        entry = AlertEntry(str(data.alert_id), "alert", data.site, data.camera, at if started is None else started)
        entry.detector = data.detector or ""
        entry.is_late = data.late is True
        entry.started_at = started
    if not _is_new(entry, (data.generation or 0, data.sequence)):
        return entry
    is_newest = entry.order == (data.generation or 0, data.sequence)
    _add_scores(entry, event, at)
    film = _film(raw)
    peak = data.peak.smoothed_score
    entry.peak = peak if entry.peak is None else max(entry.peak, peak)
    if not is_newest:  # of an earlier worker, or one that overtook another on its way
        entry.evidence = tuple(dict.fromkeys([*entry.evidence, *data.evidence]))
        entry.film = entry.film or film
        return entry
    entry.film = film or entry.film
    entry.evidence = tuple(dict.fromkeys([*data.evidence, *entry.evidence]))
    entry.threshold = data.threshold
    entry.is_open = data.state != "end"
    entry.end_reason = data.end_reason
    entry.ended_at = None if entry.is_open else (_seconds(data.ended_at) or at)
    entry.model = f"{data.model}/{data.model_version}"
    entry.zones = data.zones if data.zones is not None else entry.zones
    if data.muted is not None:
        entry.muted = data.muted
        because = data.muted_because
        outside = data.outside_schedule
        entry.muted_note = None
        if because is not None:
            entry.muted_note = because.note or "like an alert that was judged normal"
        elif outside is not None:
            entry.muted_note = "outside its schedule" + (f" ({', '.join(outside)})" if outside else "")
    if data.place is not None:
        entry.headline = data.place.words
        entry.place = " › ".join(data.place.place or ())
    if data.likeness is not None:
        entry.group = str(data.likeness.group.id)
    entry.document, entry.updated_at = zlib.compress(raw, 1), at
    return entry


def _is_new(entry: AlertEntry, order: tuple[int, int]) -> bool:
    """Note an event; return whether it is the first of its number."""
    if order in entry.seen or order <= entry.seen_to:
        return False
    entry.seen.add(order)
    if len(entry.seen) > _MOST_SEEN:
        oldest = sorted(entry.seen)[: _MOST_SEEN // 2]
        entry.seen_to = oldest[-1]
        entry.seen.difference_update(oldest)
    entry.order = max(entry.order, order)
    return True


def _add_scores(entry: AlertEntry, event: AlertEvent, at: float) -> None:
    if not event.data.scores:
        return
    base = at - event.data.scores[-1].ended_pts_seconds  # where the camera has no clock
    triples = [
        (_seconds(one.ended_at) or base + one.ended_pts_seconds, one.score, one.smoothed_score)
        for one in event.data.scores
    ]
    known = [tuple(entry.scores[place : place + 3]) for place in range(0, len(entry.scores), 3)]
    if known and triples[0][0] <= known[-1][0]:
        known = sorted({*known, *triples})
    else:
        known += triples
    flat = array("d")
    for triple in known[-_MOST_SCORES:]:
        flat.extend(triple)
    entry.scores = flat


def _film(raw: bytes) -> dict[str, Any] | None:
    """Return the field ``film`` of a document's data, as another writer has added it."""
    if b'"film"' not in raw:
        return None
    film = json.loads(raw).get("data", {}).get("film")
    return film if isinstance(film, dict) and isinstance(film.get("uri"), str) else None


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
