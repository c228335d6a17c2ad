"""Connections to the broker that die without a sign: nothing is closed, nothing arrives, and new connections work."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from forgetful_proxy import ForgetfulProxy

from pipeline.alerts.outbox import Outbox
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.kafka_security import KafkaSecurity
from pipeline.sinks.relay import Relay

pytestmark = [pytest.mark.realparts, pytest.mark.waits]


@pytest.fixture
def proxy(noida_db: Any) -> Iterator[ForgetfulProxy]:
    """A proxy in front of the embedded broker, which names the proxy's address as its own."""

    def advertised(address: str) -> bytes:
        host, _, port = address.rpartition(":")
        return host.encode() + struct.pack(">i", int(port))

    with ForgetfulProxy(
        noida_db.bootstrap,
        rewrite=lambda answer: answer.replace(advertised(noida_db.bootstrap), advertised(proxy.address)),
    ) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("busy", "answers_only"), [(False, False), (True, True)], ids=["idle, both directions", "busy, answers"]
)
def test_the_relay_goes_on_over_a_new_connection_and_loses_nothing(
    noida_db: Any,
    proxy: ForgetfulProxy,
    outbox: Outbox,
    make_event: Any,
    listener: Any,
    until: Any,
    read_topic: Any,
    busy: bool,
    answers_only: bool,
) -> None:
    sink = KafkaSink(proxy.address, security=KafkaSecurity(), request_timeout_seconds=3.0)
    with Relay(sink, outbox.deliveries("kafka"), listener=listener) as relay:
        outbox.accept(make_event("gate", 0))
        relay.notify()
        until(lambda: outbox.depth() == 0, "the first event published")
        assert listener.texts("reconnected") == []
        if busy:
            for number in range(1, 300):
                outbox.accept(make_event("gate", number))
            relay.notify()
            until(lambda: outbox.depth() < 280, "some published")
        proxy.forget(answers_only=answers_only)
        last = 300
        outbox.accept(make_event("gate", last))
        relay.notify()
        until(lambda: outbox.depth() == 0, "everything published", timeout=20)
    numbers = [json.loads(value)["data"]["sequence"] for _, value, _, _ in read_topic(noida_db.bootstrap)]
    assert list(dict.fromkeys(numbers)) == [*range(last if busy else 1), last]
    assert len(listener.texts("reconnected")) == 1
    assert all(reason.startswith(f"Kafka {proxy.address}: ") for reason in listener.texts("waiting"))


@pytest.mark.parametrize("answers_only", [False, True], ids=["both directions", "answers"])
def test_the_tail_goes_on_where_it_was(
    noida_db: Any,
    proxy: ForgetfulProxy,
    tail: Any,
    publish: Any,
    make_event: Any,
    until: Any,
    answers_only: bool,
) -> None:
    publish(noida_db.bootstrap, make_event("old", 0))
    running = tail(proxy.address)
    until(lambda: running.listens, "it listens")
    publish(noida_db.bootstrap, make_event("gate", 0))
    until(lambda: len(running.out) == 1, "an event is printed")
    proxy.forget(answers_only=answers_only)
    publish(noida_db.bootstrap, make_event("gate", 1))
    until(lambda: len(running.out) == 2, "the event is printed over another connection", timeout=20)
    assert "UPDATE" in running.out[1]
    assert [line.split()[1] for line in running.err] == ["listening", "waiting:", "listening"]
    assert "has stopped answering: it is frozen, or the connection has died" in running.err[1]
