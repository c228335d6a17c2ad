"""Judges an alert from the console, as ``mistwatch alerts judge`` does, and publishes the verdict."""

from __future__ import annotations

import threading
from datetime import timedelta

from pipeline.alerts.judgement import JudgementEvent
from pipeline.alerts.judging import NORMAL_DAYS, check_reach, judgement_on
from pipeline.alerts.reading import Event, read_event
from pipeline.alerts.topic_memory import TopicMemory
from pipeline.console.alert_entry import AlertEntry, uncompressed
from pipeline.console.documents import NewJudgement
from pipeline.console.state import ConsoleState
from pipeline.sinks.judgements import publish_judgement
from pipeline.sinks.kafka import KafkaSink

#: Events after which the memory is built again from the alerts that the console still holds.
_MOST_EVENTS = 60_000


class JudgementDesk:
    """Publishes judgements of alerts that the console holds. Thread-safe; one judgement at a time.

    The memory of embeddings is built with the first judgement, and follows the topic from then on.

    Args:
        sink: returns where to publish.
    """

    def __init__(self, state: ConsoleState, sink: KafkaSink) -> None:
        self._state = state
        self._sink = sink
        self._lock = threading.Lock()
        self._judgements: list[JudgementEvent] = []
        self._memory: TopicMemory | None = None
        self._meanwhile: list[Event] | None = None  # events since the building of a memory began
        self._taken = 0
        state.on_event = self._take

    def judge(self, entry: AlertEntry, wanted: NewJudgement) -> tuple[JudgementEvent, str]:
        """Publish a verdict; return its event, and words on the alerts like it.

        Raises:
            UsageError: the alert cannot be judged, or the judgement must be forced.
            SinkUnavailableError, MistwatchError: it is not published.
        """
        with self._lock:
            now = self._state.clock()
            memory = self._built().of_site(entry.site)
            expires_at = now + timedelta(days=NORMAL_DAYS) if wanted.verdict == "normal" else None
            event = judgement_on(memory, entry.id, wanted.group, wanted.verdict, wanted.note, None, now, expires_at)
            reach = check_reach(memory, event, now, wanted.force) if wanted.verdict == "normal" else ""
            publish_judgement(self._sink, event, now)
            return event, reach.strip(" ()")

    def _built(self) -> TopicMemory:
        """Return the memory. The caller holds the desk's lock."""
        if self._memory is not None and self._taken <= _MOST_EVENTS:
            return self._memory
        memory = TopicMemory()
        with self._state.lock:
            documents = [entry.document for entry in self._state.alerts.entries() if entry.kind == "alert"]
            judgements = list(self._judgements)
            self._meanwhile = []
        # A long topic takes a while to read: pages are answered and the topics followed meanwhile.
        try:
            for document in documents:
                memory.take(read_event(uncompressed(document)))
            for judgement in judgements:
                memory.take(judgement)
            with self._state.lock:
                for event in self._meanwhile:
                    memory.take(event)
                self._memory, self._taken = memory, len(self._meanwhile)
        finally:
            with self._state.lock:
                self._meanwhile = None
        return memory

    def _take(self, event: Event) -> None:
        """Take an event of the topic; on the follower's thread."""
        with self._state.lock:
            if isinstance(event, JudgementEvent):
                self._judgements = [*self._judgements[-_MOST_EVENTS // 6 :], event]
            if self._meanwhile is not None:
                self._meanwhile.append(event)
            elif self._memory is not None:
                self._memory.take(event)
                self._taken += 1
