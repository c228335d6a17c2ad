"""The webhook sink against a server that misbehaves: signature, verdicts, time limits, redirects, TLS."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from odd_webhook import OddWebhook
from ports import free_port

from pipeline.alerts.outbox import Outbox
from pipeline.settings import SettingsError, site_from_options
from pipeline.sinks.base import Delivery, SinkUnavailableError, Verdict
from pipeline.sinks.relay import Relay
from pipeline.sinks.secrets import SinkSettingsError
from pipeline.sinks.webhook import WebhookSink, signature
from pipeline.sinks.webhook_settings import SECRET_VARIABLE, WebhookSettings

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)


@pytest.fixture
def server(odd_webhook: OddWebhook) -> OddWebhook:
    return odd_webhook


def sink_to(url: str, **settings: Any) -> WebhookSink:
    return WebhookSink(WebhookSettings(url=url, **settings))


def send(sink: WebhookSink, *events: Any, keep: Callable[..., bool] = lambda _explain: True) -> list[Delivery]:
    with sink.connect():
        return sink.send(events, keep)


class TestSignature:
    def test_it_is_that_of_the_standard(self) -> None:
        """The example of the specification (standard-webhooks/standard-webhooks, tests of the libraries)."""
        key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        found = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
        assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_each_event_is_signed_over_what_arrives(self, server: OddWebhook, make_event: Any) -> None:
        event = make_event("gate", 0)
        began = int(time.time())
        assert [each.verdict for each in send(sink_to(server.url), event)] == [Verdict.ACKNOWLEDGED]
        [(headers, body)] = server.received
        assert json.loads(body)["id"] == headers["webhook-id"] == event.id
        assert began <= int(headers["webhook-timestamp"]) <= time.time()
        signed = f"{event.id}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert headers["content-type"] == "application/cloudevents+json; charset=UTF-8"

    def test_while_a_secret_is_exchanged_both_sign(self, server: OddWebhook, make_event: Any, tmp_path: Path) -> None:
        other = "whsec_" + base64.b64encode(bytes(24)).decode()
        (tmp_path / "secret").write_text(f"{SECRET}\n{other}\n")
        send(sink_to(server.url, secret_file=tmp_path / "secret"), make_event("gate", 0))
        [(headers, body)] = server.received
        identity, now = headers["webhook-id"], headers["webhook-timestamp"]
        expected = [signature(key, identity, now, body) for key in (KEY, bytes(24))]
        assert headers["webhook-signature"].split() == expected

    @pytest.mark.parametrize("secret", ["plain words", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!"])
    def test_a_secret_that_cannot_be_used_is_one_line_without_it(
        self, monkeypatch: pytest.MonkeyPatch, secret: str
    ) -> None:
        monkeypatch.setenv(SECRET_VARIABLE, secret)
        with pytest.raises(SinkSettingsError) as error:
            sink_to("http://127.0.0.1/")
        assert str(error.value).startswith(f"webhook secret {SECRET_VARIABLE}: not usable; expected whsec_ and")
        assert secret == "whsec_" or secret not in str(error.value)

    def test_without_a_secret_the_line_says_where_it_goes(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv(SECRET_VARIABLE)
        with pytest.raises(SinkSettingsError, match=r"webhook: no secret; set .*, or MISTWATCH_WEBHOOK_SECRET"):
            sink_to("http://127.0.0.1/")
        with pytest.raises(SinkSettingsError, match="No such file"):
            sink_to("http://127.0.0.1/", secret_file=tmp_path / "missing")


class TestVerdicts:
    @pytest.mark.parametrize(
        ("status", "verdict", "reason"),
        [
            (200, Verdict.ACKNOWLEDGED, ""),
            (400, Verdict.NEVER, "answers 400 Bad Request"),
            (401, Verdict.RETRY, "answers 401 Unauthorized; check the secret"),
            (404, Verdict.RETRY, "answers 404 Not Found; check url"),
            (408, Verdict.RETRY, "answers 408 Request Timeout"),
            (413, Verdict.NEVER, "answers 413 Request Entity Too Large"),
            (422, Verdict.NEVER, "answers 422 Unprocessable Entity"),
            (425, Verdict.RETRY, "answers 425 Too Early"),
            (429, Verdict.RETRY, "answers 429 Too Many Requests"),
            (500, Verdict.RETRY, "answers 500 Internal Server Error"),
            (599, Verdict.RETRY, "answers 599"),
        ],
    )
    def test_a_status_has_a_meaning(
        self, server: OddWebhook, make_event: Any, status: int, verdict: Verdict, reason: str
    ) -> None:
        server.script = [(status, {})]
        [answer] = send(sink_to(server.url), make_event("gate", 0))
        assert answer.verdict is verdict
        # Python 3.13 has newer names for two of them.
        assert answer.reason in (
            reason,
            reason.replace("Request Entity", "Content").replace("Unprocessable Entity", "Unprocessable Content"),
        )

    @pytest.mark.parametrize(
        ("text", "low", "high"),
        [("7", 7, 7), ("999999", 300, 300), ("soon", 0, 0), ("-3", 0, 0), ("now", 0, 1)],
    )
    def test_retry_after_is_followed_up_to_five_minutes(
        self, server: OddWebhook, make_event: Any, text: str, low: float, high: float
    ) -> None:
        text = formatdate(usegmt=True) if text == "now" else text  # not in the test's name, which workers compare
        server.script = [(503, {"Retry-After": text})]
        [answer] = send(sink_to(server.url), make_event("gate", 0))
        assert low <= answer.wait_seconds <= high

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirect_is_not_followed(self, server: OddWebhook, make_event: Any, status: int) -> None:
        other = OddWebhook()
        try:
            server.script = [(status, {"Location": other.url.replace("127.0.0.1", "localhost")})]
            [answer] = send(sink_to(server.url), make_event("gate", 0))
            assert answer.verdict is Verdict.RETRY
            assert answer.reason.endswith(" to localhost; redirects are not followed, correct url")
            assert other.requests == 0
        finally:
            other.stop()

    def test_one_bad_answer_does_not_keep_other_cameras_waiting(self, server: OddWebhook, make_event: Any) -> None:
        server.script = [(500, {})]
        answers = send(sink_to(server.url), make_event("gate", 0), make_event("hall", 0))
        assert [each.verdict for each in answers] == [Verdict.RETRY, Verdict.ACKNOWLEDGED]


class TestTime:
    """The limit holds for the whole exchange, whatever the server does."""

    @staticmethod
    def drip_headers(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        TestTime.drip(sock)

    @staticmethod
    def drip_content(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        TestTime.drip(sock)

    @staticmethod
    def drip(sock: socket.socket) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            sock.sendall(b"x")
            time.sleep(0.1)

    @staticmethod
    def silence(sock: socket.socket) -> None:
        sock.settimeout(60)
        sock.recv(1)

    @pytest.mark.parametrize("odd", ["silence", "drip_headers", "drip_content"])
    def test_an_answer_that_does_not_end(self, server: OddWebhook, make_event: Any, odd: str) -> None:
        server.script = [getattr(self, odd)]
        began = time.monotonic()
        answers = send(sink_to(server.url, timeout_seconds=1.5), make_event("gate", 0), make_event("hall", 0))
        assert 1.4 < time.monotonic() - began < 20, "once: the other event is not tried at a server like this"
        assert [each.verdict for each in answers] == [Verdict.RETRY] * 2
        assert answers[0].reason in ("no whole answer within 1.5 s", "no answer within 1.5 s")
        assert server.requests == 1

    def test_the_end_of_a_relay_ends_the_exchange(self, server: OddWebhook, make_event: Any) -> None:
        server.script = [self.silence]
        began = time.monotonic()
        [answer] = send(sink_to(server.url, timeout_seconds=60), make_event("gate", 0), keep=lambda _explain: False)
        assert answer.verdict is Verdict.RETRY
        assert time.monotonic() - began < 30

    def test_a_server_that_never_accepts(self, make_event: Any) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=1) as full:
            port = full.getsockname()[1]
            sink = sink_to(f"https://127.0.0.1:{port}/", timeout_seconds=1.0)  # no TLS ever answers
            began = time.monotonic()
            with pytest.raises(SinkUnavailableError, match=rf"webhook 127.0.0.1:{port}: no (whole )?answer within 1 s"):
                send(sink, make_event("gate", 0))
            assert time.monotonic() - began < 20

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"SSH-2.0-OpenSSH_9.2\r\n", "answers something other than HTTP"),
            (b"", "closed the connection without an answer"),
        ],
    )
    def test_no_answer_of_http(self, server: OddWebhook, make_event: Any, content: bytes, reason: str) -> None:
        server.script = [lambda sock: sock.sendall(content)] * 2
        [answer] = send(sink_to(server.url), make_event("gate", 0))
        assert (answer.verdict, answer.reason) == (Verdict.RETRY, reason)

    def test_one_connection_serves_many_events_and_is_replaced_when_it_has_died(
        self, server: OddWebhook, make_event: Any
    ) -> None:
        sink = sink_to(server.url)
        with sink.connect():
            for number in range(3):
                assert sink.send([make_event("gate", number)], lambda _explain: True)[0].verdict is Verdict.ACKNOWLEDGED
            assert server.connections == 1
            server.stop()
            server.start()
            assert sink.send([make_event("gate", 3)], lambda _explain: True)[0].verdict is Verdict.ACKNOWLEDGED
        assert [each["data"]["sequence"] for each in server.documents()] == [0, 1, 2, 3]


class TestRelayed:
    def test_documents_that_hang_the_receiver_do_not_keep_other_cameras_waiting(
        self, server: OddWebhook, outbox: Outbox, make_event: Any, until: Any
    ) -> None:
        server.hang_at = lambda document: document["subject"] in ("gate", "yard")
        events = [make_event(camera, number) for number in range(2) for camera in ("gate", "yard", "hall", "door")]
        for event in events:
            outbox.accept(event)
        with Relay(sink_to(server.url, timeout_seconds=1.0), outbox.deliveries("kafka")):
            until(lambda: len(server.received) == 4, "those of the other cameras are delivered")
            server.hang_at = None
            until(lambda: outbox.depth() == 0, "all are delivered")
        for camera in ("gate", "yard", "hall", "door"):
            sequences = [each["data"]["sequence"] for each in server.documents() if each["subject"] == camera]
            assert sequences == [0, 1]

    def test_a_server_that_answers_500_gets_the_event_later_and_the_log_has_one_line(
        self, server: OddWebhook, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        server.script = [(500, {}), (500, {}), (500, {})]
        outbox.accept(make_event("gate", 0))
        with Relay(sink_to(server.url), outbox.deliveries("kafka"), listener=listener):
            until(lambda: outbox.depth() == 0, "delivered")
        assert server.requests == 4
        assert listener.texts("waiting") == [f"webhook 127.0.0.1:{server.port}: answers 500 Internal Server Error"]

    @pytest.mark.waits
    def test_retry_after_is_waited_for(self, server: OddWebhook, outbox: Outbox, make_event: Any, until: Any) -> None:
        server.script = [(429, {"Retry-After": "3"})]
        outbox.accept(make_event("gate", 0))
        began = time.monotonic()
        with Relay(sink_to(server.url), outbox.deliveries("kafka")):
            until(lambda: outbox.depth() == 0, "delivered")
        assert 3.0 <= time.monotonic() - began < 30

    def test_failed_sends_are_ever_farther_apart(
        self, server: OddWebhook, outbox: Outbox, make_event: Any, until: Any
    ) -> None:
        """A connection that opens is not a success: 0.2, 0.4, 0.8, 1.6 s after one another."""
        server.script = [(500, {})] * 100
        outbox.accept(make_event("gate", 0))
        relay = Relay(sink_to(server.url), outbox.deliveries("kafka"), most_backoff_seconds=30.0)
        relay.start()
        time.sleep(4.0)
        assert server.requests <= 6
        relay.stop(0.1)


class TestTls:
    @pytest.fixture
    def encrypted(self, certificate: Path) -> Iterator[OddWebhook]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "ca.pem", certificate / "key.pem")
        made = OddWebhook(context)
        yield made
        made.stop()

    def test_a_private_authority(self, encrypted: OddWebhook, certificate: Path, make_event: Any) -> None:
        [answer] = send(sink_to(encrypted.url, tls_ca=certificate / "ca.pem"), make_event("gate", 0))
        assert answer.verdict is Verdict.ACKNOWLEDGED

    def test_an_unknown_authority_and_another_name_are_refused(self, encrypted: OddWebhook, certificate: Path) -> None:
        with pytest.raises(SinkUnavailableError, match="is refused: self-signed certificate; set tls_ca"):
            send(sink_to(encrypted.url))
        named = encrypted.url.replace("127.0.0.1", "localhost")
        with pytest.raises(SinkUnavailableError, match="its certificate is refused: Hostname mismatch"):
            send(sink_to(named, tls_ca=certificate / "ca.pem"))

    def test_a_drip_over_tls_ends_in_time(self, encrypted: OddWebhook, certificate: Path, make_event: Any) -> None:
        encrypted.script = [TestTime.drip_headers]
        sink = sink_to(encrypted.url, tls_ca=certificate / "ca.pem", timeout_seconds=1.5)
        began = time.monotonic()
        [answer] = send(sink, make_event("gate", 0))
        assert answer.verdict is Verdict.RETRY
        assert time.monotonic() - began < 20

    def test_an_authority_that_cannot_be_read_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(SinkSettingsError, match=r"webhook TLS authority .*: No such file"):
            sink_to("https://127.0.0.1/", tls_ca=tmp_path / "missing.pem")


class TestSettings:
    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("ftp://host/x", "must be http://HOST"),
            ("no address", "must be http://HOST"),
            ("http://host:99999/", "must be http://HOST"),
            ("http://ho st/", "must be http://HOST"),
            ("https://ann:pass-word@host/", "must not hold a user or a password"),
        ],
    )
    def test_a_wrong_url_is_one_line(self, url: str, problem: str) -> None:
        with pytest.raises(SettingsError) as error:
            site_from_options({"cameras": {"any": {"source": "any"}}, "sinks": {"webhook": {"url": url}}})
        assert f"sinks: webhook.url: {problem}" in str(error.value)
        assert "\n" not in str(error.value)
        assert "pass-word" not in str(error.value)

    def test_the_path_is_in_no_message(self) -> None:
        port = free_port()
        sink = sink_to(f"http://127.0.0.1:{port}/hooks/s3cret-path?token=s3cret")
        with pytest.raises(SinkUnavailableError) as error:
            send(sink)
        assert str(error.value) == f"webhook 127.0.0.1:{port}: Connection refused"

    def test_proxies_of_the_environment_are_not_used(
        self, server: OddWebhook, make_event: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        [answer] = send(sink_to(server.url), make_event("gate", 0))
        assert answer.verdict is Verdict.ACKNOWLEDGED
