"""Which recordings a replay is of, and what they are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_films import film

from pipeline.manifests.manifest import ManifestError
from pipeline.runs.folder import VideoRow
from pipeline.runs.recordings import NothingToReplayError, camera_of, wanted
from pipeline.sources.archive import Joining
from pipeline.sources.film_files import PassedOver


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_a_file_is_called_by_its_stem_and_a_folders_by_where_they_are_in_it(tmp_path: Path) -> None:
    touch(tmp_path / "one.mp4", tmp_path / "set/gate/m.mkv", tmp_path / "set/yard/m.mkv", tmp_path / "set/a.AVI")
    found = wanted([tmp_path / "one.mp4", tmp_path / "set"])
    assert [one.name for one in found] == ["one", "a", "gate/m", "yard/m"]
    assert [one.path.name for one in found] == ["one.mp4", "a.AVI", "m.mkv", "m.mkv"]


def test_names_are_made_longer_until_they_differ(tmp_path: Path) -> None:
    touch(tmp_path / "x/v.mp4", tmp_path / "x/v.avi", tmp_path / "y/v.avi", tmp_path / "y/w.avi")
    places = [tmp_path / name for name in ("x/v.mp4", "x/v.avi", "y/v.avi", "y/w.avi")]
    assert [one.name for one in wanted(places)] == ["v.mp4", "x/v.avi", "y/v.avi", "w"]


def test_a_recording_that_is_named_twice_is_replayed_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    assert [one.name for one in wanted([tmp_path / "a.mp4", tmp_path / "link.mp4", tmp_path])] == ["a"]


def test_a_row_names_the_masks_of_the_manifest(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "masks.zip")
    lines = [{"path": "a.mp4", "label": 1, "masks": "masks.zip"}, {"path": "b.mp4", "label": 0}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with_masks, without = (one.row() for one in wanted([tmp_path / "m.jsonl"]))
    assert with_masks.masks == str(tmp_path.resolve() / "masks.zip")
    assert without.masks is None
    assert "masks" not in json.loads(without.model_dump_json())
    assert VideoRow.model_validate_json(with_masks.model_dump_json()) == with_masks


def test_a_link_that_leads_to_itself_is_a_recording_like_any_that_cannot_be_read(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    (tmp_path / "round.mp4").symlink_to("round.mp4")
    found = wanted([tmp_path])
    assert [one.name for one in found] == ["a", "round"]
    assert found[1].path == tmp_path / "round.mp4"
    with pytest.raises(NothingToReplayError, match=r"round\.mp4: no such file"):
        wanted([tmp_path / "round.mp4"])


def test_hidden_files_and_what_is_no_film_are_left_alone(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / ".b.mp4", tmp_path / ".trash/c.mp4", tmp_path / "notes.txt")
    passed_over = PassedOver()
    assert [one.name for one in wanted([tmp_path], passed_over=passed_over)] == ["a"]
    assert passed_over.line() == f"passed over 1 file not recognised as video (1 .txt): {tmp_path / 'notes.txt'}"


def test_an_export_of_recorders_is_taken_whole(tmp_path: Path) -> None:
    """Suffixes of recorders, a film without a suffix, and what is passed over in any of the folders."""
    touch(tmp_path / "18.00.00-18.00.08[M][0@0][0].dav", tmp_path / "ch01_20240501180000.264")
    touch(tmp_path / "sub/ch02_20240501180000.265", tmp_path / "sub/index.db", tmp_path / "sub/still.jpg")
    film(tmp_path / "phone.mp4", 5).rename(tmp_path / "phone")
    passed_over = PassedOver()
    found = wanted([tmp_path], passed_over=passed_over)
    assert [one.path.name for one in found] == [
        "18.00.00-18.00.08[M][0@0][0].dav",
        "ch01_20240501180000.264",
        "phone",
        "ch02_20240501180000.265",
    ]
    line = passed_over.line()
    assert line is not None
    assert line.startswith("passed over 2 files not recognised as video (1 .jpg, 1 .db): ")


def test_linked_folders_are_entered_once_and_after_the_others(tmp_path: Path) -> None:
    touch(tmp_path / "set/gate/m.mp4", tmp_path / "elsewhere/yard/m.mp4")
    (tmp_path / "set/a link").symlink_to("gate")
    (tmp_path / "set/far").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/round").symlink_to(tmp_path / "set")
    assert [one.name for one in wanted([tmp_path / "set"])] == ["gate/m", "far/yard/m"]


def test_a_folder_without_a_video_says_what_it_holds(tmp_path: Path) -> None:
    touch(tmp_path / "a.txt", tmp_path / "b.jpg")
    with pytest.raises(NothingToReplayError, match=r"holds no video \(passed over 2 files .*a folder of pictures is"):
        wanted([tmp_path])


@pytest.mark.parametrize("settings", ["run.json", "parts/run.json"])
def test_films_that_a_replay_has_written_are_left_alone(tmp_path: Path, settings: str) -> None:
    run = tmp_path / "runs" / "january"
    touch(tmp_path / "a.mp4", tmp_path / "runs" / "b.mp4", run / "annotated" / "a.mp4", run / settings)
    assert [one.name for one in wanted([tmp_path])] == ["a", "runs/b"]
    assert [one.name for one in wanted([run])] == ["annotated/a"]  # who names it means it


def test_a_manifests_recordings_are_called_as_it_calls_them(tmp_path: Path) -> None:
    touch(tmp_path / "set/clips/v.mp4", tmp_path / "elsewhere.mp4")
    rows = [{"path": "clips/v.mp4", "label": 1, "group": "g"}, {"path": str(tmp_path / "elsewhere.mp4"), "label": 0}]
    manifest = tmp_path / "set/m.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    of_set, elsewhere = wanted([manifest])
    assert (of_set.name, of_set.label, of_set.group) == ("clips/v.mp4", 1, "g")
    assert (elsewhere.name, elsewhere.group) == (str(tmp_path / "elsewhere.mp4"), None)
    # A name of another place is told apart from a manifest's.
    touch(tmp_path / "v.mp4")
    assert [one.name for one in wanted([manifest, tmp_path / "v.mp4"])][-1] == "v"


@pytest.mark.parametrize(
    ("place", "problem"),
    [("missing.mp4", "no such file; expected a video, a folder"), ("empty", "holds no video")],
)
def test_a_place_with_nothing_to_replay_is_one_line(tmp_path: Path, place: str, problem: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToReplayError, match=problem) as raised:
        wanted([tmp_path / place])
    assert "\n" not in str(raised.value)


def test_a_line_of_a_manifest_that_cannot_be_read_is_an_error_or_listed(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"path": "a.mp4", "label": 0}\n{"path": "gone.mp4", "label": 0}\n')
    with pytest.raises(ManifestError, match=r"m\.jsonl:2: path gone\.mp4: no such file"):
        wanted([manifest])
    skipped: list[str] = []
    assert [one.name for one in wanted([manifest], skipped=skipped)] == ["a.mp4"]
    assert len(skipped) == 1


@pytest.mark.parametrize(
    ("path", "camera"),
    [
        ("/archive/gate.mp4", "gate"),
        ("/archive/gate/2024.mp4", "gate"),
        ("/archive/gate/yard/2024.mp4", "yard"),
        ("/archive/hall/2024.mp4", None),
    ],
)
def test_whose_camera_recorded_it(path: str, camera: str | None) -> None:
    assert camera_of(Path(path), {"gate": 1, "yard": 2}) == camera


def test_a_cameras_folder_may_be_named_in_another_form() -> None:
    assert camera_of(Path("/archive/Su\u0308d/2024.mp4"), {"S\u00fcd"}) == "S\u00fcd"


def test_files_of_one_camera_are_one_recording_in_its_name(tmp_path: Path) -> None:
    times = ("00.00", "00.10", "00.20")
    gate, yard = ([tmp_path / f"nvr/2024-05-01/13/{camera}/{at}.mp4" for at in times] for camera in ("gate", "yard"))
    touch(*gate, *yard, tmp_path / "nvr/clip.mp4")
    found = wanted([tmp_path / "nvr"])
    assert [one.name for one in found] == ["clip", "gate", "yard"]
    alone, first, _ = found
    assert (alone.parts, alone.files) == ((), (tmp_path / "nvr/clip.mp4",))
    assert (first.path, list(first.files)) == (gate[0], gate)
    assert [file.path for file in first.row().files] == [str(file) for file in gate]
    assert first.camera_of({"gate": 1, "nvr": 2}) == "gate"
    assert first.camera_of({"nvr": 2}) == "nvr"
    assert first.camera_of({"hall": 3}) is None
    apart = wanted([tmp_path / "nvr"], joining=Joining(join=False))
    assert len(apart) == 7
    assert not any(one.parts for one in apart)


def test_cameras_of_one_name_bear_their_recorders(tmp_path: Path) -> None:
    for site in ("north", "south"):
        touch(*(tmp_path / site / "front/2024-05-01" / f"13-00-{second}.mp4" for second in ("00", "10")))
    assert [one.name for one in wanted([tmp_path])] == ["north/front", "south/front"]


def test_a_row_of_one_file_has_nothing_of_an_archive(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    (one,) = wanted([tmp_path])
    assert not {"files", "gaps"} & set(json.loads(one.row().model_dump_json()))


def test_labelled_recordings_are_never_joined(tmp_path: Path) -> None:
    files = [tmp_path / f"gate_20240501_1300{second}.mp4" for second in ("00", "10")]
    touch(*files, tmp_path / "yard_20240501_130000.mp4", tmp_path / "yard_20240501_130010.mp4")
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps({"path": file.name, "label": 0}) + "\n" for file in files))
    assert [len(one.parts) for one in wanted([manifest])] == [0, 0]
    assert [len(one.parts) for one in wanted([manifest, tmp_path])] == [0, 0, 2]
