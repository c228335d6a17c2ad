"""Kafka, webhook and MQTT over one outbox: one that is dead or hangs delays no other, and misses nothing."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mosquitto_broker import MosquittoBroker, Subscriber
from odd_webhook import OddWebhook

from pipeline.alerts.outbox import Outbox
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.mqtt import MqttSink
from pipeline.sinks.mqtt_settings import MqttSettings
from pipeline.sinks.relay import Relay, Relays
from pipeline.sinks.webhook import WebhookSink
from pipeline.sinks.webhook_settings import SECRET_VARIABLE, WebhookSettings

NAMES = ("kafka", "webhook", "mqtt")


@pytest.mark.realparts
@pytest.mark.parametrize(
    "trouble", ["kafka dead", "kafka hangs", "webhook dead", "webhook hangs", "mqtt dead", "mqtt hangs"]
)
def test_one_that_is_away_delays_no_other(
    trouble: str,
    noida_db: Any,
    odd_webhook: OddWebhook,
    mosquitto: MosquittoBroker,
    subscriber: Subscriber,
    read_topic: Callable[..., Any],
    make_event: Any,
    tmp_path: Path,
    until: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "whsec_" + base64.b64encode(bytes(32)).decode())
    away, _ = trouble.split()
    take_away: dict[str, Callable[[], None]] = {
        "kafka dead": noida_db.stop,
        "kafka hangs": lambda: os.kill(noida_db.pid, signal.SIGSTOP),
        "webhook dead": odd_webhook.stop,
        "webhook hangs": odd_webhook.freeze,
        "mqtt dead": mosquitto.stop,
        "mqtt hangs": mosquitto.freeze,
    }
    bring_back: dict[str, Callable[[], None]] = {
        "kafka dead": noida_db.start,
        "kafka hangs": lambda: os.kill(noida_db.pid, signal.SIGCONT),
        "webhook dead": odd_webhook.start,
        "webhook hangs": odd_webhook.thaw,
        "mqtt dead": lambda: (mosquitto.start(), subscriber.wait())[0],
        "mqtt hangs": mosquitto.thaw,
    }
    sinks = {
        "kafka": KafkaSink(noida_db.bootstrap, request_timeout_seconds=4.0),
        "webhook": WebhookSink(WebhookSettings(url=odd_webhook.url, timeout_seconds=4.0)),
        "mqtt": MqttSink(MqttSettings(port=mosquitto.port, timeout_seconds=4.0)),
    }
    with closing(Outbox(tmp_path / "three", NAMES)) as outbox:
        relays = Relays(Relay(sink, outbox.deliveries(name)) for name, sink in sinks.items())
        relays.start()
        outbox.accept(make_event("gate", 0))
        relays.notify()
        until(lambda: outbox.depth() == 0, "each of them has the first event")
        take_away[trouble]()
        for number in range(1, 21):
            outbox.accept(make_event("gate", number))
        relays.notify()
        others = [name for name in NAMES if name != away]
        until(lambda: all(outbox.deliveries(name).depth() == 0 for name in others), "the others have everything")
        assert outbox.deliveries(away).depth() == 20
        bring_back[trouble]()
        until(lambda: outbox.depth() == 0, "it has everything, too", timeout=120)
        relays.stop(5.0)
    subscriber.drain()
    arrived = {
        "kafka": [json.loads(value) for _, value, _, _ in read_topic(noida_db.bootstrap)],
        "webhook": odd_webhook.documents(),
        "mqtt": subscriber.documents(),
    }
    for name in NAMES:
        numbers = list(dict.fromkeys(each["data"]["sequence"] for each in arrived[name]))
        assert numbers == list(range(21)), name
