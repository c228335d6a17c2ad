"""Zones and schedules in a site's file: what is accepted, and the exact line of each error."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from operators.zones import Zone
from pipeline.settings import SettingsError, Site, load_site

SQUARE = "[[0.1, 0.1], [0.4, 0.1], [0.4, 0.4], [0.1, 0.4]]"
WHOLE = "[[0, 0], [1, 0], [1, 1], [0, 1]]"


def load(folder: Path, camera: str) -> Site:
    file = folder / "site.yaml"
    file.write_text(f"cameras:\n  gate: {{source: a.mp4, {camera}}}\n")
    return load_site(file)


def test_zones_and_schedules_of_a_camera(tmp_path: Path) -> None:
    zones = load(
        tmp_path,
        f"schedule: {{timezone: Europe/Berlin, weekdays: [08:00-18:00], friday: []}}, "
        f"zones: {{door: {{points: {SQUARE}, schedule: {{timezone: UTC, weekend: [22:00-06:00]}}}}, "
        f"hedge: {{points: {WHOLE}}}}}",
    ).cameras["gate"].camera_zones()  # fmt: skip
    assert [zone.name for zone in zones.zones] == ["door", "hedge"]
    assert zones.zones[0] == Zone("door", ((0.1, 0.1), (0.4, 0.1), (0.4, 0.4), (0.1, 0.4)))
    assert zones.names_alerts
    assert zones.schedule is not None
    # 8 January 2026 is a Thursday; Berlin is an hour ahead of UTC in winter. Friday's own hours are none.
    assert zones.schedule.holds_at(datetime(2026, 1, 8, 7, 0, tzinfo=UTC))
    assert not zones.schedule.holds_at(datetime(2026, 1, 8, 17, 0, tzinfo=UTC))
    assert not zones.schedule.holds_at(datetime(2026, 1, 9, 9, 0, tzinfo=UTC))
    assert list(zones.schedules) == ["door"]
    assert zones.schedules["door"].holds_at(datetime(2026, 1, 12, 5, 59, tzinfo=UTC))  # Monday, of Sunday's night


def test_a_camera_without_them_has_none(tmp_path: Path) -> None:
    camera = load(tmp_path, "stream: 0").cameras["gate"]
    assert camera.camera_zones().zones == ()
    assert camera.camera_zones().schedule is None
    assert not camera.camera_zones().names_alerts
    assert camera.zones_document() == {}


def test_ignore_zones_alone_name_no_alerts(tmp_path: Path) -> None:
    assert (
        not load(tmp_path, f"zones: {{a: {{points: {SQUARE}, ignore: true}}}}")
        .cameras["gate"]
        .camera_zones()
        .names_alerts
    )


@pytest.mark.parametrize(
    ("zones", "problem"),
    [
        ("door: {points: [[0, 0], [1, 1]]}", "door.points: a zone needs 3 or more points (got 2)"),
        (
            "door: {points: [[0, 0], [1, 1], [1, 0], [0, 1]]}",
            "door.points: the zone crosses itself: the side from point 1 meets the side from point 3; list the points "
            "in order around the zone",
        ),
        (
            "door: {points: [[0, 0], [1, 0], [1, 1.5]]}",
            "door.points: point 3 is outside the picture (got 1, 1.5); expected shares from 0 to 1",
        ),
        ("door: {points: [[0, 0], [1, 0], [1]]}", "door.points.2.1: missing (required)"),
        ("door: {ignore: true}", "door.points: missing (required)"),
        (
            f"door: {{points: {SQUARE}, colour: red}}",
            "door.colour: unknown key; `mistwatch config schema` lists the known ones",
        ),
        (
            f"door: {{points: {SQUARE}, ignore: true, schedule: {{timezone: UTC, monday: [08:00-18:00]}}}}",
            "door: an ignore zone raises no alerts, so it cannot have a schedule; remove one of the two",
        ),
    ],
)
def test_a_zone_that_is_wrong_is_named_with_its_camera(tmp_path: Path, zones: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, f"zones: {{{zones}}}")
    assert str(caught.value) == f"{tmp_path / 'site.yaml'}: cameras.gate.zones.{problem}"


@pytest.mark.parametrize(
    ("zones", "which"),
    [
        (f"a: {{points: {WHOLE}, ignore: true}}", "zone a covers"),
        (f"a: {{points: {WHOLE}, ignore: true}}, b: {{points: {SQUARE}}}", "zone a covers"),
        (
            "a: {points: [[0, 0], [1, 0], [1, 1]], ignore: true}, b: {points: [[0, 0], [1, 1], [0, 1]], ignore: true}",
            "zones together cover",
        ),
    ],
)
def test_ignore_zones_leave_something_to_watch(tmp_path: Path, zones: str, which: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, f"zones: {{{zones}}}")
    assert str(caught.value) == (
        f"{tmp_path / 'site.yaml'}: cameras.gate.zones: the ignore {which} the whole picture, nothing is left to "
        "watch; make room"
    )


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        (
            "timezone: Europe/Berln, monday: [08:00-18:00]",
            ".timezone: unknown time zone; expected a name such as Europe/Berlin or UTC (got 'Europe/Berln')",
        ),
        (
            "timezone: Europe, monday: [08:00-18:00]",
            ".timezone: unknown time zone; expected a name such as Europe/Berlin or UTC (got 'Europe')",
        ),
        (
            "timezone: ../UTC, monday: [08:00-18:00]",
            ".timezone: unknown time zone; expected a name such as Europe/Berlin or UTC (got '../UTC')",
        ),
        ("monday: [08:00-18:00]", ".timezone: missing (required)"),
        ("timezone: UTC", ": a schedule needs hours on one weekday or more"),
        ("timezone: UTC, monday: []", ": a schedule needs hours on one weekday or more"),
        (
            "timezone: UTC, moonday: [08:00-18:00]",
            ".moonday: unknown key; `mistwatch config schema` lists the known ones",
        ),
        (
            "timezone: UTC, monday: [08:00-25:00]",
            ".monday.0: not hours of a day; expected HH:MM-HH:MM, from 00:00 to 24:00, such as 08:00-18:00 or "
            "22:00-06:00 (got '08:00-25:00')",
        ),
        (
            "timezone: UTC, monday: [24:00-06:00]",
            ".monday.0: not hours of a day; expected HH:MM-HH:MM, from 00:00 to 24:00, such as 08:00-18:00 or "
            "22:00-06:00 (got '24:00-06:00')",
        ),
        (
            "timezone: UTC, monday: [08:00-08:00]",
            ".monday.0: the hours end when they begin; for a whole day write 00:00-24:00 (got '08:00-08:00')",
        ),
        (
            "timezone: UTC, monday: [08:00-18:00, 17:00-19:00]",
            ": the hours monday 08:00-18:00 and monday 17:00-19:00 overlap; join them, or end the first ones earlier",
        ),
        (
            "timezone: UTC, weekdays: [22:00-06:00], saturday: [05:00-07:00]",
            ": the hours friday 22:00-06:00 and saturday 05:00-07:00 overlap; join them, or end the first ones earlier",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["schedule", "zones.door.schedule"])
def test_a_schedule_that_is_wrong_is_named_with_camera_and_zone(
    tmp_path: Path, place: str, schedule: str, problem: str
) -> None:
    own = f"schedule: {{{schedule}}}"
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, own if place == "schedule" else f"zones: {{door: {{points: {SQUARE}, {own}}}}}")
    assert str(caught.value) == f"{tmp_path / 'site.yaml'}: cameras.gate.{place}{problem}"
