"""Cameras as binary sensors of Home Assistant, by MQTT discovery: on while an alert of the camera is open.

Muted alerts do not switch a sensor on. Nothing here talks to a broker: it makes the retained messages.
"""

from __future__ import annotations

import hashlib
import json
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
    open: set[str] = field(default_factory=set)
    ended: OrderedDict[str, None] = field(default_factory=OrderedDict)


class HomeAssistant:
    """The states of a site's cameras.

    Args:
        prefix: Home Assistant's topic for announcements.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._site = "site"
        self._availability = ""
        self._cameras: dict[str, _Camera] = {}

    def introduce(self, site: str, cameras: Sequence[str], availability: str) -> None:
        """Take the names of the site and its cameras, and the topic that says whether the worker is connected."""
        self._site, self._availability = site, availability
        for camera in cameras:
            self._cameras.setdefault(camera, _Camera())

    def greetings(self) -> list[Retained]:
        """Return the announcements and the states of all cameras, for a new connection."""
        return [message for camera in self._cameras for message in (self._announcement(camera), self._state(camera))]

    def states_after(self, event: Event) -> list[Retained]:
        """Return the messages that an event makes necessary: its camera's state, if it is another one now."""
        if not isinstance(event, AlertEvent):
            return []
        known = event.subject in self._cameras
        camera = self._cameras.setdefault(event.subject, _Camera())
        before = bool(camera.open)
        self._note(camera, event)
        if not known:
            return [self._announcement(event.subject), self._state(event.subject)]
        # An event that is sent again changes nothing here, and its state may not have arrived: greetings() repeats it.
        return [self._state(event.subject)] if bool(camera.open) != before else []

    @staticmethod
    def _note(camera: _Camera, event: AlertEvent) -> None:
        alert = str(event.data.alert_id)
        if event.data.late:  # the worker that has the camera now says whether the alert is open
            return
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
