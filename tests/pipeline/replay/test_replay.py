"""A replay on a real Triton with a model of known scores (a clip's brightness) and real video files."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from grey_cameras import Kept
from replays import contents, replay
from site_runs import BRIGHT, DARK, write_video
from steered_films import steered
from tiny_films import film, frame_folder, two_takes
from triton_of_brightness import Server, write_repository

from pipeline.alerts.event import AlertEvent
from pipeline.replay.replay import ReplayFailed
from pipeline.runs.folder import ALERTS_FILE, ATTENTION_FOLDER, SCORES_FILE, read_run
from pipeline.runs.parts import OtherRunError, Parts, alone_in
from pipeline.settings import CameraSettings
from pipeline.sources.files import FileSource

pytestmark = pytest.mark.realparts

#: 20 dark frames and 20 bright ones, at 10 a second.
HALF_BRIGHT = [(2.0, DARK), (2.0, BRIGHT)]


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder of recordings."""
    folder = tmp_path / "films"
    folder.mkdir()
    write_video(folder / "b.mp4", HALF_BRIGHT)
    write_video(folder / "a.mp4", [(1.0, BRIGHT), (1.5, DARK)])
    write_video(folder / "c.mp4", [(3.0, DARK)])
    return folder


def test_every_clip_has_its_score_its_average_and_its_frames(tmp_path: Path, triton: Server) -> None:
    video = write_video(tmp_path / "half.mp4", HALF_BRIGHT)
    replay(tmp_path / "run", [video], triton.address)
    run = read_run(tmp_path / "run")
    (row,) = run.videos
    assert (row.name, row.frames, row.clips, row.segments, row.error) == ("half", 40, 19, 1, None)
    assert row.fps == pytest.approx(10.0)
    assert row.duration_seconds == pytest.approx(4.0)
    clips = run.clips["half"]
    place = np.arange(19)  # clips of 4 frames, one every 2
    np.testing.assert_array_equal(clips.index, place)
    np.testing.assert_array_equal(clips.first_frame, 2 * place)
    np.testing.assert_array_equal(clips.end_frame, 2 * place + 4)
    np.testing.assert_allclose(clips.start, 0.2 * place, atol=1e-6)
    np.testing.assert_allclose(clips.end, 0.2 * place + 0.4, atol=1e-6)
    greys = np.repeat([DARK, BRIGHT], 20) / 255
    scores = np.array([greys[2 * i : 2 * i + 4].mean() for i in place])
    np.testing.assert_allclose(clips.score, scores, atol=0.01)  # what H.264 leaves of a grey
    smoothed = np.array([clips.score[max(0, i - 2) : i + 1].mean(dtype=np.float64) for i in place])
    np.testing.assert_allclose(clips.smoothed, smoothed, atol=1e-6)
    # Averages of three: .16 up to clip 8, (.16 + .16 + .54) / 3 at 9, (.16 + .54 + .92) / 3 = .54 at 10: it opens
    (alert,) = run.alerts["half"]
    assert (alert.started, alert.opened, alert.ended) == pytest.approx((2.0, 2.4, 4.0))
    assert alert.end_reason == "stream_end"
    assert alert.peak == pytest.approx(clips.smoothed.max(), abs=1e-6)


def test_alerts_are_a_live_cameras_but_for_the_times_of_handling(tmp_path: Path, triton: Server) -> None:
    video = write_video(tmp_path / "half.mp4", HALF_BRIGHT)
    replay(tmp_path / "run", [video], triton.address)
    lines = (tmp_path / "run" / "alerts.jsonl").read_text().splitlines()
    events = [AlertEvent.model_validate_json(line) for line in lines]
    assert [event.data.state for event in events] == ["begin", "end"]
    for event in events:
        assert event.data.replay
        assert event.subject == "half"
        assert (event.data.captured_at, event.data.scored_at, event.data.published_at) == (None, None, None)
        assert event.data.started_at is None  # nobody knows when it was recorded


def test_two_runs_are_the_same_bytes_whatever_ran_beside(films: Path, tmp_path: Path, triton: Server) -> None:
    replay(tmp_path / "one", [films], triton.address, jobs=1)
    replay(tmp_path / "three", [films], triton.address, jobs=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    assert [row.name for row in read_run(tmp_path / "one").videos] == ["a", "b", "c"]


class Stopping(threading.Event):
    """A stop that comes once ``after`` recordings are done: they are asked for between two."""

    def __init__(self, folder: Path, after: int) -> None:
        super().__init__()
        self._folder, self._after = folder, after

    def is_set(self) -> bool:
        done = [part for part in self._folder.glob("parts/*") if part.is_dir() and part.suffix != ".draft"]
        return len(done) >= self._after


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(films: Path, tmp_path: Path, triton: Server) -> None:
    replay(tmp_path / "whole", [films], triton.address)
    folder = tmp_path / "twice"
    stopped = replay(folder, [films], triton.address, jobs=1, stop=Stopping(folder, after=1))
    assert stopped.stopped
    assert 1 <= len(stopped.rows) < 3
    assert not (folder / "run.json").exists()
    rest = replay(folder, [films], triton.address)
    assert (rest.stopped, rest.kept) == (False, len(stopped.rows))
    assert contents(folder) == contents(tmp_path / "whole")
    assert not (folder / "parts").exists()


def test_a_finished_run_takes_in_more_recordings_and_scores_none_again(
    films: Path, tmp_path: Path, triton: Server
) -> None:
    folder = tmp_path / "run"
    replay(folder, [films / "a.mp4"], triton.address)
    assert replay(folder, [films], triton.address).kept == 1
    replay(tmp_path / "at once", [films], triton.address)
    assert contents(folder) == contents(tmp_path / "at once")
    made = (folder / "run.json").read_bytes()
    assert replay(folder, [films], triton.address).kept == 3
    assert (folder / "run.json").read_bytes() == made  # nothing was to be done


def test_a_finished_run_is_not_replaced_by_one_of_other_recordings(films: Path, tmp_path: Path, triton: Server) -> None:
    folder = tmp_path / "run"
    replay(folder, [films / "a.mp4", films / "b.mp4"], triton.address)
    made = contents(folder)
    with pytest.raises(OtherRunError, match=r"holds 2 recordings that this command does not name.*another folder"):
        replay(folder, [films / "c.mp4"], triton.address)
    with pytest.raises(OtherRunError, match=r"holds 1 recordings that this command does not name \(b\)"):
        replay(folder, [films / "a.mp4"], triton.address)
    assert contents(folder) == made


def test_what_a_stopped_run_has_is_not_dropped_by_one_of_other_recordings(
    films: Path, tmp_path: Path, triton: Server
) -> None:
    folder = tmp_path / "run"
    replay(folder, [films], triton.address, jobs=1, stop=Stopping(folder, after=2))
    with pytest.raises(OtherRunError, match=r"holds \d recordings that this command does not name \([ab], …\)"):
        replay(folder, [films / "c.mp4"], triton.address)
    assert replay(folder, [films], triton.address).kept >= 2


@pytest.mark.parametrize("is_finished", [True, False])
def test_another_recording_of_a_name_that_is_taken_is_refused(
    films: Path, tmp_path: Path, triton: Server, is_finished: bool
) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    here = [films / "a.mp4", films / "b.mp4"]
    replay(folder, here, triton.address, jobs=1, stop=None if is_finished else Stopping(folder, after=1))
    shutil.copy(films / "b.mp4", elsewhere / "a.mp4")
    with pytest.raises(OtherRunError) as refused:
        replay(folder, [elsewhere / "a.mp4", films / "b.mp4"], triton.address)
    assert str(refused.value) == (
        f"{folder} holds {films / 'a.mp4'} as a, and {elsewhere / 'a.mp4'} of the same name is another recording: "
        "name another folder"
    )
    with pytest.raises(OtherRunError) as refused:  # its alerts would have other ids, on a topic that has them already
        replay(folder, [*here, elsewhere / "a.mp4"], triton.address)
    assert str(refused.value) == (
        f"{folder} holds {films / 'a.mp4'} as a, and this command calls it films/a.mp4: name another folder"
    )
    replay(folder, here, triton.address)
    replay(tmp_path / "whole", here, triton.address)
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_recording_that_was_moved_is_the_same(films: Path, tmp_path: Path, triton: Server) -> None:
    replay(tmp_path / "run", [films], triton.address)
    moved = films.rename(tmp_path / "archive")
    assert replay(tmp_path / "run", [moved], triton.address).kept == 3
    assert [Path(row.path).parent for row in read_run(tmp_path / "run").videos] == [moved] * 3


def test_what_is_kept_of_a_recording_stays_while_it_cannot_be_read(films: Path, tmp_path: Path, triton: Server) -> None:
    folder = tmp_path / "run"
    places = [films / f"{name}.mp4" for name in "abc"]
    replay(folder, places, triton.address)
    made = contents(folder)
    places[1].unlink()
    os.mkfifo(places[1])
    outcome = replay(folder, places, triton.address)
    (line,) = outcome.unread
    assert line.startswith("b: what was scored of it is kept, but it cannot be read now: ")
    assert "is not a regular file" in line
    assert contents(folder) == made


def test_a_part_has_its_name_once_the_disk_has_its_files(
    tmp_path: Path, triton: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: set[tuple[int, int]] = set()
    sync, rename = os.fsync, Path.rename
    waited_for: list[str] = []

    def synced(handle: int) -> None:
        sync(handle)
        on_disk.add((os.fstat(handle).st_ino, os.fstat(handle).st_size))

    def renamed(path: Path, target: Path) -> Path:
        if path.suffix == ".draft":
            files = [file for file in path.rglob("*") if file.is_file()]
            assert {(file.stat().st_ino, file.stat().st_size) for file in files} <= on_disk
            waited_for.extend(sorted(file.name for file in files))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    replay(tmp_path / "run", [write_video(tmp_path / "v.mp4", HALF_BRIGHT)], triton.address)
    files = ["alerts.jsonl", "scores.parquet", "videos.jsonl"]
    assert waited_for == [*files, "alerts.jsonl", "run.json", *files[1:]]  # the part, the run


class Killed(BaseException):
    """Ends a replay where it is, as a kill would."""


@pytest.mark.parametrize("step", [0, 2, 5, 8, 9])
def test_a_kill_while_an_extended_run_is_put_in_place_loses_no_recording(
    films: Path, tmp_path: Path, triton: Server, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    replay(tmp_path / "whole", [films], triton.address)
    folder = tmp_path / "run"
    replay(folder, [films / "a.mp4", films / "b.mp4"], triton.address)
    steps = iter(range(100))

    def killed_at(owner: object, name: str) -> None:
        does = getattr(owner, name)

        def step_or_end(path: Path, *rest: object, **options: object) -> object:
            if "run.draft" not in str(path) and Path(path).parent.suffix != ".draft" and next(steps) == step:
                raise Killed
            return does(path, *rest, **options)

        monkeypatch.setattr(owner, name, step_or_end)

    def finish(parts: Parts, *told: object) -> None:
        for owner, name in ((Path, "unlink"), (Path, "replace"), (Path, "rename"), (shutil, "rmtree")):
            killed_at(owner, name)
        finish_itself(parts, *told)  # type: ignore[arg-type]

    finish_itself = Parts.finish
    monkeypatch.setattr(Parts, "finish", finish)
    with pytest.raises(Killed):
        replay(folder, [films], triton.address)
    monkeypatch.undo()
    assert replay(folder, [films], triton.address).kept == 3
    assert contents(folder) == contents(tmp_path / "whole")
    assert not (folder / "parts").exists()
    assert not list(folder.glob(".parts*"))


def test_a_part_that_cannot_be_read_is_replayed_again(films: Path, tmp_path: Path, triton: Server) -> None:
    folder = tmp_path / "run"
    replay(folder, [films], triton.address, jobs=1, stop=Stopping(folder, after=2))
    part, *_ = sorted(folder.glob("parts/????????????????"))
    (part / SCORES_FILE).unlink()
    replay(folder, [films], triton.address)
    replay(tmp_path / "whole", [films], triton.address)
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_recording_whose_content_changed_is_scored_again(tmp_path: Path, triton: Server) -> None:
    video = write_video(tmp_path / "v.mp4", [(2.0, DARK)])
    replay(tmp_path / "run", [video], triton.address)
    write_video(video, [(2.0, BRIGHT)])
    assert replay(tmp_path / "run", [video], triton.address).kept == 0
    assert read_run(tmp_path / "run").clips["v"].score.min() > 0.9


def test_a_recording_that_changes_while_it_is_read_is_replayed_again(tmp_path: Path, triton: Server) -> None:
    video = write_video(tmp_path / "v.mp4", HALF_BRIGHT)

    def goes_on(_event: AlertEvent) -> None:
        with video.open("ab") as file:
            file.write(b"more of it")

    (row,) = replay(tmp_path / "run", [video], triton.address, on_event=goes_on).rows
    assert row.error == f"{video} has changed while it was read; the same command replays it again"
    (row,) = replay(tmp_path / "run", [video], triton.address, on_event=lambda _event: os.utime(video)).rows
    assert (row.error, row.clips) == (None, 19)  # written again, with the same content


def test_other_settings_in_the_same_folder_are_refused(films: Path, tmp_path: Path, triton: Server) -> None:
    replay(tmp_path / "run", [films / "c.mp4"], triton.address)
    with pytest.raises(OtherRunError, match=r"chain\.open_threshold is 0\.5 there, not 0\.9.*name another folder"):
        replay(tmp_path / "run", [films / "c.mp4"], triton.address, site={"alerts": {"open_threshold": 0.9}})


def test_two_replays_do_not_share_a_folder(films: Path, tmp_path: Path, triton: Server) -> None:
    with alone_in(tmp_path / "run"), pytest.raises(OtherRunError, match="another process"):
        replay(tmp_path / "run", [films], triton.address)


def test_what_cannot_be_read_stops_nothing_else_and_is_tried_again(films: Path, tmp_path: Path, triton: Server) -> None:
    good = (films / "b.mp4").read_bytes()
    (films / "b.mp4").write_text("this is no film")
    (films / "d.mp4").write_bytes(b"")
    film(films / "e.avi", frames=3)
    outcome = replay(tmp_path / "run", [films], triton.address)
    errors = {row.name: row.error for row in outcome.rows if row.error is not None}
    assert list(errors) == ["b", "d", "e"]
    assert "not a video that can be opened" in str(errors["b"])
    assert "3 frames, too short for a clip of 4" in str(errors["e"])
    run = read_run(tmp_path / "run")
    assert {name: len(clips) for name, clips in run.clips.items()} == {"a": 11, "b": 0, "c": 14, "d": 0, "e": 0}
    (films / "b.mp4").write_bytes(good)
    again = replay(tmp_path / "run", [films], triton.address)
    assert again.kept == 2
    assert len(read_run(tmp_path / "run").clips["b"]) == 19


def test_a_file_that_is_cut_off_is_scored_as_far_as_it_goes(tmp_path: Path, triton: Server) -> None:
    whole = write_video(tmp_path / "whole.mkv", [(6.0, DARK), (6.0, BRIGHT)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    replay(tmp_path / "run", [whole, cut], triton.address)
    run = read_run(tmp_path / "run")
    of_whole, of_cut = run.videos
    assert of_whole.damage is None
    assert "cut off" in str(of_cut.damage)
    n = of_cut.clips
    assert 0 < n < of_whole.clips
    np.testing.assert_array_equal(run.clips["cut"].score[: n - 1], run.clips["whole"].score[: n - 1])


def test_a_damaged_film_has_the_same_scores_each_time(tmp_path: Path, triton: Server) -> None:
    """What FFmpeg makes up for what is missing depends on the pictures around, where these are decoded meanwhile."""
    damaged = panned(tmp_path / "damaged.mp4")
    content = bytearray(damaged.read_bytes())
    rng = np.random.default_rng(3)
    places = rng.integers(content.find(b"mdat") + 2000, content.find(b"moov") - 100, 60)
    for place in places.tolist():
        content[place] ^= 0x55
    damaged.write_bytes(content)
    for name in ("one", "two", "three"):
        replay(tmp_path / name, [damaged], triton.address, jobs=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "three")


def panned(path: Path) -> Path:
    """A camera that is turned along a wall."""
    noise = np.random.default_rng(0).integers(0, 64, (120, 400, 3), np.uint8)
    wall = noise + np.linspace(0, 190, 400).astype(np.uint8)[None, :, None]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "50", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for left in range(200):
            picture = np.ascontiguousarray(wall[:, left : left + 160])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_clock_that_was_set_back_begins_a_segment_with_frames_of_its_own(tmp_path: Path, triton: Server) -> None:
    video = two_takes(tmp_path / "twice.ts", frames=20)
    replay(tmp_path / "run", [video], triton.address)
    run = read_run(tmp_path / "run")
    (row,), clips = run.videos, run.clips["twice"]
    assert (row.frames, row.segments, row.clips) == (40, 2, 18)
    place = np.arange(9)
    np.testing.assert_array_equal(clips.first_frame, np.concatenate([2 * place, 20 + 2 * place]))
    np.testing.assert_array_equal(clips.start[:9], clips.start[9:])
    np.testing.assert_array_equal(clips.score[:9], clips.score[9:])
    assert len(set(clips.segment)) == 2
    assert row.duration_seconds == pytest.approx(4.0)


def test_a_manifest_brings_its_labels_and_its_folders_of_pictures(tmp_path: Path, triton: Server) -> None:
    (tmp_path / "set" / "x").mkdir(parents=True)
    write_video(tmp_path / "set" / "x" / "v.mp4", [(2.0, DARK)])
    frame_folder(tmp_path / "set" / "pictures", frames=10)
    rows = [
        {"path": "x/v.mp4", "label": 1, "intervals": [[3, 9]], "split": "test", "group": "g"},
        {"path": "pictures", "label": 0, "fps": 5.0},
    ]
    manifest = tmp_path / "set" / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    replay(tmp_path / "run", [manifest], triton.address)
    film_row, pictures = read_run(tmp_path / "run").videos
    assert (film_row.name, film_row.label, film_row.group, film_row.split) == ("x/v.mp4", 1, "g", "test")
    assert film_row.intervals == ((3, 9),)
    assert (pictures.name, pictures.label, pictures.frames, pictures.fps) == ("pictures", 0, 10, 5.0)
    assert pictures.duration_seconds == pytest.approx(2.0)
    rows[0]["label"], rows[0]["intervals"] = 0, []
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert replay(tmp_path / "run", [manifest], triton.address).kept == 2
    assert read_run(tmp_path / "run").videos[0].label == 0  # what is said of it is as it is said now


def test_a_recording_that_bears_a_cameras_name_is_judged_by_its_settings(tmp_path: Path, triton: Server) -> None:
    (tmp_path / "gate").mkdir()
    here = write_video(tmp_path / "gate" / "monday.mp4", HALF_BRIGHT)
    there = tmp_path / "tuesday.mp4"
    shutil.copy(here, there)
    site = {"alerts": {"kernel": 1}, "cameras": {"gate": {"source": "rtsp://x/y", "alerts": {"open_threshold": 0.99}}}}
    cameras = {"gate": CameraSettings.model_validate(site["cameras"]["gate"])}
    replay(tmp_path / "run", [here, there], triton.address, site=site, cameras=cameras)
    run = read_run(tmp_path / "run")
    assert [row.camera for row in run.videos] == ["gate", None]
    assert {name: len(alerts) for name, alerts in run.alerts.items()} == {"monday": 0, "tuesday": 1}
    assert [run.settings.chain_of(row).open_threshold for row in run.videos] == [0.99, 0.5]


def test_a_recording_that_is_another_cameras_now_is_judged_anew(tmp_path: Path, triton: Server) -> None:
    for camera in ("gate", "yard"):
        (tmp_path / camera).mkdir()
    places = [
        write_video(tmp_path / "gate" / "a.mp4", HALF_BRIGHT),
        write_video(tmp_path / "yard" / "b.mp4", HALF_BRIGHT),
    ]
    strict = {"source": "rtsp://x/y", "alerts": {"open_threshold": 0.99}}
    site = {"alerts": {"kernel": 1}, "cameras": {"gate": strict, "yard": {"source": "rtsp://x/z"}}}
    cameras = {name: CameraSettings.model_validate(of) for name, of in site["cameras"].items()}
    replay(tmp_path / "run", places, triton.address, site=site, cameras=cameras)
    swapped = [places[0].rename(tmp_path / "yard" / "a.mp4"), places[1].rename(tmp_path / "gate" / "b.mp4")]
    assert replay(tmp_path / "run", swapped, triton.address, site=site, cameras=cameras).kept == 0
    run = read_run(tmp_path / "run")
    assert [row.camera for row in run.videos] == ["yard", "gate"]
    assert {name: len(alerts) for name, alerts in run.alerts.items()} == {"a": 1, "b": 0}


def test_nobody_is_told_of_an_end_that_is_only_there_because_the_replay_was_stopped(
    tmp_path: Path, triton: Server
) -> None:
    video = write_video(tmp_path / "long.mp4", [(0.5, DARK), (60.0, BRIGHT)])
    kept, stop = Kept(), threading.Event()
    outcome = replay(
        tmp_path / "run",
        [video],
        triton.address,
        speed=4.0,
        stop=stop,
        acceptance=kept,
        on_event=lambda _event: stop.set(),
    )
    assert outcome.stopped
    assert {event.data.state for event in kept.events} <= {"begin", "update"}
    first = list(kept.events)
    replay(tmp_path / "run", [video], triton.address, acceptance=kept)
    again = kept.events[len(first) :]
    assert [event.to_json() for event in again[: len(first)]] == [event.to_json() for event in first]
    assert again[-1].data.state == "end"


def test_clips_that_a_stop_drops_end_no_alert(tmp_path: Path, triton: Server) -> None:
    video = steered(tmp_path / "slow.mkv", (600, (10, 0, 0), 250))  # 0.1 s a clip: others wait when it is stopped
    kept, stop = Kept(), threading.Event()
    replay(tmp_path / "run", [video], triton.address, stop=stop, acceptance=kept, on_event=lambda _event: stop.set())
    assert kept.events
    assert {event.data.state for event in kept.events} <= {"begin", "update"}


def test_a_recording_of_which_clips_have_no_score_is_not_kept_and_tried_again(tmp_path: Path, triton: Server) -> None:
    video = steered(tmp_path / "holes.mkv", (20, (0, 0, 0), 250), (20, (0, 0, 255), 250))  # then NaN
    kept = Kept()
    for _ in range(2):
        outcome = replay(tmp_path / "run", [video], triton.address, acceptance=kept)
        (row,) = outcome.rows
        assert "scored in part: 9 clips could not be scored" in str(row.error)
        assert (outcome.kept, outcome.alerts, row.clips) == (0, 0, 0)
        assert {event.data.state for event in kept.events} == {"begin"}  # no end that only the hole has made


def test_nobody_is_told_of_an_end_that_a_failure_has_made(
    tmp_path: Path, triton: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug, or no memory: the next run has other events of the same ids."""
    video = write_video(tmp_path / "v.mp4", [(1.0, DARK), (9.0, BRIGHT)])
    kept, reads = Kept(), FileSource.frames

    def fails(source: FileSource, *told: Any) -> Iterator[Any]:
        yield from itertools.islice(reads(source, *told), 70)
        raise MemoryError

    monkeypatch.setattr(FileSource, "frames", fails)
    (row,) = replay(tmp_path / "run", [video], triton.address, acceptance=kept).rows
    assert "unexpected failure" in str(row.error)
    assert {event.data.state for event in kept.events} <= {"begin", "update"}
    monkeypatch.undo()
    first = len(kept.events)
    replay(tmp_path / "run", [video], triton.address, acceptance=kept)
    assert {event.id: event.to_json() for event in kept.events[first:]}.items() >= {
        event.id: event.to_json() for event in kept.events[:first]
    }.items()
    assert kept.events[-1].data.state == "end"


@pytest.mark.parametrize("damaged", [SCORES_FILE, ALERTS_FILE, ATTENTION_FOLDER])
def test_what_is_damaged_of_a_finished_run_is_replayed_again(tmp_path: Path, triton: Server, damaged: str) -> None:
    folder = tmp_path / "run"
    video = write_video(tmp_path / "v.mp4", HALF_BRIGHT)
    replay(folder, [video], triton.address)
    made = contents(folder)
    file = folder / damaged
    if damaged == ATTENTION_FOLDER:
        file.mkdir()
        file /= f"{read_run(folder).videos[0].key}.npy"
    file.write_bytes(b"cut off")
    assert replay(folder, [video], triton.address).kept == 0
    assert contents(folder) == made
    assert not (folder / ATTENTION_FOLDER).exists()  # this model tells of none
    assert replay(folder, [video], triton.address).kept == 1


def test_a_name_that_is_no_utf8_is_replayed_under_one_that_is(tmp_path: Path, triton: Server) -> None:
    films = tmp_path / "films"
    films.mkdir()
    write_video(tmp_path / "v.mp4", HALF_BRIGHT)
    for name in (b"caf\xe9.mp4", b"caf\xe8.mp4"):
        shutil.copy(tmp_path / "v.mp4", films / os.fsdecode(name))
    (films / os.fsdecode(b"bad\xff.mp4")).write_text("no film")
    for kept in (0, 2):
        outcome = replay(tmp_path / "run", [films], triton.address)
        assert outcome.kept == kept
        assert [row.name for row in outcome.rows] == [r"bad\xff", r"caf\xe8", r"caf\xe9"]
        assert [row.error is None for row in outcome.rows] == [False, True, True]
    assert [len(clips) for clips in read_run(tmp_path / "run").clips.values()] == [0, 19, 19]


def test_the_pace_of_the_recordings_own_clock(tmp_path: Path, triton: Server) -> None:
    video = write_video(tmp_path / "v.mp4", [(3.0, DARK)])
    began = time.monotonic()
    replay(tmp_path / "run", [video], triton.address, speed=2.0)
    assert time.monotonic() - began >= 1.4  # its last frame is at 2.9 s


def test_another_model_ends_the_replay_in_one_line(tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    server.start()
    try:
        video = write_video(tmp_path / "v.mp4", [(60.0, DARK)])
        timer = threading.Timer(2.0, lambda: (write_repository(server.repository, version=2), server.load()))
        timer.start()
        with pytest.raises(ReplayFailed, match=r"now serves mean version 2, and this run is of mean version 1"):
            replay(tmp_path / "run", [video], server.address, speed=4.0)
        timer.join()
        assert not (tmp_path / "run" / SCORES_FILE).exists()
    finally:
        server.stop()
