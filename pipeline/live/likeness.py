"""Likeness at a running site: the embedding model, the memory of alerts, and the topic that keeps workers of one mind.

The memory is a file in the state folder. A thread follows the topic from the offset that the file names, so that every
worker of the site learns every alert and every judgement. Without a file, or after its loss, the topic is read from its
beginning.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from pipeline import logs
from pipeline.alerts.enrich import (
    HOLD_SECONDS,
    REPLAY_HOLD_SECONDS,
    Enricher,
    Moment,
    Outcome,
    RecentFeatures,
)
from pipeline.alerts.history import AlertHistory, HistoryLimits
from pipeline.alerts.history_file import HistoryError
from pipeline.live.listener import Watch
from pipeline.scoring.embedding import EmbeddingClient, EmbeddingModel
from pipeline.scoring.outcomes import Scored
from pipeline.scoring.served_model import ServedModel
from pipeline.settings import KafkaSettings, LikenessSettings
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.tail import TailListener, TopicReader

_log = logs.get("likeness")

#: Limit for the end of the thread that follows the topic: a poll, and an answer of the broker.
_FOLLOWER_SECONDS = 4.0


class SiteLikeness:
    """Makes the enrichers of cameras, and keeps what they compare with.

    Args:
        address: HOST:PORT of the server's gRPC endpoint.
        state_dir: the folder of the memory's file.
        kafka: the topic that alerts and judgements are on.
        repair: no other process uses the server: load the embedding model anew when its process has died.
        on_outcome: called for each alert with what became of its likeness.
    """

    def __init__(
        self,
        settings: LikenessSettings,
        *,
        site: str,
        address: str,
        state_dir: Path,
        kafka: KafkaSettings,
        repair: bool = False,
        on_outcome: Callable[[Watch, Outcome], None] = lambda _watch, _outcome: None,
    ) -> None:
        self._settings = settings
        self._site = site
        self._file = state_dir / "alerts.sqlite"
        self._kafka = kafka
        self._on_outcome = on_outcome
        self._client = EmbeddingClient(address, settings.model, self._turn_to, repair=repair)
        self._lock = threading.Lock()  # of the exchange of the memory and its follower
        self._history: AlertHistory | None = None
        self._follower: _Follower | None = None
        self._recent: dict[str, RecentFeatures] = {}
        self._closed = False

    @property
    def history(self) -> AlertHistory | None:
        """Return the memory of the embeddings that are made now; None while there is none."""
        return self._history

    def check(self) -> EmbeddingModel:
        """Ask for the model now. Raises ScorerUnavailable, ClipMismatch, HistoryError."""
        return self._client.describe()

    def start(self) -> None:
        """Look for the model from now on, whenever it is away."""
        self._client.start()

    def require(self, served: ServedModel) -> None:
        """Check that the embedding model takes a detector's features, as far as it is known. Raises ClipMismatch."""
        if (model := self._client.model) is not None:
            model.require(served)

    def describes(self, watch: Watch) -> bool:
        """Return whether this detector's features describe the alerts of its camera."""
        return self._settings.detector in (None, watch.detector)

    def enricher(self, watch: Watch, *, live: bool) -> Enricher:
        """Return the enricher of a camera and detector."""
        return Enricher(
            lambda: self._history,
            self._client.embed,
            self._recent.setdefault(watch.camera, RecentFeatures()),
            hold_seconds=HOLD_SECONDS if live else REPLAY_HOLD_SECONDS,
            on_outcome=partial(self._on_outcome, watch),
        )

    def saw(self, watch: Watch, scored: Scored) -> None:
        """Keep a clip's features, where they describe the camera's alerts; on the thread of the operators."""
        if scored.features is not None and self.describes(watch):
            window = scored.window
            self._recent[watch.camera].add(Moment(window.segment.id, window.start, window.end), scored.features)

    def forget(self, camera: str) -> None:
        """Forget a camera's features."""
        self._recent.pop(camera, None)

    def close(self) -> None:
        """End everything, and release the file."""
        with self._lock:
            self._closed = True
        self._client.close()
        with self._lock:
            self._leave()

    def _turn_to(self, model: EmbeddingModel) -> None:
        """Open the memory of this model's embeddings, and follow the topic."""
        with self._lock:
            if self._closed or (self._history is not None and self._history.embedding_version == model.version):
                return
            self._leave()
            settings = self._settings
            try:
                self._history = AlertHistory(
                    self._file,
                    site=self._site,
                    embedding_version=model.version,
                    similarity=settings.similarity or model.similarity,
                    mute_similarity=settings.mute_similarity or model.mute_similarity,
                    limits=HistoryLimits(alerts=settings.alerts, max_age=timedelta(days=settings.max_age_days)),
                )
            except HistoryError as error:
                _log.error("no memory of alerts; they go without likeness", error=str(error))
                return
            _log.info("alerts are compared", embedding=model.version, remembered=len(self._history))
            self._follower = _Follower(self._history, self._kafka)

    def _leave(self) -> None:
        follower, self._follower = self._follower, None
        history, self._history = self._history, None
        if follower is not None:
            follower.close()
        if history is not None:
            history.close()


class _Follower(TailListener):
    """Feeds a memory with the topic's events, on a thread of its own, through outages of the broker."""

    def __init__(self, history: AlertHistory, kafka: KafkaSettings) -> None:
        self._history = history
        self._kafka = kafka
        self._stop = threading.Event()
        self._failed = ""
        self._thread = threading.Thread(target=self._run, name="follow-topic", daemon=True)
        self._thread.start()

    def listening(self) -> None:
        _log.info("following the topic", topic=self._kafka.topic)

    def waiting(self, reason: str) -> None:
        _log.info("not following the topic for now", reason=reason)

    def foreign_message(self, where: str, count: int) -> None:
        if count == 10 ** (len(str(count)) - 1):  # the 1st, 10th, 100th …
            _log.info("not an event of this version, left out", where=where, so_far=count)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(_FOLLOWER_SECONDS)

    def _run(self) -> None:
        try:
            reader = TopicReader(
                Broker(self._kafka.bootstrap, self._kafka.security),
                self._kafka.topic,
                resume=self._history.positions(),
                listener=self,
                stopped=self._stop.is_set,
            )
            with contextlib.closing(reader.events()) as events:
                for read in events:
                    try:
                        self._history.take_all([read.event], reader.positions)
                    except (
                        HistoryError
                    ) as error:  # the memory has the event; the positions are written with a later one
                        if (line := str(error)) != self._failed:
                            self._failed = line
                            _log.error("the memory of alerts cannot be written", error=line)
        except Exception:
            _log.exception("the topic is not followed any more; this is a bug")
