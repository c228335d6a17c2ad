"""Likeness at a running site: the embedding model, the memory of alerts, and the topic that keeps workers of one mind.

The memory is a file in the state folder. A thread follows the topic from the offset that the file names, so that every
worker of the site learns every alert and every judgement. Without a file, or after its loss, the topic is read from its
beginning.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path

from pipeline import logs
from pipeline.alerts.added_likeness import AddedLikeness
from pipeline.alerts.enrich import Outcome
from pipeline.alerts.history import AlertHistory, HistoryLimits
from pipeline.alerts.history_file import HistoryError
from pipeline.alerts.reading import Event
from pipeline.alerts.recent_features import Moment, RecentFeatures
from pipeline.live.listener import Watch
from pipeline.scoring.embedding import EmbeddingClient, EmbeddingModel
from pipeline.scoring.outcomes import Scored
from pipeline.scoring.served_model import ClipMismatch, ServedModel
from pipeline.settings import KafkaSettings, LikenessSettings
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.tail import TailListener, TopicReader

_log = logs.get("likeness")

#: Events that wait for a memory that cannot be written, at most; beyond that they are known in memory alone.
_MOST_WAITING = 1000
#: Limit for the end of the thread that follows the topic: a poll, and an answer of the broker.
_FOLLOWER_SECONDS = 4.0


class SiteLikeness:
    """Compares the alerts of a site's cameras, and keeps what they are compared with.

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
        self._judged: tuple[EmbeddingModel, ServedModel] | None = None
        self._misfit = False
        self._closed = False

    @property
    def history(self) -> AlertHistory | None:
        """Return the memory of the embeddings that are made now; None while there is none."""
        return self._history

    def check(self) -> EmbeddingModel:
        """Ask for the model now. Raises ScorerUnavailable, ClipMismatch."""
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

    def addition(self, watch: Watch, watches: Iterable[Watch]) -> AddedLikeness | None:
        """Return what compares the alerts of a camera and detector; None where no detector of it describes its alerts.

        Args:
            watches: all detectors of the camera.
        """
        if not any(self.describes(each) for each in watches):
            return None
        return AddedLikeness(
            lambda: self._history,
            self._client.embed,
            self._recent.setdefault(watch.camera, RecentFeatures()),
            on_outcome=partial(self._on_outcome, watch),
        )

    def saw(self, watch: Watch, scored: Scored) -> None:
        """Keep a clip's features, where they describe the camera's alerts; on the thread of the operators."""
        if scored.features is not None and self.describes(watch) and self._fits(scored.served):
            window, served = scored.window, scored.served
            moment = Moment(window.segment.id, window.start, window.end)
            self._recent[watch.camera].add(moment, scored.features, f"{served.name}/{served.version}")

    def _fits(self, served: ServedModel) -> bool:
        """Return whether the embedding model takes the features of a detector's version; log once that it does not."""
        if (model := self._client.model) is None:
            return True  # asked again when it is there
        if self._judged != (model, served):
            self._judged = (model, served)
            try:
                model.require(served)
                self._misfit = False
            except ClipMismatch as error:
                self._misfit = True
                _log.error("alerts go without likeness", reason=str(error))
        return not self._misfit

    def forget(self, camera: str) -> None:
        """Forget a camera's features."""
        self._recent.pop(camera, None)

    def stop(self) -> None:
        """Follow the topic no longer; returns at once."""
        with self._lock:
            if self._follower is not None:
                self._follower.stop()

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
        self._waiting: list[Event] = []
        self._thread = threading.Thread(target=self._run, name="follow-topic", daemon=True)
        self._thread.start()

    def listening(self) -> None:
        _log.info("following the topic", topic=self._kafka.topic)

    def waiting(self, reason: str) -> None:
        _log.info("not following the topic for now", reason=reason)

    def foreign_message(self, where: str, count: int) -> None:
        if count == 10 ** (len(str(count)) - 1):  # the 1st, 10th, 100th …
            _log.info("not an event of this version, left out", where=where, so_far=count)

    def stop(self) -> None:
        """Let the thread end."""
        self._stop.set()

    def close(self) -> None:
        """End the thread."""
        self.stop()
        self._thread.join(_FOLLOWER_SECONDS)

    def _take(self, positions: Mapping[int, int]) -> None:
        """Give the waiting events to the memory; positions are written with them, or not at all.

        Events that cannot be written are given again with the next one. One that the memory cannot take is passed over.
        """
        try:
            self._history.take_all(self._waiting, positions)
        except HistoryError as error:
            if (line := str(error)) != self._failed:
                self._failed = line
                _log.error("the memory of alerts cannot be written", error=line)
            if len(self._waiting) < _MOST_WAITING:
                return
        except Exception:
            _log.exception("an event of the topic cannot be remembered and is passed over; this is a bug")
        else:
            self._failed = ""
        self._waiting.clear()

    def _run(self) -> None:
        try:
            reader = TopicReader(
                Broker(self._kafka.bootstrap, self._kafka.security),
                self._kafka.topic,
                resume=self._history.positions_in(f"{self._kafka.bootstrap}/{self._kafka.topic}"),
                listener=self,
                stopped=self._stop.is_set,
            )
            with contextlib.closing(reader.events()) as events:
                for read in events:
                    self._waiting.append(read.event)
                    self._take(reader.positions)
        except Exception:
            _log.exception("the topic is not followed any more; this is a bug")
