"""Brokers that answer and cannot be used: the relay, the check at the start and ``alerts tail`` name the true cause."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from misleading_broker import MisleadingBroker
from ports import free_port
from pydantic import SecretStr

from pipeline.alerts.outbox import Outbox
from pipeline.sinks import kafka_broker
from pipeline.sinks.base import SinkUnavailableError
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.kafka_security import KafkaSecurity
from pipeline.sinks.relay import Relay

USER = KafkaSecurity(user="alerts", password=SecretStr("s3cret-word"))
#: Receives the bootstrap address, the security settings, and the fixtures; returns the line for the operator.
Reader = Callable[..., str]


def the_check(bootstrap: str, security: KafkaSecurity, **_fixtures: Any) -> str:
    with pytest.raises(SinkUnavailableError) as caught, KafkaSink(bootstrap, security=security).connect():
        pass
    return str(caught.value)


def the_relay(bootstrap: str, security: KafkaSecurity, *, outbox: Outbox, listener: Any, until: Any, **_: Any) -> str:
    relay = Relay(KafkaSink(bootstrap, security=security), outbox.deliveries("kafka"), listener=listener)
    relay.start()
    until(lambda: listener.texts("waiting"), "the operator is informed", timeout=30)
    relay.stop(0.1)
    line: str = listener.texts("waiting")[0]
    return line


def the_tail(bootstrap: str, security: KafkaSecurity, **_fixtures: Any) -> str:
    command = [str(Path(sys.executable).with_name("mistwatch")), "alerts", "tail", "--bootstrap", bootstrap]
    names = "MISTWATCH_KAFKA__SECURITY__USER", "MISTWATCH_KAFKA__SECURITY__PASSWORD"
    login = {names[0]: security.user, names[1]: "s3cret-word"} if security.user else {}
    ended = subprocess.run(
        [*command, "--count", "1", "--timeout", "2"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | login,
    )
    waiting, end = ended.stderr.splitlines()
    assert ended.returncode == 1
    line = waiting.removeprefix("mistwatch: waiting: ")
    assert end.endswith(line)
    return line


@pytest.fixture(params=[the_check, the_relay, the_tail])
def line_of(
    request: pytest.FixtureRequest, outbox: Outbox, listener: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> Reader:
    """Each of the three places where an operator reads it."""
    monkeypatch.setattr(kafka_broker, "_BOOTSTRAP_SECONDS", 1.0)

    def read(broker: MisleadingBroker, security: KafkaSecurity | None = None) -> str:
        line: str = request.param(
            broker.bootstrap, security or KafkaSecurity(), outbox=outbox, listener=listener, until=until
        )
        assert "\n" not in line
        assert line.startswith(f"Kafka {broker.bootstrap}: ")
        return line

    return read


@pytest.mark.parametrize("host", ["broker.internal.invalid", "127.0.0.1"])
def test_an_advertised_address_that_cannot_be_reached_is_named_beside_the_bootstrap(line_of: Reader, host: str) -> None:
    advertised = f"{host}:{free_port()}"
    with MisleadingBroker(advertised=[advertised]) as broker:
        line = line_of(broker)
    assert f"names {advertised} as the address for its clients (advertised.listeners)" in line
    assert ("Connection refused" if host == "127.0.0.1" else "known") in line  # "Name or service not known"
    assert "frozen" not in line


def test_the_mechanisms_offered_are_named_beside_the_one_asked_for(line_of: Reader) -> None:
    with MisleadingBroker(mechanisms=["OAUTHBEARER", "PLAIN"]) as broker:
        line = line_of(broker, USER)
    assert line.endswith(
        ": does not offer the SASL mechanism SCRAM-SHA-512; it offers OAUTHBEARER, PLAIN; "
        "set kafka.security.mechanism (MISTWATCH_KAFKA__SECURITY__MECHANISM) to PLAIN"
    )
    assert "s3cret-word" not in line
    assert "alerts" not in line


def test_mechanisms_of_which_none_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_broker, "_BOOTSTRAP_SECONDS", 1.0)
    with MisleadingBroker(mechanisms=["GSSAPI"]) as broker:
        line = the_check(broker.bootstrap, USER)
    assert line.endswith("it offers GSSAPI; enable one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 on the broker")


def test_a_cluster_with_one_broker_down_is_used() -> None:
    with MisleadingBroker() as up, MisleadingBroker(advertised=[f"127.0.0.1:{free_port()}", up.bootstrap]) as broker:
        Broker(broker.bootstrap, KafkaSecurity()).client(KafkaAdminClient).close()


def test_names_that_a_broker_sends_cannot_control_the_terminal() -> None:
    with MisleadingBroker(advertised=["\x1b[31mred\n.invalid:9092"]) as broker:
        line = the_check(broker.bootstrap, KafkaSecurity())
    assert "names \\x1b[31mred\\n.invalid:9092 as the address" in line
    assert line.isprintable()


class TestClusterOfWhichTheLeaderCannotBeReached:
    """Two brokers: the address of the first one, which leads the partition, is dead; the other one answers."""

    @pytest.fixture
    def dead(self) -> str:
        return f"127.0.0.1:{free_port()}"

    @pytest.fixture
    def cluster(self, dead: str) -> Iterator[MisleadingBroker]:
        with MisleadingBroker(advertised=[dead, None]) as broker:
            yield broker

    @staticmethod
    def names(dead: str, line: str) -> bool:
        return f"of the 2 addresses that it names for its clients (advertised.listeners), {dead} cannot" in line

    def test_the_relay_names_it(
        self, cluster: MisleadingBroker, dead: str, outbox: Outbox, listener: Any, until: Any, make_event: Any
    ) -> None:
        outbox.accept(make_event("gate", 0))
        sink = KafkaSink(cluster.bootstrap, security=KafkaSecurity(), request_timeout_seconds=4)
        relay = Relay(sink, outbox.deliveries("kafka"), listener=listener)
        relay.start()
        until(lambda: listener.texts("reconnected"), "the second attempt", timeout=30)
        relay.stop(0.1)
        lines = listener.texts("waiting")
        assert [self.names(dead, line) for line in lines] == [True]  # for the first delay and for its end
        assert "Connection refused" in lines[0]

    def test_the_tail_names_it(self, cluster: MisleadingBroker, dead: str) -> None:
        line = the_tail(cluster.bootstrap, KafkaSecurity())
        assert line.startswith(f"Kafka {cluster.bootstrap}: answers, but ")
        assert self.names(dead, line)
        assert "frozen" not in line
