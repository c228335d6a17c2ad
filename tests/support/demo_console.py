"""The console of a demo that runs, and the truth of what its cameras showed."""

from __future__ import annotations

import io
import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import chromium
from coded_films import units
from demo_process import Demo
from kafka import KafkaConsumer, TopicPartition

from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import SceneSettings

MODEL, FPS, SEED = "courtyard", 12.5, 7001
#: A demo renders films that are longer than its watch by this.
SPARE_SECONDS = 20.0
#: True when a page of the console is drawn.
READY = "document.querySelector('#main')?.dataset.ready"


class Topic:
    """The records of a topic from its beginning, with the times at which the broker received them."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self.records: list[tuple[float, dict[str, Any]]] = []
        self._name = name
        self._consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, group_id=None)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        # The topic may come with its first record.
        while not (numbers := self._consumer.partitions_for_topic(self._name)):
            if self._over.wait(0.2):
                return
        self._consumer.assign([TopicPartition(self._name, number) for number in numbers])
        self._consumer.seek_to_beginning()
        while not self._over.is_set():
            for records in self._consumer.poll(timeout_ms=200).values():
                self.records += [(one.timestamp / 1000, json.loads(one.value)) for one in records if one.value]

    def close(self) -> None:
        self._over.set()
        self._thread.join(10)
        self._consumer.close()

    def alerts(self, state: str) -> dict[str, tuple[float, dict[str, Any]]]:
        """Events of a state by their alert: when the broker got it, and its data."""
        return {
            event["data"]["alert_id"]: (at, event["data"])
            for at, event in self.records
            if event.get("type", "").startswith("mistwatch.alert.") and event["data"]["state"] == state
        }


def answer(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as found:
        return json.load(found)


def content(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as found:
        return bytes(found.read())


def wait_for(right: Callable[[], Any], what: str, seconds: float) -> Any:
    limit = time.monotonic() + seconds
    while not (found := right()):
        assert time.monotonic() < limit, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
    return found


@dataclass
class DemoConsole:
    """A demo that runs with its console, and a browser."""

    demo: Demo
    browser: chromium.Chromium
    url: str
    bootstrap: str
    topics: list[Topic] = field(default_factory=list)

    def topic(self, name: str) -> Topic:
        """Return a topic of the demo's broker, which is read from now on."""
        self.topics.append(Topic(self.bootstrap, name))
        return self.topics[-1]


@contextmanager
def demo_console(folder: Path, *, cameras: int, seconds: float) -> Iterator[DemoConsole]:
    """Run a demo with its console and a browser beside it; both are ended."""
    options = ("--model", MODEL, "--cameras", f"{cameras}", "--seconds", f"{seconds:g}", "--console", "0")
    demo = Demo(folder, *options)
    topics: list[Topic] = []
    try:
        with chromium.Chromium() as browser:
            url = demo.wait_until_it_says("the console is at", 600).split()[-1]
            (bootstrap,) = {one for line in demo.running() for one in re.findall(r"--bootstrap (\S+)", line)}
            yield DemoConsole(demo, browser, url, bootstrap, topics)
    finally:
        for topic in topics:
            topic.close()
        demo.kill()


def first_filmed(url: str, alerts: Topic) -> dict[str, Any] | None:
    """Return the answer about an alert whose film and notes are there; None before that."""
    for name in alerts.alerts("end"):
        found = answer(f"{url}/api/alerts/{name}")
        if found["film"] and found["film"]["heat"] and found["can_judge"]:
            return dict(found)
    return None


def scene_of(camera: str, seconds: float) -> Courtyard:
    """Return the scene that a demo of so many seconds rendered for a camera."""
    number = int(camera.rpartition("-")[2]) - 1
    return Courtyard(SceneSettings(seed=SEED + number, fps=FPS, seconds=seconds + SPARE_SECONDS))


def pictures_of(film: bytes | Path) -> list[bytes]:
    """Return the coded pictures of a film without parameter sets, which a camera sends with them."""
    with av.open(io.BytesIO(film) if isinstance(film, bytes) else str(film)) as container:
        return [
            b"".join(unit for unit in units(bytes(packet)) if unit and unit[0] & 0x1F in (1, 5))
            for packet in container.demux(video=0)
            if packet.size
        ]


def numbers_of(film: bytes, rendered: Path) -> list[int]:
    """Return the number that each picture of an alert's film has in the rendered one."""
    number_of = {coded: number for number, coded in enumerate(pictures_of(rendered))}
    return [number_of[coded] for coded in pictures_of(film)]


def number_at(pts_seconds: float, numbers: list[int], begun: dict[str, Any], notes: dict[str, Any]) -> int:
    """Return the number, in the rendered film, of the picture at a time of the segment.

    Args:
        numbers: of the pictures of an alert's film.
        begun: data of that alert's begin.
        notes: those beside its film.
    """
    film_starts_at = begun["started_pts_seconds"] - notes["alert_starts_at_seconds"]
    return numbers[0] + round((pts_seconds - film_starts_at) * FPS)
