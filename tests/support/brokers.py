"""Real brokers that can be killed and frozen, as fixtures: a folder's conftest imports those that its tests use.

``from brokers import apache_kafka, noida_db`` is not enough: their own fixtures (``kafka_jars``, ``formatted_kafka``)
belong to the import.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

import pytest
from ports import free_port

KAFKA_VERSION = "3.9.1"
#: The description of Apache Kafka on Maven Central, where Maven looks first.
MAVEN_CENTRAL = (
    f"https://repo.maven.apache.org/maven2/org/apache/kafka/kafka_2.13/{KAFKA_VERSION}/kafka_2.13-{KAFKA_VERSION}.pom"
)
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"  # 16 bytes in base64, any
JARS = Path.home() / ".cache" / "mistwatch-tests" / f"kafka-{KAFKA_VERSION}"


class TestBroker(Protocol):
    """A broker in a process of its own. It keeps its port and its data from one start to the next."""

    __test__ = False

    @property
    def bootstrap(self) -> str: ...

    @property
    def pid(self) -> int | None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class NoidaDb:
    """The embedded broker."""

    def __init__(self, folder: Path) -> None:
        from deploy.broker.server import BrokerServer

        self._server = BrokerServer(folder, port=free_port())
        self.start = lambda: self._server.start(timeout=60)
        self.start()
        self.stop = self._server.stop

    @property
    def bootstrap(self) -> str:
        return self._server.bootstrap

    @property
    def pid(self) -> int | None:
        return self._server.pid


class ApacheKafka:
    """Apache Kafka itself: one KRaft node on loopback, at most 256 MB of heap.

    Args:
        formatted: folder for the formatted storage of the first one, which takes a JVM; further ones begin with a copy.
        scram: a user and a password; with it the clients' listener is SASL_SSL with SCRAM-SHA-512.
        further: settings beside ours; of these values that list listeners, ours come first.
        storage: arguments of the formatting beside ours.
    """

    def __init__(
        self,
        folder: Path,
        jars: Path,
        *,
        formatted: Path | None = None,
        scram: tuple[str, str] | None = None,
        further: Mapping[str, str] | None = None,
        storage: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._java = ["java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
        self._process: subprocess.Popen[bytes] | None = None
        self._port, controller = free_port(), free_port()
        self.ca = folder / "ca.pem"
        folder.mkdir(parents=True)
        security = "PLAINTEXT" if scram is None else "SASL_SSL"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"CLIENTS://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"CLIENTS://127.0.0.1:{self._port}",
            "listener.security.protocol.map": f"CLIENTS:{security},CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENTS",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(folder / "data"),
            "offsets.topic.replication.factor": "1",
            "auto.create.topics.enable": "false",
            "num.partitions": "3",
            # By default a killed broker may not come back before its session of 9 s is over.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
        }
        extra: list[str] = []
        if scram is not None:
            user, password = scram
            login = "org.apache.kafka.common.security.scram.ScramLoginModule"
            settings |= {
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
                "listener.name.clients.scram-sha-512.sasl.jaas.config": (
                    f'{login} required username="{user}" password="{password}";'
                ),
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self._keystore()),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.ca),
            }
            extra = ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        for key, value in (further or {}).items():
            settings[key] = f"{settings[key]},{value}" if "listener" in key and key in settings else value
        extra += storage
        self._settings = folder / "server.properties"
        self._settings.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        if formatted is not None and formatted.is_dir():
            shutil.copytree(formatted, folder / "data")
        else:
            subprocess.run(
                [*self._java, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._settings), *extra],
                check=True,
                capture_output=True,
                timeout=120,
            )
            if formatted is not None:
                shutil.copytree(folder / "data", formatted)
        self.start()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self._settings)], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while not listens(self._port):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "Apache Kafka does not listen after 120 s"
            time.sleep(0.1)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _keystore(self) -> Path:
        """A certificate for 127.0.0.1, signed by itself, which is also the authority to trust."""
        key = self._folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(self.ca)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        store = self._folder / "keystore.pem"
        store.write_text(key.read_text() + self.ca.read_text())
        return store


def listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """Apache Kafka from Maven, kept in the user's cache.

    Skips where it cannot be had. Where real parts are required (CI) and Maven Central can be reached, it fails.
    """
    if JARS.is_dir():
        return JARS
    for tool in ("java", "mvn", "openssl"):
        if shutil.which(tool) is None:
            without_kafka(f"{tool}, for Apache Kafka (`make system` installs it)")
    shown = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=60).stderr
    version = re.search(r'version "(\d+)', shown)
    if version is None or int(version[1]) < 17:
        without_kafka(f"Java 17 or later, for Apache Kafka; found {shown.splitlines()[:1]}")
    making = JARS.with_name(f"{JARS.name}.{os.getpid()}")
    making.mkdir(parents=True)
    (making / "pom.xml").write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>test</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging>"
        "<dependencies><dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>"
        f"<version>{KAFKA_VERSION}</version></dependency></dependencies></project>"
    )
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
    try:
        done = subprocess.run(
            ["mvn", "-q", "-B", goal, f"-DoutputDirectory={making}", "-DincludeScope=runtime"],
            cwd=making,
            capture_output=True,
            text=True,
            timeout=240,
        )
        if done.returncode != 0:
            without_kafka(f"Apache Kafka {KAFKA_VERSION} from Maven: {done.stdout.strip().splitlines()[:1]}")
        with contextlib.suppress(OSError):  # another run was faster
            making.rename(JARS)
    except subprocess.TimeoutExpired:
        without_kafka(f"Apache Kafka {KAFKA_VERSION} from Maven, within 240 s")
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return JARS


def without_kafka(what: str) -> NoReturn:
    """Skip with the reason; fail where real parts are required and Maven Central can be reached."""
    if os.environ.get("MISTWATCH_REQUIRE_REALPARTS") == "1" and maven_central_answers():
        pytest.fail(f"a required part is missing, and Maven Central can be reached: {what}")
    pytest.skip(f"missing: {what}")


def maven_central_answers() -> bool:
    """Return whether Apache Kafka can be had from Maven Central here."""
    with contextlib.suppress(OSError):
        urllib.request.urlopen(MAVEN_CENTRAL, timeout=10).close()
        return True
    return False


@pytest.fixture
def noida_db(tmp_path: Path, require: Callable[[str], NoReturn]) -> Iterator[TestBroker]:
    """A running noida-db."""
    try:
        import noida_db  # noqa: F401
    except ImportError:
        require("noida-db, the embedded broker (pip install noida-db)")
    broker = NoidaDb(tmp_path / "broker")
    yield broker
    end(broker)


@pytest.fixture(scope="session")
def formatted_kafka(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the first Apache Kafka without users leaves its formatted storage."""
    return tmp_path_factory.mktemp("kafka") / "formatted"


@pytest.fixture
def apache_kafka(tmp_path: Path, kafka_jars: Path, formatted_kafka: Path) -> Iterator[TestBroker]:
    """A running Apache Kafka."""
    broker = ApacheKafka(tmp_path / "broker", kafka_jars, formatted=formatted_kafka)
    yield broker
    end(broker)


@pytest.fixture(scope="module")
def secured_kafka(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[ApacheKafka]:
    """A running Apache Kafka that requires TLS, and the user ``alerts`` with the password ``s3cret-word``."""
    broker = ApacheKafka(tmp_path_factory.mktemp("secured") / "broker", kafka_jars, scram=("alerts", "s3cret-word"))
    yield broker
    end(broker)


@pytest.fixture(params=["noida_db", "apache_kafka"])
def broker(request: pytest.FixtureRequest) -> TestBroker:
    """Each of the two brokers."""
    made: TestBroker = request.getfixturevalue(request.param)
    return made


def end(broker: TestBroker) -> None:
    if broker.pid is not None:
        os.kill(broker.pid, signal.SIGCONT)  # it may be frozen
    broker.stop()


@pytest.fixture
def read_topic() -> Callable[..., list[tuple[bytes, bytes, dict[str, bytes], int]]]:
    """Reads a topic from its beginning to its end: key, value, headers and partition of every message."""
    from kafka import KafkaConsumer, TopicPartition

    def read(bootstrap: str, topic: str = "mistwatch.alerts") -> list[tuple[bytes, bytes, dict[str, bytes], int]]:
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        try:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(partitions)
            consumer.seek_to_beginning()
            ends = consumer.end_offsets(partitions)
            found = []
            deadline = time.monotonic() + 60
            while any(consumer.position(partition) < ends[partition] for partition in partitions):
                assert time.monotonic() < deadline, "the topic cannot be read to its end"
                for messages in consumer.poll(timeout_ms=200).values():
                    found += [(each.key, each.value, dict(each.headers), each.partition) for each in messages]
            return found
        finally:
            consumer.close()

    return read
