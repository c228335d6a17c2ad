"""Changes of a running worker with a site's file, on a real Triton and a real broker: what is lost, and how soon."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from brokers import noida_db  # noqa: F401  # fixture
from group_workers import Pictures
from structlog.testing import capture_logs
from triton_of_brightness import Server

from operators.chain import ChainSettings
from pipeline.alerts.camera_report import CameraReport
from pipeline.alerts.event import AlertEvent
from pipeline.live.audit import new_change
from pipeline.live.control import ControlError
from pipeline.live.listener import Watch, WorkerListener
from pipeline.live.reloading import SiteReloading
from pipeline.live.service import Service
from pipeline.live.site_changes import change_site_camera, drop_site_changes
from pipeline.live.site_follower import changes_topic
from pipeline.scoring.outcomes import Dropped, Scored
from pipeline.scoring.served_model import ServedModel
from pipeline.settings import Site, TamperMode, site_from_options
from pipeline.sinks.compacted_topic import CompactedTopic
from pipeline.sinks.kafka_broker import Broker

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

CAMERAS = [f"cam{number}" for number in range(4)]
#: A change is in force within this time, seconds. A busy machine gets it several times.
IN_FORCE_SECONDS, BUSY = 5.0, 6.0
#: Far more than a busy machine needs.
SECONDS = 90.0
PICTURE_SECONDS = 0.1
ROAD = {"points": [[0.0, 0.0], [0.5, 0.0], [0.5, 0.5]]}
SKY = {"points": [[0.0, 0.0], [1.0, 0.0], [0.0, 0.2]], "ignore": True}
HOURS = {"timezone": "UTC", "weekdays": ["08:00-18:00"]}


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running Triton with the model of a clip's brightness."""
    server = Server(tmp_path_factory.mktemp("triton"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def pictures() -> Iterator[Pictures]:
    with Pictures() as server:
        yield server


class Seen(WorkerListener):
    """Everything that is to be seen of the cameras."""

    def __init__(self) -> None:
        self.clips: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self.lost: list[tuple[str, str]] = []
        self.settings: dict[str, ChainSettings] = {}
        self.removed: list[str] = []
        self.events: list[AlertEvent] = []

    def scored(self, watch: Watch, scored: Scored) -> None:
        self.clips[watch.camera].append((scored.window.segment.id, scored.window.index))

    def dropped(self, watch: Watch, dropped: Dropped) -> None:
        self.lost.append((watch.camera, str(dropped.reason)))

    def judged(self, watch: Watch, served: ServedModel, settings: ChainSettings) -> None:
        self.settings[watch.camera] = settings

    def accepted(self, watch: Watch, event: AlertEvent) -> None:
        self.events.append(event)

    def camera_removed(self, camera: str) -> None:
        self.removed.append(camera)

    def segments(self, camera: str) -> list[str]:
        """The segments of a camera's clips, in order."""
        return list(dict.fromkeys(segment for segment, _ in self.clips[camera]))


class Running:
    """A worker whose site is in memory in place of its file."""

    def __init__(self, site: Site) -> None:
        self.file = site
        self.failure: Exception | None = None
        self.seen = Seen()
        self.topic = changes_topic(site)
        assert self.topic is not None
        self.reloading = SiteReloading(site, self._load)
        self.service = Service(self.reloading.first_site(), listeners=[self.seen], changeable=True)
        assert self.service.prepare(threading.Event(), patient=True)
        self.service.start()
        self.reloading.start(self.service)

    def _load(self) -> Site:
        return self.file

    def wait_for(self, right: Callable[[], object], what: str, seconds: float = SECONDS) -> float:
        """Wait until something is so; return the seconds that it took."""
        began = time.monotonic()
        while not right():
            assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {what}"
            time.sleep(0.01)
        return time.monotonic() - began

    def change(self, camera: str, changes: dict[str, Any] | None, by: str = "ada") -> None:
        """Send a change."""
        assert self.topic is not None
        change_site_camera(self.topic, "test", camera, changes, file=self.file.cameras.get(camera), by=by)

    def close(self) -> None:
        self.reloading.close()
        self.service.close(relay_seconds=0.5)
        assert self.topic is not None
        self.topic.close(1.0)


@pytest.fixture
def run(
    tmp_path: Path,
    triton: Server,
    pictures: Pictures,
    noida_db: Any,  # noqa: F811
) -> Iterator[Callable[..., Running]]:
    """Starts a worker over four cameras; another call starts it again over the same state."""
    started: list[Running] = []

    def start(**more: Any) -> Running:
        for one in started:
            one.close()
        started.clear()
        site = site_from_options(
            {
                "site": "test",
                "state_dir": tmp_path / "state",
                # These tests do not judge clips that a busy machine loses for want of time.
                "triton": {"address": triton.address, "queue_clips": 256, "deadline_seconds": 60},
                "kafka": {"bootstrap": noida_db.bootstrap, "scores_topic": None},
                "decoding": "threads",
                "gate": "off",
                "tamper": "off",
                "alerts": {"min_clips": 1, "open_threshold": 0.3, "max_duration_seconds": 100_000},
                "cameras": {name: {"source": pictures.url("/picture"), **SNAPSHOTS} for name in CAMERAS},
                **more,
            }
        )
        started.append(Running(site))
        running = started[-1]
        running.wait_for(lambda: all(running.seen.clips[name] for name in running.service.site.cameras), "all watched")
        return running

    yield start
    for one in started:
        one.close()


SNAPSHOTS = {"snapshot_seconds": PICTURE_SECONDS}


def assert_nothing_lost(running: Running, camera: str) -> None:
    """Check that a camera was read in one segment, and each of its clips has a score."""
    newest = max(index for _, index in running.seen.clips[camera])
    assert len(running.seen.segments(camera)) == 1, f"the stream of {camera} was opened again"

    def missing() -> set[int]:  # answers come in any order
        return set(range(newest)) - {index for _, index in list(running.seen.clips[camera])}

    running.wait_for(lambda: not missing(), f"every clip of {camera}, not without {missing()}", 20.0)
    state = next(state for state in running.service.board.states if state.camera == camera)
    assert state.dropped == 0


def test_a_change_of_rules_is_in_force_without_a_lost_clip_and_the_open_alert_continues(
    run: Callable[..., Running],
) -> None:
    running = run()
    seen = running.seen
    running.wait_for(lambda: {event.subject for event in seen.events} == set(CAMERAS), "an alert of each camera")
    with capture_logs() as logged:
        running.change("cam0", {"alerts.open_threshold": 0.9, "alerts.close_threshold": 0.1, "zones.road": ROAD}, "ada")
        took = running.wait_for(lambda: seen.settings["cam0"].alert.open_threshold == 0.9, "judged by it")
        running.wait_for(lambda: any(line["event"] == "camera changed" for line in logged), "the line")
    assert took < IN_FORCE_SECONDS * BUSY
    running.wait_for(lambda: reported(running, "cam0").last_change is not None, "the report of the change")
    report = reported(running, "cam0")
    assert (report.last_change.by, report.last_change.problem) == ("ada", None)
    assert report.settings == {
        "alerts": {"open_threshold": 0.9, "close_threshold": 0.1},
        "zones": {"road": ROAD},
    }
    assert (report.takes_changes, reported(running, "cam1").last_change) == ("site", None)
    (line,) = [line for line in logged if line["event"] == "camera changed"]
    assert (line["camera"], line["by"], line["how"]) == ("cam0", "ada", "in place")
    assert set(line["settings"].split(", ")) == {"alerts.open_threshold", "alerts.close_threshold", "zones.road"}
    assert abs((datetime.fromisoformat(line["at"]) - datetime.now(UTC)).total_seconds()) < SECONDS
    count = len(seen.clips["cam0"])
    running.wait_for(lambda: len(seen.clips["cam0"]) > count + 3, "clips after the change")
    for camera in CAMERAS:
        assert_nothing_lost(running, camera)
    assert not [event for event in seen.events if event.data.state == "end"]
    assert seen.settings["cam1"].alert.open_threshold == 0.3

    # Its next alert begins at the new threshold, so none does.
    running.change("cam0", {"alerts.close_threshold": 0.85})
    running.wait_for(lambda: [event for event in seen.events if event.data.state == "end"], "its end")
    (end,) = [event for event in seen.events if event.data.state == "end"]
    assert (end.subject, end.data.end_reason, end.data.threshold) == ("cam0", "below_threshold", 0.3)


def test_a_worker_that_starts_again_has_the_changes_and_drops_them_on_demand(run: Callable[..., Running]) -> None:
    running = run()
    running.change("cam0", {"alerts.open_threshold": 0.8})
    running.change("cam0", {"schedule": HOURS})
    running.change("cam3", None)
    running.wait_for(lambda: "cam3" in running.seen.removed, "cam3 is gone")
    running = run()
    assert set(running.service.site.cameras) == {"cam0", "cam1", "cam2"}
    cam0 = running.service.site.cameras["cam0"]
    assert cam0.alerts.open_threshold == 0.8
    assert cam0.schedule is not None
    assert running.seen.settings["cam0"].alert.open_threshold == 0.8
    assert running.topic is not None
    assert drop_site_changes(running.topic, "test", "cam3")
    assert drop_site_changes(running.topic, "test", "cam0")
    running.wait_for(lambda: running.seen.clips["cam3"], "cam3 is back")
    running.wait_for(lambda: running.seen.settings["cam0"].alert.open_threshold == 0.3, "the file's threshold")


def test_changes_that_cannot_be_used_are_one_line_and_change_nothing(run: Callable[..., Running]) -> None:
    running = run()
    topic = running.topic
    assert topic is not None
    before = running.service.site
    messages = {
        "gone": (b'{"changes": {"alerts.open_threshold": 0.5}}', "a change for a camera that is not there (any more)"),
        "cam0": (
            b'{"changes": {"zones.a": {"points": [[0, 0], [640, 0], [640, 480]]}}}',
            "on a picture of another size",
        ),
        "cam1": (b'{"changes": {"alerts.lens": 5}}', "camera cam1: alerts.lens: unknown key"),
        "cam2": (b'{"changes": {"password": "x"}}', "neither secrets nor their files are named on the topic"),
        "cam3": (b'{"changes": {"alerts.close_threshold": 0.9}}', "close_threshold (0.9) must not exceed"),
    }
    with capture_logs() as logged:
        for camera, (value, _) in messages.items():
            topic.ensure()
            topic.send_now(f"test/{camera}", value, headers=new_change("ada").headers)
        topic.send_now("other/cam0", b'{"changes": {"alerts.open_threshold": 0.9}}')
        running.wait_for(lambda: len(errors_of(logged)) >= len(messages), "a line for each")
    for camera, (_, line) in messages.items():
        (found,) = [error for error in errors_of(logged) if error["camera"] == camera]
        assert line in found["error"]
        assert "\n" not in found["error"]
    running.wait_for(lambda: all(reported(running, camera).last_change for camera in CAMERAS), "reports of all")
    for camera in CAMERAS:
        assert messages[camera][1] in (reported(running, camera).last_change.problem or "")
    assert running.service.site == before
    count = {camera: len(running.seen.clips[camera]) for camera in CAMERAS}
    running.wait_for(lambda: all(len(running.seen.clips[each]) > count[each] for each in CAMERAS), "all go on")
    for camera in CAMERAS:
        assert_nothing_lost(running, camera)


def reported(running: Running, camera: str) -> CameraReport:
    """Return the newest report of a camera on the topic."""
    kafka = running.file.kafka
    assert kafka.cameras_topic is not None
    topic = CompactedTopic(Broker(kafka.bootstrap, kafka.security), kafka.cameras_topic, partitions=1)
    return CameraReport.model_validate_json(topic.latest()[camera].value or b"")


def errors_of(logged: list[Any]) -> list[Any]:
    return [line for line in list(logged) if line["log_level"] == "error"]


def test_the_file_read_again_changes_cameras_and_names_what_needs_a_restart(run: Callable[..., Running]) -> None:
    running = run()
    file = running.file
    cameras = dict(file.cameras)
    cameras["late"] = cameras.pop("cam3")
    cameras["cam2"] = cameras["cam2"].model_copy(update={"stall_seconds": 30.0})
    alerts = file.alerts.model_copy(update={"open_threshold": 0.6})
    running.file = file.model_copy(update={"cameras": cameras, "alerts": alerts, "site": "other"})
    with capture_logs() as logged:
        running.reloading.ask()
        running.wait_for(lambda: any(line["event"] == "the site's file is in force" for line in logged), "read")
    (left,) = [line["settings"] for line in logged if "need a restart" in line["event"]]
    assert left == "site"
    running.wait_for(lambda: running.seen.clips["late"], "the new camera is watched")
    assert running.seen.removed == ["cam3"]
    assert {seen.alert.open_threshold for name, seen in running.seen.settings.items() if name != "cam3"} == {0.6}
    running.wait_for(lambda: len(running.seen.segments("cam2")) == 2, "cam2 was started anew")
    for camera in ("cam0", "cam1"):
        assert_nothing_lost(running, camera)
    assert not running.service.wait(0.1), "the worker goes on"


def test_settings_of_the_whole_site_reach_each_camera_by_itself(
    run: Callable[..., Running], pictures: Pictures
) -> None:
    """A camera that has one of its own keeps it, and no clip of such a camera is lost."""
    own = {"clip": {"stride": 4}, "tamper": {"mode": "off"}, "gate": {"floor": 64}}
    camera = {"source": pictures.url("/picture"), **SNAPSHOTS}
    running = run(cameras={name: camera | (own if name == "cam0" else {}) for name in CAMERAS})
    file, worker = running.file, running.service.worker
    assert worker is not None

    def in_force(**changes: Any) -> list[Any]:
        """Read a file with these changes; return its lines."""
        running.file = running.file.model_copy(update=changes)
        with capture_logs() as logged:
            running.reloading.ask()
            running.wait_for(lambda: any(line["event"] == "the site's file is in force" for line in logged), "read")
        assert not [line for line in logged if "need a restart" in line["event"]]
        return [line for line in logged if line["event"] == "camera changed"]

    lines = in_force(gate=file.gate.model_copy(update={"floor": 32}))
    assert {(line["camera"], line["settings"], line["how"]) for line in lines} == {
        (name, "gate", "in place") for name in CAMERAS[1:]
    }
    for camera in CAMERAS:
        assert_nothing_lost(running, camera)

    lines = in_force(
        clip=file.clip.model_copy(update={"stride": 4}), tamper=file.tamper.model_copy(update={"mode": TamperMode.AUTO})
    )
    assert {line["camera"] for line in lines} == {*CAMERAS[1:]}
    assert {line["settings"] for line in lines} == {"clip, tamper"}
    for camera in CAMERAS[1:]:
        running.wait_for(lambda camera=camera: len(running.seen.segments(camera)) == 2, f"{camera} was started anew")
        plan = worker._cameras[camera].plan
        assert plan.tamper
        assert [detector.clip.stride for detector in plan.detectors] == [4]
    assert not worker._cameras["cam0"].plan.tamper
    assert_nothing_lost(running, "cam0")
    assert in_force() == [], "read again without a change"


@pytest.mark.parametrize(
    "changes",
    [10, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_random_changes_under_load_lose_no_clip_of_another_camera(run: Callable[..., Running], changes: int) -> None:
    running = run()
    chosen, number = random.Random(19), itertools.count()
    touched: set[str] = set()  # whose streams a change has closed
    delays = []
    for _ in range(changes):
        camera = chosen.choice([name for name in CAMERAS if name in running.service.site.cameras])
        delays.append(random_change(running, camera, chosen, number, touched))
    for camera in {*CAMERAS} - touched:
        assert_nothing_lost(running, camera)
    assert {*CAMERAS} - touched, "some camera was only changed in place"
    print(f"in force after {max(delays):.2f} s at most, {sum(delays) / len(delays):.2f} s on average")
    assert max(delays) < IN_FORCE_SECONDS * BUSY


def random_change(
    running: Running, camera: str, chosen: random.Random, number: Iterator[int], touched: set[str]
) -> float:
    """Make a change; return the seconds from its acknowledgement until it is in force."""
    seen, site = running.seen, running.service.site
    value = round(0.5 + next(number) / 1000, 3)
    match chosen.choice(["threshold", "threshold", "zone", "sky", "schedule", "source", "add", "remove"]):
        case "threshold":
            running.change(camera, {"alerts.open_threshold": value})
            return running.wait_for(lambda: seen.settings[camera].alert.open_threshold == value, "a threshold")
        case "zone":
            name = f"z{value}"
            running.change(camera, {f"zones.{name}": ROAD})
            return running.wait_for(lambda: name in zones_in_use(running, camera), "a zone")
        case "sky":
            running.change(camera, {f"zones.s{value}": SKY})
            return running.wait_for(lambda: f"s{value}" in zones_in_use(running, camera), "an ignore zone")
        case "schedule":
            running.change(camera, {"schedule": {**HOURS, "friday": [f"0{next(number) % 9}:00-23:00"]}})
            wanted = running.service
            return running.wait_for(lambda: wanted.site.cameras[camera] != site.cameras[camera], "a schedule")
        case "source":
            touched.add(camera := CAMERAS[-1])
            if camera not in site.cameras:
                return 0.0
            before = len(seen.segments(camera))
            running.change(camera, {"stall_seconds": 10 + value})
            return running.wait_for(lambda: len(seen.segments(camera)) > before, "a camera started anew")
        case "add":
            added = f"more{next(number)}"
            source = site.cameras[camera].source
            running.change(added, {"source": source, **SNAPSHOTS})
            return running.wait_for(lambda: seen.clips[added], "a camera that was added")
        case _:
            extra = [name for name in site.cameras if name.startswith("more")]
            if not extra:
                return 0.0
            running.change(extra[0], None)
            return running.wait_for(lambda: extra[0] in seen.removed, "a camera that was removed")


def zones_in_use(running: Running, camera: str) -> set[str]:
    """The names of the zones by which a camera is judged now."""
    assert running.service.worker is not None
    return {zone.name for zone in running.service.worker._cameras[camera].plan.zones.zones}


def test_a_change_is_checked_before_it_is_sent(noida_db: Any) -> None:  # noqa: F811
    site = site_from_options(
        {"kafka": {"bootstrap": noida_db.bootstrap}, "cameras": {"gate": {"source": "rtsp://192.0.2.7/x"}}}
    )
    topic = changes_topic(site)
    assert isinstance(topic, CompactedTopic)
    with pytest.raises(ControlError, match="must not exceed"):
        change_site_camera(topic, "test", "gate", {"alerts": {"open_threshold": 0.2, "close_threshold": 0.6}})
    with pytest.raises(ControlError, match="expected shares of the picture from 0 to 1"):
        change_site_camera(topic, "test", "gate", {"zones.a": {"points": [[0, 0], [640, 0], [640, 480]]}})
    change_site_camera(topic, "test", "gate", None)
    with pytest.raises(ControlError, match="just been removed"):
        change_site_camera(topic, "test", "gate", {"alerts.open_threshold": 0.5})
    file = site.cameras["gate"]
    change = change_site_camera(topic, "test", "gate", {"alerts.open_threshold": 0.5}, file=file, by="ada")
    assert (change.by, change.before, change.after) == (
        "ada",
        {"alerts.open_threshold": None},
        {"alerts.open_threshold": 0.5},
    )
    change = change_site_camera(topic, "test", "gate", {"alerts.open_threshold": 0.7}, file=file, by="ada")
    assert change.before == {"alerts.open_threshold": 0.5}
    topic.close()
