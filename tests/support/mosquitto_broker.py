"""A real MQTT broker (Debian's mosquitto) that can be killed and frozen, and a subscriber that keeps its messages."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from ports import free_port

MOSQUITTO = Path("/usr/sbin/mosquitto")
#: The broker refuses larger messages.
LIMIT_BYTES = 1_048_576


class MosquittoBroker:
    """A broker on loopback that keeps its port.

    Args:
        folder: for its configuration.
        lines: of its configuration, besides the listener.
    """

    def __init__(self, folder: Path, *lines: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._file = folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        head = [
            f"listener {self.port} 127.0.0.1",
            f"max_packet_size {LIMIT_BYTES}",
            "user root",  # started as root it would change to a user that may not read the test's folder
            "persistence true",  # a subscriber's session outlives the broker's death
            f"persistence_location {folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
        ]
        self._file.write_text("\n".join([*head, *(lines or ["allow_anonymous true"])]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([str(MOSQUITTO), "-c", str(self._file)], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not listens(self.port):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, "mosquitto does not listen after 60 s"
            time.sleep(0.05)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class Subscriber:
    """Keeps the messages of a broker; it connects again by itself, and its session outlives the connection."""

    def __init__(self, port: int, *topics: str, login: tuple[str, str] | None = None) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []  # topic, payload, retained
        self._marks = 0
        self._subscribed = threading.Event()
        client = self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id="test-subscriber",
            protocol=MQTTProtocolVersion.MQTTv311,
            clean_session=False,
        )
        if login is not None:
            client.username_pw_set(*login)
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda *_: client.subscribe([(topic, 1) for topic in topics or ("#",)])
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_disconnect = lambda *_: self._subscribed.clear()
        client.on_message = self._keep
        client.connect("127.0.0.1", port, keepalive=10)
        client.loop_start()
        self.wait()

    def wait(self) -> None:
        """Wait until it is subscribed (again)."""
        assert self._subscribed.wait(60)

    def documents(self) -> list[dict[str, Any]]:
        """The events so far."""
        return [json.loads(payload) for topic, payload, _ in list(self.messages) if topic.endswith("/alerts")]

    def payloads(self, topic: str) -> list[str]:
        """Return what was published on one topic."""
        return [payload.decode() for found, payload, _ in list(self.messages) if found == topic]

    def drain(self) -> None:
        """Wait until it has what was published so far."""
        self._marks += 1
        mark = f"{self._marks}".encode()
        self._client.publish("test/mark", mark, qos=1)
        deadline = time.monotonic() + 60
        while not any(topic == "test/mark" and payload == mark for topic, payload, _ in list(self.messages)):
            assert time.monotonic() < deadline, "the subscriber does not hear itself"
            time.sleep(0.02)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _keep(self, _client: Client, _data: Any, message: Any) -> None:
        self.messages.append((message.topic, message.payload, message.retain))


def listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False
