"""``mistwatch manifest`` as a person meets it: what is printed, what is written, and the status."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tiny_films import film, frame_folder

from pipeline.manifests.manifest import read_manifest


@pytest.fixture
def manifest(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", "from pipeline.cli.main import main; main()", "manifest", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_a_plain_folder_with_a_fold_held_out(manifest, tmp_path):
    for number in range(3):
        film(tmp_path / "videos" / "normal" / f"{number}.mp4", 2)
        frame_folder(tmp_path / "videos" / "abnormal" / f"{number}", 2)
    done = manifest("folder", "videos", "--fps", "12.5", "--hold-out", "3", "--out", "videos/manifest.jsonl")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr == "videos/manifest.jsonl: 6 videos, 3 of them abnormal\n"
    videos = read_manifest(tmp_path / "videos" / "manifest.jsonl")
    assert sorted(video.split for video in videos) == ["test"] * 2 + ["train"] * 4
    first = json.loads((tmp_path / "videos" / "manifest.jsonl").read_text().splitlines()[0])
    assert first["path"] == "normal/0.mp4"


def test_files_that_are_passed_over_are_named_without_being_asked_for(manifest, tmp_path):
    for part in ("normal", "abnormal"):
        film(tmp_path / part / "gate.mp4", 2)
    film(tmp_path / "gate.mp4", 2).rename(tmp_path / "normal" / "18.00.00-18.00.08[M][0@0][0].dav")
    (tmp_path / "normal" / "index.xyz").write_bytes(b"\x00" * 100)
    done = manifest("folder", tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == (
        f"mistwatch: passed over 1 file not recognised as video (1 .xyz): {tmp_path}/normal/index.xyz\n"
    )


def test_missing_files_are_named_and_may_be_left_out(manifest, tmp_path):
    clips = [{"clip": f"{number:02d}.mp4", "label": number % 2, "source": "s"} for number in range(14)]
    (tmp_path / "clips.json").write_text(json.dumps(clips))
    for number in (0, 1):
        film(tmp_path / f"{number:02d}.mp4", 2)
    done = manifest("fights", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    head, *files, more = done.stderr.splitlines()
    assert head == f"mistwatch: {tmp_path}: 12 files of the fights data set missing:"
    assert files == [f"mistwatch:   {number:02d}.mp4" for number in range(2, 12)]
    assert more == "mistwatch:   and 2 more; --skip-bad lists all"
    done = manifest("fights", tmp_path, "--skip-bad")
    assert done.returncode == 0
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == [0, 1]
    assert done.stderr.splitlines() == [
        "left out: 12",
        *[f"  {tmp_path}/{number:02d}.mp4: no such file" for number in range(2, 14)],
    ]


def test_ped2_drawn_for_weak_supervision(manifest, tmp_path):
    for number in range(4):
        film(tmp_path / "train" / f"{number}.mp4", 3)
        film(tmp_path / "test" / f"{number}.mp4", 3)
    labels = {str(number): [0, 1, 1] for number in range(4)}
    (tmp_path / "frame_labels.json").write_text(json.dumps(labels))
    drawn = []
    for seed in ("0", "1", "1"):
        done = manifest("ped2", tmp_path, "--draw", "1", "2", "--seed", seed)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert sorted((row["split"], row["label"]) for row in rows) == (
            [("test", 0)] * 3 + [("test", 1)] * 2 + [("train", 0)] + [("train", 1)] * 2
        )
        assert all(row["intervals"] == [[1, 3]] for row in rows if row["label"])
        drawn.append(done.stdout)
    assert drawn[0] != drawn[1] == drawn[2]
    done = manifest("ped2", tmp_path, "--draw", "1", "9")
    assert done.returncode == 2
    assert done.stderr.startswith("mistwatch: --draw 1 9: 9 abnormal videos of 4: expected at least 1, and one left")


@pytest.mark.parametrize(
    ("layout", "complaint"),
    [
        ("shanghaitech", "no list of MIST's split for ShanghaiTech there; expected SH_Train.txt or SH_Train_new.txt"),
        (
            "ucf-crime",
            "no temporal annotation of UCF-Crime there; expected Temporal_Anomaly_Annotation_for_Testing_Videos.txt or "
            "Temporal_Anomaly_Annotation.txt or Temporal_Anomaly_Annotation_New.txt or temporal_annotation.txt or "
            "*Test_Annotation.txt or *UCF_Annotation.txt",
        ),
        ("ped2", "expected UCSD Ped2: folders Train/Train001 and so on, or films and frame_labels.json"),
        ("folder", "no folder normal and no folder abnormal; expected normal and abnormal videos"),
    ],
)
def test_a_folder_of_something_else(manifest, tmp_path, layout, complaint):
    done = manifest(layout, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mistwatch: {tmp_path}: {complaint}\n"


def test_a_manifest_that_cannot_be_written(manifest, tmp_path):
    film(tmp_path / "normal" / "0.mp4", 2)
    film(tmp_path / "abnormal" / "1.mp4", 2)
    done = manifest("folder", tmp_path, "--out", "none/manifest.jsonl")
    assert done.returncode == 1
    assert done.stderr == "mistwatch: cannot write none/manifest.jsonl: No such file or directory\n"


def test_missing_lists_of_ucf_crime_and_what_stands_in_for_them_are_reported(manifest, tmp_path):
    film(tmp_path / "Abuse" / "Abuse028_x264.mp4", 20)
    film(tmp_path / "Abuse" / "Abuse001_x264.mp4", 2)
    annotation = tmp_path / "UCF_Annotation.txt"
    annotation.write_text("Abuse/Abuse028_x264.mp4 20 Abuse 11 20 -1 -1 \n")
    done = manifest("ucf-crime", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["split"], row.get("intervals")) for row in rows] == [("train", None), ("test", [[10, 20]])]
    assert done.stderr.splitlines() == [
        f"no Anomaly_Test.txt: the test videos are those of {annotation}",
        "no Anomaly_Train.txt: training videos are all others of UCF-Crime in the folder, 1; "
        "missing ones cannot be noticed",
    ]
