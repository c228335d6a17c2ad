"""The Kafka sink over TCP: messages, security, topics, and brokers that die. See also test_contract.py."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from pydantic import SecretStr, ValidationError

from pipeline.alerts.outbox import Outbox
from pipeline.sinks import kafka_broker
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.kafka_broker import BrokerAddressError, BrokerUnavailableError
from pipeline.sinks.kafka_security import KafkaSecurity, KafkaSecurityError
from pipeline.sinks.relay import Relay, RelayListener

#: Publishes the events of an outbox and prints their ids.
RELAY_PROCESS = """
import sys, threading
from pathlib import Path
from pipeline.alerts.outbox import Outbox
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.relay import Relay, RelayListener

class Printing(RelayListener):
    def published(self, event, delay_seconds, publish_seconds):
        # So long that the pipe is full after some 60 of them: a slow reader stops it, and it is killed in the middle.
        print("published", event.id, "." * 1000, flush=True)

outbox = Outbox(Path(sys.argv[1]), ["kafka"])
Relay(KafkaSink(sys.argv[2]), outbox.deliveries("kafka"), listener=Printing()).start()
threading.Event().wait()
"""


def relay_to(
    bootstrap: str,
    topic: str = "mistwatch.alerts",
    *,
    outbox: Outbox,
    listener: RelayListener | None = None,
    **options: Any,
) -> Relay:
    """A relay from the outbox to a Kafka topic; ``options`` are those of KafkaSink."""
    return Relay(KafkaSink(bootstrap, topic, **options), outbox.deliveries("kafka"), listener=listener)


def sequences(messages: list[Any], camera: str) -> list[int]:
    """The sequence numbers on the topic, in its order."""
    return [json.loads(value)["data"]["sequence"] for key, value, _, _ in messages if key == camera.encode()]


def firsts(numbers: list[int]) -> list[int]:
    """The numbers without repetitions, as a reader sees them who knows the ids."""
    return list(dict.fromkeys(numbers))


@pytest.mark.realparts
class TestOnBothBrokers:
    def test_key_headers_partition_and_times_of_a_message(
        self, broker: Any, outbox: Outbox, make_event: Any, listener: Any, until: Any, read_topic: Any
    ) -> None:
        cameras = ["gate", "hall/2", "Küche"]
        with relay_to(broker.bootstrap, outbox=outbox, listener=listener) as relay:
            before = datetime.now(UTC)
            for number in range(20):
                for camera in cameras:
                    outbox.accept(make_event(camera, number))
                relay.notify()
            until(lambda: outbox.depth() == 0, "everything published")
            after = datetime.now(UTC)
        messages = read_topic(broker.bootstrap)
        assert len(messages) == 60
        for camera in cameras:
            assert sequences(messages, camera) == list(range(20))
            assert len({partition for key, _, _, partition in messages if key == camera.encode()}) == 1
        for _key, value, headers, _partition in messages:
            event = json.loads(value)
            assert headers["content-type"] == b"application/cloudevents+json; charset=UTF-8"
            assert headers["ce_id"].decode() == event["id"]
            assert headers["ce_type"].decode() == event["type"]
            assert before <= datetime.fromisoformat(event["data"]["published_at"]) <= after


@pytest.mark.realparts
class TestOnApacheKafka:
    """Tests that need a broker that keeps acknowledged messages when it is killed."""

    @pytest.mark.slow
    def test_nothing_is_lost_when_the_broker_is_killed_again_and_again(
        self, apache_kafka: Any, outbox: Outbox, make_event: Any, listener: Any, until: Any, read_topic: Any
    ) -> None:
        accepted = dict.fromkeys(["gate", "hall"], 0)
        over = threading.Event()

        def accept() -> None:
            while not over.wait(0.02):
                for camera in accepted:
                    outbox.accept(make_event(camera, accepted[camera]))
                    accepted[camera] += 1
                relay.notify()

        relay = relay_to(apache_kafka.bootstrap, request_timeout_seconds=2.0, outbox=outbox, listener=listener)
        source = threading.Thread(target=accept)
        with relay:
            source.start()
            for _ in range(3):
                published = len(listener.texts("published"))
                until(lambda seen=published: len(listener.texts("published")) > seen + 20, "some published")
                apache_kafka.stop()  # SIGKILL
                time.sleep(1.0)
                apache_kafka.start()
            over.set()
            source.join()
            until(lambda: outbox.depth() == 0, "everything published", timeout=90)
        messages = read_topic(apache_kafka.bootstrap)
        for camera, count in accepted.items():
            assert count > 30  # of both together more than 20 were published before each of three deaths
            assert firsts(sequences(messages, camera)) == list(range(count))
        print(f"{sum(accepted.values())} accepted, {len(messages)} on the topic")

    def test_user_password_and_authority(
        self, secured_kafka: Any, outbox: Outbox, make_event: Any, listener: Any, until: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "password").write_text("s3cret-word\n")
        security = KafkaSecurity(user="alerts", password_file=tmp_path / "password", tls_ca=secured_kafka.ca)
        outbox.accept(make_event("gate", 0))
        with relay_to(secured_kafka.bootstrap, security=security, outbox=outbox, listener=listener):
            until(lambda: outbox.depth() == 0, "published")
        assert len(listener.texts("published")) == 1

    @pytest.mark.parametrize("wrong", ["password", "authority", "plain"])
    def test_refused_credentials_are_reported_in_one_line_without_the_secret(
        self,
        secured_kafka: Any,
        outbox: Outbox,
        make_event: Any,
        listener: Any,
        until: Any,
        wrong: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        password = "not-th1s-one" if wrong == "password" else "s3cret-word"
        security = {
            "password": KafkaSecurity(user="alerts", password=SecretStr(password), tls_ca=secured_kafka.ca),
            "authority": KafkaSecurity(user="alerts", password=SecretStr(password), tls=True),
            "plain": KafkaSecurity(),
        }[wrong]
        outbox.accept(make_event("gate", 0))
        relay = relay_to(secured_kafka.bootstrap, security=security, outbox=outbox, listener=listener)
        relay.start()
        expected = {"password": "invalid credentials", "authority": "certificate", "plain": "security settings"}[wrong]
        # The broker may also just hang up on the first attempts.
        until(lambda: expected in "".join(listener.texts("waiting")), f"the operator reads of {expected}", timeout=90)
        assert relay.stop(0.5) == 1
        for reason in listener.texts("waiting"):
            assert "\n" not in reason
            assert secured_kafka.bootstrap in reason
            assert "security settings" in reason
        assert password not in caplog.text + str(listener.calls) + repr(security)

    def test_a_mechanism_that_is_not_enabled_is_reported_with_the_ones_that_are(self, secured_kafka: Any) -> None:
        security = KafkaSecurity(
            user="alerts", password=SecretStr("s3cret-word"), mechanism="PLAIN", tls_ca=secured_kafka.ca
        )
        expected = "does not offer the SASL mechanism PLAIN; it offers SCRAM-SHA-512; set kafka.security.mechanism"
        with (
            pytest.raises(BrokerUnavailableError, match=expected) as caught,
            KafkaSink(secured_kafka.bootstrap, security=security).connect(),
        ):
            pass
        assert "s3cret-word" not in str(caught.value)

    def test_a_user_at_a_listener_without_sasl_is_reported(self, apache_kafka: Any) -> None:
        security = KafkaSecurity(user="alerts", password=SecretStr("s3cret-word"))
        with (
            pytest.raises(BrokerUnavailableError, match="has no SASL at this address; leave out the user"),
            KafkaSink(apache_kafka.bootstrap, security=security).connect(),
        ):
            pass


@pytest.mark.realparts
class TestOnTheEmbeddedBroker:
    def test_a_broker_killed_and_restarted_while_idle_and_while_busy(
        self, noida_db: Any, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        """This broker may forget; that nothing is lost is asserted on Apache Kafka."""
        with relay_to(noida_db.bootstrap, request_timeout_seconds=2.0, outbox=outbox, listener=listener) as relay:
            until(lambda: listener.texts("resumed"), "connected")
            noida_db.stop()
            noida_db.start()
            outbox.accept(make_event("gate", 0))
            relay.notify()
            until(lambda: outbox.depth() == 0, "published after the idle relay lost its broker", timeout=30)
            os.kill(noida_db.pid, signal.SIGKILL)
            outbox.accept(make_event("gate", 1))
            relay.notify()
            time.sleep(1)
            noida_db.stop()
            noida_db.start()
            until(lambda: outbox.depth() == 0, "published after the restart", timeout=30)
        assert [identity[-2:] for identity in listener.texts("published")] == ["/0", "/1"]

    def test_a_missing_topic_that_may_not_be_created_is_one_line(
        self, noida_db: Any, outbox: Outbox, make_event: Any, listener: Any, until: Any, read_topic: Any
    ) -> None:
        outbox.accept(make_event("gate", 0))
        with relay_to(noida_db.bootstrap, "site.alarms", create_topic=False, outbox=outbox, listener=listener):
            until(lambda: listener.texts("waiting"), "the operator is informed")
            time.sleep(2)
            assert listener.texts("waiting") == [
                f"Kafka {noida_db.bootstrap}: topic site.alarms does not exist; create it, or allow it to be created"
            ]
            assert outbox.depth() == 1
            admin = KafkaAdminClient(bootstrap_servers=noida_db.bootstrap)
            assert "site.alarms" not in admin.list_topics()
            admin.create_topics({"site.alarms": {"num_partitions": 2, "replication_factor": 1}})
            admin.close()
            until(lambda: outbox.depth() == 0, "published once the topic is there", timeout=20)
        assert sequences(read_topic(noida_db.bootstrap, "site.alarms"), "gate") == [0]

    def test_the_relays_own_death(
        self, noida_db: Any, tmp_path: Path, make_event: Any, until: Any, read_topic: Any
    ) -> None:
        """kill -9 in the middle of publishing, three times; the next process goes on."""
        path = tmp_path / "outbox.sqlite"
        outbox = Outbox(path, ["kafka"])
        for number in range(400):
            for camera in ("gate", "hall"):
                outbox.accept(make_event(camera, number))
        outbox.close()
        for _ in range(3):
            process = subprocess.Popen(
                [sys.executable, "-c", RELAY_PROCESS, str(path), noida_db.bootstrap], stdout=subprocess.PIPE, text=True
            )
            try:
                assert process.stdout is not None
                for _ in range(30):
                    assert process.stdout.readline().startswith("published ")
            finally:
                process.kill()
                process.communicate()
        outbox = Outbox(path, ["kafka"])
        left = outbox.depth()
        assert 0 < left <= 800 - 3 * 30
        with relay_to(noida_db.bootstrap, outbox=outbox):
            until(lambda: outbox.depth() == 0, "the rest published")
        outbox.close()
        messages = read_topic(noida_db.bootstrap)
        for camera in ("gate", "hall"):
            assert firsts(sequences(messages, camera)) == list(range(400))
        assert len(messages) <= 800 + 3 * 2  # each death can repeat no more than the round in flight

    def test_a_replay_has_no_time_of_publishing(
        self, noida_db: Any, outbox: Outbox, make_event: Any, listener: Any, until: Any, read_topic: Any
    ) -> None:
        event = make_event("gate", 0, replay=True)
        outbox.accept(event)
        with relay_to(noida_db.bootstrap, outbox=outbox, listener=listener):
            until(lambda: outbox.depth() == 0, "published")
        [(_, value, _, _)] = read_topic(noida_db.bootstrap)
        assert value == event.to_json()
        assert json.loads(value)["data"]["published_at"] is None
        assert listener.delays == [None]

    def test_a_long_outage_leaks_neither_files_nor_threads(
        self, noida_db: Any, outbox: Outbox, listener: Any, until: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without the garbage collector's help: a busy worker's old generation is hardly ever collected."""
        monkeypatch.setattr(kafka_broker, "_BOOTSTRAP_SECONDS", 0.2)
        attempts = 0
        original = kafka_broker.Broker.check_listening

        def counted(broker: kafka_broker.Broker) -> None:
            nonlocal attempts
            attempts += 1
            original(broker)

        monkeypatch.setattr(kafka_broker.Broker, "check_listening", counted)
        os.kill(noida_db.pid, signal.SIGSTOP)
        gc.collect()
        gc.disable()
        try:
            with relay_to(noida_db.bootstrap, outbox=outbox, listener=listener):
                until(lambda: attempts >= 3, "it tries")
                files, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
                until(lambda: attempts >= 10, "it tries on", timeout=90)
                assert len(list(Path("/proc/self/fd").iterdir())) <= files + 5
                assert threading.active_count() <= threads + 1
        finally:
            gc.enable()
        assert len(listener.texts("waiting")) == 1


def test_an_address_that_cannot_be_one_is_refused_at_once() -> None:
    for bootstrap in ("kafka", "kafka:", ":9092", "kafka:0", "kafka:99999", "a:1,b"):
        with pytest.raises(BrokerAddressError, match="HOST:PORT"):
            KafkaSink(bootstrap)


def test_an_unknown_host_is_reported(outbox: Outbox, make_event: Any, listener: Any, until: Any) -> None:
    outbox.accept(make_event("gate", 0))
    relay = relay_to("no-such-host.invalid:9092", outbox=outbox, listener=listener)
    relay.start()
    until(lambda: listener.texts("waiting"), "the operator is informed")
    assert relay.stop(0.1) == 1
    assert listener.texts("waiting")[0].startswith("Kafka no-such-host.invalid:9092: ")


def test_a_server_that_is_not_a_broker_is_reported(outbox: Outbox, make_event: Any, listener: Any, until: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                client.close()

        threading.Thread(target=answer, daemon=True).start()
        outbox.accept(make_event("gate", 0))
        relay = relay_to(f"127.0.0.1:{port}", outbox=outbox, listener=listener)
        relay.start()
        until(lambda: listener.texts("waiting"), "the operator is informed")
        assert relay.stop(0.1) == 1
    assert "\n" not in listener.texts("waiting")[0]
    assert listener.texts("waiting")[0].startswith(f"Kafka 127.0.0.1:{port}: ")


class TestSecurity:
    def test_left_out_is_plain_text(self) -> None:
        assert KafkaSecurity().client_options() == {"security_protocol": "PLAINTEXT"}

    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MISTWATCH_KAFKA__SECURITY__USER", "alerts")
        monkeypatch.setenv("MISTWATCH_KAFKA__SECURITY__PASSWORD", "s3cret-word")
        monkeypatch.setenv("MISTWATCH_KAFKA__SECURITY__MECHANISM", "PLAIN")
        security = KafkaSecurity()
        assert security.client_options() == {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": "alerts",
            "sasl_plain_password": "s3cret-word",
        }
        assert "s3cret-word" not in repr(security) + str(security) + security.model_dump_json()

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"user": "alerts"}, "user needs password"),
            ({"password": "s3cret-word"}, "these need user"),
            ({"user": "a", "password": "s3cret-word", "password_file": "/x"}, "not both"),
            ({"user": "a", "password": "s3cret-word", "mechanism": "MD5"}, "SCRAM-SHA-512"),
            ({"user": "a", "password": "s3cret-word", "pasword": "s3cret-word"}, "pasword"),
        ],
    )
    def test_an_incomplete_setting_is_refused_without_the_secret(self, fields: dict[str, Any], expected: str) -> None:
        with pytest.raises(ValidationError, match=expected) as caught:
            KafkaSecurity(**fields)
        assert "s3cret-word" not in str(caught.value)

    @pytest.mark.parametrize("content", [None, b"", b"\nsecond line", b"\xff\xfe"])
    def test_a_password_file_of_no_use(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "password"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(KafkaSecurityError, match=str(path)) as caught:
            KafkaSecurity(user="alerts", password_file=path).client_options()
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [None, "no certificate"])
    def test_an_authority_of_no_use(self, tmp_path: Path, content: str | None) -> None:
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_text(content)
        with pytest.raises(KafkaSecurityError, match=str(path)):
            KafkaSecurity(tls_ca=path).client_options()
