"""Camera and time from a path, in the layouts that recorders write."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.recorder_names import stated
from pipeline.sources.recorder_times import Stated

SIX = datetime(2024, 5, 1, 18)


def local(camera: str, folder: str, at: datetime = SIX, until: datetime | None = None) -> Stated:
    return Stated(camera, Path(folder), at, until)


def utc(camera: str, folder: str, at: datetime = SIX, until: datetime | None = None) -> Stated:
    return Stated(camera, Path(folder), at, until, utc=True)


TEN_SECONDS_LATER = SIX + timedelta(seconds=10)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        # Dahua, Amcrest: a folder for each day and channel; an end after midnight is of the next day
        ("nvr/2024-05-01/001/dav/18/18.00.00-18.00.10[M][0@0][0].dav", local("001", "nvr", SIX, TEN_SECONDS_LATER)),
        (
            "nvr/2024-05-01/002/dav/23/23.59.50-00.00.10[R][0@0][0].mp4",
            local("002", "nvr", datetime(2024, 5, 1, 23, 59, 50), datetime(2024, 5, 2, 0, 0, 10)),
        ),
        # Hikvision: exports of a channel; a client's download with address, channel, milliseconds and end
        ("ch01_20240501180000.264", local("ch01", ".")),
        (
            "d/192.168.1.64_01_20240501180000000_20240501180010000.mp4",
            local("192.168.1.64_01", "d", SIX, TEN_SECONDS_LATER),
        ),
        # Reolink: uploads; a memory card with summer time, main and sub stream
        ("ftp/RLC-410_00_20240501180000.mp4", local("RLC-410_00", "ftp")),
        (
            "sd/yard/Mp4Record/2024-05-01/RecM01_DST20240501_180000_180010_6D28808_1E8480.mp4",
            local("yard", "sd", SIX, TEN_SECONDS_LATER),
        ),
        (
            "sd/yard/Mp4Record/2024-05-01/RecS01_20240501_180000_180010_6D28808_1E8480.mp4",
            local("yard-sub", "sd", SIX, TEN_SECONDS_LATER),
        ),
        # Blue Iris: the camera first or last
        ("New/Cam1.20240501_180000.mp4", local("Cam1", "New")),
        ("New/20240501_180000.Cam1.mp4", local("Cam1", "New")),
        # Frigate: UTC; its older layout was local
        (
            "m/recordings/2024-05-01/18/front_door/07.32.mp4",
            utc("front_door", "m/recordings", SIX.replace(minute=7, second=32)),
        ),
        ("m/recordings/2024-05/01/18/back/00.00.mp4", local("back", "m/recordings")),
        # UniFi: its export (month first), its old recorder (milliseconds since 1970)
        ("Front Door - 5-1-2024, 6.00.00pm.mp4", local("Front Door", ".")),
        ("Front Door - 5-1-2024, 12.00.00am.mp4", local("Front Door", ".", datetime(2024, 5, 1))),
        ("videos/cd0e/2024/05/01/1714586400000_1714586410000_77.mp4", utc("cd0e", "videos", SIX, TEN_SECONDS_LATER)),
        # Synology, motionEye, Shinobi, Agent DVR, ZoneMinder
        ("s/Cam1/20240501PM/Cam1-20240501-180000-1714586400.mp4", local("Cam1", "s/Cam1")),
        ("o/Camera1/2024-05-01/18-00-00.mp4", local("Camera1", "o")),
        ("o/Camera1/2024/0501/18-00-00.mp4", local("Camera1", "o")),
        ("storage/2024/05/01/Corridor1_18-00-00.mp4", local("Corridor1", ".")),
        ("videos/GROUP/yard1/2024-05-01T18-00-00.mp4", local("yard1", "videos/GROUP")),
        ("video/ABCDE/1_2024-05-01_18-00-00_250.mp4", local("1", "video/ABCDE", SIX + timedelta(seconds=0.25))),
        ("events/3/24/05/01/18/00/00/123-video.mp4", local("3", "events")),
        # MediaMTX: microseconds; a zone if the pattern has one
        ("rec/gate/2024-05-01_18-00-00-500000.mp4", local("gate", "rec", SIX + timedelta(seconds=0.5))),
        ("rec/gate/2024-05-01_18-00-00-000000-+0700.mp4", utc("gate", "rec", datetime(2024, 5, 1, 11))),
        # Wyze, Yi, Xiaomi, exacqVision, Axis
        ("card/hall/record/20240501/18/00.mp4", local("hall", "card")),
        ("card/2024Y05M01D18H/00M00S10.mp4", local("card", ".", SIX, TEN_SECONDS_LATER)),
        ("card/2024050202/00M00S_1714586400.mp4", utc("card", ".")),
        ("2024/05/01/18/0000-00160380.ps", local("00160380", ".")),
        (
            "axis-ACCC8E/20240501/18/20240501_180000_1A2B_ACCC8E123456/20240501_18/20240501_180000_3C4D.mkv",
            local("axis-ACCC8E", "."),
        ),
        # Brickcom, Blink, a Pixel phone, ffmpeg's -strftime, ISO 8601
        ("20240501-180000-180010_192.168.1.11-CH2.avi", local("192.168.1.11-CH2", ".", SIX, TEN_SECONDS_LATER)),
        ("Roof_2024-05-01T10_00_00-0800.mp4", utc("Roof", ".")),
        ("hall/2024-05-01T19_00_00+01_00.mp4", utc("hall", ".")),
        ("DCIM/PXL_20240501_180000000.mp4", utc("DCIM", ".")),
        ("gate/20240501_180000.mp4", local("gate", ".")),
        ("gate/20240501/180000.mp4", local("gate", ".")),
        ("gate/2024-05-01T18:00:00Z.mkv", utc("gate", ".")),
        ("監視カメラ_2024-05-01 18.00.00.mp4", local("監視カメラ", ".")),
        ("20240501_180000.mp4", local("", ".")),
    ],
)
def test_layouts(path: str, expected: Stated) -> None:
    assert stated(Path(path)) == expected


@pytest.mark.parametrize(
    "path",
    [
        "clip_001.mp4",
        "gate.mp4",
        "2024-05-01/clip_001.mp4",
        "00123456.mp4",
        "20240501.mp4",  # a date alone
        "2024-05-01/gate.mp4",
        "20240501_0001.mp4",  # the first of a day, or a minute after midnight
        "2024-05-01/000123.mp4",
        "a20240501180000f.mp4",  # within a hash
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.mp4",
        "1714586400.mp4",
        "2023-02-29_18-00-00.mp4",  # no such day
        "2024-05-01_24-00-00.mp4",
        "2024-05-01_18-60-00.mp4",
        "2024-13-01/18-00-00.mp4",
        "01-07-2020/18-00-00.mp4",  # January or July
        "18.00.00-18.00.08[M][0@0][0].dav",  # the day's folder is missing
        "07.32.mp4",
        "events/1/2024-05-01/123/123-video.mp4",  # ZoneMinder's medium layout has no time
        "Bad.Boys.II.2003__#01-06-42_01-10-00_label_B2-0-0.mp4",
        "v=38GQ9L2meyE__#1_label_B6-0-0.mp4",
        "Normal_Videos_003_x264.mp4",
        "2024-05-01/a/b/18.00.00.mp4",  # either may be the camera
        ".",
        "",
    ],
)
def test_no_time_is_stated(path: str) -> None:
    assert stated(Path(path)) is None


def test_an_end_before_the_start_is_not_believed() -> None:
    found = stated(Path("c_20240501180000_20240501175959.mp4"))
    assert found is not None
    assert (found.at, found.until) == (SIX, None)


def test_two_forms_of_a_cameras_name_are_one() -> None:
    found = [stated(Path(f"/nvr/{name}/20240501_180000.mp4")) for name in ("Su\u0308d", "S\u00fcd")]
    assert [one.camera for one in found if one] == ["S\u00fcd"] * 2


def test_the_cameras_of_one_time_stay_apart() -> None:
    """A dashcam's four files of one minute differ after the time only."""
    views = ("front", "back", "left_repeater", "right_repeater")
    found = {stated(Path(f"Saved/2024-05-01_18-05-00/2024-05-01_18-00-00-{view}.mp4")) for view in views}
    assert {one.camera for one in found if one} == set(views)


TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31, 23, 59, 59)).map(lambda at: at.replace(microsecond=0))
LAYOUTS = st.sampled_from(
    [
        "{camera}_%Y%m%d%H%M%S.mp4",
        "{camera}-%Y%m%d-%H%M%S.mp4",
        "{camera}.%Y%m%d_%H%M%S.mkv",
        "{camera}/%Y%m%d_%H%M%S.mp4",
        "{camera}/%Y-%m-%d_%H-%M-%S-000000.mp4",
        "{camera}/%Y-%m-%dT%H-%M-%S.mp4",
        "{camera}/%Y-%m-%d/%H-%M-%S.mp4",
        "{camera}/%Y/%m/%d/%H.%M.%S.ts",
        "{camera}/%Y%m%d/%H%M%S.mp4",
        "%Y-%m-%d/%H/{camera}/%M.%S.mp4",
        "%Y-%m/%d/%H/{camera}/%M.%S.mp4",
    ]
)
# A name of one script's letters; digits follow only after a dash, as they do in recorders' names.
CAMERAS = st.from_regex(r"\A(?!rec\b|md\b)[a-zß-ü車門]{3,8}cam(-\d)?\Z")


@given(at=TIMES, layout=LAYOUTS, camera=CAMERAS, root=st.sampled_from(["/srv/video", "archive", "/mnt/a b/nvr-7"]))
def test_what_a_recorder_writes_is_read_back(at: datetime, layout: str, camera: str, root: str) -> None:
    found = stated(Path(root) / at.strftime(layout).replace("{camera}", camera))
    assert found is not None
    assert (found.camera, found.folder, found.at) == (camera, Path(root), at)
    assert found.utc == (layout == "%Y-%m-%d/%H/{camera}/%M.%S.mp4")


@given(at=TIMES, seconds=st.integers(1, 3600), camera=CAMERAS)
def test_an_end_is_read_back(at: datetime, seconds: int, camera: str) -> None:
    until = at + timedelta(seconds=seconds)
    for start, end in (
        ("%Y%m%d%H%M%S", "%Y%m%d%H%M%S"),
        ("%Y%m%d_%H%M%S", "%H%M%S"),
        ("%Y-%m-%d_%H-%M-%S", "%H-%M-%S"),
    ):
        found = stated(Path(f"{camera}_{at.strftime(start)}_{until.strftime(end)}.mp4"))
        assert found is not None
        assert (found.camera, found.at, found.until) == (camera, at, until)


@given(at=TIMES, hours=st.integers(-12, 14))
def test_a_stated_zone_gives_utc(at: datetime, hours: int) -> None:
    there = at.replace(tzinfo=timezone(timedelta(hours=hours)))
    found = stated(Path(f"gate/{there.strftime('%Y-%m-%dT%H-%M-%S%z')}.mp4"))
    assert found is not None
    assert found.utc
    assert found.at == at - timedelta(hours=hours)


@given(parts=st.lists(st.text(st.sampled_from("0123456789-_.[]TZ年 abFrec/"), max_size=24), max_size=5))
def test_any_path_is_read_without_an_error(parts: list[str]) -> None:
    found = stated(Path(*parts))
    assert found is None or found.until is None or found.at < found.until
