"""Workers of a group as processes, on real brokers: killed, frozen, restarted one by one; and messages that change."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import apache_kafka, broker, formatted_kafka, kafka_jars, noida_db  # noqa: F401  # fixtures
from group_workers import GroupWorker, Pictures, Watchman, add_cameras, control_topic, remove_cameras, states_by_camera
from triton_of_brightness import Server

from pipeline.live.control_topic import change_camera

pytestmark = [pytest.mark.realparts, pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(900)]

CAMERAS = [f"cam{number}" for number in range(6)]
#: A busy machine: importing a worker alone may take half a minute.
START_SECONDS = 240.0


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running Triton with the model of a clip's brightness."""
    server = Server(tmp_path_factory.mktemp("triton"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def pictures() -> Iterator[Pictures]:
    """The pictures of all cameras."""
    with Pictures() as server:
        yield server


@pytest.fixture
def group(
    tmp_path: Path, triton: Server, pictures: Pictures
) -> Iterator[Callable[..., tuple[list[GroupWorker], Watchman]]]:
    """Starts workers over six cameras, and waits until all are watched and shared."""
    made: list[tuple[list[GroupWorker], Watchman]] = []

    def start(bootstrap: str, count: int, partitions: int = 32) -> tuple[list[GroupWorker], Watchman]:
        add_cameras(bootstrap, pictures, CAMERAS, partitions)
        workers = [GroupWorker(tmp_path / f"worker{number}", triton.address, bootstrap) for number in range(count)]
        watchman = Watchman(workers)
        made.append((workers, watchman))
        for worker in workers:
            worker.start()
        watchman.wait_for(lambda now: now.owners.keys() == set(CAMERAS), START_SECONDS)
        watchman.wait_for(lambda now: len(set(now.owners.values())) == min(count, partitions), START_SECONDS)
        return workers, watchman

    yield start
    for workers, watchman in made:
        watchman.stop()
        for worker in workers:
            worker.kill()


def assert_each_alert_begun_once(bootstrap: str) -> None:
    found = states_by_camera(bootstrap)
    assert {camera: counts["begin"] for camera, counts in found.items()} == dict.fromkeys(CAMERAS, 1)
    assert not any(counts["end"] for counts in found.values())


def test_the_cameras_of_a_killed_worker_are_watched_by_the_others(
    apache_kafka: Any,  # noqa: F811
    group: Any,
) -> None:
    workers, watchman = group(apache_kafka.bootstrap, 2)
    lost = {camera for camera, owner in watchman.owners.items() if owner == 0}
    workers[0].kill()
    watchman.reset()
    watchman.wait_for(lambda now: all(now.owners[camera] == 1 for camera in lost), 60)
    assert watchman.longest_gap() < 25  # 15 s are promised; this machine may be busy
    # What the new owner sends of the alerts that the dead one began are updates.
    assert_each_alert_begun_once(apache_kafka.bootstrap)


def test_a_rolling_restart_leaves_no_camera_dark_and_begins_no_alert_again(broker: Any, group: Any) -> None:  # noqa: F811
    workers, watchman = group(broker.bootstrap, 2)
    watchman.reset()
    for number, worker in enumerate(workers):
        assert worker.terminate(60) < 30
        assert worker.process is not None
        assert worker.process.returncode == 0, worker.log
        watchman.wait_for(lambda now, other=1 - number: set(now.owners.values()) == {other}, 60)
        worker.start()
        watchman.wait_for(lambda now: len(set(now.owners.values())) == 2, START_SECONDS)
    assert watchman.longest_gap() < 15  # a worker that ends hands over at once; this machine may be busy
    assert_each_alert_begun_once(broker.bootstrap)


def test_a_frozen_worker_that_comes_back_hands_over_what_others_have_claimed(
    apache_kafka: Any,  # noqa: F811
    group: Any,
) -> None:
    workers, watchman = group(apache_kafka.bootstrap, 2)
    workers[0].send(signal.SIGSTOP)
    watchman.wait_for(lambda now: set(now.owners.values()) == {1}, 90)
    workers[0].send(signal.SIGCONT)
    watchman.wait_for(lambda now: len(set(now.owners.values())) == 2, 90)
    assert_each_alert_begun_once(apache_kafka.bootstrap)


def test_messages_change_what_is_watched_without_a_restart(
    broker: Any,  # noqa: F811
    group: Any,
    pictures: Pictures,
) -> None:
    workers, watchman = group(broker.bootstrap, 1)
    process = workers[0].process
    add_cameras(broker.bootstrap, pictures, [*CAMERAS, "late"])
    watchman.wait_for(lambda now: "late" in now.owners, 90)
    remove_cameras(broker.bootstrap, ["late", "cam0"])
    topic = control_topic(broker.bootstrap)
    topic.send_now("door", b'{"source": "rtsp://192.0.2.1/x", "lens": 5}')
    topic.close()
    watchman.forget("late")
    watchman.forget("cam0")
    watchman.wait_for(lambda _: "late" not in workers[0].scored() and "cam0" not in workers[0].scored(), 90)
    watchman.wait_for(lambda _: workers[0].metrics().get("mistwatch_control_messages_refused_total") == 1, 90)
    assert "camera door: lens: unknown key" in workers[0].log
    assert workers[0].process is process
    assert workers[0].is_running


def test_a_message_that_changes_rules_alone_leaves_the_open_alert_and_every_clip(
    broker: Any,  # noqa: F811
    group: Any,
) -> None:
    workers, watchman = group(broker.bootstrap, 1)
    topic = control_topic(broker.bootstrap)
    change_camera(topic, "cam0", {"alerts.close_threshold": 0.002, "alerts.cooldown_seconds": 3}, by="ada")
    topic.close()
    watchman.wait_for(lambda _: "camera changed" in workers[0].log, 90)
    (line,) = [line for line in workers[0].log.splitlines() if "camera changed" in line]
    for part in ("cam0", "ada", "in place", "alerts.close_threshold"):
        assert part in line
    watchman.reset()
    watchman.wait_for(lambda now: bool(now.gaps.get("cam0")), 90)
    assert_each_alert_begun_once(broker.bootstrap)


def test_a_topic_with_one_partition_and_two_workers_is_said(broker: Any, group: Any) -> None:  # noqa: F811
    workers, watchman = group(broker.bootstrap, 1, 1)
    second = GroupWorker(workers[0].folder.parent / "second", "127.0.0.1:1", broker.bootstrap)
    second.config.write_text(workers[0].config.read_text().replace(str(workers[0].port), str(second.port)))
    workers.append(second)
    second.start()
    line = "2 workers, 1 partition(s): 1 of them watch nothing; add partitions to the control topic"
    for worker in workers:
        watchman.wait_for(lambda _, worker=worker: line in worker.log, START_SECONDS)
