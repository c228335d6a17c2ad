"""Which files of an archive are one camera's: by their names, or as the operator says."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import av
import pytest

from pipeline.errors import UsageError
from pipeline.sources.archive import BY_NAMES, CameraFiles, Joining, cameras_of, zone_named

BERLIN = ZoneInfo("Europe/Berlin")


def joined(names: list[str], joining: Joining = BY_NAMES) -> dict[str, list[str]]:
    """The files of each camera by their names; a file by itself has an entry of its own name, and no files."""
    found: dict[str, list[str]] = {}
    for one in cameras_of([Path("/nvr", name) for name in names], joining):
        if isinstance(one, CameraFiles):
            found[one.camera] = [str(part.path.relative_to("/nvr")) for part in one.parts]
        else:
            found[str(one.relative_to("/nvr"))] = []
    return found


def test_files_are_grouped_by_camera_in_the_order_of_their_times() -> None:
    hour = "2024-05-01/13"
    names = [f"{hour}/gate/00.10.mp4", f"{hour}/yard/00.00.mp4", f"{hour}/gate/00.00.mp4"]
    names += ["2024-05-01/14/gate/00.00.mp4", f"{hour}/yard/00.10.mp4"]
    assert joined(names) == {
        "gate": [names[2], names[0], names[3]],
        "yard": [names[1], names[4]],
    }


def test_single_files_and_names_without_a_time_stay_by_themselves() -> None:
    names = ["gate_20240501_130000.mp4", "clip_001.mp4", "clip_002.mp4"]
    assert joined(names) == {name: [] for name in names}


@pytest.mark.parametrize(
    "names",
    [
        ["VID_20240501_180000.mp4", "VID_20240503_091500.mp4"],
        ["PXL_20240501_180000123.mp4", "PXL_20240501_190000123.mp4"],
        ["DJI_20240501180000_0001_D.MP4", "DJI_20240501180300_0002_D.MP4"],
        ["DCIM/Camera/20240501_180000.mp4", "DCIM/Camera/20240502_070000.mp4"],
        # Counters in folders of a date
        ["20240501/000001.mp4", "20240501/000002.mp4", "20240501/000003.mp4"],
        ["20240501_12/01.avi", "20240501_12/02.avi"],
        ["2024-05-01/12/Avenue/01.avi", "2024-05-01/12/Avenue/02.avi"],
        # Data sets
        ["Testing/01_0014.avi", "Testing/01_0015.avi", "Testing/12_0142.avi"],
        ["Avenue/01.avi", "Avenue/02.avi", "Avenue/21.avi"],
        ["Abuse/Abuse001_x264.mp4", "Abuse/Abuse002_x264.mp4", "Normal_Videos_003_x264.mp4"],
    ],
)
def test_clips_that_do_not_follow_one_another_are_not_joined(names: list[str]) -> None:
    assert joined(names) == {name: [] for name in names}
    assert list(joined(names, Joining(camera="walk"))) == ["walk"]


def test_lenses_of_a_dashcam_are_cameras() -> None:
    viofo = ["20240501180000_000001F.MP4", "20240501180000_000002R.MP4"]
    viofo += ["20240501180300_000003F.MP4", "20240501180301_000004R.MP4"]
    assert joined(viofo) == {"nvr-F": viofo[::2], "nvr-R": viofo[1::2]}
    blackvue = [f"20240501_180{minute}00_{lens}.mp4" for minute in range(2) for lens in ("NF", "NR")]
    assert joined(blackvue) == {"nvr-F": blackvue[::2], "nvr-R": blackvue[1::2]}


def test_files_that_begin_at_one_moment_are_two_views() -> None:
    names = [f"gate_20240501_1300{second}_{view}.mp4" for second in ("00", "10") for view in ("00000", "00001")]
    assert joined(names) == {"gate": names[::2], "gate-2": names[1::2]}
    assert joined(names[:3]) == {"gate": names[:3:2], names[1]: []}


def test_cameras_of_one_name_in_two_recorders_are_two() -> None:
    names = [f"{site}/front/2024-05-01/13-00-{second}.mp4" for site in ("a", "b") for second in ("00", "10")]
    found = cameras_of([Path("/nvr", name) for name in names], BY_NAMES)
    assert [one.camera for one in found if isinstance(one, CameraFiles)] == ["front", "front"]
    assert [one.names[0] for one in found if isinstance(one, CameraFiles)] == ["a/front", "b/front"]


def test_files_without_times_are_joined_on_demand_in_the_order_of_their_numbers() -> None:
    names = ["part 10.mp4", "part 9.mp4", "part 1.mp4"]
    assert joined(names, Joining(join=True)) == {"nvr": ["part 1.mp4", "part 9.mp4", "part 10.mp4"]}
    assert list(joined(names, Joining(camera="gate"))) == ["gate"]
    timed = ["b_20240501_130000.mp4", "b_20240501_130010.mp4"]
    assert list(joined(timed, Joining(camera="gate"))) == ["gate"]
    assert joined(timed, Joining(join=False)) == {name: [] for name in timed}


def test_one_camera_of_an_archive_can_be_chosen() -> None:
    names = [f"2024-05-01/13/{camera}/00.{second}.mp4" for camera in ("gate", "yard") for second in ("00", "10")]
    assert joined(names, Joining(camera="yard")) == {"yard": names[2:]}
    with pytest.raises(UsageError, match=r"state 2 cameras, not hall; expected one of gate, yard"):
        joined(names, Joining(camera="hall"))
    with pytest.raises(UsageError, match=r"--join: .* 2 cameras; name one with --camera"):
        joined(names, Joining(join=True))


def test_a_file_whose_place_in_time_is_not_known_cannot_be_joined_with_others() -> None:
    names = ["gate_20240501_130000.mp4", "gate_20240501_130010.mp4", "extra.mp4"]
    assert joined(names) == {"gate": names[:2], "extra.mp4": []}
    with pytest.raises(UsageError, match=r"extra\.mp4: its name states no date and time"):
        joined(names, Joining(join=True))


def starts(names: list[str], zone: str | None) -> list[datetime]:
    (camera,) = cameras_of([Path("/nvr", name) for name in names], Joining(zone=zone_named(zone)))
    assert isinstance(camera, CameraFiles)
    return [part.at for part in camera.parts if part.at is not None]


@pytest.mark.parametrize(
    ("times", "zone", "expected"),
    [
        (["20240501_130000", "20240501_130010"], "UTC", ["2024-05-01T13:00:00", "2024-05-01T13:00:10"]),
        (["20240501_130000", "20240501_130010"], "Europe/Berlin", ["2024-05-01T11:00:00", "2024-05-01T11:00:10"]),
        # The night on which summer time begins has no hour from 2 to 3: the files follow one another.
        (["20240331_015950", "20240331_030000"], "Europe/Berlin", ["2024-03-31T00:59:50", "2024-03-31T01:00:00"]),
        # Where it ends, an hour comes twice, and names do not say which is meant.
        (["20241027_025950", "20241027_030000"], "Europe/Berlin", ["2024-10-27T00:59:50", "2024-10-27T02:00:00"]),
    ],
)
def test_names_are_in_the_recorders_own_time(times: list[str], zone: str, expected: list[str]) -> None:
    found = starts([f"gate_{one}.mp4" for one in times], zone)
    assert found == [datetime.fromisoformat(one).replace(tzinfo=UTC) for one in expected]


def test_the_hour_that_comes_twice_is_two_where_summer_is_marked() -> None:
    names = [
        f"gate/2024/10/27/RecM03_{mark}20241027_0{hour}3000_0{hour}3500_0_6D28808_0.mp4"
        for mark, hour in (("DST", 1), ("DST", 2), ("", 2), ("", 3))
    ]
    half_hours = [datetime(2024, 10, 26, 23, 30, tzinfo=UTC) + timedelta(hours=number) for number in range(4)]
    assert starts(names, "Europe/Berlin") == half_hours


def test_without_a_zone_names_are_in_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        first, _ = starts(["gate_20240501_130000.mp4", "gate_20240501_130010.mp4"], None)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert first == datetime(2024, 5, 1, 4, 0, 0, tzinfo=UTC)


def test_an_unknown_zone_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"time zone 'Mars/Olympus': unknown; expected an IANA name"):
        zone_named("Mars/Olympus")


def test_thousands_of_files_are_grouped_within_seconds_and_none_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(av, "open", opened)
    monkeypatch.setattr(Path, "open", opened)
    start = datetime(2024, 5, 1)
    files = [
        Path(f"/nvr/{at:%Y-%m-%d}/{at:%H}/{camera}/{at:%M}.{at:%S}.mp4")
        for camera in ("gate", "yard", "hall", "door", "ramp")
        for at in (start + timedelta(seconds=10 * number) for number in range(1000))
    ]
    before = time.monotonic()
    found = cameras_of(files, BY_NAMES)
    assert time.monotonic() - before < 10  # 0.5 s on an idle machine
    assert [len(one.parts) for one in found if isinstance(one, CameraFiles)] == [1000] * 5
