"""Cameras owned by one of several workers: claims, generations, and the states that an owner leaves to the next one.

A worker claims a camera before it watches it (:mod:`pipeline.live.claims`), and follows the claims of others. Where two
workers believe that they own a camera, the one with the lower generation hands it over as soon as it reads the other's
claim. Until then consumers tell their events apart by the generation.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from kafka import KafkaConsumer, TopicPartition

from pipeline import logs
from pipeline.alerts.assembler import AssemblerState
from pipeline.alerts.reading import Event
from pipeline.live.claims import ClaimRecord, Claims
from pipeline.live.deadline import Deadline
from pipeline.live.listener import Watch
from pipeline.live.score_states import ScoreStates, key_of
from pipeline.sinks.compacted_topic import NewRecord, Record, record_of
from pipeline.sinks.kafka_broker import BrokerUnavailableError

_log = logs.get("ownership")

#: Between two looks at the topic.
_POLL_SECONDS = 0.2
#: Without a look for so long the process was frozen, or the machine is overloaded.
_FROZEN_SECONDS = 1.0
#: After a failure to follow the topic.
_RETRY_SECONDS = 1.0
<<<<<<< HEAD
#: Limit of a close.
=======
#: After a failure to read a camera's claims for an event of it, which waits for the answer.
_READ_AGAIN_SECONDS = 30.0
#: Limit for the end of the thread.
>>>>>>> mendb
_CLOSE_SECONDS = 4.0
#: The last states of cameras that are released may take so long.
_FLUSH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A camera owned by this worker.

    Attributes:
        generation: offset of the claim on the scores topic; an owner with a higher one has taken the camera over.
        states: newest state of each detector (by its name; empty at a site that names none) that earlier owners left.
    """

    camera: str
    generation: int
    states: Mapping[str, AssemblerState] = field(default_factory=dict)


class Ownership:
    """Claims cameras, and notices when another worker claims one of them. Thread-safe.

    Args:
        states: of this worker's cameras; not closed here.
        worker: names this worker in its claims, for people.
        on_fenced: called with a camera and the generation of another worker's newer claim: hand the camera over at
            once. Runs on a thread of its own; an exception that it raises is logged.
    """

    def __init__(self, states: ScoreStates, *, worker: str, on_fenced: Callable[[str, int], None]) -> None:
        self._states = states
        self._topic = states.topic
        self._worker = worker
        self._on_fenced = on_fenced
        self._lock = threading.Lock()  # of the next four
        self._owned: dict[str, int] = {}  # generations
        self._newest: dict[str, int] = {}  # the newest claims of cameras in the partitions that were read
        self._fenced: set[str] = set()  # reported
        self._known: dict[int, int] = {}  # partitions that are followed, with the offset that is read next
        self._polled_at = math.inf  # when the topic was last looked at, on the monotonic clock
        self._polled = threading.Condition()
        self._reading = threading.Lock()  # held while claims are read for an event
        self._read_again_at = -math.inf  # on the monotonic clock
        self._stop = threading.Event()
        states.is_lost = self.is_lost
        self._thread = threading.Thread(target=self._run, name="ownership", daemon=True)

    def start(self) -> None:
        """Start to follow the claims of other workers."""
        self._states.start()
        self._thread.start()

    def claim(self, camera: str) -> Claim:
        """Write a claim, and read the states that earlier owners left; see :meth:`claim_all`."""
        return self.claim_all([camera])[0]

    def claim_all(self, cameras: Sequence[str]) -> list[Claim]:
        """Claim cameras with one exchange, which takes little longer than for one.

        The states that an earlier owner writes until it reads the claim are not in it.

        Raises:
            BrokerUnavailableError: the scores topic cannot be reached. The cameras must not be taken yet: their states
                are unknown, and so is whether the claims are written. Claim them again.
        """
        if not cameras:
            return []
        value = ClaimRecord(worker=self._worker).model_dump_json().encode()
        generations = self._topic.send_all_now([NewRecord(camera, value, camera) for camera in cameras])
        claims = self._read({self._topic.partition_of(camera) for camera in cameras})
        with self._lock:
            for camera, generation in zip(cameras, generations, strict=True):
                self._owned[camera] = generation
                self._newest[camera] = max(self._newest.get(camera, 0), generation)
                self._fenced.discard(camera)
        return [
            Claim(camera, generation, _states_of(claims, camera))
            for camera, generation in zip(cameras, generations, strict=True)
        ]

    def release(self, camera: str, *, detectors: Collection[str] | None = None) -> None:
        """Send the camera's last states, and follow its claims no longer; after ``Worker.hand_over``.

        Args:
            detectors: the camera is not watched any more by any worker: remove its claim, and the scores of these
                detectors (``[""]`` where the site names none).

        Raises:
            BrokerUnavailableError: its records could not be removed.
        """
        with self._lock:
            generation = self._owned.pop(camera, None)
            fenced = generation is not None and self._newest.get(camera, generation) > generation
        if not self._states.flush(_FLUSH_SECONDS):
            _log.warning("the last state of a camera is not published in time; alerts may end there", camera=camera)
        self._states.forget(camera)
        if detectors is not None and not fenced:
            keys = [*(key_of(Watch(camera, detector)) for detector in detectors), camera]
            self._topic.send_all_now([NewRecord(key, None, camera) for key in keys])

    def generation_of(self, camera: str) -> int | None:
        """Return the generation of this worker's claim; None where it has none."""
        with self._lock:
            return self._owned.get(camera)

    def is_lost(self, camera: str, generation: int) -> bool:
        """Return whether another worker is known to have claimed a camera of this worker's after ``generation``.

        Where the process has not looked at the topic for a while, because it was frozen, this looks first, for at most
        a second.
        """
        if time.monotonic() - self._polled_at > _FROZEN_SECONDS:
            with self._polled:
                self._polled.wait(_FROZEN_SECONDS)
        with self._lock:
            return self._newest.get(camera, generation) > generation

    def is_late(self, event: Event, *, is_patient: bool = True) -> bool:
        """Return whether a worker of a higher generation has claimed the event's camera meanwhile.

        For a camera that this worker has not claimed, for example of events that an earlier run has left, the topic is
        read once. While it cannot be reached, nothing is known to be late.

        Args:
            is_patient: ask also when the topic could not be reached a moment ago. Sinks other than Kafka do not wait
                for it with every event.
        """
        generation: int | None = getattr(event.data, "generation", None)
        if generation is None:
            return False
        newest = self._newest_of(event.subject, is_patient)
        return newest is not None and newest > generation

    def _newest_of(self, camera: str, is_patient: bool) -> int | None:
        """Return the generation of a camera's newest claim, -1 without one; None where it is not known for now."""
        with self._lock:
            newest = self._newest.get(camera)
        if newest is not None or not self._may_read(is_patient):
            return newest
        with self._reading:
            with self._lock:
                newest = self._newest.get(camera)  # another sink's thread may have read it meanwhile
            if newest is not None or not self._may_read(is_patient):
                return newest
            try:
                self._read({self._topic.partition_of(camera)})
            except BrokerUnavailableError as error:
                if time.monotonic() >= self._read_again_at:
                    _log.warning("not known whether older events are late", camera=camera, reason=str(error))
                self._read_again_at = time.monotonic() + _READ_AGAIN_SECONDS
                return None
            with self._lock:
                return self._newest.setdefault(camera, -1)

    def _may_read(self, is_patient: bool) -> bool:
        """Return whether a thread of a sink may wait for the topic now."""
        return not self._stop.is_set() and (is_patient or time.monotonic() >= self._read_again_at)

    def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """End the thread, within ``seconds``. The last states are sent by :meth:`ScoreStates.stop`.

        A claim in flight is left to the thread that makes it.
        """
        deadline = Deadline(seconds)
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._topic.close(deadline.share(seconds))

    def _read(self, partitions: Collection[int]) -> Claims:
        """Read partitions to their ends, and follow them from there on."""
        claims, ends = Claims(), dict.fromkeys(partitions, 0)
        for record in self._topic.read(partitions):
            if isinstance(line := claims.take(record), str):
                _log.warning("a record of the scores topic cannot be read, and is skipped", record=line)
            ends[record.partition] = record.offset + 1
        with self._lock:
            for camera, known in claims.cameras.items():
                if known.newest is not None:
                    self._newest[camera] = max(self._newest.get(camera, 0), known.newest)
            for partition, end in ends.items():
                self._known.setdefault(partition, end)
        return claims

    # -- on the thread that follows the topic ----------------------------------------------------------------------

    def _run(self) -> None:
        trouble = ""
        while not self._stop.is_set():
            try:
                self._follow()
                trouble = ""
            except BrokerUnavailableError as error:
                if trouble != (trouble := str(error)):
                    _log.warning("claims of other workers are not seen for now", reason=trouble)
            except Exception:
                _log.exception("the claims of other workers cannot be followed; this is a bug")
            self._stop.wait(_RETRY_SECONDS)

    def _follow(self) -> None:
        """Follow the known partitions until the stop. Raises BrokerUnavailableError."""
        while not self._known:
            if self._stop.wait(_POLL_SECONDS):
                return
        consumer = self._topic.broker.client(
            KafkaConsumer,
            client_id="mistwatch-ownership",
            group_id=None,
            metrics_enabled=False,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
        )
        try:
            with self._topic.broker.explained():
                while not self._stop.is_set():
                    self._assign(consumer)
                    for records in consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000)).values():
                        for record in records:
                            self._take(record_of(record))
                    with self._polled:
                        self._polled_at = time.monotonic()
                        self._polled.notify_all()
                    self._report_fenced()
        finally:
            self._polled_at = math.inf  # the topic is away, and to wait for it would hold up alerts
            with contextlib.suppress(Exception):
                consumer.close()

    def _assign(self, consumer: KafkaConsumer) -> None:
        """Follow every known partition, each from the record after the last one that was read."""
        with self._lock:
            known = {TopicPartition(self._topic.topic, number): offset for number, offset in self._known.items()}
        if consumer.assignment() != set(known):
            consumer.assign(list(known))
            for partition, offset in known.items():
                consumer.seek(partition, offset)

    def _take(self, record: Record) -> None:
        camera, slash, detector = record.key.partition("/")
        with self._lock:
            self._known[record.partition] = record.offset + 1
            if not slash:
                self._newest[camera] = max(self._newest.get(camera, 0), record.offset)
                return
            own = self._owned.get(camera)
        if own is None or own > record.offset:
            return
        claims = Claims()
        claims.take(Record(camera, b"", record.partition, own, record.published_at))
        if isinstance(claims.take(record), Watch):
            # A worker that had lost the camera has replaced our state: when the topic is compacted ours would be gone.
            _log.warning("another worker still writes the state of a camera that it has lost", camera=camera)
            self._states.repeat(Watch(camera, detector))

    def _report_fenced(self) -> None:
        with self._lock:
            fenced = {
                camera: self._newest[camera]
                for camera, generation in self._owned.items()
                if self._newest.get(camera, generation) > generation and camera not in self._fenced
            }
            self._fenced |= set(fenced)
        for camera, generation in fenced.items():
            _log.warning("another worker has claimed the camera; it is handed over", camera=camera)
            try:
                self._on_fenced(camera, generation)
            except Exception:
                _log.exception("a camera could not be handed over; this is a bug", camera=camera)


def _states_of(claims: Claims, camera: str) -> dict[str, AssemblerState]:
    known = claims.cameras.get(camera)
    return {} if known is None else {name: state for name, state in known.states.items() if state is not None}
