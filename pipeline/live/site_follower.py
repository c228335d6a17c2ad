"""Follows the topic of changes for one site, through outages of the broker."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from pipeline import logs
from pipeline.live.audit import change_of
from pipeline.live.control import ControlError
from pipeline.live.site_changes import Override, camera_in, override_of
from pipeline.settings import Site
from pipeline.sinks.compacted_topic import CompactedTopic, Record, record_of
from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError

_log = logs.get("changes")

#: Length of one poll, and so the longest wait of the thread's end, seconds.
_POLL_SECONDS = 0.5
#: Seconds between two looks for a topic or broker that is not there.
_RETRY_SECONDS = 2.0
#: After so many silent polls the broker is asked whether it is still there, which the client does not report.
_SILENT_POLLS = 10
#: Limit of its answer, and of the thread's end, seconds.
_ANSWER_SECONDS, _CLOSE_SECONDS = 3.0, 4.0


def changes_topic(site: Site) -> CompactedTopic | None:
    """Return the topic of changes; None where the site takes none. Raises KafkaSecurityError."""
    kafka = site.kafka
    if kafka.changes_topic is None:
        return None
    # One partition: the topic is then also the order in which changes were made.
    return CompactedTopic(
        Broker(kafka.bootstrap, kafka.security), kafka.changes_topic, partitions=1, create=kafka.create_topic
    )


def read_overrides(topic: CompactedTopic, site: str) -> dict[str, Override]:
    """Return the changes of a site's cameras that the topic has now; records that cannot be read are logged.

    Raises:
        BrokerUnavailableError: the broker cannot be reached, or the topic does not exist.
    """
    found = {}
    for record in topic.latest().values():
        if (camera := camera_in(record.key, site)) is not None and (override := _readable(record)) is not None:
            found[camera] = override
    return found


class SiteFollower:
    """Reads the topic from its beginning and then follows it, on a thread.

    Args:
        on_changes: called with the newest changes of cameras, None where they were taken back; on the thread, must
            return at once. At a connection the topic is read to its end first, so that no older state is reported.
    """

    def __init__(
        self, topic: CompactedTopic, site: str, on_changes: Callable[[Mapping[str, Override | None]], None]
    ) -> None:
        self._topic = topic
        self._site = site
        self._on_changes = on_changes
        self._next: dict[TopicPartition, int] = {}  # offsets from which another connection continues
        self._pending: dict[str, Override | None] = {}  # not reported yet
        self._trouble = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="site-changes", daemon=True)

    def start(self) -> None:
        """Start to follow, however long the broker is away and the topic missing."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except BrokerUnavailableError as error:
                self._report(str(error))
            except Exception:
                _log.exception("the changes of cameras cannot be followed; this is a bug")
            self._stop.wait(_RETRY_SECONDS)

    def _follow(self) -> None:
        """Follow the topic until the stop. Raises BrokerUnavailableError."""
        consumer = self._topic.broker.client(
            KafkaConsumer,
            client_id="mistwatch-changes",
            group_id=None,
            metrics_enabled=False,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
        )
        try:
            with self._topic.broker.explained():
                while not (numbers := consumer.partitions_for_topic(self._topic.topic)):
                    if self._stop.wait(_RETRY_SECONDS):  # the first change makes the topic
                        return
                places = [TopicPartition(self._topic.topic, number) for number in sorted(numbers)]
                consumer.assign(places)
                consumer.seek_to_beginning(*places)
                for place in [each for each in places if each in self._next]:
                    consumer.seek(place, self._next[place])
                self._report("")
                self._read(consumer, places)
        finally:
            with contextlib.suppress(Exception):
                consumer.close()

    def _read(self, consumer: KafkaConsumer, places: list[TopicPartition]) -> None:
        ends = consumer.end_offsets(places, timeout_ms=int(_ANSWER_SECONDS * 1000))
        silent = 0
        while not self._stop.is_set():
            batches = consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000))
            for place, records in batches.items():
                for record in records:
                    self._take(record)
                    self._next[place] = record.offset + 1
            # The last records of a compacted topic may be gone: then a silent poll says that this is its end.
            if not batches or all(self._next.get(place, 0) >= ends[place] for place in places):
                self._pass_on()
            silent = 0 if batches else silent + 1
            if silent >= _SILENT_POLLS:
                silent = 0
                consumer.end_offsets(places, timeout_ms=int(_ANSWER_SECONDS * 1000))

    def _pass_on(self) -> None:
        pending, self._pending = self._pending, {}
        if pending:
            self._on_changes(pending)

    def _take(self, message: Any) -> None:
        if message.key is None:
            return
        record = record_of(message)
        if (camera := camera_in(record.key, self._site)) is None:
            return
        if record.value is None:
            self._pending[camera] = None
        elif (override := _readable(record)) is not None:
            self._pending[camera] = override

    def _report(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            _log.warning("changes of cameras are not seen for now; the worker goes on", reason=trouble)
        self._trouble = trouble


def _readable(record: Record) -> Override | None:
    try:
        return override_of(record, change_of(record.headers))
    except ControlError as error:
        _log.error("a change cannot be read and is left out", offset=record.offset, error=str(error))
        return None
