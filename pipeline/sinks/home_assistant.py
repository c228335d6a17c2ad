"""Cameras as binary sensors of Home Assistant, by MQTT discovery: on while an alert of the camera is open.

Muted alerts do not switch a sensor on. Nothing here talks to a broker: it makes the retained messages.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.alerts.event import AlertEvent
from pipeline.alerts.reading import Event
from pipeline.sinks.mqtt_topics import alerts_topic, state_topic

#: Ended alerts that are remembered for each camera: an older event of one may come late, from another worker's outbox.
_MOST_ENDED = 100


@dataclass(frozen=True, slots=True)
class Retained:
    """A message that the broker keeps for later subscribers."""

    topic: str
    payload: str


@dataclass(slots=True)
class _Camera:
    is_ours: bool = True  #: this worker watches it
    is_known: bool = True  #: else an alert may be open that another worker has begun
    open: set[str] = field(default_factory=set)
    ended: OrderedDict[str, None] = field(default_factory=OrderedDict)


class HomeAssistant:
    """The states of the cameras that this worker watches. Thread-safe.

    Where workers share cameras, each announces those that it watches, with the topic that says whether it is connected.

    Args:
        prefix: Home Assistant's topic for announcements.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._site = "site"
        self._availability = ""
        self._is_shared = False
        self._lock = threading.Lock()  # of the next: cameras come and go on other threads
        self._cameras: dict[str, _Camera] = {}

    def introduce(self, site: str, cameras: Sequence[str], availability: str, *, is_shared: bool = False) -> None:
        """Take the names of the site and its cameras, and the topic that says whether the worker is connected.

        Args:
            is_shared: other workers watch cameras of the site, too.
        """
        self._site, self._availability, self._is_shared = site, availability, is_shared
        for camera in cameras:
            self._cameras.setdefault(camera, _Camera())

    def watch(self, camera: str) -> list[Retained]:
        """Take a camera, and return the messages that announce it; none where the worker has it already.

        The state of a camera of another worker stays until the first event: an open alert may go on here.
        """
        with self._lock:
            known = self._cameras.get(camera)
            if known is not None and known.is_ours:
                return []
            self._cameras[camera] = _Camera(is_known=not self._is_shared)
            return self._greeting(camera)

    def forget(self, camera: str) -> None:
        """Announce a camera no longer. Events of it that still wait for the broker change its state."""
        with self._lock:
            if (known := self._cameras.get(camera)) is not None:
                known.is_ours = False

    def greetings(self) -> list[Retained]:
        """Return the announcements and the states of all cameras of this worker, for a new connection."""
        with self._lock:
            ours = [name for name, camera in self._cameras.items() if camera.is_ours]
            return [message for name in ours for message in self._greeting(name)]

    def states_after(self, event: Event) -> list[Retained]:
        """Return the messages that an event makes necessary: its camera's state, if it is another one now."""
        if not isinstance(event, AlertEvent) or event.data.late:
            return []  # of a late one: the worker that has the camera now says whether the alert is open
        with self._lock:
            is_new = event.subject not in self._cameras
            camera = self._cameras.setdefault(event.subject, _Camera(is_ours=not self._is_shared))
            before = bool(camera.open) if camera.is_known and not is_new else None
            self._note(camera, event)
            camera.is_known = True
            if is_new and camera.is_ours:
                return self._greeting(event.subject)
            # An event that is sent again changes nothing here, and its state may not have arrived: greetings() repeats
            # it.
            return [self._state(event.subject)] if bool(camera.open) != before else []

    def _greeting(self, camera: str) -> list[Retained]:
        state = [self._state(camera)] if self._cameras[camera].is_known else []
        return [self._announcement(camera), *state]

    @staticmethod
    def _note(camera: _Camera, event: AlertEvent) -> None:
        alert = str(event.data.alert_id)
        if event.data.state == "end":
            camera.open.discard(alert)
            camera.ended[alert] = None
            while len(camera.ended) > _MOST_ENDED:
                camera.ended.popitem(last=False)
        elif event.data.muted:
            camera.open.discard(alert)
        elif alert not in camera.ended:
            camera.open.add(alert)

    def _state(self, camera: str) -> Retained:
        return Retained(state_topic(self._site, camera), "ON" if self._cameras[camera].open else "OFF")

    def _announcement(self, camera: str) -> Retained:
        # Home Assistant allows letters, digits, _ and - only.
        identity = "mistwatch_" + hashlib.sha256(json.dumps([self._site, camera]).encode()).hexdigest()[:16]
        document = {
            "name": "Alert",
            "unique_id": identity,
            "object_id": identity,
            "state_topic": state_topic(self._site, camera),
            "payload_on": "ON",
            "payload_off": "OFF",
            "availability_topic": self._availability,
            "json_attributes_topic": alerts_topic(self._site, camera),
            "device_class": "safety",
            "device": {
                "identifiers": [identity],
                "name": camera,
                "manufacturer": "mistwatch",
                "model": f"camera of {self._site}",
            },
        }
        return Retained(f"{self._prefix}/binary_sensor/{identity}/config", json.dumps(document, ensure_ascii=False))
