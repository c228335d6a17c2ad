"""An MQTT broker as a sink: QoS 1, and an event counts as delivered once the broker has acknowledged it (PUBACK).

MQTT 5 only: a broker of an earlier version has no words for a refused message. It drops the connection, or acknowledges
what it then discards.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from pipeline.alerts.reading import Event
from pipeline.printable import printable
from pipeline.sinks.base import Delivery, KeepWaiting, SinkUnavailableError, Verdict
from pipeline.sinks.home_assistant import HomeAssistant
from pipeline.sinks.kafka_diagnosis import connection_failure, format_address
from pipeline.sinks.kafka_security import reason_of
from pipeline.sinks.mqtt_settings import PASSWORD_VARIABLE, MqttSettings
from pipeline.sinks.mqtt_topics import alerts_topic, status_topic
from pipeline.sinks.secrets import SinkSettingsError, read_secret_lines, verifying_context

#: While waiting for an answer, the stop is looked for this often, seconds.
_POLL_SECONDS = 0.1
#: Limits of the answer to a connection and of the last messages before its end, seconds.
_CONNECT_SECONDS, _LEAVE_SECONDS = 5.0, 0.5
#: The broker publishes the last will after one and a half times this without a sign of life, seconds.
_KEEPALIVE_SECONDS = 20
#: Reason codes of PUBACK that would come again for the same event: topic name invalid, packet too large, payload format
#: invalid. Others (quota exceeded, not authorized) may change without it.
_PERMANENT = frozenset({0x90, 0x95, 0x99})
_NOT_AUTHORIZED = 0x87
_ENDED = "the connection has ended"
#: Bytes of a PUBLISH beside its content and topic, at most: fixed header, message id, properties.
_OVERHEAD_BYTES = 128


@dataclass(frozen=True, slots=True)
class _Flight:
    """The messages of one event: the states that change with it, and its own."""

    messages: list[MQTTMessageInfo]


class MqttSink:
    """Publishes each event on the topic of its camera, ``mistwatch/SITE/CAMERA/alerts``.

    Raises:
        SinkSettingsError: a file cannot be read, or a user has no password.
    """

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self._address = (settings.host, settings.port)
        self._context = verifying_context("MQTT", settings.tls_ca) if settings.encrypted else None
        password = read_secret_lines("MQTT password", settings.password_file, PASSWORD_VARIABLE)
        if settings.user is not None and not password:
            raise SinkSettingsError(
                f"mqtt: the user has no password; set mqtt.password_file, or {PASSWORD_VARIABLE} in the environment"
            )
        self._password = password[0] if password else None
        # Without a name of its own: two clients of one name would end each other's connections, again and again.
        self._client_id = settings.client_id or f"mistwatch-{secrets.token_hex(6)}"
        self._name = settings.client_id  # of the worker, in topics
        self._site = "site"
        self._home = HomeAssistant(settings.discovery_prefix) if settings.home_assistant else None
        self._connection: _Connection | None = None

    def introduce(self, site: str, cameras: Sequence[str], worker: str | None = None) -> None:
        """See :class:`pipeline.sinks.base.KnowsSite`."""
        self._site = site
        if worker is not None:  # the workers of a group have the same settings
            self._name = f"{self._settings.client_id}-{worker}" if self._settings.client_id else worker
            self._client_id = self._name if self._settings.client_id else f"{worker}-{secrets.token_hex(6)}"
        if self._home is not None:
            self._home.introduce(site, cameras, self._status_topic, is_shared=worker is not None)

    def watch(self, camera: str) -> None:
        """See :class:`pipeline.sinks.base.KnowsSite`."""
        if self._home is None:
            return
        messages = self._home.watch(camera)
        if (connection := self._connection) is not None:  # else the next one begins with them
            for message in messages:
                with contextlib.suppress(ValueError, RuntimeError):
                    connection.publish(message.topic, message.payload, retain=True)

    def forget(self, camera: str) -> None:
        """See :class:`pipeline.sinks.base.KnowsSite`."""
        if self._home is not None:
            self._home.forget(camera)

    @contextlib.contextmanager
    def connect(self) -> Iterator[None]:
        """See :class:`pipeline.sinks.base.Sink`. Raises SinkUnavailableError."""
        if (failure := connection_failure(self._address)) is not None:
            raise SinkUnavailableError(f"{self}: {failure}; is the broker running there?")
        connection = _Connection(self._client(), self._address, str(self))
        try:
            connection.open()
            self._connection = connection
            connection.publish(self._status_topic, "online", retain=True)
            if self._home is not None:
                for message in self._home.greetings():
                    connection.publish(message.topic, message.payload, retain=True)
            yield
        finally:
            self._connection = None
            connection.leave(self._status_topic)

    def send(self, events: Sequence[Event], keep_waiting: KeepWaiting) -> list[Delivery]:
        """See :class:`pipeline.sinks.base.Sink`."""
        assert self._connection is not None, "send() is called inside connect()"
        deadline = time.monotonic() + self._settings.timeout_seconds
        flights = [self._begin(event, self._connection) for event in events]
        return [
            flight if isinstance(flight, Delivery) else self._result(flight, self._connection, deadline, keep_waiting)
            for flight in flights
        ]

    def _begin(self, event: Event, connection: _Connection) -> _Flight | Delivery:
        site = unquote(event.source.rpartition("/")[2])
        topic, body = alerts_topic(site, event.subject), event.to_json()
        size = len(body) + len(topic.encode()) + _OVERHEAD_BYTES
        states = [] if self._home is None else self._home.states_after(event)
        messages = [connection.publish(one.topic, one.payload, retain=True) for one in states]
        if connection.most_bytes is not None and size > connection.most_bytes:
            return Delivery(
                Verdict.NEVER, f"{size} bytes, larger than the maximum of the broker ({connection.most_bytes})"
            )
        return _Flight([*messages, connection.publish(topic, body)])

    def _result(self, flight: _Flight, connection: _Connection, deadline: float, keep_waiting: KeepWaiting) -> Delivery:
        """Wait for the acknowledgements of one event."""
        for message in flight.messages:
            while not connection.is_answered(message, _POLL_SECONDS):
                if connection.ended is not None:
                    return Delivery(Verdict.RETRY, connection.ended)
                if time.monotonic() >= deadline or not keep_waiting(self._explain_silence):
                    return Delivery(Verdict.RETRY, "no acknowledgement in time; connecting again")
            if (code := connection.code_of(message)) >= 0x80:
                return _refusal(code)
        return Delivery(Verdict.ACKNOWLEDGED)

    def _client(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,  # the relay connects again, and sends again what was not acknowledged
        )
        client.connect_timeout = _CONNECT_SECONDS
        client.max_queued_messages_set(0)
        if self._context is not None:
            client.tls_set_context(self._context)
        if self._settings.user is not None:
            client.username_pw_set(self._settings.user, self._password)
        client.will_set(self._status_topic, "offline", qos=1, retain=True)
        return client

    @property
    def _status_topic(self) -> str:
        return status_topic(self._site, self._name)

    def _explain_silence(self) -> str:
        if (failure := connection_failure(self._address)) is not None:
            return f"{self}: {failure}"
        return f"{self}: accepts connections but acknowledges nothing"

    def __str__(self) -> str:
        return f"MQTT {format_address(self._address)}"


class _Connection:
    """One connection of a client, from CONNECT to its end. The client's thread calls back."""

    def __init__(self, client: Client, address: tuple[str, int], name: str) -> None:
        self._client = client
        self._address = address
        self._name = name
        self._changed = threading.Condition()
        self._codes: dict[int, int] = {}  # reason codes of PUBACK by message id; ids return after 65,535 messages
        self._accepted: ReasonCode | None = None
        self.ended: str | None = None  #: why the connection has ended; None while it holds
        self.most_bytes: int | None = None  #: of a message, as the broker says
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    def open(self) -> None:
        """Connect and wait for the broker's answer. Raises SinkUnavailableError."""
        try:
            self._client.connect(*self._address, keepalive=_KEEPALIVE_SECONDS, clean_start=True)
        except (OSError, ValueError) as error:
            verify = getattr(error, "verify_message", "")
            why = f"its certificate is refused: {printable(verify)}" if verify else reason_of(error)
            raise SinkUnavailableError(f"{self._name}: {why}; check the address and the TLS settings") from None
        self._client.loop_start()
        deadline = time.monotonic() + _CONNECT_SECONDS
        with self._changed:
            while self._accepted is None and self.ended is None and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
        if self._accepted is None:
            why = self.ended or "accepts connections but does not answer; is it frozen, or does it expect TLS?"
            raise SinkUnavailableError(f"{self._name}: {why}")
        if self._accepted.is_failure:
            raise SinkUnavailableError(f"{self._name}: refuses the connection: {_explain_refusal(self._accepted)}")

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> MQTTMessageInfo:
        """Begin to publish a message."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if not retain:
            properties.ContentType = "application/cloudevents+json"
        message = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if message.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.ended = self.ended or _ENDED
        return message

    def is_answered(self, message: MQTTMessageInfo, seconds: float) -> bool:
        """Return whether the broker has answered a message, after waiting for at most this long."""
        if message.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        message.wait_for_publish(seconds)
        return message.is_published()

    def code_of(self, message: MQTTMessageInfo) -> int:
        """Return the reason code of the broker's answer."""
        return self._codes.get(message.mid, 0)

    def leave(self, status: str) -> None:
        """Say that the worker is offline, where the broker listens, and end the connection."""
        with contextlib.suppress(ValueError, RuntimeError):
            if self._accepted is not None and not self._accepted.is_failure and self.ended is None:
                offline = self.publish(status, "offline", retain=True)
                offline.wait_for_publish(_LEAVE_SECONDS)
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, properties: Any) -> None:
        with self._changed:
            self._accepted = code
            self.most_bytes = getattr(properties, "MaximumPacketSize", None)
            self._changed.notify_all()

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        with self._changed:
            self.ended = _ENDED + (f": {code}" if code.value > 0x80 else "")  # 0x80: unspecified
            self._changed.notify_all()

    def _on_publish(self, _client: Client, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        self._codes[mid] = code.value


def _refusal(code: int) -> Delivery:
    """Return the meaning of a PUBACK that is a failure."""
    name = str(ReasonCode(PacketTypes.PUBACK, identifier=code))
    if code == _NOT_AUTHORIZED:
        name += "; allow this user to write to the topics below mistwatch/"
    return Delivery(Verdict.NEVER if code in _PERMANENT else Verdict.RETRY, f"refuses a message: {name}")


def _explain_refusal(code: ReasonCode) -> str:
    if code.value in (0x84, 0x01):
        return f"{code}; MQTT 5 is needed"
    if code.value in (0x86, _NOT_AUTHORIZED):
        return f"{code}; check mqtt.user and its password"
    return str(code)
