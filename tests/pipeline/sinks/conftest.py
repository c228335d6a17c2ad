"""Events to send through real brokers, and listeners that keep what happens."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from brokers import (  # noqa: F401  # fixtures
    apache_kafka,
    broker,
    formatted_kafka,
    kafka_jars,
    noida_db,
    read_topic,
    secured_kafka,
)
from kafka import KafkaAdminClient, KafkaProducer
from mosquitto_broker import MOSQUITTO, MosquittoBroker, Subscriber
from odd_webhook import OddWebhook
from tail_process import TOPIC, Tail

from pipeline.alerts.event import AlertEvent
from pipeline.alerts.outbox import Outbox
from pipeline.sinks.relay import RelayListener


class RecordingListener(RelayListener):
    """Keeps the callbacks of a relay, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.delays: list[float | None] = []
        self.publish_seconds: list[float | None] = []

    def published(self, event: AlertEvent, delay_seconds: float | None, publish_seconds: float | None) -> None:
        self.calls.append(("published", event.id))
        self.delays.append(delay_seconds)
        self.publish_seconds.append(publish_seconds)

    def waiting(self, reason: str) -> None:
        self.calls.append(("waiting", reason))

    def resumed(self) -> None:
        self.calls.append(("resumed", ""))

    def reconnected(self) -> None:
        self.calls.append(("reconnected", ""))

    def failed(self, identity: str, reason: str) -> None:
        self.calls.append(("failed", f"{identity} {reason}"))

    def texts(self, kind: str) -> list[str]:
        """The texts of the calls of one kind."""
        return [text for called, text in self.calls if called == kind]


@pytest.fixture
def listener() -> RecordingListener:
    return RecordingListener()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An outbox with one sink, ``kafka``."""
    box = Outbox(tmp_path / "outbox.sqlite", ["kafka"])
    yield box
    box.close()


@pytest.fixture
def set_partitions() -> Callable[[str, int], None]:
    """Gives the topic a number of partitions; makes it when it is missing."""

    def set_to(bootstrap: str, count: int) -> None:
        with contextlib.closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
            if TOPIC in admin.list_topics():
                admin.create_partitions({TOPIC: count})
            else:
                topic = {"num_partitions": count, "replication_factor": 1}
                admin.create_topics({TOPIC: topic}, wait_for_metadata=True)

    return set_to


@pytest.fixture
def tail() -> Iterator[Callable[..., Tail]]:
    """Starts ``mistwatch alerts tail``; the arguments are those of Tail."""
    started: list[Tail] = []

    def start(*arguments: str, **options: Any) -> Tail:
        started.append(Tail(*arguments, **options))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.end()


@pytest.fixture
def publish(make_event: Any) -> Callable[..., None]:
    """Publishes events, or other messages, one after the other."""

    def send(bootstrap: str, *messages: AlertEvent | bytes | None, partition: int | None = None) -> None:
        producer = KafkaProducer(bootstrap_servers=bootstrap)
        for message in messages:
            value = message.to_json() if isinstance(message, AlertEvent) else message
            producer.send(TOPIC, key=b"key", value=value, partition=partition).get(timeout=60)
        producer.close(timeout=30)

    return send


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a certificate for 127.0.0.1 that is its own authority, ``ca.pem``, and its key, ``key.pem``."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout key.pem -out ca.pem"
    command += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture
def odd_webhook() -> Iterator[OddWebhook]:
    """A running receiver of webhooks."""
    made = OddWebhook()
    yield made
    made.thaw()
    made.stop()


@pytest.fixture
def mosquitto(tmp_path: Path, require: Callable[[str], NoReturn]) -> Iterator[MosquittoBroker]:
    """A running mosquitto without users."""
    if not MOSQUITTO.exists():
        require("mosquitto, a broker of MQTT (Debian package mosquitto)")
    made = MosquittoBroker(tmp_path / "mosquitto")
    yield made
    made.stop()


@pytest.fixture
def subscriber(mosquitto: MosquittoBroker) -> Iterator[Subscriber]:
    """A subscriber to everything on the running mosquitto."""
    made = Subscriber(mosquitto.port)
    yield made
    made.close()
