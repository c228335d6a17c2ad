"""The newest score of each camera and detector, and the state of its operators, on a compacted Kafka topic.

A dashboard reads the scores. A worker that takes a camera over continues from the state; see
:mod:`pipeline.live.ownership`. The key of a record is ``camera/detector``; its camera chooses the partition.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from pydantic import Field

from pipeline import logs
from pipeline.alerts.assembler import AlertAssembler, AssemblerState
from pipeline.alerts.cloud_event import Document, Generation, Share, Utc, rounded
from pipeline.alerts.enrich import Enricher
from pipeline.live.listener import Watch
from pipeline.live.recent_scores import MOST_RECENT, JudgedBy, RecentScore, RecentScores
from pipeline.sinks.compacted_topic import CompactedTopic
from pipeline.sinks.latest_values import LatestValues

_log = logs.get("scores")

#: Partitions of the topic where it is created here: cameras that many workers can share.
PARTITIONS = 32
#: A camera's and detector's score is published again after so many seconds, or at once with a transition of an alert.
_EVERY_SECONDS = 1.0
#: An alert's begin waits so long for the acknowledgement of the state that holds it.
_SECURE_SECONDS = 1.0


class ScoreRecord(Document):
    """One record of the topic."""

    site: str
    camera: str
    detector: str = Field("", description="empty where the site names no detectors")
    generation: Generation | None = Field(None, description="of the writer; null where workers do not share cameras")
    ended_at: Utc | None = Field(None, description="wall-clock time of the clip's last frame (UTC), null when unknown")
    score: Share | None = Field(None, description="of the newest clip; null before the first one")
    smoothed: Share | None = Field(None, description="the moving average that ends with it")
    gated: bool = Field(False, description="true: nothing moved in the clip, and its score is held")
    alert: UUID | None = Field(None, description="alert_id of the open alert")
    state: AssemblerState | None = Field(None, description="of the operators; null where there is nothing to continue")
    recent: tuple[RecentScore, ...] = Field(
        (), max_length=MOST_RECENT, description="the smoothed scores since the record before, oldest first"
    )
    scores_before: int | None = Field(
        None, ge=0, description="number of smoothed scores before recent since the worker began to watch the camera"
    )
    judged_by: JudgedBy | None = Field(None, description="settings that judge the smoothed scores")

    @property
    def key(self) -> str:
        """The record's key."""
        return key_of(Watch(self.camera, self.detector))

    def to_json(self) -> bytes:
        """Return the record's value, without what is its default: a required field that is null must be read back."""
        return self.model_dump_json(exclude_defaults=True).encode()


def key_of(watch: Watch) -> str:
    """Return the key of a camera's and detector's records. The names of both have no slash."""
    return f"{watch.camera}/{watch.detector}"


class ScoreStates:
    """Publishes scores and states without making the operators wait, except once for each alert's begin.

    Args:
        on_unsecured: called when an alert begins although the topic could not take its state in time.
    """

    def __init__(
        self, topic: CompactedTopic, *, site: str, on_unsecured: Callable[[Watch], None] = lambda _watch: None
    ) -> None:
        self.topic = topic
        self.site = site
        self._on_unsecured = on_unsecured
        self._values = LatestValues(
            topic,
            name="scores",
            on_trouble=self._report_trouble,
            on_resumed=lambda: _log.info("scores are published", topic=topic.topic),
            on_refused=lambda key, line: _log.error("a score cannot be published", key=key, reason=line),
        )
        self._lock = threading.Lock()
        self._started = False
        self._last: dict[str, bytes] = {}
        self._is_away = False  # the last begin waited in vain
        #: Returns whether a camera is known to be claimed by a worker of a higher generation than this.
        self.is_lost: Callable[[str, int], bool] = lambda _camera, _generation: False

    def start(self) -> None:
        """Connect now rather than with the first record, which an alert may wait for."""
        with self._lock:
            if not self._started:
                self._started = True
                self._values.start()

    def put(self, record: ScoreRecord) -> None:
        """Publish a record soon, in place of an older one that waits; not that of a camera that is lost."""
        if record.generation is not None and self.is_lost(record.camera, record.generation):
            return
        self._put(record.key, record.to_json())

    def secure(self, record: ScoreRecord) -> bool:
        """Publish a record, and wait for its acknowledgement, at most a second; return whether it came.

        While the topic is away only the first call waits.
        """
        if self._is_away and not self._values.flush(0.0):
            self.put(record)
            self._on_unsecured(Watch(record.camera, record.detector))
            return False
        self.put(record)
        self._is_away = not self._values.flush(_SECURE_SECONDS)
        if self._is_away:
            self._on_unsecured(Watch(record.camera, record.detector))
        return not self._is_away

    def repeat(self, watch: Watch) -> None:
        """Publish the newest record of a camera and detector once more: another writer has replaced it."""
        with self._lock:
            value = self._last.get(key_of(watch))
        if value is not None:
            self._put(key_of(watch), value)

    def forget(self, camera: str) -> None:
        """Repeat no record of a camera any more."""
        with self._lock:
            self._last = {key: value for key, value in self._last.items() if key.rpartition("/")[0] != camera}

    def flush(self, seconds: float) -> bool:
        """Wait until everything put so far is on the topic, for at most ``seconds``; return whether it is."""
        return self._values.flush(seconds)

    def stop(self, seconds: float) -> bool:
        """Publish what waits for at most ``seconds``, and end. Return whether everything is on the topic."""
        with self._lock:
            if not self._started:
                return True
        return self._values.stop(seconds)

    def _put(self, key: str, value: bytes) -> None:
        self.start()  # here: a site of recordings publishes none, and needs no connection
        with self._lock:
            self._last[key] = value
        self._values.put(key, value, partition_key=key.rpartition("/")[0])

    def _report_trouble(self, reason: str) -> None:
        _log.warning("scores are not published for now; alerts are", topic=self.topic.topic, reason=reason)


class WatchStates:
    """Publishes the scores and states of one camera and detector. It belongs to the thread of the operators.

    The order around a begin and an end decides what a death of the process leaves behind:

    * The state that holds an alert is on the topic before its begin is committed to the outbox. After a death between
      the two, the next worker continues an alert whose begin was never accepted. After a death behind the commit, the
      begin may lie on the disk of the dead machine. In both cases a consumer sees an update, or an end, of an alert
      whose begin it has not seen (yet), and no second begin. The begin itself, where it was accepted, arrives when that
      outbox does, marked ``late``.
    * An end is committed before the state without the alert is sent. After a death between the two, the next worker
      ends the alert once more, in its own generation. The other order could leave an alert without an end.
    """

    def __init__(
        self,
        states: ScoreStates,
        watch: Watch,
        assembler: AlertAssembler,
        generation: int | None,
        recent: RecentScores | None = None,
    ) -> None:
        """
        Args:
            recent: takes each smoothed score of the assembler.
        """
        self._states = states
        self._recent = recent or RecentScores()
        self._watch = watch
        self._assembler = assembler
        self._generation = generation
        self._sent_at = -_EVERY_SECONDS  # on the monotonic clock
        self._sent_newest: object = None

    def may_begin(self, enricher: Enricher | None) -> bool:
        """Publish the state that holds the alert, and wait for it, before the alert's begin is committed.

        An alert that is over meanwhile is in no state: it is committed first, since a lost alert is worse than one that
        is begun twice.

        Returns:
            False where another worker has claimed the camera: the alert is its to begin.
        """
        if self._generation is None:
            return True
        if self._assembler.open_alert is not None:
            self._states.secure(self._record(enricher))
            self._sent_at = time.monotonic()
        return not self._states.is_lost(self._watch.camera, self._generation)

    def after(self, enricher: Enricher | None, *, changed: bool) -> None:
        """Publish the newest score, unless one was published within the last second.

        Args:
            changed: an event was committed: publish in any case.
        """
        newest = self._assembler.chain.latest
        if enricher is not None and enricher.is_holding:
            return  # the state may not be ahead of an event that can still be lost
        is_due = newest is not self._sent_newest and time.monotonic() - self._sent_at >= _EVERY_SECONDS
        if changed or is_due:
            self.put(enricher)

    def put(self, enricher: Enricher | None) -> None:
        """Publish the newest score and state."""
        self._sent_at, self._sent_newest = time.monotonic(), self._assembler.chain.latest
        self._states.put(self._record(enricher))

    def _record(self, enricher: Enricher | None) -> ScoreRecord:
        state = self._assembler.snapshot()
        if enricher is not None and enricher.shift and state is not None and state.chain.row is not None:
            # Updates that were added for a likeness or place have numbers, too.
            row = replace(state.chain.row, sequence=state.chain.row.sequence + enricher.shift)
            state = replace(state, chain=replace(state.chain, row=row))
        if enricher is not None and state is not None and self._assembler.open_alert is not None:
            state = replace(state, additions=enricher.stated)
        before, recent = self._recent.drain()
        record = ScoreRecord.model_construct(
            recent=recent,
            scores_before=before,
            judged_by=JudgedBy.of(self._assembler.chain.settings),
            site=self._states.site,
            camera=self._watch.camera,
            detector=self._watch.detector,
            generation=self._generation,
            alert=self._assembler.open_alert,
            state=state,
        )
        if (newest := self._assembler.chain.latest) is None:
            return record
        clip = newest.clip
        return record.model_copy(
            update={
                "ended_at": clip.times.ended_at,
                "score": rounded(clip.score),
                "smoothed": rounded(newest.value),
                "gated": clip.gated,
            }
        )
