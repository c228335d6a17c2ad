"""A made-up site on the topics of a broker, for the console: cameras, scores, alerts, pictures.

``python console_scene.py BOOTSTRAP FOLDER`` publishes a whole site, and goes on until it is interrupted.
"""

from __future__ import annotations

import contextlib
import math
import random
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import av
import numpy as np
from kafka import KafkaAdminClient, KafkaProducer

from operators.alerting import AlertState, AlertTransition
from operators.heat_kind import HeatKind
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.camera_report import CameraReport, ClipCounts
from pipeline.alerts.event import AlertEvent, event_from
from pipeline.alerts.evidence import encode_jpeg
from pipeline.alerts.likeness import GroupSeen, Likeness, MutedBecause, SimilarAlert, embedding_text
from pipeline.alerts.live_picture import HEADER, HeatGrid, LivePicture
from pipeline.alerts.place import Place
from pipeline.heat import Heat
from pipeline.live.recent_scores import JudgedBy, RecentScore
from pipeline.live.score_states import ScoreRecord
from pipeline.sinks.compacted_topic import CompactedTopic, Record
from pipeline.sinks.kafka_broker import Broker
from pipeline.sources.scale import Part

SITE = "yard"
ALERTS, CAMERAS, SCORES, PICTURES = "mistwatch.alerts", "mistwatch.cameras", "mistwatch.scores", "mistwatch.pictures"
STEP = 0.64  #: seconds of a clip
JUDGED = JudgedBy(
    open_threshold=0.6,
    close_threshold=0.48,
    min_clips=1,
    update_every_seconds=10.0,
    cooldown_seconds=10.0,
    max_duration_seconds=600.0,
    max_hole=8,
    kernel=5,
)
_NAMES = UUID("2d0a6b39-5b1e-4c47-a3b1-63b28c63a111")


class Scene:
    """Publishes to the topics of one broker; its methods return when the broker has everything."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.producer = KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=False)
        with contextlib.closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
            there = set(admin.list_topics())
            compacted = {"cleanup.policy": "compact"}
            for topic, configs in ((ALERTS, {}), (CAMERAS, compacted), (SCORES, compacted), (PICTURES, {})):
                if topic not in there:
                    one = {"num_partitions": 1, "replication_factor": 1, "configs": configs}
                    admin.create_topics({topic: one}, wait_for_metadata=True)

    def close(self) -> None:
        """End the connection."""
        self.producer.close(timeout=60)  # at most: a busy broker takes its time for what waits

    def events(self, *events: Any) -> None:
        """Publish events of the topic of alerts, in order."""
        for event in events:
            self.producer.send(ALERTS, key=event.subject.encode(), value=event.to_json())
        self.producer.flush(timeout=30)

    def latest(self, topic: str) -> dict[str, Record]:
        """Return the newest record of each key of a compacted topic; the topic comes with its first record or here."""
        found = CompactedTopic(Broker(self.bootstrap), topic, partitions=1)
        found.ensure()
        return found.latest()

    def raw(self, topic: str, key: str, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Publish any record."""
        self.producer.send(topic, key=key.encode(), value=value, headers=list(headers)).get(timeout=10)

    def reports(self, *reports: CameraReport) -> None:
        """Publish states of cameras."""
        for one in reports:
            self.producer.send(CAMERAS, key=one.camera.encode(), value=one.to_json())
        self.producer.flush(timeout=30)

    def scores(self, *records: ScoreRecord) -> None:
        """Publish records of scores."""
        for one in records:
            self.producer.send(SCORES, key=one.key.encode(), value=one.to_json())
        self.producer.flush(timeout=30)

    def picture(self, camera: str, frame: av.VideoFrame, heat: Heat | None = None) -> None:
        """Publish a live picture."""
        grid = None if heat is None else HeatGrid.of(heat, frame.width, frame.height)
        header = LivePicture(
            site=SITE,
            camera=camera,
            received_at=datetime.now(UTC),
            width=frame.width,
            height=frame.height,
            heat=grid,
        )
        value = encode_jpeg(frame, quantiser=6)
        self.raw(PICTURES, camera, value, [(HEADER, header.model_dump_json().encode())])


def report(camera: str, state: str = "streaming", *, message: str | None = None, **changes: Any) -> CameraReport:
    """Return a camera's state as of now."""
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "site": SITE,
        "camera": camera,
        "worker": "node-1:4711",
        "generation": None,
        "live": True,
        "state": state,
        "reason": None if message is None else "unreachable",
        "message": message,
        "since": now - timedelta(hours=3, minutes=12),
        "reported_at": now,
        "heartbeat_seconds": 10.0,
        "frames": 120_000,
        "last_frame_at": now if state == "streaming" else now - timedelta(minutes=4),
        "clips": ClipCounts(scored=11_200, gated=5_310, dropped={"overload": 12, "error": 0}),
        "open_alerts": [],
        "models": {"": "courtyard/3"},
    }
    return CameraReport(**(fields | changes))


def score_records(
    camera: str,
    values: Sequence[float],
    *,
    until: datetime | None = None,
    detector: str = "",
    segment: str = "one",
    first: int = 0,
    judged_by: JudgedBy | None = JUDGED,
    batch: int = 40,
    gated: Sequence[bool] | None = None,
) -> list[ScoreRecord]:
    """Return records with a smoothed score for each clip of :data:`STEP` seconds, the last one ending at ``until``."""
    end = until or datetime.now(UTC)
    begin = end - timedelta(seconds=STEP * len(values))
    still = gated or [False] * len(values)
    scores = [
        RecentScore(
            segment=segment,
            index=first + place,
            started_pts_seconds=round((first + place) * STEP, 6),
            ended_pts_seconds=round((first + place + 1) * STEP, 6),
            ended_at=begin + timedelta(seconds=(place + 1) * STEP),
            smoothed=round(float(value), 6),
            gated=True if still[place] else None,
            model="courtyard/3",
        )
        for place, value in enumerate(values)
    ]
    records = []
    for place in range(0, len(scores), batch):
        recent = tuple(scores[place : place + batch])
        last = recent[-1]
        records.append(
            ScoreRecord(
                site=SITE,
                camera=camera,
                detector=detector,
                ended_at=last.ended_at,
                score=min(1.0, last.smoothed * 1.1),
                smoothed=last.smoothed,
                gated=last.gated is True,
                recent=recent,
                scores_before=first + place,
                judged_by=judged_by,
            )
        )
    return records


def alert(
    camera: str,
    at: datetime,
    *,
    seconds: float = 12.0,
    states: Sequence[AlertState] = (AlertState.BEGIN, AlertState.END),
    peak: float = 0.82,
    evidence: Sequence[str] = (),
    detector: str | None = None,
    angle: float | None = None,
    group: UUID | None = None,
    similar: Sequence[SimilarAlert] = (),
    muted_because: MutedBecause | None = None,
    place: Place | None = None,
    zones: tuple[str, ...] | None = None,
    generation: int | None = None,
) -> list[AlertEvent]:
    """Return the events of one alert that begins at ``at``.

    Args:
        angle: degrees, of its embedding in a plane; None: it has no likeness.
    """
    count = max(2, round(seconds / STEP))
    start = at.timestamp() % 100_000
    curve = [peak * (0.75 + 0.25 * math.sin(math.pi * number / (count - 1))) for number in range(count)]

    def smoothed(number: int) -> SmoothedScore:
        begin = at + timedelta(seconds=number * STEP)
        times = ClipTimes(begin, begin + timedelta(seconds=STEP), begin, begin)
        clip = ClipScore(
            camera,
            f"{camera}/1",
            number,
            start + number * STEP,
            start + (number + 1) * STEP,
            min(1.0, curve[number] * (1.08 if number % 2 else 0.94)),
            "courtyard",
            "3",
            times,
        )
        return SmoothedScore(clip, curve[number])

    clips = [smoothed(number) for number in range(count)]
    best = max(clips, key=lambda one: one.value)
    shares = np.array_split(np.arange(count), len(states))
    events = []
    for sequence, (state, share) in enumerate(zip(states, shares, strict=True)):
        last = clips[int(share[-1])]
        step = AlertTransition(
            state=state,
            camera=camera,
            segment=f"{camera}/1",
            sequence=sequence,
            first=clips[0].clip,
            last=last.clip,
            peak=best,
            threshold=JUDGED.open_threshold,
            scores=tuple(clips[int(number)] for number in share),
            end_reason="below_threshold" if state is AlertState.END else None,
        )
        event = event_from(
            step,
            site=SITE,
            run="",
            evidence=list(evidence),
            detector=detector,
            several_detectors=detector is not None,
            generation=generation,
        )
        if zones is not None:
            event = event.zoned(zones, None)
        if angle is not None:
            event = event.enriched(_likeness(event, angle, group, similar), muted_because)
        events.append(event.placed(place) if place is not None else event)
    return events


def _likeness(event: AlertEvent, angle: float, group: UUID | None, similar: Sequence[SimilarAlert]) -> Likeness:
    embedding = np.zeros(16, np.float32)
    embedding[:2] = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    seen = GroupSeen(
        id=group or event.data.alert_id,
        size=1,
        first_at=event.data.started_at,
        last_day=0,
        judgement=None,
        similarity=0.9,
        mute_similarity=0.9,
    )
    return Likeness(
        embedding_version="alike/1", embedding=embedding_text(embedding), group=seen, similar=tuple(similar)
    )


def heat_at(x: float, y: float, width: int, height: int) -> Heat:
    """Return a map that is hot around a place, given as shares of the picture."""
    rows, columns = 15, 24
    down, across = np.mgrid[0:rows, 0:columns]
    far = ((across / columns - x) ** 2 + ((down / rows - y) * height / width) ** 2) / 0.006
    return Heat(np.exp(-far).astype(np.float32), Part(0, 0, width, height), HeatKind.ANOMALY)


def plain_frame(shade: int = 90, width: int = 64, height: int = 48) -> av.VideoFrame:
    """Return a grey picture."""
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), shade, np.uint8), format="rgb24")


# -- a whole site, for looking at the pages ------------------------------------------------------------------------


def _story(scene: Scene, folder: Path) -> None:
    from pipeline.courtyard.scene import Courtyard
    from pipeline.courtyard.settings import SceneSettings

    random.seed(7)
    names = [
        "north-gate", "courtyard", "loading-dock", "car-park-1", "car-park-2", "stairwell-b", "reception", "roof-east",
        "bike-shed", "corridor-2", "server-room", "south-fence",
    ]  # fmt: skip
    scenes = {name: Courtyard(SceneSettings(seed=20 + place, seconds=3600, fps=5)) for place, name in enumerate(names)}
    now = datetime.now(UTC)

    def frame(name: str, number: int) -> av.VideoFrame:
        return av.VideoFrame.from_ndarray(scenes[name].frame(number), format="rgb24")

    def jpeg(name: str, number: int, hot: tuple[float, float] | None = None) -> str:
        path = folder / name / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        heat = None if hot is None else heat_at(*hot, 640, 360)
        path.write_bytes(encode_jpeg(frame(name, number), heat))
        return path.as_uri()

    waves = np.random.default_rng(3)

    def wave(name: str, hours: float) -> np.ndarray:
        count = int(hours * 3600 / STEP)
        noise = np.convolve(waves.normal(0, 1, count + 200), np.ones(90) / 90, "same")[:count]
        values = 0.24 + 0.5 * noise + 0.02 * waves.normal(0, 1, count)
        for _ in range(int(hours * 2)):
            at = int(waves.integers(200, count - 600))
            values[at : at + 30] += waves.uniform(0.2, 0.5)
        if name in ("courtyard", "car-park-1"):
            values[-25:] = 0.76 + 0.02 * waves.normal(0, 1, 25)
        elif name == "bike-shed":
            values[-40:] += 0.25
        return np.clip(values, 0.02, 0.98)

    for name in names:
        hours = 3.0 if name == "courtyard" else 0.15
        scene.scores(*score_records(name, list(wave(name, hours)), until=now))
    walkway = Place(version="places/1", place=("ground", "walkway"), object=("vehicle", "cart"))
    lawn = Place(version="places/1", place=("ground", "lawn"), object=("person",))
    founders: list[tuple[UUID, float]] = []
    earlier: list[AlertEvent] = []
    for number in range(48):
        name = names[number % 7]
        at = now - timedelta(minutes=8 + 19 * (48 - number) + random.random() * 9)
        kind = number % 3
        group = founders[kind][0] if kind < len(founders) else None
        uri = jpeg(name, 40 + 23 * number, (0.3 + 0.1 * kind, 0.55)) if number % 5 else str(folder / "gone" / "x.jpg")
        similar = [
            SimilarAlert(
                alert_id=one.data.alert_id,
                camera=one.data.camera,
                started_at=one.data.started_at,
                similarity=round(0.97 - 0.02 * place, 4),
                judgement=None,
            )
            for place, one in enumerate([one for one in earlier[-12:] if one.data.camera != name][:4])
        ]
        events = alert(
            name,
            at,
            seconds=6 + 30 * random.random(),
            peak=0.62 + 0.33 * random.random(),
            evidence=[uri if uri.startswith("file:") else f"file://{uri}"],
            angle=kind * 30.0,
            group=group,
            similar=similar,
            place=(walkway, lawn, None)[kind],
            zones=(("lawn",), None, ("gate",))[kind],
            muted_because=MutedBecause(judgement=uuid5(_NAMES, "m"), similarity=0.95, note="gardener's cart")
            if kind == 0 and number > 20
            else None,
        )
        if group is None:
            founders.append((events[0].data.alert_id, kind * 30.0))
        earlier.append(events[0])
        scene.events(*events)
    open_ids: dict[str, list[UUID]] = {name: [] for name in names}
    for name, hot in (("courtyard", (0.45, 0.55)), ("car-park-1", (0.6, 0.5))):
        at = now - timedelta(seconds=18)
        begun = alert(
            name,
            at,
            seconds=10,
            states=[AlertState.BEGIN],
            evidence=[jpeg(name, 700, hot)],
            angle=75.0,
            place=walkway if name == "courtyard" else None,
            zones=("lawn",) if name == "courtyard" else None,
        )
        scene.events(*begun)
        open_ids[name].append(begun[0].data.alert_id)
    print("published", flush=True)
    number = 700
    index = dict.fromkeys(names, 100000)
    while True:
        for name in names:
            if name == "roof-east":
                continue  # no worker vouches for it any more
            if name == "south-fence":
                message = "camera south-fence: 10.0.4.17 port 554: no route to the host; tried again in 8 s"
                scene.reports(report(name, "backing_off", message=message))
                continue
            scene.reports(report(name, worker=f"node-{1 + names.index(name) % 2}:4711", open_alerts=open_ids[name]))
            hot = heat_at(0.45, 0.55, 640, 360) if name in ("courtyard", "car-park-1") else None
            if name != "server-room":
                scene.picture(name, frame(name, number), hot)
            values = list(wave(name, 0.15)[-3:])
            scene.scores(*score_records(name, values, segment="two", first=index[name]))
            index[name] += 3
        number += 10
        time.sleep(1.5)


if __name__ == "__main__":
    where = Scene(sys.argv[1])
    first = report("roof-east")
    where.reports(first.model_copy(update={"heartbeat_seconds": 0.1}))
    with contextlib.suppress(KeyboardInterrupt):
        _story(where, Path(sys.argv[2]))
