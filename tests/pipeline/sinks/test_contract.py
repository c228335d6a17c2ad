"""The contract of a sink and its relay: over a scripted one and every kind, on real servers."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Iterable
from typing import Any, Protocol

import pytest
from mosquitto_broker import MosquittoBroker, Subscriber
from odd_webhook import OddWebhook
from scripted_sink import ScriptedServer

from pipeline.alerts.outbox import Outbox, OutboxError
from pipeline.sinks.base import Sink
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.mqtt import MqttSink
from pipeline.sinks.mqtt_settings import MqttSettings
from pipeline.sinks.relay import Relay
from pipeline.sinks.webhook import WebhookSink
from pipeline.sinks.webhook_settings import WebhookSettings


class Destination(Protocol):
    """A place that receives events, and that a test can take away or freeze."""

    def sink(self) -> Sink: ...
    def documents(self) -> list[dict[str, Any]]: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


class Scripted:
    """The scripted sink."""

    def __init__(self) -> None:
        server = ScriptedServer()
        self._server = server
        self.start, self.stop, self.freeze, self.thaw = server.start, server.stop, server.freeze, server.thaw

    def sink(self) -> Sink:
        return self._server.sink()

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(document) for document in self._server.received]


class KafkaTopic:
    """The Kafka sink and a broker; a record in flight is given up after 4 s."""

    def __init__(self, broker: Any, read_topic: Any) -> None:
        self._broker = broker
        self._read_topic = read_topic
        self.start, self.stop = broker.start, broker.stop

    def sink(self) -> Sink:
        return KafkaSink(self._broker.bootstrap, request_timeout_seconds=4.0)

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(value) for _, value, _, _ in self._read_topic(self._broker.bootstrap)]

    def freeze(self) -> None:
        os.kill(self._broker.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._broker.pid, signal.SIGCONT)


class Webhook:
    """The webhook sink and a receiver; an exchange is given up after 4 s."""

    def __init__(self, server: OddWebhook, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MISTWATCH_WEBHOOK_SECRET", "whsec_" + base64.b64encode(bytes(32)).decode())
        self._server = server
        self.start, self.stop, self.freeze, self.thaw = server.start, server.stop, server.freeze, server.thaw
        self.documents = server.documents

    def sink(self) -> Sink:
        return WebhookSink(WebhookSettings(url=self._server.url, timeout_seconds=4.0))


class MqttTopics:
    """The MQTT sink and mosquitto; an acknowledgement is given up after 4 s."""

    def __init__(self, broker: MosquittoBroker, subscriber: Subscriber) -> None:
        self._broker = broker
        self._subscriber = subscriber
        self.stop, self.freeze, self.thaw = broker.stop, broker.freeze, broker.thaw

    def start(self) -> None:
        self._broker.start()
        self._subscriber.wait()

    def sink(self) -> Sink:
        return MqttSink(MqttSettings(port=self._broker.port, timeout_seconds=4.0))

    def documents(self) -> list[dict[str, Any]]:
        """The events at a subscriber, which has them a little later than the broker."""
        self._subscriber.drain()
        return self._subscriber.documents()


@pytest.fixture(
    params=[
        "scripted",
        "webhook",
        pytest.param("mqtt", marks=pytest.mark.realparts),
        pytest.param("noida_db", marks=pytest.mark.realparts),
        pytest.param("apache_kafka", marks=pytest.mark.realparts),
    ]
)
def destination(request: pytest.FixtureRequest) -> Destination:
    if request.param == "scripted":
        return Scripted()
    if request.param == "webhook":
        return Webhook(request.getfixturevalue("odd_webhook"), request.getfixturevalue("monkeypatch"))
    if request.param == "mqtt":
        return MqttTopics(request.getfixturevalue("mosquitto"), request.getfixturevalue("subscriber"))
    return KafkaTopic(request.getfixturevalue(request.param), request.getfixturevalue("read_topic"))


def sequences(destination: Destination, camera: str) -> list[int]:
    """A camera's sequence numbers as they arrived."""
    return [each["data"]["sequence"] for each in destination.documents() if each["subject"] == camera]


def firsts(numbers: list[int]) -> list[int]:
    """The numbers without repetitions, as a reader sees them who knows the ids."""
    return list(dict.fromkeys(numbers))


class TestSinkAndRelay:
    def test_every_event_arrives_once_in_the_order_of_its_camera(
        self, destination: Destination, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        cameras = ["gate", "hall/2", "Küche"]
        with Relay(destination.sink(), outbox.deliveries("kafka"), listener=listener) as relay:
            for number in range(20):
                for camera in cameras:
                    outbox.accept(make_event(camera, number))
                relay.notify()
            until(lambda: outbox.depth() == 0, "everything delivered")
        for camera in cameras:
            assert sequences(destination, camera) == list(range(20))
        assert len(destination.documents()) == len(listener.texts("published")) == 60
        assert all(delay is not None and 0 <= delay < 60 for delay in listener.delays)
        assert len(listener.texts("resumed")) == 1

    def test_a_destination_that_is_missing_at_the_start(
        self, destination: Destination, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        destination.stop()
        outbox.accept(make_event("gate", 0))
        sink = destination.sink()
        with Relay(sink, outbox.deliveries("kafka"), listener=listener):
            until(lambda: listener.texts("waiting"), "the outage is reported")
            time.sleep(2.5)
            [reason] = listener.texts("waiting")  # once, however often the relay tries
            assert reason.startswith(f"{sink}: Connection refused")
            destination.start()
            until(lambda: outbox.depth() == 0, "delivered after the destination has come")
        assert firsts(sequences(destination, "gate")) == [0]
        assert [kind for kind, _ in listener.calls] == ["waiting", "published", "resumed"]

    @pytest.mark.parametrize("frozen_seconds", [2.0, 8.0], ids=["shorter", "longer"])
    def test_a_destination_that_freezes_with_an_event_in_flight(
        self,
        destination: Destination,
        outbox: Outbox,
        make_event: Any,
        listener: Any,
        until: Any,
        frozen_seconds: float,
    ) -> None:
        """Frozen for less and for more than the 4 s after which the sink gives the event up."""
        with Relay(destination.sink(), outbox.deliveries("kafka"), listener=listener) as relay:
            outbox.accept(make_event("gate", 0))
            relay.notify()
            until(lambda: outbox.depth() == 0, "the first event delivered")
            destination.freeze()
            for number in range(1, 6):
                outbox.accept(make_event("gate", number))
            relay.notify()
            time.sleep(frozen_seconds)
            assert outbox.depth() == 5
            destination.thaw()
            until(lambda: outbox.depth() == 0, "the rest delivered soon", timeout=20)
        assert firsts(sequences(destination, "gate")) == [0, 1, 2, 3, 4, 5]
        if frozen_seconds > 4:
            assert any("acknowledge" in reason or "answer" in reason for reason in listener.texts("waiting"))

    def test_an_event_that_is_never_accepted_does_not_hold_up_the_others(
        self, destination: Destination, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        huge = make_event("gate", 0, padding=2_000_000)
        outbox.accept(huge)
        outbox.accept(make_event("gate", 1))
        sink = destination.sink()
        with Relay(sink, outbox.deliveries("kafka"), listener=listener):
            until(lambda: outbox.depth() == 0, "the other one delivered")
        assert sequences(destination, "gate") == [1]
        [failed] = listener.texts("failed")
        assert failed.startswith(f"{huge.id} {sink} refuses it permanently: ")
        assert "larger than the maximum" in failed or "413" in failed

    def test_acknowledged_events_are_not_sent_again_while_the_disk_is_full(
        self, destination: Destination, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        deliveries = outbox.deliveries("kafka")
        record, attempts = deliveries.delivered, []

        def full(ids: Iterable[str]) -> None:
            if ids := list(ids):
                attempts.append(ids)
                raise OutboxError("outbox cannot grow: the disk is full")

        deliveries.delivered = full  # type: ignore[method-assign]
        with Relay(destination.sink(), deliveries, listener=listener) as relay:
            outbox.accept(make_event("gate", 0))
            outbox.accept(make_event("gate", 1))
            relay.notify()
            until(lambda: len(attempts) >= 4, "several attempts to record the acknowledgement")
            deliveries.delivered = record  # type: ignore[method-assign]
            until(lambda: outbox.depth() == 0, "everything delivered")
        assert sequences(destination, "gate") == [0, 1]
        assert len(listener.texts("published")) == 2

    def test_stop_delivers_what_is_pending(self, destination: Destination, outbox: Outbox, make_event: Any) -> None:
        relay = Relay(destination.sink(), outbox.deliveries("kafka"))
        relay.start()
        for number in range(50):
            outbox.accept(make_event("gate", number))
        assert relay.stop(60.0) == 0
        assert sequences(destination, "gate") == list(range(50))

    @pytest.mark.parametrize("trouble", ["missing", "frozen"])
    def test_stop_during_an_outage_ends_in_time_and_the_next_relay_delivers(
        self, destination: Destination, outbox: Outbox, make_event: Any, listener: Any, until: Any, trouble: str
    ) -> None:
        relay = Relay(destination.sink(), outbox.deliveries("kafka"), listener=listener)
        relay.start()
        until(lambda: listener.texts("resumed"), "connected")
        (destination.stop if trouble == "missing" else destination.freeze)()
        for number in range(3):
            for camera in ("gate", "hall"):
                outbox.accept(make_event(camera, number))
        relay.notify()
        time.sleep(0.5)
        began = time.monotonic()
        assert relay.stop(1.0) == 6
        assert time.monotonic() - began < 1.0 + 2.0
        (destination.start if trouble == "missing" else destination.thaw)()
        again = Relay(destination.sink(), outbox.deliveries("kafka"))
        again.start()
        assert again.stop(60.0) == 0
        for camera in ("gate", "hall"):
            assert firsts(sequences(destination, camera)) == [0, 1, 2]

    def test_stop_with_nothing_pending_does_not_wait_for_a_missing_destination(
        self, destination: Destination, outbox: Outbox, listener: Any, until: Any
    ) -> None:
        destination.stop()
        relay = Relay(destination.sink(), outbox.deliveries("kafka"), listener=listener)
        relay.start()
        until(lambda: listener.texts("waiting"), "the outage is reported")
        began = time.monotonic()
        assert relay.stop(60.0) == 0
        assert time.monotonic() - began < 20
