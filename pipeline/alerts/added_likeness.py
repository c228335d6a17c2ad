"""Likeness for alerts: the earlier ones that they resemble, and whether they are muted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from pydantic import TypeAdapter

from pipeline.alerts.enrich import Outcome
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.likeness import Likeness, MutedBecause
from pipeline.alerts.recent_features import Floats, Moment, RecentFeatures
from pipeline.scoring.embedding import Embedded

#: Asks for the embedding of a clip's features, float32 (D,). The callback is called once, on any thread; it receives
#: None if the clip cannot be embedded.
Embed = Callable[[Floats, Callable[[Embedded | None], None]], None]
Compared = tuple[Likeness, MutedBecause | None]
_COMPARED: TypeAdapter[Compared] = TypeAdapter(Compared)


class Memory(Protocol):
    """The memory of a site's alerts; see :class:`pipeline.alerts.history.AlertHistory`."""

    @property
    def embedding_version(self) -> str: ...

    def consider(
        self, alert_id: UUID, embedding: Floats, camera: str, started_at: datetime | None
    ) -> tuple[Likeness, MutedBecause | None]: ...


class AddedLikeness:
    """Compares the alerts of one camera and detector; an :class:`pipeline.alerts.enrich.Addition`.

    Args:
        memory: returns the memory of the embeddings that are made now; None while there is none.
        embed: asks for an embedding.
        recent: the camera's features, which another detector may provide.
        on_outcome: called once for each alert, when its first likeness is known or will not be.
    """

    what = "likeness"

    def __init__(
        self,
        memory: Callable[[], Memory | None],
        embed: Embed,
        recent: RecentFeatures,
        *,
        on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        self._memory = memory
        self._embed = embed
        self._recent = recent
        self._on_outcome = on_outcome

    def ask(self, moment: Moment, answer: Callable[[Embedded | None], None], *, final: bool) -> bool:
        """Ask for the embedding of the features that describe a moment. Raises LookupError: no clip describes it."""
        features = self._recent.at(moment, final=final)
        if features is None:
            return False
        self._embed(features, answer)
        return True

    def value(self, event: AlertEvent, answer: Embedded) -> Compared | None:
        """Return the alert's likeness, and the judgement that mutes it; None without a memory of such embeddings."""
        memory = self._memory()
        if memory is None or memory.embedding_version != answer.version:
            return None
        data = event.data
        return memory.consider(data.alert_id, answer.values, data.camera, data.started_at)

    def added(self, event: AlertEvent, value: Compared) -> AlertEvent:
        """Return the event with its likeness."""
        return event.enriched(*value)

    def stated(self, value: Compared) -> Any:
        """Return likeness and judgement as JSON."""
        return _COMPARED.dump_python(value, mode="json")

    def restored(self, found: Any) -> Compared:
        """Return likeness and judgement of JSON. Raises ValueError."""
        return _COMPARED.validate_python(found)

    def forget(self, moments: Iterable[Moment]) -> None:
        """Do nothing: old features go by themselves."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Pass the outcome on."""
        self._on_outcome(outcome)
