"""Kinds of the difference of two settings, and changes by their names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.live.change_kinds import Difference, Inherited, Kind, difference
from pipeline.live.setting_changes import changed, combined, values_of
from pipeline.settings import CameraSettings, site_from_options

ROAD = {"points": [[0.0, 0.0], [1.0, 0.0], [1.0, 0.5]]}
SKY = {"points": [[0.0, 0.0], [1.0, 0.0], [0.0, 0.2]], "ignore": True}
HOURS = {"timezone": "UTC", "weekdays": ["08:00-18:00"]}
BASE: dict[str, Any] = {"source": "rtsp://192.0.2.7/stream", "zones": {"road": ROAD}, "alerts": {"open_threshold": 0.7}}


def camera(**more: Any) -> CameraSettings:
    return CameraSettings.model_validate({**BASE, **more})


@pytest.mark.parametrize(
    ("more", "kind", "names"),
    [
        ({}, Kind.NOTHING, ()),
        ({"alerts": {"open_threshold": 0.7, "close_threshold": 0.5}}, Kind.JUDGING, ("alerts.close_threshold",)),
        ({"alerts": {"kernel": 3}}, Kind.JUDGING, ("alerts.kernel", "alerts.open_threshold")),
        ({"schedule": HOURS}, Kind.JUDGING, ("schedule",)),
        ({"calibration": "/c.json"}, Kind.JUDGING, ("calibration",)),
        ({"zones": {}}, Kind.JUDGING, ("zones.road",)),
        ({"zones": {"road": ROAD, "sky": {**SKY, "ignore": False}}}, Kind.JUDGING, ("zones.sky",)),
        ({"zones": {"road": ROAD, "sky": SKY}}, Kind.PIXELS, ("zones.sky",)),
        ({"zones": {"road": {**ROAD, "ignore": True}}}, Kind.PIXELS, ("zones.road",)),
        ({"gate": "off"}, Kind.PIXELS, ("gate.mode",)),
        ({"alerts": {"open_threshold": 0.7, "max_hole": 9}}, Kind.SOURCE, ("alerts.max_hole",)),
        (
            {"alerts": {"open_threshold": 0.7}, "detector_alerts": {"fights": {"open_threshold": 0.8}}},
            Kind.JUDGING,
            ("detector_alerts.fights",),
        ),
        ({"source": "rtsp://192.0.2.8/stream"}, Kind.SOURCE, ("source",)),
        ({"clip": {"fps": 5}}, Kind.SOURCE, ("clip.fps",)),
        ({"tamper": "off"}, Kind.SOURCE, ("tamper.mode",)),
        ({"detectors": ["fights"]}, Kind.SOURCE, ("detectors",)),
        ({"username": "viewer", "password": "s3cret"}, Kind.SOURCE, ("username", "password")),
    ],
)
def test_a_difference_has_its_kind_and_the_names_of_its_settings(
    more: dict[str, Any], kind: Kind, names: tuple[str, ...]
) -> None:
    found = difference(camera(), camera(**more))
    assert found.kind is kind
    assert sorted(found.settings) == sorted(names)
    assert difference(camera(**more), camera()).kind is kind


@pytest.mark.parametrize(
    ("site", "own", "kind"),
    [
        ({}, {}, Kind.NOTHING),
        ({"gate": {"floor": 9}}, {}, Kind.PIXELS),
        ({"gate": "off"}, {}, Kind.PIXELS),
        ({"gate": "off"}, {"gate": {"mode": "auto"}}, Kind.NOTHING),
        ({"tamper": "off"}, {}, Kind.SOURCE),
        ({"tamper": "off"}, {"tamper": {"mode": "auto"}}, Kind.NOTHING),
        ({"tamper": "off", "gate": "off"}, {}, Kind.SOURCE),
        ({"detectors": {"fights": {"model": "m", "gate": "off"}}}, {}, Kind.PIXELS),
    ],
)
def test_a_setting_of_the_site_counts_where_the_camera_has_none_of_its_own(
    site: dict[str, Any], own: dict[str, Any], kind: Kind
) -> None:
    base = {"cameras": {"gate": {**BASE, **own}}, "detectors": {"fights": {"model": "m"}}}
    before, after = (Inherited.of(site_from_options(base | more), "gate") for more in ({}, site))
    assert before.difference(after) is kind
    assert after.difference(before) is kind


CHANGES = st.sampled_from(
    [
        ("alerts", {"open_threshold": 0.5}),
        ("alerts", {"min_clips": 2}),
        ("zones", {}),
        ("zones", {"road": ROAD, "sky": SKY}),
        ("schedule", HOURS),
        ("gate", {"mode": "off"}),
        ("clip", {"stride": 3}),
        ("source", "rtsp://192.0.2.9/stream"),
        ("stall_seconds", 4.0),
    ]
)


@given(st.lists(CHANGES, max_size=3), st.lists(CHANGES, max_size=3))
def test_a_difference_of_several_settings_takes_what_the_dearest_of_them_takes(
    first: list[tuple[str, Any]], second: list[tuple[str, Any]]
) -> None:
    before, after = camera(**dict(first)), camera(**dict(second))
    one_by_one = Difference()
    for field in CameraSettings.model_fields:
        one_by_one |= difference(before, before.model_copy(update={field: getattr(after, field)}))
    found = difference(before, after)
    assert (found.kind, set(found.settings)) == (one_by_one.kind, set(one_by_one.settings))
    assert (found.kind is Kind.NOTHING) == (before == after)


def test_secrets_are_not_in_a_difference() -> None:
    found = difference(camera(username="a", password="one-s3cret"), camera(username="a", password="other-s3cret"))
    assert found.settings == ("password",)
    assert "s3cret" not in repr(found)


VALUES = st.none() | st.integers(0, 3) | st.dictionaries(st.sampled_from("ab"), st.integers(0, 3), max_size=2)
NAMES = st.sampled_from(["x", "y", "x.a", "x.b", "y.a", "x.a.c"])
DOCUMENTS = st.dictionaries(
    st.sampled_from("xy"), st.integers(0, 3) | st.dictionaries(st.sampled_from("ab"), st.integers(0, 3), min_size=1)
)
SETS = st.dictionaries(NAMES, VALUES, max_size=3)


@given(DOCUMENTS, SETS, SETS)
def test_two_changes_after_one_another_are_one_change(
    document: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert changed(changed(document, first), second) == changed(document, combined(first, second))


@given(DOCUMENTS, st.dictionaries(st.sampled_from(["x", "y"]), VALUES, max_size=2))
def test_the_values_before_a_change_take_it_back(document: dict[str, Any], changes: dict[str, Any]) -> None:
    before = values_of(document, changes)
    assert changed(changed(document, changes), before) == document


def test_a_zone_whose_name_has_dots_is_changed_by_its_whole_name() -> None:
    assert changed({"zones": {"a.b": ROAD}}, {"zones.a.b": SKY, "zones.c": ROAD}) == {"zones": {"a.b": SKY, "c": ROAD}}
    assert changed({"zones": {"a.b": ROAD}}, {"zones.a.b": None}) == {}
