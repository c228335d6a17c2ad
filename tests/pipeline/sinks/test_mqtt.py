"""The MQTT sink against a real mosquitto: acknowledgements, refusals, outages, TLS, and Home Assistant's discovery."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from mosquitto_broker import MOSQUITTO, MosquittoBroker, Subscriber
from ports import free_port

from pipeline.alerts.outbox import Outbox
from pipeline.settings import SettingsError, site_from_options
from pipeline.sinks.base import SinkUnavailableError, Verdict
from pipeline.sinks.home_assistant import HomeAssistant
from pipeline.sinks.mqtt import MqttSink
from pipeline.sinks.mqtt_settings import PASSWORD_VARIABLE, MqttSettings
from pipeline.sinks.mqtt_topics import alerts_topic, status_topic
from pipeline.sinks.relay import Relay
from pipeline.sinks.secrets import SinkSettingsError

pytestmark = pytest.mark.realparts


@pytest.fixture
def make_broker(tmp_path: Path, require: Callable[[str], NoReturn]) -> Iterator[Callable[..., MosquittoBroker]]:
    """Starts a mosquitto; the arguments are lines of its configuration."""
    if not MOSQUITTO.exists():
        require("mosquitto, a broker of MQTT (Debian package mosquitto)")
    made: list[MosquittoBroker] = []

    def make(*lines: str) -> MosquittoBroker:
        made.append(MosquittoBroker(tmp_path / f"mosquitto{len(made)}", *lines))
        return made[-1]

    yield make
    for broker in made:
        broker.stop()


@pytest.fixture
def subscribe() -> Iterator[Callable[..., Subscriber]]:
    """Makes subscribers; the arguments are those of Subscriber."""
    made: list[Subscriber] = []

    def subscribe(*arguments: Any, **options: Any) -> Subscriber:
        made.append(Subscriber(*arguments, **options))
        return made[-1]

    yield subscribe
    for each in made:
        each.close()


def sink_to(port: int, *cameras: str, **settings: Any) -> MqttSink:
    sink = MqttSink(MqttSettings(port=port, **settings))
    sink.introduce("yard", cameras)
    return sink


def always(_explain: Callable[[], str]) -> bool:
    return True


class TestDelivery:
    def test_an_event_is_on_the_topic_of_its_camera(
        self, mosquitto: MosquittoBroker, subscribe: Any, make_event: Any, until: Any
    ) -> None:
        subscriber = subscribe(mosquitto.port)
        events = [make_event(camera, 0) for camera in ("gate", "hall/2", "Küche +#")]
        sink = sink_to(mosquitto.port)
        with sink.connect():
            assert [each.verdict for each in sink.send(events, always)] == [Verdict.ACKNOWLEDGED] * 3
        until(lambda: len(subscriber.documents()) == 3, "the subscriber has them")
        alerts = [(topic, json.loads(body)["id"]) for topic, body, _ in subscriber.messages if topic.endswith("alerts")]
        assert alerts == [
            ("mistwatch/yard/gate/alerts", events[0].id),
            ("mistwatch/yard/hall%2F2/alerts", events[1].id),
            ("mistwatch/yard/Küche %2B%23/alerts", events[2].id),
        ]
        assert not any(retained for topic, _, retained in subscriber.messages if topic.endswith("alerts"))

    def test_the_worker_is_online_until_it_leaves(self, mosquitto: MosquittoBroker, subscribe: Any, until: Any) -> None:
        subscriber = subscribe(mosquitto.port)
        with sink_to(mosquitto.port).connect():
            until(lambda: subscriber.payloads("mistwatch/yard/status") == ["online"], "online")
        until(lambda: subscriber.payloads("mistwatch/yard/status") == ["online", "offline"], "offline")

    @pytest.mark.slow
    def test_the_last_will_says_that_a_killed_worker_is_offline(
        self, mosquitto: MosquittoBroker, subscribe: Any, until: Any, root: Path
    ) -> None:
        subscriber = subscribe(mosquitto.port)
        code = (
            "import sys, time\nfrom pipeline.sinks.mqtt import MqttSink\n"
            "from pipeline.sinks.mqtt_settings import MqttSettings\n"
            "sink = MqttSink(MqttSettings(port=int(sys.argv[1]), client_id='worker-1'))\nsink.introduce('yard', [])\n"
            "with sink.connect():\n    time.sleep(600)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code, str(mosquitto.port)], cwd=root)
        try:
            until(lambda: subscriber.payloads("mistwatch/yard/status/worker-1") == ["online"], "online")
        finally:
            process.kill()
            process.wait()
        until(lambda: subscriber.payloads("mistwatch/yard/status/worker-1")[-1] == "offline", "the last will")

    def test_a_broker_killed_and_frozen_gets_everything_in_order(
        self, mosquitto: MosquittoBroker, subscribe: Any, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        subscriber = subscribe(mosquitto.port)
        sink = sink_to(mosquitto.port, timeout_seconds=3)
        with Relay(sink, outbox.deliveries("kafka"), listener=listener) as relay:
            for number, trouble in enumerate(["", "kill", "", "freeze", ""]):
                if trouble == "kill":
                    mosquitto.stop()
                if trouble == "freeze":
                    mosquitto.freeze()
                for part in range(2):
                    outbox.accept(make_event("gate", 2 * number + part))
                relay.notify()
                if trouble:
                    waiting = len(listener.texts("waiting"))
                    until(lambda seen=waiting: len(listener.texts("waiting")) > seen, "the outage is reported")
                    assert outbox.depth() == 2
                if trouble == "kill":
                    mosquitto.start()
                    subscriber.wait()
                if trouble == "freeze":
                    mosquitto.thaw()
                until(lambda: outbox.depth() == 0, "delivered", timeout=120)
                subscriber.drain()  # what a killed mosquitto has not passed on is gone: here it keeps nothing on disk
        seen = [each["data"]["sequence"] for each in subscriber.documents()]
        assert list(dict.fromkeys(seen)) == list(range(10))


class TestRefusals:
    """One line each, and what happens next."""

    @pytest.fixture
    def guarded(self, make_broker: Any, tmp_path: Path) -> MosquittoBroker:
        """A broker with the user ``alerts``, who may write below mistwatch/yard/gate/ and its status only."""
        passwords, rules = tmp_path / "passwords", tmp_path / "rules"
        passwords.write_text("alerts:right-word\nreader:right-word\n")
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, timeout=60)
        rules.write_text(
            "user alerts\ntopic write mistwatch/yard/gate/#\ntopic write mistwatch/yard/status/#\n"
            "user reader\ntopic read #\n"
        )
        passwords.chmod(0o644)
        return make_broker(f"password_file {passwords}", f"acl_file {rules}", "allow_anonymous false")

    def test_the_right_password_from_the_environment_and_from_a_file(
        self, guarded: MosquittoBroker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_event: Any
    ) -> None:
        (tmp_path / "word").write_text("right-word\n")
        for file in (tmp_path / "word", None):
            if file is None:
                monkeypatch.setenv(PASSWORD_VARIABLE, "right-word")
            sink = sink_to(guarded.port, user="alerts", password_file=file)
            with sink.connect():
                assert sink.send([make_event("gate", 0)], always)[0].verdict is Verdict.ACKNOWLEDGED

    def test_a_wrong_password(self, guarded: MosquittoBroker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(PASSWORD_VARIABLE, "wrong-word")
        with pytest.raises(SinkUnavailableError) as error, sink_to(guarded.port, user="alerts").connect():
            pass
        assert str(error.value) == (
            f"MQTT 127.0.0.1:{guarded.port}: refuses the connection: Not authorized; check mqtt.user and its password"
        )

    def test_no_user(self, guarded: MosquittoBroker) -> None:
        with (
            pytest.raises(SinkUnavailableError, match="refuses the connection: Not authorized"),
            sink_to(guarded.port).connect(),
        ):
            pass

    def test_a_topic_that_the_user_may_not_write(
        self, guarded: MosquittoBroker, monkeypatch: pytest.MonkeyPatch, make_event: Any
    ) -> None:
        """A broker of MQTT 3 would acknowledge the event and drop it."""
        monkeypatch.setenv(PASSWORD_VARIABLE, "right-word")
        sink = sink_to(guarded.port, user="alerts")
        with sink.connect():
            gate, hall = sink.send([make_event("gate", 0), make_event("hall", 0)], always)
        assert gate.verdict is Verdict.ACKNOWLEDGED
        assert hall.verdict is Verdict.RETRY
        assert hall.reason == (
            "refuses a message: Not authorized; allow this user to write to the topics below mistwatch/"
        )

    def test_a_missing_broker(self) -> None:
        port = free_port()
        with pytest.raises(SinkUnavailableError) as error, sink_to(port).connect():
            pass
        assert str(error.value) == f"MQTT 127.0.0.1:{port}: Connection refused; is the broker running there?"

    def test_a_server_that_does_not_answer(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            began = time.monotonic()
            with (
                pytest.raises(SinkUnavailableError, match="accepts connections but does not answer"),
                sink_to(silent.getsockname()[1]).connect(),
            ):
                pass
            assert time.monotonic() - began < 60

    def test_a_frozen_broker_that_has_the_event(self, mosquitto: MosquittoBroker, make_event: Any) -> None:
        sink = sink_to(mosquitto.port, timeout_seconds=1.0)
        with sink.connect():
            os.kill(mosquitto.pid, signal.SIGSTOP)
            try:
                [answer] = sink.send([make_event("gate", 0)], always)
            finally:
                os.kill(mosquitto.pid, signal.SIGCONT)
        assert answer.verdict is Verdict.RETRY
        assert answer.reason == "no acknowledgement in time; connecting again"

    def test_a_user_without_a_password_is_one_line(self) -> None:
        with pytest.raises(SinkSettingsError, match=rf"mqtt: the user has no password; set .*{PASSWORD_VARIABLE}"):
            MqttSink(MqttSettings(user="alerts"))

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"host": "mqtt://broker"}, "mqtt.host: String should match pattern"),
            ({"port": 0}, "mqtt.port: Input should be greater than or equal to 1"),
            ({"password": "s3cret"}, "mqtt.password: Extra inputs are not permitted"),
        ],
    )
    def test_wrong_settings_are_one_line(self, settings: dict[str, Any], problem: str) -> None:
        with pytest.raises(SettingsError) as error:
            site_from_options({"cameras": {"any": {"source": "any"}}, "sinks": {"mqtt": settings}})
        assert f"sinks: {problem}" in str(error.value)
        assert "\n" not in str(error.value)
        assert "s3cret" not in str(error.value)


class TestTls:
    @pytest.fixture
    def encrypted(self, make_broker: Any, certificate: Path) -> MosquittoBroker:
        return make_broker(
            "allow_anonymous true", f"certfile {certificate / 'ca.pem'}", f"keyfile {certificate / 'key.pem'}"
        )

    def test_a_private_authority(self, encrypted: MosquittoBroker, certificate: Path, make_event: Any) -> None:
        sink = sink_to(encrypted.port, tls_ca=certificate / "ca.pem")
        with sink.connect():
            assert sink.send([make_event("gate", 0)], always)[0].verdict is Verdict.ACKNOWLEDGED

    def test_an_unknown_authority_is_refused(self, encrypted: MosquittoBroker) -> None:
        with (
            pytest.raises(SinkUnavailableError, match="its certificate is refused: self-signed"),
            sink_to(encrypted.port, tls=True).connect(),
        ):
            pass

    def test_plain_text_to_a_listener_of_tls(self, encrypted: MosquittoBroker) -> None:
        with (
            pytest.raises(SinkUnavailableError, match=r"the connection has ended|does it expect TLS"),
            sink_to(encrypted.port).connect(),
        ):
            pass


class TestHomeAssistant:
    def test_a_camera_is_a_sensor_that_is_on_while_an_alert_is_open(
        self, mosquitto: MosquittoBroker, subscribe: Any, make_event: Any, make_end: Any, until: Any
    ) -> None:
        sink = sink_to(mosquitto.port, "gate", "hall", home_assistant=True)
        with sink.connect():
            for events in ([make_event("gate", 0)], [make_event("gate", 1)], [make_end("gate", 2)]):
                assert sink.send(events, always)[0].verdict is Verdict.ACKNOWLEDGED
            sink.send([make_event("hall", 0)], always)
        late = subscribe(mosquitto.port)  # the messages are kept for it
        until(lambda: len(late.messages) == 5, "two announcements, two states, one status")
        assert all(retained for _, _, retained in late.messages)
        announced = [json.loads(body) for topic, body, _ in late.messages if topic.startswith("homeassistant/")]
        assert {each["device"]["name"] for each in announced} == {"gate", "hall"}
        for each in announced:
            name = each["device"]["name"]
            assert late.payloads(each["state_topic"]) == [{"gate": "OFF", "hall": "ON"}[name]]
            assert late.payloads(each["availability_topic"]) == ["offline"]
            assert each["json_attributes_topic"] == f"mistwatch/yard/{name}/alerts"

    def test_a_camera_that_another_worker_takes_over(
        self, mosquitto: MosquittoBroker, subscribe: Any, make_event: Any, make_end: Any, until: Any
    ) -> None:
        """Two workers of a group, with the same settings."""
        subscriber = subscribe(mosquitto.port)
        settings = MqttSettings(port=mosquitto.port, client_id="yard", home_assistant=True)
        first, second = MqttSink(settings), MqttSink(settings)
        for sink, worker in ((first, "a"), (second, "b")):
            sink.introduce("yard", [], worker)

        def available() -> list[str]:
            announced = [json.loads(body) for topic, body, _ in subscriber.messages if topic.startswith("homeass")]
            return [each["availability_topic"].rpartition("/")[2] for each in announced]

        with second.connect():
            with first.connect():
                first.watch("gate")
                assert first.send([make_event("gate", 0)], always)[0].verdict is Verdict.ACKNOWLEDGED
                until(lambda: available() == ["yard-a"], "announced when the camera is added")
                first.forget("gate")
                second.watch("gate")
                until(lambda: available() == ["yard-a", "yard-b"], "by the next worker")
                assert second.send([make_end("gate", 1)], always)[0].verdict is Verdict.ACKNOWLEDGED
            with first.connect():
                until(
                    lambda: subscriber.payloads("mistwatch/yard/status/yard-a") == ["online", "offline", "online"],
                    "the first worker is there again",
                )
            assert second.send([make_event("gate", 2)], always)[0].verdict is Verdict.ACKNOWLEDGED, "still connected"
            assert subscriber.payloads("mistwatch/yard/status/yard-b") == ["online"]
        until(lambda: len(subscriber.payloads("mistwatch/yard/status/yard-b")) == 2, "offline")
        assert available() == ["yard-a", "yard-b"]
        assert subscriber.payloads("mistwatch/yard/gate/state") == ["ON", "OFF"]

    def test_the_states_of_events(self, make_event: Any, make_end: Any) -> None:
        home = HomeAssistant("homeassistant")
        home.introduce("yard", ["gate"], "status")

        def states(event: Any) -> list[str]:
            return [each.payload for each in home.states_after(event) if each.topic.endswith("/state")]

        assert [each.payload for each in home.greetings()][1:] == ["OFF"]
        assert states(make_event("gate", 0)) == ["ON"]
        assert states(make_event("gate", 1)) == []
        assert [each.payload for each in home.greetings()][1:] == ["ON"], "for a new connection"
        assert states(make_end("gate", 2)) == ["OFF"]
        assert states(make_event("gate", 1)) == [], "late, from another worker's outbox"
        assert states(make_event("new", 0)) == ["ON"], "a camera that was added, with its announcement"
        muted = make_event("dark", 0)
        muted = muted.model_copy(update={"data": muted.data.model_copy(update={"muted": True, "outside_schedule": ()})})
        assert states(muted) == ["OFF"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/b", "a%2Fb"), ("100%", "100%25"), ("+#$", "%2B%23%24"), ("Küche", "Küche"), ("\n", "%0A")],
)
def test_names_are_one_level_of_a_topic(name: str, expected: str) -> None:
    assert alerts_topic("yard", name) == f"mistwatch/yard/{expected}/alerts"
    assert status_topic(name, None) == f"mistwatch/{expected}/status"
