"""Sensors of Home Assistant where several workers share the cameras: each speaks for its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.live.sink_cameras import SinkCameras
from pipeline.sinks.home_assistant import HomeAssistant, Retained
from pipeline.sinks.mqtt import MqttSink
from pipeline.sinks.mqtt_settings import MqttSettings


def states(messages: Sequence[Retained]) -> list[str]:
    return [each.payload for each in messages if each.topic.endswith("/state")]


@pytest.fixture
def home() -> HomeAssistant:
    home = HomeAssistant("homeassistant")
    home.introduce("yard", [], "status/a", is_shared=True)
    return home


def test_an_open_alert_is_not_repeated_after_a_hand_over(home: HomeAssistant, make_event: Any) -> None:
    home.watch("gate")
    assert states(home.states_after(make_event("gate", 0))) == ["ON"]
    home.forget("gate")
    assert home.greetings() == []


def test_the_end_of_a_removed_camera_still_switches_it_off(home: HomeAssistant, make_event: Any, make_end: Any) -> None:
    home.watch("gate")
    home.states_after(make_event("gate", 0))
    home.forget("gate")
    (state,) = home.states_after(make_end("gate", 1))
    assert states([state]) == ["OFF"]


def test_a_camera_that_comes_leaves_the_state_as_it_is_until_its_first_event(
    home: HomeAssistant, make_event: Any, make_end: Any
) -> None:
    (announcement,) = home.watch("gate")
    assert '"availability_topic": "status/a"' in announcement.payload
    assert home.watch("gate") == [], "once"
    assert home.greetings() == [announcement], "an alert of the worker before may be open"
    assert states(home.states_after(make_end("gate", 1))) == ["OFF"]
    home.states_after(make_event("gate", 2))
    home.forget("gate")
    home.watch("gate")
    assert home.greetings() == [announcement], "the other worker may have ended that alert"


def test_a_late_event_changes_nothing(home: HomeAssistant, make_event: Any) -> None:
    assert home.states_after(make_event("gate", 0).marked_late()) == []
    assert home.greetings() == []


def test_an_event_of_an_earlier_run_does_not_announce_the_camera_of_another_worker(
    home: HomeAssistant, make_event: Any
) -> None:
    (state,) = home.states_after(make_event("gate", 0))
    assert states([state]) == ["ON"]
    assert home.greetings() == []


def test_a_camera_that_is_added_at_a_worker_alone_is_off() -> None:
    home = HomeAssistant("homeassistant")
    home.introduce("yard", ["gate"], "status")
    assert home.watch("gate") == []
    assert states(home.watch("hall")) == ["OFF"]
    assert states(home.greetings()) == ["OFF", "OFF"]


@pytest.mark.parametrize(("client_id", "topic"), [("site", "status/site-w"), (None, "status/w")])
def test_each_worker_of_a_group_has_its_own_name(client_id: str | None, topic: str) -> None:
    sinks = [MqttSink(MqttSettings(client_id=client_id)) for _ in range(2)]
    for sink, worker in zip(sinks, ("w", "v"), strict=True):
        sink.introduce("yard", [], worker)
    assert sinks[0]._status_topic == f"mistwatch/yard/{topic}"
    assert sinks[0]._status_topic != sinks[1]._status_topic
    assert sinks[0]._client_id != sinks[1]._client_id


def test_cameras_that_come_and_go_are_passed_on_to_the_sinks() -> None:
    sink = MqttSink(MqttSettings(home_assistant=True))
    sink.introduce("yard", [], "w")
    cameras = SinkCameras([sink])
    assert sink._home is not None
    cameras.camera_added("gate", [], live=True)
    assert len(sink._home.greetings()) == 1
    cameras.camera_removed("gate")
    assert sink._home.greetings() == []
