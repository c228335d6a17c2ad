"""``mistwatch cameras`` on real brokers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from brokers import apache_kafka, broker, formatted_kafka, kafka_jars, noida_db, read_topic  # noqa: F401  # fixtures
from in_process import called
from kafka import KafkaAdminClient, KafkaProducer

pytestmark = pytest.mark.realparts

SOURCE = "rtsp://192.0.2.7/stream"


class Done(NamedTuple):
    """A command that has ended."""

    returncode: object
    stdout: str
    stderr: str


def run(*words: object) -> Done:
    return Done(*called(*words))


def test_a_camera_is_added_changed_listed_and_removed(broker: Any, tmp_path: Path) -> None:  # noqa: F811
    where = ("--bootstrap", broker.bootstrap)
    add = ("cameras", "add", "gate", SOURCE, *where, "--partitions", "7")
    assert run(*add).stdout == "camera gate: added\n"
    assert run(*add).stdout == "camera gate: unchanged\n"
    file = tmp_path / "door.yaml"
    file.write_text("source: rtsp://192.0.2.8/a\nclip: {fps: 10}\n")
    options = ("--file", str(file), "--set", "clip.fps=5", "--set", "username=viewer", "--detector", "fights")
    assert run("cameras", "add", "door", *where, *options).stdout == "camera door: added\n"
    assert run("cameras", "add", "gate", SOURCE + "2", *where).stdout == "camera gate: changed\n"

    listed = [json.loads(line) for line in run("cameras", "list", "--json", *where).stdout.splitlines()]
    assert {each["name"]: each["settings"] for each in listed} == {
        "door": {
            "source": "rtsp://192.0.2.8/a",
            "clip": {"fps": 5.0},
            "username": "viewer",
            "detectors": ["fights"],
        },
        "gate": {"source": SOURCE + "2"},
    }
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    (described,) = admin.describe_topics(["mistwatch.control"])
    admin.close()
    assert len(described["partitions"]) == 7

    assert run("cameras", "remove", "gate", *where).stdout == "camera gate: removed\n"
    gone = run("cameras", "remove", "gate", *where)
    assert gone.returncode == 2
    assert "mistwatch.control: unknown camera gate; `mistwatch cameras list` has them" in gone.stderr
    assert run("cameras", "list", *where).stdout == "door  rtsp://192.0.2.8/a  fights\n"


def test_a_message_that_is_not_a_camera_is_listed_with_its_place(noida_db: Any) -> None:  # noqa: F811
    where = ("--bootstrap", noida_db.bootstrap)
    run("cameras", "add", "gate", SOURCE, *where, "--partitions", "1")
    producer = KafkaProducer(bootstrap_servers=noida_db.bootstrap)
    producer.send("mistwatch.control", key=b"door", value=b"no camera").get(timeout=60)
    producer.close(timeout=30)
    listed = run("cameras", "list", *where)
    assert listed.stdout == f"gate  {SOURCE}\n"
    assert "mistwatch: partition 0, offset 1: camera door: the message is not JSON" in listed.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gate", SOURCE), "expected one of --bootstrap and --config"),
        (("gate", SOURCE, "--set", "fps", "--bootstrap", "127.0.0.1:1"), "--set fps: expected KEY=VALUE"),
        (("gate", "rtsp://a:b@h/x", "--bootstrap", "127.0.0.1:1"), "camera gate: source: holds credentials"),
        (("gate", SOURCE, "--set", "lens=4", "--bootstrap", "127.0.0.1:1"), "camera gate: lens: unknown key"),
        (("../x", SOURCE, "--bootstrap", "127.0.0.1:1"), "camera '../x': a name begins with"),
        (("gate", SOURCE, "--set", "source.a=1", "--bootstrap", "127.0.0.1:1"), "source is one value"),
        (("gate", "--file", "/nonexistent.yaml", "--bootstrap", "127.0.0.1:1"), "/nonexistent.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_added_is_one_line_and_status_2(arguments: tuple[str, ...], message: str) -> None:
    done = run("cameras", "add", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_broker_is_one_line_and_status_1() -> None:
    done = run("cameras", "list", "--bootstrap", "127.0.0.1:1")
    assert done.returncode == 1
    assert "is the broker running there?" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_change_says_what_was_and_what_is_and_the_record_says_who(
    noida_db: Any,  # noqa: F811
    read_topic: Any,  # noqa: F811
) -> None:
    where = ("--bootstrap", noida_db.bootstrap)
    assert run("cameras", "add", "gate", SOURCE, *where, "--set", "alerts.open_threshold=0.6").returncode == 0
    done = run("cameras", "change", "gate", "alerts.open_threshold=0.7", "schedule=", *where, "--by", "ada")
    assert done.stdout == "camera gate: alerts.open_threshold 0.6 → 0.7, schedule default → default\n"
    (first, second) = read_topic(noida_db.bootstrap, "mistwatch.control")
    assert json.loads(second[1]) == {"source": SOURCE, "alerts": {"open_threshold": 0.7}}
    change = json.loads(second[2]["mistwatch-change"])
    assert (change["by"], change["before"]["alerts.open_threshold"], change["after"]["alerts.open_threshold"]) == (
        "ada",
        0.6,
        0.7,
    )
    assert "@" in json.loads(first[2]["mistwatch-change"])["by"]


@pytest.mark.parametrize(
    ("camera", "change", "refusal"),
    [
        ("gone", "alerts.open_threshold=0.7", "camera gone: unknown, or just removed"),
        (
            "gate",
            "alerts.close_threshold=0.9",
            "close_threshold (0.9) must not exceed alerts.open_threshold (0.6)",
        ),
        ("gate", "zones.a={points: [[0, 0], [640, 0], [640, 480]]}", "on a picture of another size?"),
        ("gate", "alerts.lens=5", "camera gate: alerts.lens: unknown key"),
        ("gate", "password=s3cret", "neither secrets nor their files are named on the topic"),
        ("gate", "alerts", "expected SETTING=VALUE"),
    ],
)
def test_a_change_that_cannot_be_used_is_one_line_and_is_not_sent(
    noida_db: Any,  # noqa: F811
    read_topic: Any,  # noqa: F811
    camera: str,
    change: str,
    refusal: str,
) -> None:
    where = ("--bootstrap", noida_db.bootstrap)
    assert run("cameras", "add", "gate", SOURCE, *where, "--set", "alerts.open_threshold=0.6").returncode == 0
    done = run("cameras", "change", camera, change, *where)
    assert done.returncode == 2
    assert refusal in done.stderr
    assert done.stderr.count("\n") == 1
    assert "s3cret" not in done.stderr
    assert len(read_topic(noida_db.bootstrap, "mistwatch.control")) == 1
