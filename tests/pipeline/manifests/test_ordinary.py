"""Ordinary footage: videos of any place, all of them normal."""

from __future__ import annotations

import json

import pytest

from pipeline.manifests.manifest import ManifestError, Video
from pipeline.manifests.ordinary import ordinary_footage


@pytest.fixture
def footage(tmp_path):
    """A folder of three videos, one in a folder of its own and one without a suffix that is none, and a data set."""
    for name in ("films/b.mp4", "films/a.avi", "films/deeper/c.mkv", "set/normal.mp4", "set/fight.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "films" / "notes").write_text("not a video")
    rows = [
        {"path": "normal.mp4", "label": 0, "group": "gate", "split": "test", "stream": 1},
        {"path": "fight.mp4", "label": 1, "intervals": [[0, 9]]},
    ]
    (tmp_path / "set" / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path.resolve()


def test_of_folders_manifests_and_videos(footage):
    films = [Video(footage / "films" / name, 0) for name in ("a.avi", "b.mp4", "deeper/c.mkv")]
    normal = Video(footage / "set" / "normal.mp4", 0, group="gate", stream=1)  # whatever its split was for
    assert ordinary_footage([footage / "films"]) == films
    assert ordinary_footage([footage / "set", footage / "films" / "a.avi"]) == [normal, films[0]]
    assert ordinary_footage([footage / "set" / "manifest.jsonl"]) == [normal]


def test_a_link_is_the_video_that_it_leads_to(footage):
    (footage / "films" / "again.avi").symlink_to(footage / "films" / "a.avi")
    assert [video.path.name for video in ordinary_footage([footage / "films"])] == ["a.avi", "b.mp4", "c.mkv"]


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["nowhere"], "nowhere: no such video, manifest or folder of ordinary footage"),
        (["nowhere.jsonl"], r"nowhere\.jsonl: no such video"),
        (["empty"], "empty: holds no normal video; expected videos, a manifest, or a folder of either"),
        (["fights.jsonl"], r"fights\.jsonl: holds no normal video"),
        (["bad.jsonl"], r"bad\.jsonl:2: path none\.mp4: no such file"),
        (["films", "films/a.avi"], r"films/a\.avi: \S*/films/a\.avi is named by an earlier place, too"),
    ],
)
def test_what_cannot_be_taken_is_one_line(footage, places, message):
    (footage / "empty").mkdir()
    (footage / "fights.jsonl").write_text('{"path": "set/fight.mp4", "label": 1}\n')
    (footage / "bad.jsonl").write_text('{"path": "films/a.avi", "label": 0}\n{"path": "none.mp4", "label": 0}\n')
    with pytest.raises(ManifestError, match=message) as raised:
        ordinary_footage([footage / place for place in places])
    assert "\n" not in str(raised.value)
    assert raised.value.exit_status == 2


def test_bad_lines_can_be_left_out_and_are_listed(footage):
    (footage / "bad.jsonl").write_text('{"path": "films/a.avi", "label": 0}\n{"path": "none.mp4", "label": 0}\n')
    skipped = []
    assert [video.path.name for video in ordinary_footage([footage / "bad.jsonl"], skipped=skipped)] == ["a.avi"]
    assert [line.endswith("bad.jsonl:2: path none.mp4: no such file") for line in skipped] == [True]
