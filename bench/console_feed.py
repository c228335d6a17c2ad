"""A made-up site on the topics at the pace of real workers, for bench/console_load.py.

Each camera has a record of scores every second (clips of 0.64 s), a live picture every two seconds and a report every
ten, those of one worker together. Alerts begin at random cameras, with an update and an end.
"""

from __future__ import annotations

import heapq
import itertools
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import av
import numpy as np
from kafka import KafkaProducer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from console_scene import ALERTS, CAMERAS, PICTURES, SCORES, SITE, Scene, alert, heat_at, report  # noqa: E402
from console_scene import score_records as records_of  # noqa: E402

from operators.alerting import AlertState  # noqa: E402
from pipeline.alerts.event import AlertEvent  # noqa: E402
from pipeline.alerts.evidence import encode_jpeg  # noqa: E402
from pipeline.alerts.judgement import JudgementEvent, judgement_event  # noqa: E402
from pipeline.alerts.likeness import MutedBecause  # noqa: E402
from pipeline.alerts.live_picture import HEADER, HeatGrid, LivePicture  # noqa: E402
from pipeline.alerts.place import Place  # noqa: E402
from pipeline.courtyard.scene import Courtyard  # noqa: E402
from pipeline.courtyard.settings import SceneSettings  # noqa: E402
from pipeline.live.live_pictures import shrunk  # noqa: E402

WORKERS = 4
SCORE_SECONDS, PICTURE_SECONDS, REPORT_SECONDS = 1.0, 2.0, 10.0
#: Seconds from an alert's begin to its update and its end.
ALERT_STEPS = (0.0, 5.0, 11.0)
#: A camera begins a new segment about so often, seconds: it has connected again.
_SEGMENT_SECONDS = 300.0
PLACES = (
    Place(version="places/1", place=("ground", "walkway"), object=("vehicle", "cart")),
    Place(version="places/1", place=("ground", "lawn"), object=("person",)),
)
#: Part of the place of some alerts; for the filter.
PLACE = "lawn"
GROUPS = 40


@dataclass
class Ledger:
    """The alerts that were published.

    Attributes:
        begun, ended: when the broker had the begin and the end of each alert, on the monotonic clock.
        records: number of all records of the feed.
    """

    begun: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    records: int = 0


class Feed:
    """Publishes a site until :meth:`stop`.

    Args:
        alert_seconds: between the begins of two alerts.
    """

    def __init__(self, bootstrap: str, cameras: int, alert_seconds: float, *, seed: int = 5) -> None:
        self.names = [f"camera-{number:02}" for number in range(cameras)]
        self.ledger = Ledger()
        self.groups: list[UUID] = []
        self._bootstrap = bootstrap
        self._scene = Scene(bootstrap)
        self._producer = self._scene.producer
        self._alert_seconds = alert_seconds
        self._draw = random.Random(seed)
        self._pictures = _pictures()
        self._open: dict[str, set[UUID]] = {name: set() for name in self.names}
        self._clips = dict.fromkeys(self.names, 0)  # scored since the begin
        self._segments: dict[str, tuple[int, int]] = dict.fromkeys(self.names, (0, 0))  # number, first clip
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def history(self, alerts: int, days: float = 3.0) -> None:
        """Publish ended alerts of the last days; a quarter of them is muted, half are placed, most are of a group."""
        now = datetime.now(UTC) - timedelta(minutes=5)
        producer = KafkaProducer(
            bootstrap_servers=self._bootstrap, enable_idempotence=False, linger_ms=100, batch_size=1 << 18
        )
        for number in range(alerts):
            at = now - timedelta(days=days * (alerts - number) / alerts)
            group = self.groups[number % GROUPS] if len(self.groups) == GROUPS and number % 5 else None
            events = alert(
                self.names[number % len(self.names)],
                at,
                seconds=2.0 + 4.0 * self._draw.random(),
                peak=0.62 + 0.3 * self._draw.random(),
                angle=(number % GROUPS) * 9.0,
                group=group,
                place=PLACES[number % 4] if number % 4 < len(PLACES) else None,
                zones=("gate",) if number % 3 == 0 else None,
                muted_because=MutedBecause(judgement=UUID(int=number), similarity=0.95, note="gardener's cart")
                if number % 4 == 3
                else None,
            )
            if len(self.groups) < GROUPS:
                self.groups.append(events[0].data.alert_id)
            for event in events:
                producer.send(ALERTS, key=event.subject.encode(), value=event.to_json())
            if number % 20 == 0:
                judgement = _judged(events[0], real=number % 40 == 0)
                producer.send(ALERTS, key=judgement.subject.encode(), value=judgement.to_json())
        producer.close(timeout=120)

    def start(self) -> None:
        """Begin to publish, on a thread."""
        now = time.monotonic()
        for place, name in enumerate(self.names):
            phase = self._draw.random()
            self._every(now + phase, SCORE_SECONDS, lambda _due, name=name: self._score(name))
            self._every(
                now + PICTURE_SECONDS * phase,
                PICTURE_SECONDS,
                lambda due, name=name, place=place: self._picture(name, place, due),
            )
        for worker in range(WORKERS):
            first = now + REPORT_SECONDS * worker / WORKERS
            self._at(now, lambda _due, worker=worker: self._reports(worker))
            self._every(first, REPORT_SECONDS, lambda _due, worker=worker: self._reports(worker))
        self._every(now + self._alert_seconds, self._alert_seconds, self._begin)
        self._thread.start()

    def stop(self) -> None:
        """End; alerts that are open stay so."""
        self._stop.set()
        self._thread.join(60)
        self._scene.close()

    # -- on the feed's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._due and not self._stop.is_set():
            due, _, work = heapq.heappop(self._due)
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            work(due)

    def _at(self, due: float, work: Callable[[float], None]) -> None:
        heapq.heappush(self._due, (due, next(self._numbers), work))

    def _every(self, due: float, seconds: float, work: Callable[[float], None]) -> None:
        def again(due: float) -> None:
            work(due)
            self._at(due + seconds, again)

        self._at(due, again)

    def _send(self, topic: str, key: str, value: bytes, headers: list[tuple[str, bytes]] | None = None) -> None:
        self._producer.send(topic, key=key.encode(), value=value, headers=headers or [])
        self.ledger.records += 1

    def _score(self, name: str) -> None:
        self._clips[name] += 1
        number, first = self._segments[name]
        clips = 1 + self._clips[name] % 2  # 1.5 a second
        values = [0.2 + 0.15 * self._draw.random() for _ in range(clips)]
        if self._open[name]:
            values = [0.8] * clips
        elif self._draw.random() < SCORE_SECONDS / _SEGMENT_SECONDS:
            number, first = number + 1, 0
        (record,) = records_of(name, values, segment=f"{name}/{number}", first=first)
        self._segments[name] = (number, first + clips)
        self._send(SCORES, record.key, record.model_dump_json(exclude_none=True).encode())

    def _picture(self, name: str, place: int, due: float) -> None:
        jpeg, size, grid = self._pictures[(place + int(due / PICTURE_SECONDS)) % len(self._pictures)]
        header = LivePicture(
            site=SITE, camera=name, received_at=datetime.now(UTC), width=size[0], height=size[1], heat=grid
        )
        self._send(PICTURES, name, jpeg, [(HEADER, header.model_dump_json().encode())])

    def _reports(self, worker: int) -> None:
        for name in self.names[worker::WORKERS]:
            self._report(name)

    def _report(self, name: str) -> None:
        worker = f"node-{self.names.index(name) % WORKERS}:4711"
        state = report(name, worker=worker, open_alerts=sorted(self._open[name]))
        self._send(CAMERAS, name, state.to_json())

    def _begin(self, due: float) -> None:
        name = self._draw.choice(self.names)
        states = (AlertState.BEGIN, AlertState.UPDATE, AlertState.END)
        events = alert(name, datetime.now(UTC), states=states, angle=self._draw.random() * 360, place=PLACES[0])
        for event, after in zip(events, ALERT_STEPS, strict=True):
            self._at(due + after, lambda _due, event=event: self._publish(event))

    def _publish(self, event: AlertEvent) -> None:
        name, identity, state = event.data.camera, event.data.alert_id, event.data.state
        self._send(ALERTS, event.subject, event.to_json())
        if state == "begin":
            self.ledger.begun[str(identity)] = time.monotonic()
            self._open[name].add(identity)
        elif state == "end":
            self.ledger.ended[str(identity)] = time.monotonic()
            self._open[name].discard(identity)
        if state != "update":
            self._report(name)


def _pictures() -> list[tuple[bytes, tuple[int, int], HeatGrid | None]]:
    """Return JPEGs as workers make them, with their sizes; a quarter has heat."""
    scene = Courtyard(SceneSettings(seed=21, seconds=60, fps=5))
    found = []
    for number in range(8):
        frame = shrunk(av.VideoFrame.from_ndarray(scene.frame(17 * number), format="rgb24"))
        heat = HeatGrid.of(heat_at(0.45, 0.55, 640, 360), 640, 360) if number % 4 == 0 else None
        found.append((encode_jpeg(frame, quantiser=6), (frame.width, frame.height), heat))
    return found


def _judged(begin: AlertEvent, *, real: bool) -> JudgementEvent:
    now = datetime.now(UTC)
    return judgement_event(
        site=SITE,
        target=begin.data.alert_id,
        camera=begin.data.camera,
        verdict="real" if real else "normal",
        judged_at=now,
        expires_at=None if real else now + timedelta(days=90),
        similarity=0.9,
        embedding_version="alike/1",
        exemplars=[np.eye(1, 16, dtype=np.float32)[0]],
    )
