"""Sources that are named by their locations alone: names differ by what differs, and hold no credentials."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.names import checked_name
from pipeline.sources.source_names import source_names


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("rtsp://192.0.2.1:554/stream1", "192.0.2.1-554-stream1"),
        ("rtsp://admin:hun/ter2@192.0.2.1/x", "192.0.2.1-x"),
        ("rtsp://192.0.2.1/s1?user=admin&password=hunter2", "192.0.2.1-s1"),
        ("rtsp://192.0.2.1/user=admin_password=hunter2_channel=1", "192.0.2.1"),
        ("rtsp://192.0.2.1/user%3Dadmin_password%3Dhunter2", "192.0.2.1"),
        ("rtsp://192.0.2.1/%E9%A7%90%E8%BB%8A%E5%A0%B4", "192.0.2.1-駐車場"),
        ("rtsp://admin:p@hun/ter2@192.0.2.1/x", "192.0.2.1-x"),
        ("rtsp://admin:'hun ter2'@192.0.2.1/x", "192.0.2.1-x"),
        ("rtsp://192.0.2.1/0/admin:hunter2/main", "192.0.2.1-0-main"),
        ("rtsp://admin:hunter2/x", "admin-x"),
        ("rtsp://192.0.2.1/a@b", "192.0.2.1-a-b"),
        ("device:///dev/video0", "dev-video0"),
        ("synthetic://courtyard?seed=7", "courtyard"),
        ("/videos/gate 3.mp4", "gate-3"),
        ("file:///videos/gate%203.mp4", "gate-3"),
        ("/videos/監視カメラ.mp4", "監視カメラ"),
        ("/videos/Zufahrt Su\u0308d.mp4", "Zufahrt-S\u00fcd"),
        ("/videos/latin-\udce9.mp4", "latin--xe9"),
        ("/videos/***.mp4", "camera"),
    ],
)
def test_one_source(source: str, name: str) -> None:
    """The name stands in alerts, metrics, pictures' paths and logs."""
    assert source_names([source]) == [name]


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (
            [
                "rtsp://a:b@10.0.0.5/cam/realmonitor?channel=1&subtype=0",
                "rtsp://a:b@10.0.0.5/cam/realmonitor?channel=2&subtype=0",
            ],
            ["10.0.0.5-cam-realmonitor-channel-1", "10.0.0.5-cam-realmonitor-channel-2"],
        ),
        (
            [
                "rtsp://10.0.0.5/user=a_password=b_channel=1_stream=0.sdp",
                "rtsp://10.0.0.5/user=a_password=b_channel=2_stream=0.sdp",
            ],
            ["10.0.0.5-channel-1", "10.0.0.5-channel-2"],
        ),
        (["rtsp://c/live", "rtsp://c/live?channel=2"], ["c-live", "c-live-channel-2"]),
        (["http://c/live?src=front", "http://c/live?src=back"], ["c-live-src-front", "c-live-src-back"]),
        (["rtsp://c/live", "rtsps://c/live"], ["c-live-rtsp", "c-live-rtsps"]),
        (["rtsp://c/1", "rtsp://c/2"], ["c-1", "c-2"]),
        (["rtsp://c/" + "a" * 90 + "/1", "rtsp://c/" + "a" * 90 + "/2"], ["a" * 54 + "-1", "a" * 54 + "-2"]),
        (["synthetic://courtyard?seed=1", "synthetic://courtyard?seed=2"], ["courtyard-seed-1", "courtyard-seed-2"]),
        (["a/gate.mp4", "b/gate.mp4", "b/yard.mp4"], ["a-gate", "b-gate", "yard"]),
        (["x/gate.avi", "x/gate.mkv"], ["gate.avi", "gate.mkv"]),
        (["/監視/1.mp4", "/駐車場/1.mp4"], ["監視-1", "駐車場-1"]),
        (["/v/監視カメラ.mp4", "/v/駐車場.mp4"], ["監視カメラ", "駐車場"]),
        (["/v/caf\udce9.mp4", "/v/caf\udcea.mp4"], ["caf-xe9", "caf-xea"]),
    ],
)
def test_what_differs_is_in_the_names(sources: list[str], names: list[str]) -> None:
    assert source_names(sources) == names
    assert source_names(sources[::-1]) == names[::-1]


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a/gate.mp4"] * 3, ["gate", "gate-2", "gate-3"]),
        # Only credentials differ, or parameters that may be credentials.
        (["rtsp://me:x@c/1", "rtsp://you:y@c/1"], ["c-1", "c-1-2"]),
        (["rtsp://c/1?user=me&password=x", "rtsp://c/1?user=you&password=y"], ["c-1", "c-1-2"]),
        (["rtsp://c/1?k9=geheim", "rtsp://c/1?k9=secret"], ["c-1", "c-1-2"]),
        (["/v/Su\u0308d.mp4", "/v/S\u00fcd.mp4"], ["S\u00fcd", "S\u00fcd-2"]),
    ],
)
def test_a_number_where_nothing_else_differs(sources: list[str], names: list[str]) -> None:
    assert source_names(sources) == names


def test_a_number_is_not_another_sources_name() -> None:
    names = source_names(["a/gate.mp4", "a/gate.mp4", "a/gate-2.mp4"])
    assert names == ["gate", "gate-3", "gate-2"]


def test_many_parameters_fit_into_a_name() -> None:
    query = "channelname=entrance-left&streamname=main-{0}&inputname=camera-{0}&sourcename=hall-number-{0}"
    names = source_names([f"rtsp://camera.example/{'live' * 20}?{query.format(number)}" for number in (1, 2)])
    assert len(set(names)) == 2
    assert [checked_name(name) for name in names] == names


SECRET = "hunter7"
CREDENTIALS = [
    "user",
    "usr",
    "password",
    "passwd",
    "pwd",
    "loginuse",
    "loginpas",
    "token",
    "auth",
    "key",
    "session_id",
    "p",
]


@given(
    keys=st.lists(st.sampled_from([*CREDENTIALS, "channel", "subtype"]), min_size=1, max_size=4, unique=True),
    in_path=st.booleans(),
    user=st.booleans(),
)
def test_no_secret_is_in_a_name(keys: list[str], in_path: bool, user: bool) -> None:
    def source(number: int) -> str:
        values = {key: str(number) if key in ("channel", "subtype") else f"{SECRET}{number}" for key in keys}
        joined = ("_" if in_path else "&").join(f"{key}={value}" for key, value in values.items())
        return f"rtsp://{f'{SECRET}:{SECRET}@' * user}10.0.0.5/{'' if in_path else 'live?'}{joined}"

    names = source_names([source(1), source(2)])
    assert SECRET not in "".join(names)
    assert len(set(names)) == 2
    if "channel" in keys:
        assert names[0].endswith(("channel-1", "subtype-1"))


@given(st.lists(st.text(min_size=1, max_size=90), min_size=1, max_size=6))
def test_any_locations_have_different_valid_names(locations: list[str]) -> None:
    names = source_names(locations)
    assert [checked_name(name) for name in names] == names
    assert all(one != other for one, other in pairwise(sorted(names)))
