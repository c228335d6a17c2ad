"""``mistwatch synth``: the videos, labels and truths that it says it wrote, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Pipe
from pathlib import Path

import av
import numpy as np
import pytest
from in_process import called
from PIL import Image

from pipeline.courtyard import scene
from pipeline.courtyard.masks import write_masks
from pipeline.courtyard.renderer import RenderError, render_one
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.segments import CLASSES
from pipeline.courtyard.settings import SceneError, SceneSettings
from pipeline.manifests.courtyard import recordings
from pipeline.manifests.manifest import ManifestError, read_manifest

COMMAND = (sys.executable, "-P", "-m", "pipeline.cli", "synth")
#: Small videos: 24 frames each.
SMALL = ("--seconds", "12", "--fps", "2", "--seed", "40")


def synth(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(arguments, *called("synth", *arguments))


def assert_one_line(result: subprocess.CompletedProcess[str], status: int, *named: str) -> None:
    assert result.returncode == status, (result.stdout, result.stderr)
    (line,) = result.stderr.splitlines()
    assert line.startswith("mistwatch: ")
    for text in named:
        assert text in line


def films(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each film's time of change and content."""
    return {path.stem: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("*/*.mp4")}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Four videos, and what the command said."""
    folder = tmp_path_factory.mktemp("synth") / "data"
    result = synth(folder, *SMALL, "--videos", "4")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return folder, result.stdout


# -- the plan --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("abnormal", "count"), [(0.0, 0), (0.1, 10), (1 / 3, 33), (0.5, 50), (1.0, 100)])
def test_the_share_of_abnormal_videos(abnormal: float, count: int, tmp_path: Path) -> None:
    planned = recordings(tmp_path, SceneSettings(seconds=12), videos=100, abnormal=abnormal)
    assert sum(bool(one.abnormal) for one in planned) == count
    assert [one.settings.seed for one in planned] == list(range(100))
    for one in planned:
        assert one.settings.incidents_per_minute == (5 if one.abnormal else 0)


def test_a_videos_label_does_not_hang_on_how_many_there_are(tmp_path: Path) -> None:
    more = recordings(tmp_path, SceneSettings(seconds=12), videos=30, abnormal=0.3)
    assert recordings(tmp_path, SceneSettings(seconds=12), videos=7, abnormal=0.3) == more[:7]


def test_a_video_too_short_for_an_incident(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"^seconds 8: expected at least 10 s"):
        recordings(tmp_path, SceneSettings(seconds=8), videos=2, abnormal=0.5)
    assert len(recordings(tmp_path, SceneSettings(seconds=8), videos=2, abnormal=0)) == 2


def test_a_training_seed_has_its_incident(tmp_path: Path) -> None:
    """A scene without one would end a long run in the middle."""
    planned = recordings(tmp_path, SceneSettings(seed=1000, seconds=10, fps=1), videos=40, abnormal=1)
    assert [len(Courtyard(one.settings).incidents) for one in planned] == [1] * 40


# -- what is written -------------------------------------------------------------------------------------------


def test_the_manifest_tells_what_the_scenes_are(written: tuple[Path, str]) -> None:
    folder, said = written
    videos = read_manifest(folder / "manifest.jsonl")
    assert [video.path.relative_to(folder) for video in videos] == [
        Path("normal/courtyard-40.mp4"),
        Path("abnormal/courtyard-41.mp4"),
        Path("normal/courtyard-42.mp4"),
        Path("abnormal/courtyard-43.mp4"),
    ]
    assert [video.label for video in videos] == [0, 1, 0, 1]
    assert [video.group for video in videos] == ["40", "41", "42", "43"]
    kinds = []
    for video in videos:
        settings = SceneSettings(int(video.group), 2, 12, incidents_per_minute=5 * video.label)
        incidents = Courtyard(settings).incidents
        kinds += [incident.kind for incident in incidents]
        assert list(video.intervals) == [(one.first_frame, one.last_frame + 1) for one in incidents]
    assert said.startswith(f"{folder / 'manifest.jsonl'}: 4 videos of 12 s, 2 abnormal (")
    assert all(f" {kind}" in said for kind in kinds)


def test_the_films_show_the_scenes(written: tuple[Path, str]) -> None:
    folder, _ = written
    for video in read_manifest(folder / "manifest.jsonl"):
        shown = Courtyard(SceneSettings(int(video.group), 2, 12, incidents_per_minute=5 * video.label))
        with av.open(str(video.path)) as container:
            frames = list(container.decode(video=0))
        assert [frame.time for frame in frames] == [number / 2 for number in range(24)]
        wrong = frames[20].to_ndarray(format="rgb24").astype(float) - shown.frame(20)
        assert abs(wrong).mean() < 10


def test_the_truth_is_the_scenes(written: tuple[Path, str]) -> None:
    folder, _ = written
    for video in read_manifest(folder / "manifest.jsonl"):
        header, *frames = map(
            json.loads, (folder / "truth" / f"courtyard-{video.group}.jsonl").read_text().splitlines()
        )
        assert header["settings"]["seed"] == int(video.group)
        assert bool(header["incidents"]) == bool(frames) == bool(video.label)
        for frame in frames:
            ((first, end),) = video.intervals
            assert first <= frame["frame"] < end


def test_any_number_of_processes_gives_the_same_bytes(written: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = written
    assert synth(tmp_path, *SMALL, "--videos", "2", "--jobs", "1").returncode == 0
    there = films(folder)
    assert {name: content for name, (_, content) in films(tmp_path).items()} == {
        name: there[name][1] for name in ("courtyard-40", "courtyard-41")
    }


# -- once more -------------------------------------------------------------------------------------------------


def test_what_is_there_is_kept(written: tuple[Path, str]) -> None:
    folder, _ = written
    before = films(folder)
    (folder / "truth" / "courtyard-41.jsonl").unlink()  # as if interrupted before the film was whole
    with (folder / "truth" / "courtyard-42.jsonl").open("a") as file:
        file.write("{}\n")  # no truth that this version would write
    result = synth(folder, *SMALL, "--videos", "5")
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("; 2 kept from before\n")
    after = films(folder)
    assert {name for name in before if after[name][0] != before[name][0]} == {"courtyard-41", "courtyard-42"}
    assert {name: after[name][1] for name in before} == {name: content for name, (_, content) in before.items()}
    assert len(read_manifest(folder / "manifest.jsonl")) == 5
    # Fewer are asked for: the manifest names those, whatever it said before; nothing is rendered.
    (folder / "manifest.jsonl").write_text(
        '{"path": "abnormal/courtyard-41.mp4", "label": 1, "intervals": [[1.5, 2.0]]}'
    )
    with pytest.raises(ManifestError, match=r"1\.5 is not a frame number"):
        read_manifest(folder / "manifest.jsonl")
    assert synth(folder, *SMALL, "--videos", "4").returncode == 0
    assert len(read_manifest(folder / "manifest.jsonl")) == 4
    assert films(folder) == after


def test_other_settings_are_refused(written: tuple[Path, str]) -> None:
    folder, _ = written
    before = films(folder)
    result = synth(folder, *SMALL, "--fps", "3", "--videos", "6")
    assert_one_line(result, 2, "truth/courtyard-40.jsonl", "fps 2, not 3", "another folder")
    result = synth(folder, *SMALL, "--abnormal", "1", "--videos", "4")
    assert_one_line(result, 2, "incidents_per_minute 0, not 5")
    assert films(folder) == before


def test_abandoned_objects_on_request(tmp_path: Path) -> None:
    words = ("--seconds", "60", "--fps", "1", "--seed", "40", "--videos", "2", "--abandoned")
    result = synth(tmp_path, *words)
    assert result.returncode == 0, result.stderr
    assert "2 videos of 60 s, 1 abnormal (1 abandoned)" in result.stdout
    header, *frames = map(json.loads, (tmp_path / "truth" / "courtyard-41.jsonl").read_text().splitlines())
    assert header["settings"]["abandoned"] is True
    assert {one["kind"] for frame in frames for one in frame["incidents"]} == {"abandoned"}
    assert "; 2 kept from before" in synth(tmp_path, *words).stdout
    result = synth(tmp_path, *words[:-1])
    assert_one_line(result, 2, "truth/courtyard-40.jsonl", "abandoned 1, not 0", "another folder")
    result = synth(tmp_path / "short", *SMALL, "--abandoned")
    assert_one_line(result, 2, "--seconds 12: expected at least 60 s for a video with an abandoned object")


def test_the_truth_of_other_scenes_does_not_name_abandoned_objects(written: tuple[Path, str]) -> None:
    """So that videos of before there were any are kept."""
    folder, _ = written
    header = json.loads((folder / "truth" / "courtyard-40.jsonl").read_text().splitlines()[0])
    keys = {"seed", "fps", "seconds", "width", "height", "incidents_per_minute"}
    assert set(header["settings"]) == keys


def test_two_writers_of_one_folder(written: tuple[Path, str]) -> None:
    folder, _ = written
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert_one_line(synth(folder, *SMALL), 1, str(folder), "another process is writing there")
    finally:
        os.close(handle)


# -- masks -----------------------------------------------------------------------------------------------------


def test_masks_on_request(written: tuple[Path, str], tmp_path: Path) -> None:
    words = (*SMALL, "--videos", "2", "--masks", "5")
    assert "; 6 masks\n" in synth(tmp_path, *words).stdout  # frames 0, 10 and 20 of two videos
    names = [f"{number:06d}.png" for number in (0, 10, 20)]
    for video in read_manifest(tmp_path / "manifest.jsonl"):
        shown = Courtyard(SceneSettings(int(video.group), 2, 12, incidents_per_minute=5 * video.label))
        folder = tmp_path / "masks" / video.path.stem
        assert files(folder) == [
            "classes.json",
            *(f"masks/{one}" for one in names),
            *(f"pictures/{one}" for one in names),
        ]
        assert json.loads((folder / "classes.json").read_text())["classes"] == list(CLASSES)
        for name in names:
            mask = Image.open(folder / "masks" / name)
            assert mask.mode == "L"
            assert np.array_equal(np.asarray(mask), shown.segments(int(name[:6])))
            assert np.array_equal(np.asarray(Image.open(folder / "pictures" / name)), shown.frame(int(name[:6])))
    there = films(written[0])  # the films are those without masks
    assert all(content == there[name][1] for name, (_, content) in films(tmp_path).items())

    before = {one: (tmp_path / one).stat().st_mtime_ns for one in files(tmp_path)}
    assert "; 6 masks; 2 kept from before\n" in synth(tmp_path, *words).stdout
    others = tmp_path / "masks" / "courtyard-41"
    (others / "classes.json").unlink()
    assert "; 6 masks; 1 kept from before\n" in synth(tmp_path, *words).stdout
    changed = {one for one in files(tmp_path) if (tmp_path / one).stat().st_mtime_ns != before[one]}
    assert changed - {"manifest.jsonl"} == {f"{others.relative_to(tmp_path)}/{one}" for one in files(others)}
    assert "; 2 masks\n" in synth(tmp_path, *words[:-1], "12").stdout  # others instead of them, of frame 0
    assert files(others) == ["classes.json", "masks/000000.png", "pictures/000000.png"]


def test_masks_are_not_taken_for_videos_of_the_folder(tmp_path: Path) -> None:
    assert synth(tmp_path, *SMALL, "--videos", "2", "--masks", "12").returncode == 0
    for rate in ((), ("--fps", "2")):  # with a rate, a folder of pictures is a video
        status, printed, errors = called("manifest", "folder", tmp_path, "--out", tmp_path / "found.jsonl", *rate)
        assert status == 0, (printed, errors)
        found = [(video.path, video.label) for video in read_manifest(tmp_path / "found.jsonl")]
        assert found == [
            (tmp_path / "normal" / "courtyard-40.mp4", 0),
            (tmp_path / "abnormal" / "courtyard-41.mp4", 1),
        ]


def test_masks_are_written_in_full_or_not_at_all(tmp_path: Path) -> None:
    shown = Courtyard(SceneSettings(seed=41, fps=2, seconds=12))
    folder = tmp_path / "film.masks"

    def interrupted(done: int, total: int) -> None:
        assert (done <= 2, total) == (True, 3)
        assert not folder.exists()
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_masks(shown, folder, 5, progress=interrupted)
    assert list(tmp_path.iterdir()) == []


# -- interrupted -----------------------------------------------------------------------------------------------


@pytest.fixture
def long_run(tmp_path: Path) -> Callable[[], contextlib.AbstractContextManager[subprocess.Popen[str]]]:
    """long_run(): a run over ``tmp_path / "data"`` that takes long, in the middle of two films."""

    @contextlib.contextmanager
    def start():
        folder = tmp_path / "data"
        command = [*COMMAND, str(folder), "--videos", "2", "--seconds", "600", "--jobs", "2"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: len(list(folder.glob("*/*.tmp"))) == 2)
            yield process
        finally:
            process.kill()
            process.communicate()

    return start


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def children(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie waits for its parent alone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_partial_file_and_no_process(long_run, number: signal.Signals, tmp_path: Path) -> None:
    with long_run() as process:
        renderers = children(process)
        assert len(renderers) == 2
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors == "mistwatch: stopped; the same command continues\n"
    assert files(tmp_path / "data") == []
    assert not any(map(is_alive, renderers))


def test_killed_it_leaves_no_partial_file_and_no_process(long_run, tmp_path: Path) -> None:
    with long_run() as process:
        renderers = children(process)
        process.kill()
        process.communicate(timeout=120)
        wait_until(lambda: not any(map(is_alive, renderers)))
    assert files(tmp_path / "data") == []


def test_a_renderer_that_is_killed(long_run, tmp_path: Path) -> None:
    with long_run() as process:
        renderers = children(process)
        os.kill(renderers[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert "memory" in line
    assert files(tmp_path / "data") == []
    assert not any(map(is_alive, renderers))


# -- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--videos", "0"), ["--videos 0", "1 to 100000"]),
        (("--videos", "1000000000"), ["--videos 1000000000"]),
        (("--seconds", "0"), ["--seconds 0.0", "1 s to 24 hours"]),
        (("--seconds", "5"), ["--seconds 5", "10 s"]),
        (("--seconds", "nan"), ["--seconds nan"]),
        (("--fps", "240"), ["--fps 240.0", "1 to 60"]),
        (("--width", "320"), ["--width 320", "640 to 1920"]),
        (("--height", "480"), ["--height 480", "360"]),
        (("--seed", "-1"), ["--seed -1", "0 to 4294967295"]),
        (("--seed", "4294967295"), ["--seed 4294967296"]),
        (("--abnormal", "1.5"), ["--abnormal 1.5", "0 to 1"]),
        (("--abnormal", "nan"), ["--abnormal nan"]),
        (("--jobs", "0"), ["--jobs 0", "at least 1"]),
        (("--masks", "0"), ["--masks 0.0", "above 0, and up to 12 s"]),
        (("--masks", "12.5"), ["--masks 12.5"]),
        (("--masks", "nan"), ["--masks nan"]),
    ],
)
def test_one_clear_line(options: tuple[str, str], named: list[str], tmp_path: Path) -> None:
    assert_one_line(synth(tmp_path / "data", *options), 2, *named)
    assert not (tmp_path / "data").exists()


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_text("")
    assert_one_line(synth(file), 2, str(file), "not a folder")


def test_a_part_that_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "truth").write_text("")
    assert_one_line(synth(tmp_path, *SMALL, "--videos", "1"), 1, str(tmp_path / "truth"))


def test_without_opencv_one_line_says_what_to_install(tmp_path: Path) -> None:
    script = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cv2":
            raise ModuleNotFoundError("there is no OpenCV", name=name)

sys.meta_path.insert(0, Refuse())
from pipeline.cli.main import main
main()
"""
    command = [sys.executable, "-P", "-c", script, "synth", str(tmp_path / "data")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert_one_line(result, 2, "pip install 'mistwatch[demo]'")


@pytest.mark.parametrize(("label", "words"), [(1, "nothing abnormal happens"), (0, "something abnormal happens")])
def test_a_wrong_label_is_an_error(label: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the scene staged nothing where one incident was asked for, and one where none was."""

    class Contrary(Courtyard):
        @property
        def incidents(self):
            return () if label else Courtyard(SceneSettings(seed=41, seconds=12)).incidents

    monkeypatch.setattr(scene, "Courtyard", Contrary)
    (planned,) = recordings(tmp_path, SceneSettings(seed=41, seconds=12), videos=1, abnormal=label)
    with pytest.raises(RenderError, match=f"{words} in the scene of seed 41"):
        render_one(0, planned, Pipe()[0])
    assert files(tmp_path) == []


def test_more_incidents_a_minute_than_one_a_video(tmp_path: Path) -> None:
    scene = SceneSettings(seed=1000, seconds=60, fps=1)
    planned = recordings(tmp_path, scene, videos=4, abnormal=0.5, incidents_per_minute=6)
    assert [len(Courtyard(one.settings).incidents) for one in planned] == [0, 6, 0, 6]
