"""The synthetic source: a live camera, whose time stays true whatever the machine can do."""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from triton_of_brightness import Server

from deploy.broker.server import BrokerServer
from pipeline.alerts.evidence import encode_jpeg
from pipeline.courtyard import scene
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import SceneSettings
from pipeline.sources import synthetic
from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.factory import open_source
from pipeline.sources.synthetic import SyntheticSource

SPEC = FrameSpec(72, 128)
DAY = 86_400.0


class Painted(Courtyard):
    """Frame n is red in its left half and blue in its right one, the red darker by n."""

    def frame(self, number: int) -> np.ndarray:
        picture = np.zeros((self.settings.height, self.settings.width, 3), np.uint8)
        half = self.settings.width // 2
        picture[:, :half, 0] = 200 - number
        picture[:, half:, 2] = 200
        return picture


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scene that costs next to nothing."""
    monkeypatch.setattr(scene, "Courtyard", Painted)


def seconds(length: float) -> str:
    return f"minutes={length / 60:.9f}"


def play(location: str, spec: FrameSpec = SPEC, **callbacks: Callable) -> tuple[list[Frame], list[SegmentOver]]:
    """Everything a scene of stated length gives."""
    items = list(SyntheticSource("yard", location, **callbacks).frames([spec], threading.Event()))
    frames = [item for item in items if isinstance(item, Frame)]
    ends = [item for item in items if isinstance(item, SegmentOver)]
    assert isinstance(items[-1], SegmentOver)
    return frames, ends


# -- what is asked for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "settings", "ends"),
    [
        ("", SceneSettings(seconds=DAY), False),
        ("?", SceneSettings(seconds=DAY), False),
        ("?seed=4294967295", SceneSettings(seed=4294967295, seconds=DAY), False),
        ("?seed=7&fps=60&minutes=2", SceneSettings(seed=7, fps=60, seconds=120), True),
        ("/?fps=12.5&minutes=.5", SceneSettings(fps=12.5, seconds=30), True),
        ("?incidents_per_minute=0", SceneSettings(incidents_per_minute=0, seconds=DAY), False),
        ("?width=1280&height=720", SceneSettings(width=1280, height=720, seconds=DAY), False),
        ("?width=1920", SceneSettings(width=1920, height=1080, seconds=DAY), False),
        ("?height=720", SceneSettings(width=1280, height=720, seconds=DAY), False),
    ],
)
def test_what_is_asked_for(query: str, settings: SceneSettings, ends: bool) -> None:
    source = open_source("yard", f"synthetic://courtyard{query}")
    assert isinstance(source, SyntheticSource)
    assert (source.camera, source.live) == ("yard", True)
    assert (source.settings, source.ends) == (settings, ends)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("synthetic://beach", ["unknown scene", "synthetic://courtyard"]),
        ("synthetic://", ["unknown scene"]),
        ("synthetic://[", ["unknown scene"]),
        ("synthetic://courtyard/left", ["unknown scene"]),
        ("synthetic://me:s3cr3t@courtyard", ["unknown scene"]),
        ("synthetic://courtyard?sede=1", ["'sede'", "seed, fps, minutes, width, height, incidents_per_minute"]),
        ("synthetic://courtyard?password=s3cr3t", ["'password'"]),
        ("synthetic://courtyard?a\nb=1", ["unknown key"]),
        ("synthetic://courtyard?seed=1&seed=2", ["seed", "twice"]),
        ("synthetic://courtyard?seed=", ["seed ''", "whole number"]),
        ("synthetic://courtyard?seed=-1", ["seed '-1'", "whole number"]),
        ("synthetic://courtyard?seed=1.5", ["seed '1.5'", "whole number"]),
        ("synthetic://courtyard?seed=4294967296", ["seed 4294967296", "4294967295"]),
        ("synthetic://courtyard?seed=" + "9" * 5000, ["seed", "whole number"]),
        ("synthetic://courtyard?fps=fast", ["fps 'fast'", "number"]),
        ("synthetic://courtyard?fps=nan", ["fps 'nan'", "number"]),
        ("synthetic://courtyard?fps=0", ["fps 0", "1 to 60"]),
        ("synthetic://courtyard?fps=61", ["fps 61", "1 to 60"]),
        ("synthetic://courtyard?minutes=0", ["minutes 0", "1/60 to 1440"]),
        ("synthetic://courtyard?minutes=1441", ["minutes 1441", "1/60 to 1440"]),
        ("synthetic://courtyard?minutes=" + "9" * 400, ["minutes inf", "1/60 to 1440"]),
        ("synthetic://courtyard?width=320", ["width 320", "640 to 1920"]),
        ("synthetic://courtyard?width=640&height=480", ["height 480", "360"]),
        ("synthetic://courtyard?incidents_per_minute=60", ["incidents_per_minute 60", "0 to 6"]),
    ],
)
def test_one_clear_line(location: str, words: list[str]) -> None:
    with pytest.raises(SourceError) as caught:
        open_source("yard", location)
    text = str(caught.value)
    assert caught.value.code == "usage"
    assert "\n" not in text
    assert "s3cr3t" not in text
    for word in ("camera yard: synthetic://", *words):
        assert word in text


# -- the stream ------------------------------------------------------------------------------------------------


def test_a_scene_of_stated_length_is_played_in_real_time_and_ends(painted: None) -> None:
    connected: list[str] = []
    began = time.monotonic()
    times: list[float] = []
    items: list[Frame | SegmentOver] = []
    source = SyntheticSource("yard", f"synthetic://courtyard?fps=12.5&{seconds(2)}", on_connected=connected.append)
    for item in source.frames([SPEC], threading.Event()):
        times.append(time.monotonic() - began)
        items.append(item)
    *frames, end = items
    assert isinstance(end, SegmentOver)
    assert end.reason is EndReason.STREAM_END
    assert {item.segment for item in items} == {end.segment}
    assert end.segment.live
    assert connected == ["yard"]
    numbers = [frame.pts_seconds * 12.5 for frame in frames if isinstance(frame, Frame)]
    assert numbers == pytest.approx(sorted({round(number) for number in numbers}))
    assert numbers[0] == 0
    assert numbers[-1] <= 24
    assert len(numbers) > 12, "a machine that is not altogether overloaded shows most frames"
    # Never before its time; when it comes later, that is the machine's load.
    assert all(at >= frame.pts_seconds for frame, at in zip(frames, times, strict=False))
    assert statistics.median(at - frame.pts_seconds for frame, at in zip(frames, times, strict=False)) < 0.5
    assert all(frame.taken_at == frame.received_at for frame in frames)


def test_the_real_scene() -> None:
    frames, ends = play(f"synthetic://courtyard?seed=3&fps=5&{seconds(2)}")
    courtyard = Courtyard(SceneSettings(seed=3, fps=5, seconds=2))
    for frame in frames:
        number = round(frame.pts_seconds * 5)
        assert (frame.native.to_ndarray(format="rgb24") == courtyard.frame(number)).all()
    assert [end.reason for end in ends] == [EndReason.STREAM_END]


def test_a_frame_as_the_pipeline_needs_it(painted: None) -> None:
    """Small RGB for the score; the native picture for people."""
    frames, _ = play(f"synthetic://courtyard?fps=5&width=1280&{seconds(1)}")
    frame = frames[0]
    assert (frame.image.shape, frame.image.dtype) == ((72, 128, 3), np.uint8)
    assert np.abs(frame.image[:, 10].astype(int) - (200, 0, 0)).max() <= 2
    assert np.abs(frame.image[:, -10].astype(int) - (0, 0, 200)).max() <= 2
    assert (frame.native.width, frame.native.height) == (1280, 720)
    with Image.open(io.BytesIO(encode_jpeg(frame.native))) as picture:
        assert picture.size == (1280, 720)
        for at, colour in ((100, (200, 0, 0)), (1200, (0, 0, 200))):
            assert np.abs(np.subtract(picture.convert("RGB").getpixel((at, 300)), colour)).max() <= 6


def test_frames_are_resampled_as_the_clips_ask(painted: None) -> None:
    frames, _ = play(f"synthetic://courtyard?fps=20&{seconds(2)}", FrameSpec(72, 128, fps=5))
    assert len(frames) <= 11  # 0 s to 2 s, each fifth of one
    assert np.diff([frame.pts_seconds for frame in frames]).min() >= 0.1  # half a period of 0.2 s


def test_without_a_length_it_starts_over_as_a_new_connection(painted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "_ENDLESS_SECONDS", 1.0)
    connected: list[str] = []
    stop = threading.Event()
    items = []
    source = SyntheticSource("yard", "synthetic://courtyard?fps=10", on_connected=connected.append)
    for item in source.frames([SPEC], stop):
        items.append(item)
        if len([one for one in items if isinstance(one, SegmentOver)]) == 2 and isinstance(item, Frame):
            stop.set()
    ends = [item for item in items if isinstance(item, SegmentOver)]
    assert [end.reason for end in ends] == [EndReason.STREAM_END, EndReason.STREAM_END, EndReason.SHUTDOWN]
    ids = [end.segment.id for end in ends]
    assert len(set(ids)) == 3
    assert all(one.startswith("yard/") for one in ids)
    firsts = [next(item for item in items if isinstance(item, Frame) and item.segment.id == one) for one in ids]
    assert [frame.pts_seconds for frame in firsts] == [0.0, 0.0, 0.0]
    assert connected == ["yard"] * 3


def test_segments_are_unique_for_ever(painted: None) -> None:
    location = f"synthetic://courtyard?seed=1&fps=5&{seconds(1)}"
    assert play(location)[1][0].segment.id != play(location)[1][0].segment.id


def test_a_stop_is_noticed_while_it_waits(painted: None) -> None:
    stop = threading.Event()
    items: list[Frame | SegmentOver] = []
    frames: Iterator[Frame | SegmentOver] = SyntheticSource("yard", "synthetic://courtyard?fps=1").frames([SPEC], stop)
    items.append(next(frames))
    threading.Timer(0.1, stop.set).start()
    asked = time.monotonic()
    items += frames
    assert time.monotonic() - asked < 0.9  # the next frame is due after a second
    assert isinstance(items[-1], SegmentOver)
    assert items[-1].reason is EndReason.SHUTDOWN
    assert len(items) == 2


# -- a machine that is too slow --------------------------------------------------------------------------------


def test_frames_are_left_out_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_at: list[tuple[int, float]] = []

    class Slow(Painted):
        def frame(self, number: int) -> np.ndarray:
            asked_at.append((number, time.monotonic()))
            time.sleep(0.1)
            return super().frame(number % 100)

    monkeypatch.setattr(scene, "Courtyard", Slow)
    monkeypatch.setattr(synthetic, "_WINDOW_SECONDS", 1.0)
    said: list[str] = []
    source = SyntheticSource("yard", f"synthetic://courtyard?fps=60&{seconds(2.5)}", on_slow=said.append)
    items = list(source.frames([SPEC], threading.Event()))
    began = asked_at[0][1] + 0.1  # the scene's time begins when its first frame is rendered, at the earliest
    shown = [item.pts_seconds for item in items if isinstance(item, Frame)]
    numbers = [pts * 60 for pts in shown]
    assert numbers == pytest.approx([number for number, _ in asked_at]), "what is rendered is shown"
    # What is rendered is the frame due at that moment, and it is shown a tenth of a second later. (The second one was
    # rendered ahead of its time, as all are where there is time.)
    assert np.diff(numbers)[2:].min() >= 5.99, "in a tenth of a second six frames are due"
    late = [at - began - number / 60 for number, at in asked_at[2:]]
    assert min(late) >= 0
    assert statistics.median(late) < 0.1, "it fell behind by a frame's rendering"
    assert shown[-1] >= 2.0, "the scene's time went on to its end"
    (line,) = said  # in 2.5 s, once
    assert line.startswith("camera yard: this machine renders ")
    assert "of the 60 frames a second asked for" in line
    assert int(line.split("renders ")[1].split()[0]) <= 11


def test_a_consumer_that_is_too_slow_gets_the_frame_due_now(painted: None) -> None:
    last = -1.0
    began = None
    frames = SyntheticSource("yard", f"synthetic://courtyard?fps=50&{seconds(2)}").frames([SPEC], threading.Event())
    for item in frames:
        if isinstance(item, Frame):
            now = time.monotonic()
            began = began or now
            assert item.pts_seconds > last
            if last >= 0:
                assert item.pts_seconds - last >= 0.27  # it slept 0.3 s, less a frame's time
            last = item.pts_seconds
            time.sleep(0.3)


class TestPace:
    """Frames that come and frames that are left out, by their numbers; no clock."""

    def said(self, fps: float, numbers: range) -> list[tuple[int, float]]:
        said: list[tuple[int, float]] = []
        pace = synthetic._Pace(fps, lambda shown: said.append((number, shown)))
        for number in numbers:
            pace.shown(number)
        return said

    def test_all_shown_is_nothing_to_say(self) -> None:
        assert self.said(25, range(10_000)) == []

    def test_every_other_is_said_once_a_minute(self) -> None:
        said = self.said(60, range(0, 60 * 150, 2))
        assert [number / 60 for number, _ in said] == [5, 65, 125]  # windows of 5 s, each minute's first
        assert [shown for _, shown in said] == [30, 30, 30]

    def test_a_hiccup_is_nothing_to_say(self) -> None:
        said: list[float] = []
        pace = synthetic._Pace(20, said.append)
        for number in [*range(50), *range(54, 500)]:  # 4 of the window's 100 are missing
            pace.shown(number)
        assert said == []


# -- OpenCV ----------------------------------------------------------------------------------------------------

#: Runs what follows with OpenCV impossible to import.
WITHOUT_OPENCV = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cv2":
            raise ModuleNotFoundError("there is no OpenCV", name=name)

sys.meta_path.insert(0, Refuse())
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_opencv_is_not_imported_until_a_frame_is_rendered() -> None:
    script = """
import sys
from pipeline.sources.factory import open_source
open_source("gate", "rtsp://192.0.2.1/x")
open_source("yard", "synthetic://courtyard?seed=1")
assert not [name for name in sys.modules if name.split(".")[0] == "cv2"]
"""
    result = run(script)
    assert result.returncode == 0, result.stderr


def test_other_sources_do_without_opencv() -> None:
    result = run(WITHOUT_OPENCV + "from pipeline.sources.factory import open_source; open_source('g', 'rtsp://h/x')")
    assert result.returncode == 0, result.stderr


def test_without_opencv_one_line_says_what_to_install() -> None:
    script = WITHOUT_OPENCV + "from pipeline.cli.main import main; main()"
    result = run(script, "watch", "synthetic://courtyard?seed=1")
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert "camera courtyard: " in line
    assert "pip install 'mistwatch[demo]'" in line


# -- the whole way ---------------------------------------------------------------------------------------------


def test_watch_refuses_an_impossible_scene(tmp_path: Path) -> None:
    result = run("from pipeline.cli.main import main; main()", "watch", "synthetic://courtyard?fps=900")
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("mistwatch: camera courtyard: synthetic://courtyard?fps=900: fps 900.0: expected 1 to 60")


@pytest.mark.realparts
def test_watch_ends_with_a_scene_of_stated_length(tmp_path: Path) -> None:
    server = Server(tmp_path / "triton-server")
    server.start()
    try:
        with BrokerServer(tmp_path / "broker") as broker:
            arguments = ["watch", f"synthetic://courtyard?seed=1&fps=10&{seconds(6)}", "--json"]
            arguments += ["--triton", server.address, "--kafka", broker.bootstrap, "--out", str(tmp_path / "run")]
            result = run("from pipeline.cli.main import main; main()", *arguments)
    finally:
        server.stop()
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    # 60 frames less those a loaded machine leaves out, in clips of 4 frames, one every 2.
    assert 10 <= summary["clips_scored"] + summary["clips_dropped"] <= 29
    assert summary["clips_scored"] > 0
