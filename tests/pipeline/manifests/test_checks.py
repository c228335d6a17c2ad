"""What must hold of a manifest's videos, and what is said where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_films import film

from operators.figures.videos import abnormal_frames
from pipeline.manifests.checks import check_copies, check_split, readable, refuse
from pipeline.manifests.manifest import ManifestError, Video, intervals_of

# -- labels of frames ------------------------------------------------------------------------------------------


def test_the_runs_of_labels():
    assert intervals_of([0, 1, 1, 0, 0, 255, 0]) == ((1, 3), (5, 6))
    assert intervals_of([True, False, True]) == ((0, 1), (2, 3))
    assert intervals_of([]) == intervals_of([0, 0]) == ()


@given(st.lists(st.integers(0, 1), max_size=40))
def test_intervals_and_labels_are_the_same_thing(labels):
    assert abnormal_frames(intervals_of(labels), len(labels)).tolist() == labels


# -- videos ----------------------------------------------------------------------------------------------------


def test_videos_that_can_be_used_and_those_that_cannot(tmp_path):
    whole = film(tmp_path / "whole.mp4", 12)
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:600])
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    told = []
    videos = [
        Video(whole, 1, ((0, 12),)),
        Video(whole, 1, ((3, 13),)),
        Video(tmp_path / "text.mp4", 0),
        Video(tmp_path / "cut.mp4", 0),
        Video(tmp_path / "gone.mp4", 0),
        Video(pictures, 0, fps=10),
        Video(whole, 0),
    ]
    good, bad = readable(videos, progress=lambda *now: told.append(now))
    assert good == [videos[0], videos[6]]
    assert [one.video for one in bad] == videos[1:6]
    assert bad[0].reason == f"{whole}: interval [3, 13] reaches past the end, it has 12 frames"
    for one, complaint in zip(
        bad[1:], ["not a video", "no video stream", "no such file", "holds no pictures"], strict=True
    ):
        assert str(one.video.path) in one.reason
        assert complaint in one.reason
    assert told == [(done, 7) for done in range(1, 8)]
    with pytest.raises(ManifestError) as raised:
        refuse(bad)
    assert str(raised.value).splitlines() == [one.reason for one in bad]
    refuse([])


def test_many_bad_videos_are_counted(tmp_path):
    _, bad = readable([Video(tmp_path / f"{i}.mp4", 0) for i in range(25)])
    with pytest.raises(ManifestError) as raised:
        refuse(bad)
    lines = str(raised.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "15 more videos cannot be used; --skip-bad lists all"


# -- splits ----------------------------------------------------------------------------------------------------


def split_of(*videos: tuple[str | None, int, str]) -> list[Video]:
    return [Video(Path(f"/{i}"), label, split=split, group=group) for i, (split, label, group) in enumerate(videos)]


def test_a_split_with_both_labels_and_whole_groups():
    check_split(split_of((None, 0, "a"), ("train", 1, "a"), ("test", 0, "b"), ("test", 1, "b")))
    check_split(split_of(("train", 0, "a"), ("train", 1, "a")))


@pytest.mark.parametrize(
    ("videos", "complaint"),
    [
        ([("train", 0, "a"), ("train", 0, "b")], "split train: no abnormal video, 2 normal; both are needed"),
        ([(None, 1, "a")], "split train: no normal video, 1 abnormal; both are needed"),
        (
            [("train", 0, "a"), ("train", 1, "a"), ("test", 1, "b")],
            "split test: no normal video, 1 abnormal; both are needed",
        ),
        (
            [("train", 0, "a"), ("validation", 1, "b"), ("train", 1, "b"), ("test", 1, "b"), ("test", 0, "a")],
            "split validation: no normal video, 1 abnormal; both are needed\n"
            "splits test and train have groups in common: a, b; each belongs to one split alone\n"
            "splits test and validation have groups in common: b; each belongs to one split alone\n"
            "splits train and validation have groups in common: b; each belongs to one split alone",
        ),
        (
            [(None, 0, "a"), (None, 1, "b"), ("validation", 0, "c"), ("validation", 1, "b")],
            "splits train and validation have groups in common: b; each belongs to one split alone",
        ),
    ],
)
def test_a_split_that_cannot_be_used(videos, complaint):
    with pytest.raises(ManifestError) as raised:
        check_split(split_of(*videos))
    assert str(raised.value) == complaint


def test_a_published_test_may_divide_groups():
    videos = split_of(("train", 0, "a"), ("train", 1, "b"), ("test", 0, "a"), ("test", 1, "b"))
    with pytest.raises(ManifestError, match="groups in common"):
        check_split(videos)
    check_split(videos, whole_groups=False)
    with pytest.raises(ManifestError, match=r"^splits train and validation have groups in common: b;"):
        check_split([*videos, *split_of(("validation", 0, "c"), ("validation", 1, "b"))], whole_groups=False)


# -- copies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("videos", "complaint"),
    [
        ([("train", 0, "a"), ("test", 0, "a")], "/1 (split test) is a copy of /0 (split train): leave one"),
        ([(None, 0, "a"), ("validation", 0, "b")], "/1 (split validation) is a copy of /0 (split train)"),
        ([(None, 0, "a"), ("train", 0, "a"), ("test", 0, "a")], "/2 (split test) is a copy of /0 (split train)"),
    ],
)
def test_copies_in_two_splits(videos, complaint):
    videos = split_of(*videos)
    with pytest.raises(ManifestError) as raised:
        check_copies(videos, {video.path: "one film" for video in videos})
    assert str(raised.value).startswith(complaint)
    check_copies(videos, {video.path: str(video.path) for video in videos})
    check_copies(videos, {video.path: "" for video in videos})  # nobody could read them
    check_copies(videos, {})


def test_copies_of_one_split_are_divided_by_folds_only():
    apart, together = (split_of(("train", 0, "a"), ("train", 0, group)) for group in "ba")
    contents = {video.path: "one film" for video in apart}
    check_copies(apart, contents)
    check_copies(together, contents, folds=True)
    with pytest.raises(ManifestError, match=r"^/1 is a copy of /0, and folds by group may divide the two"):
        check_copies(apart, contents, folds=True)
    check_copies(split_of(("test", 0, "a"), ("test", 0, "b")), contents, folds=True)


def test_many_copies_are_counted():
    videos = split_of(("train", 0, "a"), *[("test", 0, "b")] * 12)
    with pytest.raises(ManifestError) as raised:
        check_copies(videos, {video.path: "one film" for video in videos})
    assert str(raised.value).splitlines()[10:] == ["2 more copies"]
