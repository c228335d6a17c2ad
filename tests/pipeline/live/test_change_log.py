"""Several writers that change one camera at the same moment, on a real broker: each change is in the newest record."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import pytest
from brokers import TestBroker, noida_db  # noqa: F401  # fixture

from pipeline.live import change_log
from pipeline.live.audit import Change, change_of, new_change
from pipeline.live.change_log import ContendedCameraError
from pipeline.live.control import ControlError, UnknownCameraError, message_of
from pipeline.live.control_topic import Change as Effect
from pipeline.live.control_topic import change_camera, put_camera, remove_camera
from pipeline.live.site_changes import Override, change_site_camera, drop_site_changes
from pipeline.settings import CameraSettings
from pipeline.sinks.compacted_topic import CompactedTopic, Record
from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError

pytestmark = pytest.mark.realparts

SOURCE = "rtsp://192.0.2.7/1"
HOURS = {"timezone": "UTC", "weekdays": ["08:00-18:00"]}
WRITERS, ROUNDS = 4, 12


class Interrupted(CompactedTopic):
    """A topic whose user is interrupted by other writers before some of its records."""

    def __init__(self, broker: str, others: list[Callable[[], object]]) -> None:
        super().__init__(Broker(broker), "changes", partitions=2)
        self.others = others
        self.sent = 0

    def send_now(self, *args: Any, **options: Any) -> int:
        if self.others:
            self.others.pop(0)()
        self.sent += 1
        return super().send_now(*args, **options)


class Way(Protocol):
    """A way by which changes of the camera ``gate`` are sent."""

    def change(self, topic: CompactedTopic, changes: dict[str, Any], by: str = "ada") -> Change: ...
    def remove(self, topic: CompactedTopic) -> object: ...
    def read(self, topic: CompactedTopic) -> tuple[dict[str, Any] | None, Change | None]:
        """Return what the newest record says, None where the camera is removed; and who changed it last."""


class OfGroup:
    """Changes of a camera of a group, which has one setting from the beginning."""

    def change(self, topic: CompactedTopic, changes: dict[str, Any], by: str = "ada") -> Change:
        return change_camera(topic, "gate", changes, by=by)

    def remove(self, topic: CompactedTopic) -> object:
        return remove_camera(topic, "gate", by="eve")

    def read(self, topic: CompactedTopic) -> tuple[dict[str, Any] | None, Change | None]:
        record = newest(topic)
        return None if record.value is None else flat(json.loads(record.value)), change_of(record.headers)


class OfSite:
    """Changes of a camera of a site's file, which the writer knows."""

    file = CameraSettings(source=SOURCE, alerts={"min_clips": 3})

    def change(self, topic: CompactedTopic, changes: dict[str, Any], by: str = "ada") -> Change:
        return change_site_camera(topic, "site", "gate", changes, file=self.file, by=by, revives=False)

    def remove(self, topic: CompactedTopic) -> object:
        return change_site_camera(topic, "site", "gate", None, by="eve")

    def read(self, topic: CompactedTopic) -> tuple[dict[str, Any] | None, Change | None]:
        record = newest(topic)
        assert record.value is not None
        document = json.loads(record.value)
        found = None if document.get("removed") else {"source": SOURCE, "alerts.min_clips": 3, **document["changes"]}
        return found, change_of(record.headers)


def newest(topic: CompactedTopic) -> Record:
    return [record for record in topic.read() if record.key.endswith("gate")][-1]


def flat(document: dict[str, Any]) -> dict[str, Any]:
    """Return settings as changes name them."""
    found = {}
    for name, value in document.items():
        inner = {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
        found.update(inner)
    return found


@pytest.fixture
def connect(noida_db: TestBroker) -> Iterator[Callable[..., Interrupted]]:  # noqa: F811
    """Returns a connection of one writer, and closes it at the end."""
    made: list[Interrupted] = []

    def connection(*others: Callable[[], object]) -> Interrupted:
        made.append(Interrupted(noida_db.bootstrap, list(others)))
        return made[-1]

    yield connection
    for topic in made:
        topic.close()


@pytest.fixture(params=[OfGroup, OfSite])
def way(request: pytest.FixtureRequest, connect: Callable[..., Interrupted]) -> Way:
    """Each way, and a topic that has the camera."""
    put_camera(topic := connect(), "other", {"source": SOURCE})
    if request.param is OfGroup:
        put_camera(topic, "gate", {"source": SOURCE, "alerts": {"min_clips": 3}})
    made: Way = request.param()
    return made


def zone(share: float) -> dict[str, Any]:
    return {"points": [[0.0, 0.0], [1.0, 0.0], [1.0, share]]}


def test_changes_of_many_writers_at_the_same_moment_are_all_in_the_newest_record(way, connect):
    topics = [connect() for _ in range(WRITERS)]
    together = threading.Barrier(WRITERS)

    def write(number: int, share: float) -> Change:
        together.wait()
        return way.change(topics[number], {f"zones.z{number}": zone(share)}, by=f"writer{number}")

    before: dict[str, Any] = {}
    with ThreadPoolExecutor(WRITERS) as threads:
        for each in range(1, ROUNDS + 1):
            share = each / ROUNDS
            made = list(threads.map(write, range(WRITERS), [share] * WRITERS))
            found, last = way.read(topics[0])
            wanted = {f"zones.z{number}": zone(share) for number in range(WRITERS)}
            assert {name: value for name, value in found.items() if name.startswith("zones.")} == wanted
            assert found["alerts.min_clips"] == 3
            for number, change in enumerate(made):
                name = f"zones.z{number}"
                assert (change.before, change.after) == ({name: before.get(name)}, {name: zone(share)})
            assert last in made
            before = wanted


def test_a_change_that_came_in_between_stays_and_the_message_names_it_as_before(way, connect):
    other, reader = connect(), connect()
    way.change(reader, {"alerts.open_threshold": 0.5})
    topic = connect(lambda: way.change(other, {"alerts.open_threshold": 0.6, "schedule": HOURS}, by="bob"))
    change = way.change(topic, {"alerts.open_threshold": 0.7, "alerts.min_clips": 5})
    assert change.before == {"alerts.open_threshold": 0.6, "alerts.min_clips": 3}
    assert change.after == {"alerts.open_threshold": 0.7, "alerts.min_clips": 5}
    found, last = way.read(reader)
    assert (found["alerts.open_threshold"], found["alerts.min_clips"]) == (0.7, 5)
    assert any(name.startswith("schedule") for name in found)
    assert last == change
    assert (topic.sent, other.sent) == (2, 1)


def test_a_writer_without_others_publishes_once(way, connect):
    topic = connect()
    way.change(topic, {"alerts.open_threshold": 0.5})
    way.change(topic, {"alerts.open_threshold": 0.6})
    assert topic.sent == 2


def test_a_third_writer_that_read_an_incomplete_record_loses_nothing(way, connect):
    second, third, reader = connect(), connect(), connect()
    topic = connect(
        lambda: way.change(second, {"zones.b": zone(0.2)}, by="bob"),
        lambda: way.change(third, {"zones.c": zone(0.3)}, by="cleo"),
    )
    way.change(topic, {"zones.a": zone(0.1)})
    found, last = way.read(reader)
    zones = {name: value for name, value in found.items() if name.startswith("zones.")}
    assert zones == {"zones.a": zone(0.1), "zones.b": zone(0.2), "zones.c": zone(0.3)}
    assert last.by == "cleo"  # her change is the last one, and a worker reports it as in force


def test_a_repair_does_not_set_its_own_value_again_over_a_later_one(way, connect):
    second, third, reader = connect(), connect(), connect()
    topic = connect(
        lambda: way.change(second, {"zones.b": zone(0.2)}),
        lambda: way.change(third, {"alerts.open_threshold": 0.9}, by="cleo"),
        lambda: way.change(second, {"zones.c": zone(0.3)}, by="bob"),
    )
    way.change(topic, {"alerts.open_threshold": 0.7})
    found, _ = way.read(reader)
    assert found["alerts.open_threshold"] == 0.9
    assert {name for name in found if name.startswith("zones.")} == {"zones.b", "zones.c"}


def test_a_removal_in_between_stays_and_the_later_change_is_refused(way, connect):
    other, reader = connect(), connect()
    way.change(reader, {"alerts.open_threshold": 0.5})
    topic = connect(lambda: way.remove(other))
    with pytest.raises(UnknownCameraError, match=r"camera gate: .*just .*removed"):
        way.change(topic, {"alerts.open_threshold": 0.7})
    found, last = way.read(reader)
    assert found is None
    assert last.by == "eve"
    with pytest.raises(UnknownCameraError):
        way.change(reader, {"alerts.open_threshold": 0.7})


def test_a_removal_after_a_change_in_between_removes_the_camera(way, connect):
    other, reader = connect(), connect()
    topic = connect(lambda: way.change(other, {"alerts.open_threshold": 0.5}))
    way.remove(topic)
    assert way.read(reader)[0] is None
    assert topic.sent == 1


def test_a_change_that_does_not_go_together_with_one_in_between_is_taken_back(way, connect):
    other, reader = connect(), connect()
    topic = connect(lambda: way.change(other, {"alerts.open_threshold": 0.4}, by="bob"))
    with pytest.raises(ControlError, match="must not exceed"):
        way.change(topic, {"alerts.close_threshold": 0.5})
    found, last = way.read(reader)
    assert found["alerts.open_threshold"] == 0.4
    assert "alerts.close_threshold" not in found
    assert last.by == "bob"


def test_the_next_writer_repairs_what_a_killed_one_left(way, connect):
    other, reader = connect(), connect()

    def killed() -> None:
        raise BrokerUnavailableError("killed")

    topic = connect(lambda: way.change(other, {"zones.b": zone(0.2)}), killed)
    with pytest.raises(BrokerUnavailableError):
        way.change(topic, {"zones.a": zone(0.1)})
    found, _ = way.read(reader)
    assert "zones.b" not in found
    way.change(other, {"zones.c": zone(0.3)})
    found, _ = way.read(reader)
    assert {name for name in found if name.startswith("zones.")} == {"zones.a", "zones.b", "zones.c"}


def test_others_that_come_in_between_again_and_again_are_one_line(way, connect, monkeypatch):
    monkeypatch.setattr(change_log, "_MOST_REPAIRS", 2)
    other = connect()
    others = [lambda share=share: way.change(other, {"zones.b": zone(share)}) for share in (0.1, 0.2, 0.3, 0.4)]
    with pytest.raises(ContendedCameraError) as caught:
        way.change(connect(*others), {"zones.a": zone(0.1)})
    assert "others changed it 2 times at the same moment; look at its settings" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_first_change_of_a_camera_of_a_file_keeps_another_first_one(connect):
    way, other, reader = OfSite(), connect(), connect()
    topic = connect(lambda: way.change(other, {"zones.b": zone(0.2)}))
    change = way.change(topic, {"alerts.min_clips": 5})
    assert change.before == {"alerts.min_clips": 3}  # as the file has it
    found, last = way.read(reader)
    assert (found["zones.b"], found["alerts.min_clips"]) == (zone(0.2), 5)
    assert last == change


def test_a_change_stays_where_the_earlier_ones_are_taken_back_in_between(connect):
    way, other, reader = OfSite(), connect(), connect()
    way.change(reader, {"zones.b": zone(0.2)})
    topic = connect(lambda: drop_site_changes(other, "site", "gate"))
    way.change(topic, {"alerts.min_clips": 5})
    value = newest(reader).value
    assert value == Override({"alerts.min_clips": 5}).to_json()


def test_a_change_by_an_earlier_version_in_between_stays(connect):
    way, reader = OfSite(), connect()

    def earlier_version() -> None:
        value = Override({"zones.b": zone(0.2)}).to_json()
        reader.send_now("site/gate", value, headers=new_change("bob", {}, {"zones.b": zone(0.2)}).headers)

    way.change(connect(earlier_version), {"alerts.min_clips": 5})
    found, _ = way.read(reader)
    assert (found["zones.b"], found["alerts.min_clips"]) == (zone(0.2), 5)


def test_all_settings_of_a_camera_replace_a_change_in_between_and_a_change_comes_on_top_of_them(connect):
    way, other, reader = OfGroup(), connect(), connect()
    assert put_camera(reader, "gate", {"source": SOURCE}) is Effect.ADDED
    topic = connect(lambda: way.change(other, {"zones.b": zone(0.2)}))
    assert put_camera(topic, "gate", document := {"source": SOURCE, "clip": {"fps": 5}}) is Effect.CHANGED
    assert newest(reader).value == message_of("gate", document)
    assert put_camera(reader, "gate", document) is Effect.UNCHANGED
    topic = connect(lambda: put_camera(other, "gate", {"source": SOURCE, "clip": {"fps": 4}}))
    way.change(topic, {"alerts.min_clips": 5})
    found, _ = way.read(reader)
    assert found == {"source": SOURCE, "clip.fps": 4.0, "alerts.min_clips": 5}


def test_removing_a_camera_twice_at_the_same_moment_succeeds(connect):
    other, reader = connect(), connect()
    put_camera(reader, "gate", {"source": SOURCE})
    assert remove_camera(connect(lambda: remove_camera(other, "gate")), "gate")
    assert newest(reader).value is None
    assert not remove_camera(reader, "gate")
