"""The relay against real brokers over TCP: what dies, freezes or is missing, and what must still arrive."""

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
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaAdminClient
from pydantic import SecretStr, ValidationError

from pipeline.alerts.outbox import Outbox, OutboxError
from pipeline.sinks import connection
from pipeline.sinks.connection import KafkaSecurity, KafkaSecurityError
from pipeline.sinks.kafka import KafkaRelay, one_of_each_camera

#: Publishes what an outbox holds, and says what is published.
RELAY_PROCESS = """
import sys, threading
from pathlib import Path
from pipeline.sinks.kafka import KafkaRelay, SilentListener
from pipeline.alerts.outbox import Outbox

class Speaking(SilentListener):
    def published(self, event, delay_seconds):
        # So long that the pipe is full after some 60 of them: a slow reader stops it, and it is killed in the middle.
        print("published", event.id, "." * 1000, flush=True)

KafkaRelay(Outbox(Path(sys.argv[1])), sys.argv[2], listener=Speaking()).start()
threading.Event().wait()
"""


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "outbox.sqlite")
    yield box
    box.close()


def sequences(messages: list[Any], camera: str) -> list[int]:
    """The sequence numbers on the topic, in its order."""
    return [json.loads(value)["data"]["sequence"] for key, value, _, _ in messages if key == camera.encode()]


def firsts(numbers: list[int]) -> list[int]:
    """Without repetitions: what a reader is left with who knows the ids."""
    return list(dict.fromkeys(numbers))


@pytest.mark.realparts
class TestOnBothBrokers:
    def test_a_full_disk_does_not_send_the_same_event_again_and_again(
        self, broker: Any, outbox: Outbox, make_event: Any, notes: Any, until: Any, read_topic: Any
    ) -> None:
        """The topic has it, and the outbox cannot note that."""
        note, asked = outbox.delivered, []

        def full(ids: Iterable[str]) -> None:
            if ids := list(ids):
                asked.append(ids)
                raise OutboxError("outbox cannot grow: the disk is full")

        outbox.delivered = full  # type: ignore[method-assign]
        with KafkaRelay(outbox, broker.bootstrap, listener=notes) as relay:
            outbox.accept(make_event("gate", 0))
            outbox.accept(make_event("gate", 1))
            relay.notify()
            until(lambda: len(asked) >= 4, "tried again and again")
            outbox.delivered = note  # type: ignore[method-assign]
            until(lambda: outbox.depth() == 0, "everything published")
        assert sequences(read_topic(broker.bootstrap), "gate") == [0, 1]
        assert len(notes.of("published")) == 2

    def test_what_is_accepted_arrives_in_order_with_key_headers_and_times(
        self, broker: Any, outbox: Outbox, make_event: Any, notes: Any, until: Any, read_topic: Any
    ) -> None:
        cameras = ["gate", "hall/2", "Küche"]
        with KafkaRelay(outbox, broker.bootstrap, listener=notes) as relay:
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
        assert len(notes.of("published")) == 60
        assert all(delay is not None and 0 <= delay < 60 for delay in notes.delays)
        assert len(notes.of("resumed")) == 1

    @pytest.mark.parametrize("frozen_seconds", [2.0, 8.0], ids=["shorter", "longer"])
    def test_a_broker_frozen_with_a_record_in_flight(
        self,
        broker: Any,
        outbox: Outbox,
        make_event: Any,
        notes: Any,
        until: Any,
        read_topic: Any,
        frozen_seconds: float,
    ) -> None:
        """Frozen for less and for more than the time after which the client gives the record up (4 s here)."""
        with KafkaRelay(outbox, broker.bootstrap, listener=notes, request_timeout_seconds=2.0) as relay:
            outbox.accept(make_event("gate", 0))
            relay.notify()
            until(lambda: outbox.depth() == 0, "the first event published")

            os.kill(broker.pid, signal.SIGSTOP)
            for number in range(1, 6):
                outbox.accept(make_event("gate", number))
            relay.notify()
            time.sleep(frozen_seconds)
            assert outbox.depth() == 5
            os.kill(broker.pid, signal.SIGCONT)
            thawed_at = time.monotonic()
            until(lambda: outbox.depth() == 0, "the rest published at once", timeout=20)
            print(f"published {time.monotonic() - thawed_at:.2f} s after the thaw")
        numbers = sequences(read_topic(broker.bootstrap), "gate")
        assert firsts(numbers) == [0, 1, 2, 3, 4, 5]
        if frozen_seconds > 4:
            assert any("acknowledge" in reason for reason in notes.of("waiting"))


@pytest.mark.realparts
class TestOnApacheKafka:
    """What asks for a broker that keeps what it acknowledged when it is killed."""

    def test_nothing_is_lost_when_the_broker_is_killed_again_and_again(
        self, apache_kafka: Any, outbox: Outbox, make_event: Any, notes: Any, until: Any, read_topic: Any
    ) -> None:
        accepted = dict.fromkeys(["gate", "hall"], 0)
        over = threading.Event()

        def accept() -> None:
            while not over.wait(0.02):
                for camera in accepted:
                    outbox.accept(make_event(camera, accepted[camera]))
                    accepted[camera] += 1
                relay.notify()

        relay = KafkaRelay(outbox, apache_kafka.bootstrap, listener=notes, request_timeout_seconds=2.0)
        source = threading.Thread(target=accept)
        with relay:
            source.start()
            for _ in range(3):
                published = len(notes.of("published"))
                until(lambda seen=published: len(notes.of("published")) > seen + 20, "some published")
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
        self, secured_kafka: Any, outbox: Outbox, make_event: Any, notes: Any, until: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "password").write_text("s3cret-word\n")
        security = KafkaSecurity(user="alerts", password_file=tmp_path / "password", tls_ca=secured_kafka.ca)
        outbox.accept(make_event("gate", 0))
        with KafkaRelay(outbox, secured_kafka.bootstrap, security=security, listener=notes):
            until(lambda: outbox.depth() == 0, "published")
        assert len(notes.of("published")) == 1

    @pytest.mark.parametrize("wrong", ["password", "authority", "plain"])
    def test_refused_credentials_are_one_line_without_the_secret(
        self,
        secured_kafka: Any,
        outbox: Outbox,
        make_event: Any,
        notes: Any,
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
        relay = KafkaRelay(outbox, secured_kafka.bootstrap, security=security, listener=notes)
        relay.start()
        expected = {"password": "invalid credentials", "authority": "certificate", "plain": "security settings"}[wrong]
        # The broker may also just hang up on the first attempts.
        until(lambda: expected in "".join(notes.of("waiting")), f"the operator reads of {expected}", timeout=90)
        assert relay.stop(0.5) == 1
        for reason in notes.of("waiting"):
            assert "\n" not in reason
            assert secured_kafka.bootstrap in reason
            assert "security settings" in reason
        assert password not in caplog.text + str(notes.told) + repr(security)


@pytest.mark.realparts
class TestOnTheEmbeddedBroker:
    def test_a_broker_missing_at_the_start_is_told_and_waited_for(
        self, noida_db: Any, outbox: Outbox, make_event: Any, notes: Any, until: Any, read_topic: Any
    ) -> None:
        noida_db.stop()
        outbox.accept(make_event("gate", 0))
        with KafkaRelay(outbox, noida_db.bootstrap, listener=notes):
            until(lambda: notes.of("waiting"), "the operator is told")
            time.sleep(3)
            assert notes.of("waiting") == [
                f"Kafka {noida_db.bootstrap}: Connection refused; is the broker running there?"
            ]
            noida_db.start()
            until(lambda: outbox.depth() == 0, "published soon after the broker came", timeout=20)
        assert sequences(read_topic(noida_db.bootstrap), "gate") == [0]
        assert [kind for _, kind, _ in notes.told] == ["waiting", "published", "resumed"]

    def test_a_broker_killed_and_restarted_while_idle_and_while_busy(
        self, noida_db: Any, outbox: Outbox, make_event: Any, notes: Any, until: Any
    ) -> None:
        """This broker may forget; that nothing is lost is asserted on Apache Kafka."""
        with KafkaRelay(outbox, noida_db.bootstrap, listener=notes, request_timeout_seconds=2.0) as relay:
            until(lambda: notes.of("resumed"), "connected")
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
        assert [identity[-2:] for identity in notes.of("published")] == ["/0", "/1"]

    def test_a_missing_topic_that_may_not_be_created_is_one_line(
        self, noida_db: Any, outbox: Outbox, make_event: Any, notes: Any, until: Any, read_topic: Any
    ) -> None:
        outbox.accept(make_event("gate", 0))
        with KafkaRelay(outbox, noida_db.bootstrap, "site.alarms", create_topic=False, listener=notes):
            until(lambda: notes.of("waiting"), "the operator is told")
            time.sleep(2)
            assert notes.of("waiting") == [
                f"Kafka {noida_db.bootstrap}: topic site.alarms does not exist; create it, or allow it to be created"
            ]
            assert outbox.depth() == 1
            admin = KafkaAdminClient(bootstrap_servers=noida_db.bootstrap)
            assert "site.alarms" not in admin.list_topics()
            admin.create_topics({"site.alarms": {"num_partitions": 2, "replication_factor": 1}})
            admin.close()
            until(lambda: outbox.depth() == 0, "published once the topic is there", timeout=20)
        assert sequences(read_topic(noida_db.bootstrap, "site.alarms"), "gate") == [0]

    def test_stop_publishes_what_is_pending(
        self, noida_db: Any, outbox: Outbox, make_event: Any, read_topic: Any
    ) -> None:
        relay = KafkaRelay(outbox, noida_db.bootstrap)
        relay.start()
        for number in range(50):
            outbox.accept(make_event("gate", number))
        assert relay.stop(60.0) == 0
        assert sequences(read_topic(noida_db.bootstrap), "gate") == list(range(50))

    @pytest.mark.parametrize("trouble", ["missing", "frozen"])
    def test_stop_without_a_broker_ends_in_time_and_the_next_run_delivers(
        self, noida_db: Any, outbox: Outbox, make_event: Any, notes: Any, until: Any, read_topic: Any, trouble: str
    ) -> None:
        relay = KafkaRelay(outbox, noida_db.bootstrap, listener=notes)
        relay.start()
        until(lambda: notes.of("resumed"), "connected")
        if trouble == "missing":
            noida_db.stop()
        else:
            os.kill(noida_db.pid, signal.SIGSTOP)
        for number in range(3):
            outbox.accept(make_event("gate", number))
        relay.notify()
        time.sleep(0.5)
        began = time.monotonic()
        assert relay.stop(1.0) == 3
        assert time.monotonic() - began < 1.0 + 10

        if trouble == "missing":
            noida_db.start()
        else:
            os.kill(noida_db.pid, signal.SIGCONT)
        again = KafkaRelay(outbox, noida_db.bootstrap)
        again.start()
        assert again.stop(60.0) == 0
        assert firsts(sequences(read_topic(noida_db.bootstrap), "gate")) == [0, 1, 2]

    def test_stop_with_nothing_pending_is_immediate_even_without_a_broker(
        self, noida_db: Any, outbox: Outbox, notes: Any, until: Any
    ) -> None:
        noida_db.stop()
        relay = KafkaRelay(outbox, noida_db.bootstrap, listener=notes)
        relay.start()
        until(lambda: notes.of("waiting"), "it waits")
        began = time.monotonic()
        assert relay.stop(60.0) == 0
        assert time.monotonic() - began < 20

    def test_the_relays_own_death(
        self, noida_db: Any, tmp_path: Path, make_event: Any, until: Any, read_topic: Any
    ) -> None:
        """kill -9 in the middle of publishing, three times; the next process goes on."""
        path = tmp_path / "outbox.sqlite"
        outbox = Outbox(path)
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
        outbox = Outbox(path)
        left = outbox.depth()
        assert 0 < left <= 800 - 3 * 30
        with KafkaRelay(outbox, noida_db.bootstrap):
            until(lambda: outbox.depth() == 0, "the rest published")
        outbox.close()
        messages = read_topic(noida_db.bootstrap)
        for camera in ("gate", "hall"):
            assert firsts(sequences(messages, camera)) == list(range(400))
        assert len(messages) <= 800 + 3 * 2  # each death can repeat no more than the round in flight

    def test_a_replay_has_no_time_of_publishing(
        self, noida_db: Any, outbox: Outbox, make_event: Any, notes: Any, until: Any, read_topic: Any
    ) -> None:
        event = make_event("gate", 0, replay=True)
        outbox.accept(event)
        with KafkaRelay(outbox, noida_db.bootstrap, listener=notes):
            until(lambda: outbox.depth() == 0, "published")
        [(_, value, _, _)] = read_topic(noida_db.bootstrap)
        assert value == event.to_json()
        assert json.loads(value)["data"]["published_at"] is None
        assert notes.delays == [None]

    def test_an_event_that_no_broker_takes_does_not_hold_up_the_others(
        self, noida_db: Any, outbox: Outbox, make_event: Any, notes: Any, until: Any, read_topic: Any
    ) -> None:
        huge = make_event("gate", 0, padding=2_000_000)
        outbox.accept(huge)
        outbox.accept(make_event("gate", 1))
        with KafkaRelay(outbox, noida_db.bootstrap, listener=notes):
            until(lambda: outbox.depth() == 0, "the other one published")
        assert sequences(read_topic(noida_db.bootstrap), "gate") == [1]
        [failed] = notes.of("failed")
        assert failed.startswith(huge.id)
        assert "larger than the maximum request size" in failed

    def test_a_long_outage_leaks_neither_files_nor_threads(
        self, noida_db: Any, outbox: Outbox, notes: Any, until: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without the garbage collector's help: a busy worker's old generation is hardly ever collected."""
        monkeypatch.setattr(connection, "_BOOTSTRAP_SECONDS", 0.2)
        attempts = 0
        original = connection.Broker.check_listening

        def counted(broker: connection.Broker) -> None:
            nonlocal attempts
            attempts += 1
            original(broker)

        monkeypatch.setattr(connection.Broker, "check_listening", counted)
        os.kill(noida_db.pid, signal.SIGSTOP)
        gc.collect()
        gc.disable()
        try:
            with KafkaRelay(outbox, noida_db.bootstrap, listener=notes):
                until(lambda: attempts >= 3, "it tries")
                files, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
                until(lambda: attempts >= 10, "it tries on", timeout=90)
                assert len(list(Path("/proc/self/fd").iterdir())) <= files + 5
                assert threading.active_count() <= threads + 1
        finally:
            gc.enable()
        assert len(notes.of("waiting")) == 1


def test_an_address_that_cannot_be_one_is_refused_at_once(outbox: Outbox) -> None:
    for bootstrap in ("kafka", "kafka:", ":9092", "kafka:0", "kafka:99999", "a:1,b"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            KafkaRelay(outbox, bootstrap)


def test_an_unknown_host_is_told(outbox: Outbox, make_event: Any, notes: Any, until: Any) -> None:
    outbox.accept(make_event("gate", 0))
    relay = KafkaRelay(outbox, "no-such-host.invalid:9092", listener=notes)
    relay.start()
    until(lambda: notes.of("waiting"), "the operator is told")
    assert relay.stop(0.1) == 1
    assert notes.of("waiting")[0].startswith("Kafka no-such-host.invalid:9092: ")


def test_something_that_is_no_broker_is_told(outbox: Outbox, make_event: Any, notes: Any, until: Any) -> None:
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
        relay = KafkaRelay(outbox, f"127.0.0.1:{port}", listener=notes)
        relay.start()
        until(lambda: notes.of("waiting"), "the operator is told")
        assert relay.stop(0.1) == 1
    assert "\n" not in notes.of("waiting")[0]
    assert notes.of("waiting")[0].startswith(f"Kafka 127.0.0.1:{port}: ")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())))
def test_rounds_hold_each_camera_once_and_keep_its_order(pairs: list[tuple[str, int]]) -> None:
    class Item:
        def __init__(self, subject: str, number: int) -> None:
            self.subject, self.number = subject, number

    items = [Item(camera, number) for camera, number in pairs]
    rounds: list[list[Item]] = list(one_of_each_camera(items))  # type: ignore[arg-type]
    for events in rounds:
        assert len({event.subject for event in events}) == len(events) > 0
    for camera in "abc":
        sent = [event for events in rounds for event in events if event.subject == camera]
        assert sent == [item for item in items if item.subject == camera]
    assert sum(map(len, rounds)) == len(items)


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
