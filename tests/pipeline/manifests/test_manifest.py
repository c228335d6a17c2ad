"""Manifests: what they say, and what is said of a bad one."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from pipeline.manifests.fights import fights
from pipeline.manifests.manifest import ManifestError, Video, manifest_digest, manifest_lines, read_manifest


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "000.jpg").write_bytes(b"picture")
    (tmp_path / "ring").symlink_to("ring")
    return tmp_path.resolve()


def write(folder: Path, *lines: object) -> Path:
    file = folder / "videos.jsonl"
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


def test_reads_every_key(folder):
    file = write(
        folder,
        {"path": "a.mp4", "label": 0},
        "",
        {
            "path": str(folder / "b.mp4"),
            "label": 1,
            "intervals": [[1, 25], [40, 50]],
            "split": "test",
            "group": "hall",
        },
    )
    assert read_manifest(file) == [
        Video(folder / "a.mp4", 0, group=str(folder / "a.mp4")),
        Video(folder / "b.mp4", 1, ((1, 25), (40, 50)), "test", "hall"),
    ]


def test_what_is_written_is_read_back(folder):
    videos = [
        Video(folder / "a.mp4", 0),
        Video(folder / "b.mp4", 1, ((5, 10),), "train", "hall"),
        Video(folder / "frames", 0, fps=24.0),
    ]
    text = manifest_lines(videos, folder)
    assert json.loads(text.splitlines()[0]) == {"path": "a.mp4", "label": 0}
    assert read_manifest(write(folder, text)) == videos
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    assert read_manifest(write(elsewhere, manifest_lines(videos, elsewhere))) == videos


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nonsense", "not JSON: Expecting value at column 1"),
        ("[1]", "expected a JSON object with path and label"),
        ({"label": 1}, "path is missing"),
        ({"path": "a.mp4"}, "label is missing"),
        ({"path": "a.mp4", "label": 2}, "label must be 0 or 1, got 2"),
        ({"path": "a.mp4", "label": -1}, "label must be 0 or 1, got -1"),
        ({"path": "a.mp4", "label": "1"}, 'label must be 0 or 1, got "1"'),
        ({"path": "a.mp4", "label": True}, "label must be 0 or 1, got true"),
        ({"path": "a.mp4", "label": 1.0}, "label must be 0 or 1, got 1.0"),
        ({"path": "a.mp4", "label": None}, "label must be 0 or 1, got null"),
        ({"path": "a.mp4", "label": 1, "split": "Test"}, 'split must be train, validation or test, got "Test"'),
        ({"path": "a.mp4", "label": 1, "split": "val"}, 'split must be train, validation or test, got "val"'),
        ({"path": "a.mp4", "label": 1, "split": 1}, "split must be train, validation or test, got 1"),
        ({"path": "z.mp4", "label": 1}, "path z.mp4: no such file"),
        (
            {"path": "a.mp4", "label": 1, "lable": 1},
            "lable is unknown; expected path, label, intervals, split, group, fps, stream, masks",
        ),
        ({"path": "frames", "label": 1}, "path frames: a folder of pictures needs its fps"),
        ({"path": "frames", "label": 1, "fps": 0}, "fps: input should be greater than 0"),
        ({"path": "a.mp4", "label": 1, "fps": 24}, "path a.mp4: fps is for a folder of pictures only"),
        ({"path": "none", "label": 1, "fps": 24}, "path none: no such file"),
        ({"path": "a.mp4", "label": 1, "intervals": [[2, 1]]}, "interval [2, 1] must end after its first frame"),
        ({"path": "a.mp4", "label": 1, "intervals": [2]}, "intervals.0: expected [first, end) in frames from 0, got 2"),
        (
            {"path": "a.mp4", "label": 1, "intervals": [[-1, 2]]},
            "intervals.0.0: expected [first, end) in frames from 0, got -1",
        ),
        (
            {"path": "a.mp4", "label": 1, "intervals": [[2.0, 7]]},
            "intervals.0.0: 2.0 is not a frame number; are these seconds of an old version? Write the manifest again",
        ),
        (
            {"path": "a.mp4", "label": 1, "intervals": [[2, True]]},
            "intervals.0.1: expected [first, end) in frames from 0, got true",
        ),
        (
            {"path": "a.mp4", "label": 1, "intervals": [[2, 3, 4]]},
            "intervals.0: expected [first, end) in frames from 0, got [2, 3, 4]",
        ),
        ({"path": "a.mp4", "label": 0, "intervals": [[1, 2]]}, "a normal video (label 0) has no intervals"),
        ({"path": "a\0.mp4", "label": 0}, 'path "a\\u0000.mp4": cannot be looked up: embedded null byte'),
        ({"path": "x\ny", "label": 0}, 'path "x\\ny": no such file'),
        ({"path": "n" * 256, "label": 0}, f"path {'n' * 200}…: cannot be looked up: File name too long"),
        ({"path": "ring/a.mp4", "label": 0}, "path ring/a.mp4: cannot be looked up: Symlink loop"),
        ('{"path": "a.mp4", "label": %s}' % ("1" * 4301), "a number has too many digits"),
        ("[" * 100_000 + "]" * 100_000, "expected a JSON object with path and label, got one nested too deeply"),
    ],
)
def test_a_bad_line_is_named(folder, line, complaint):
    file = write(folder, {"path": "c.mp4", "label": 0}, line)
    with pytest.raises(ManifestError) as raised:
        read_manifest(file)
    assert str(raised.value) == f"{file}:2: {complaint}"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x1c", "\n", "\r"])
def test_a_name_with_a_line_separator_is_written_and_read_back(folder, separator):
    video = Video(folder / f"one{separator}two.mp4", 0)
    video.path.write_bytes(b"film")
    file = folder / "videos.jsonl"
    file.write_text(manifest_lines([video], folder), encoding="utf-8")
    assert read_manifest(file) == [video]


def test_every_bad_line_is_named(folder):
    file = write(folder, "x", {"path": "a.mp4", "label": 0}, "y")
    with pytest.raises(ManifestError) as raised:
        read_manifest(file)
    assert [line.split(": ")[0] for line in str(raised.value).splitlines()] == [f"{file}:1", f"{file}:3"]


def test_many_bad_lines_are_counted(folder):
    file = write(folder, *["x"] * 25)
    with pytest.raises(ManifestError) as raised:
        read_manifest(file)
    lines = str(raised.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == f"{file}: 15 more problems"


def test_bad_lines_may_be_skipped_and_are_told(folder):
    file = write(folder, {"path": "a.mp4", "label": 2}, {"path": "z.mp4", "label": 0}, {"path": "c.mp4", "label": 0})
    skipped = []
    assert [video.path.name for video in read_manifest(file, skipped=skipped)] == ["c.mp4"]
    assert skipped == [f"{file}:1: label must be 0 or 1, got 2", f"{file}:2: path z.mp4: no such file"]
    with pytest.raises(ManifestError, match="holds no video"):
        read_manifest(write(folder, "x"), skipped=[])


def test_a_video_named_twice(folder):
    file = write(folder, {"path": "a.mp4", "label": 0}, {"path": "./a.mp4", "label": 1})
    with pytest.raises(ManifestError, match=r":2: path \./a\.mp4 is named by line 1 already"):
        read_manifest(file)


def test_no_manifest(folder):
    with pytest.raises(ManifestError, match="no such manifest"):
        read_manifest(folder / "none.jsonl")
    with pytest.raises(ManifestError, match="holds no video"):
        read_manifest(write(folder))
    (folder / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="not a manifest"):
        read_manifest(folder / "binary.jsonl")


def test_the_digest_follows_contents_and_labels_not_names(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "renamed.mp4").write_bytes(b"a.mp4")
    one = [Video(folder / "a.mp4", 0, group="hall"), Video(folder / "b.mp4", 1)]
    moved = [Video(folder / "b.mp4", 1), Video(elsewhere / "renamed.mp4", 0, group="hall")]
    assert manifest_digest(one) == manifest_digest(moved)
    for other in (
        [Video(folder / "a.mp4", 1, group="hall"), one[1]],
        [Video(folder / "a.mp4", 0, group="yard"), one[1]],
        [Video(folder / "c.mp4", 0, group="hall"), one[1]],
        one[:1],
    ):
        assert manifest_digest(other) != manifest_digest(one)


def test_the_digest_of_a_film_does_not_know_of_rates(folder):
    """The cards that are committed name manifests of films."""
    row = [sha256(b"a.mp4").hexdigest()[:16], 0, [], None, "hall"]
    expected = sha256(json.dumps(row).encode()).hexdigest()
    assert manifest_digest([Video(folder / "a.mp4", 0, group="hall")]) == expected
    pictures = manifest_digest([Video(folder / "frames", 0, fps=24)])
    assert pictures != manifest_digest([Video(folder / "frames", 0, fps=25)])


def test_the_fights_are_what_their_readme_says(data):
    videos = fights(data / "fights")
    assert len(videos) == 234
    assert sum(video.label for video in videos) == 118
    assert len({video.group for video in videos}) == 36


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        (None, "no clips.json there"),
        ("{", "not JSON"),
        ("[]", "expected a list of clips"),
        ('[{"clip": "a.mp4"}]', "clip 1: expected clip, label and source"),
        ('[{"clip": "a.mp4", "label": 3, "source": "s"}]', r"clip 1 \(a\.mp4\): label must be 0 or 1, got 3"),
        ('[{"clip": "z.mp4", "label": 1, "source": "s"}]', r"1 file of the fights data set missing:\n  z\.mp4$"),
    ],
)
def test_a_folder_that_is_not_the_fights(folder, index, complaint):
    if index is not None:
        (folder / "clips.json").write_text(index)
    with pytest.raises(ManifestError, match=complaint):
        fights(folder)
