"""Names of one video in two programs."""

from __future__ import annotations

import pytest

from pipeline.evaluation.pairing import pair, short_name
from pipeline.evaluation.score_files import ForeignScoresError


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("01_0014", "01_0014"),
        ("01_0014_x264.mp4", "01_0014"),
        ("Arson/Arson011_x264.MP4", "Arson011"),
        ("C:\\videos\\Arson011_x264_i3d.npy", "Arson011"),
        ("hall.back", "hall.back"),
        ("x264", "x264"),
    ],
)
def test_short_names(name, short):
    assert short_name(name) == short


def test_equal_names_come_before_short_ones():
    """``a.mp4`` is in both files, so ``a`` has no partner."""
    pairs = pair(dict.fromkeys(["b/c.mp4", "a.mp4", "a"]), dict.fromkeys(["a.mp4", "c", "d"]))
    assert pairs.names == {"b/c.mp4": "c", "a.mp4": "a.mp4"}
    assert pairs.notes == ("1 video was matched by name without folder, suffix and _x264: b/c.mp4 is c.",)


def test_a_short_name_of_two_videos_pairs_neither():
    assert pair(dict.fromkeys(["x/a", "y/a", "b"]), dict.fromkeys(["a", "b"])).names == {"b": "b"}
    assert pair(dict.fromkeys(["a", "b"]), dict.fromkeys(["x/a", "y/a", "b"])).names == {"b": "b"}
    with pytest.raises(ForeignScoresError, match="no video in common"):
        pair(dict.fromkeys(["x/a", "y/a"]), dict.fromkeys(["a"]))


@pytest.mark.parametrize("scores", ["one array", "arr_0", "scores"])
@pytest.mark.parametrize("labels", ["one array", "gt", "scores"])
def test_one_array_each_is_one_video_with_a_note(scores, labels):
    pairs = pair({scores: None}, {labels: None})
    assert pairs.names == {scores: labels}
    assert "judged as one video" in pairs.notes[0]


def test_one_array_belongs_to_the_only_video():
    assert pair({"arr_0": None}, {"yard": None}).names == {"arr_0": "yard"}
    assert pair({"yard": None}, {"labels": None}).names == {"yard": "labels"}
    assert pair({"arr_0": None}, {"yard": None}).notes == ()
    with pytest.raises(ForeignScoresError, match=r"no video in common: .*labels$"):
        pair({"gate": None}, {"yard": None})
