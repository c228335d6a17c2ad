"""Workers of a group as processes, ``mistwatch run --group``, and what can be seen of their cameras from outside.

Every camera has one alert that stays open: its threshold is below any picture's brightness. So each begin beyond the
first one of a camera is an alert that was begun twice.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from PIL import Image
from ports import free_port
from site_runs import scrape
from web_camera import Page, WebCamera

from deploy.lifetime import end_with_parent
from pipeline.alerts.reading import read_event
from pipeline.live.control_topic import put_camera, remove_camera
from pipeline.sinks.compacted_topic import CompactedTopic
from pipeline.sinks.kafka_broker import Broker

ROOT = Path(__file__).resolve().parent.parent.parent
#: Seconds between two looks at the workers' metrics.
LOOK_SECONDS = 0.2
#: Seconds between two pictures of a camera. The model's clips begin every second picture.
PICTURE_SECONDS = 0.5


class Pictures(WebCamera):
    """Grey pictures, of another brightness each, for every camera: cameras that cost next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        shades = itertools.cycle([jpeg_of(brightness) for brightness in range(100, 150, 5)])
        self.pages["/picture"] = lambda: Page(next(shades), "image/jpeg")


def jpeg_of(brightness: int) -> bytes:
    """Return a small grey picture."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (brightness, brightness, brightness)).save(file, "jpeg")
    return file.getvalue()


class GroupWorker:
    """One worker, with a state folder of its own that outlives it."""

    def __init__(self, folder: Path, triton: str, bootstrap: str, *, capacity: int = 16) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.config = folder / "site.yaml"
        self.config.write_text(
            f"site: test\nstate_dir: state\ntriton: {{address: '{triton}'}}\nmetrics: {{port: {self.port}}}\n"
            f"kafka: {{bootstrap: '{bootstrap}'}}\ngroup: {{capacity: {capacity}}}\ngate: off\n"
            "alerts: {min_clips: 1, open_threshold: 0.01, close_threshold: 0.001, update_every_seconds: 2, "
            "max_duration_seconds: 100000}\n"
        )

    def start(self) -> None:
        """Start the process."""
        command = [sys.executable, "-P", "-m", "pipeline.cli", "run", "--config", str(self.config), "--group", "g"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--json"],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    @property
    def log(self) -> str:
        """All that its processes have logged."""
        return (self.folder / "log").read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """Kill the process, frozen or not."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def terminate(self, seconds: float) -> float:
        """End the process in order; return how long that took, seconds."""
        assert self.process is not None
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(seconds)
        return time.monotonic() - began

    @property
    def is_running(self) -> bool:
        """Return whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def metrics(self) -> dict[str, float]:
        """Its metrics; empty while it does not answer."""
        if self.is_running:
            with contextlib.suppress(OSError):
                return scrape(self.port)
        return {}

    def scored(self) -> dict[str, float]:
        """Clips scored of each of its cameras."""
        start = 'mistwatch_clips_scored_total{camera="'
        return {name[len(start) : -2]: count for name, count in self.metrics().items() if name.startswith(start)}


class Watchman:
    """Looks all the time which cameras have been scored anew, by any worker."""

    def __init__(self, workers: Sequence[GroupWorker]) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._counts: dict[tuple[int, int | None, str], float] = {}
        self.seen: dict[str, float] = {}  #: when each camera was last scored (monotonic)
        self.owners: dict[str, int] = {}  #: the worker that did
        self.gaps: dict[str, float] = {}  #: the longest time without, since the last :meth:`reset`
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Begin to measure gaps."""
        with self._lock:
            self.gaps = {}
            self.seen = dict.fromkeys(self.seen, time.monotonic())

    def forget(self, camera: str) -> None:
        """Look no longer at a camera."""
        with self._lock:
            for kept in (self.seen, self.owners, self.gaps):
                kept.pop(camera, None)

    def wait_for(self, right: Callable[[Watchman], bool], seconds: float) -> float:
        """Wait until the cameras are as they should; return the seconds that this took."""
        began = time.monotonic()
        while True:
            with self._lock:
                if right(self):
                    return time.monotonic() - began
            assert time.monotonic() - began < seconds, (
                f"not within {seconds:g} s; owners {Counter(self.owners.values())}\n"
                + "\n".join(worker.log[-3000:] for worker in self._workers)
            )
            time.sleep(LOOK_SECONDS / 2)

    def longest_gap(self) -> float:
        """The longest time that any camera was not scored, since the last :meth:`reset`; seconds."""
        with self._lock:
            now = time.monotonic()
            return max([*self.gaps.values(), *(now - seen for seen in self.seen.values())])

    def stop(self) -> None:
        """Look no longer."""
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for number, worker in enumerate(self._workers):
                pid = None if worker.process is None else worker.process.pid
                self._take(number, pid, worker.scored())

    def _take(self, number: int, pid: int | None, scored: dict[str, float]) -> None:
        now = time.monotonic()
        with self._lock:
            for camera, count in scored.items():
                if count > self._counts.get((number, pid, camera), 0.0):
                    if camera in self.seen:
                        self.gaps[camera] = max(self.gaps.get(camera, 0.0), now - self.seen[camera])
                    self.seen[camera], self.owners[camera] = now, number
                self._counts[number, pid, camera] = count


def control_topic(bootstrap: str, partitions: int = 32) -> CompactedTopic:
    """The control topic."""
    return CompactedTopic(Broker(bootstrap), "mistwatch.control", partitions=partitions)


def add_cameras(bootstrap: str, pictures: Pictures, names: Sequence[str], partitions: int = 32) -> None:
    """Add cameras to the group."""
    topic = control_topic(bootstrap, partitions)
    for name in names:
        put_camera(topic, name, {"source": pictures.url("/picture"), "snapshot_seconds": PICTURE_SECONDS})
    topic.close()


def remove_cameras(bootstrap: str, names: Sequence[str]) -> None:
    """Remove cameras from the group."""
    topic = control_topic(bootstrap)
    for name in names:
        remove_camera(topic, name)
    topic.close()


def states_by_camera(bootstrap: str, topic: str = "mistwatch.alerts") -> dict[str, Counter[str]]:
    """Return the number of begins, updates and ends of each camera; an event that was sent twice counts once."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    try:
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(places)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(places)
        found: dict[str, Counter[str]] = {}
        known: set[str] = set()
        deadline = time.monotonic() + 60
        while any(consumer.position(place) < ends[place] for place in places):
            assert time.monotonic() < deadline, "the topic cannot be read to its end"
            for messages in consumer.poll(timeout_ms=200).values():
                for message in messages:
                    event = read_event(message.value)
                    if event.id not in known:
                        known.add(event.id)
                        found.setdefault(event.subject, Counter())[event.data.state] += 1
        return found
    finally:
        consumer.close()
