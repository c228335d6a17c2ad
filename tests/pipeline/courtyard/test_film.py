"""The courtyard's film and truth: what a decoder of its own finds in the file is what the scene says."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.courtyard.film import FilmStopped, frame_rate, truth_lines, write_film, write_truth
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import Incident, IncidentKind, SceneSettings, Seen

SECONDS = 3.0


class Painted(Courtyard):
    """A scene whose frames and truth are told by their number: grey in steps of 40, an incident in frames 10 to 20."""

    incident = Incident(IncidentKind.FALL, 10, 20)
    incidents = (incident,)

    def frame(self, number: int) -> np.ndarray:
        return np.full((self.settings.height, self.settings.width, 3), number % 5 * 40 + 20, np.uint8)

    def truth(self, frame: int) -> tuple[Seen, ...]:
        return (Seen(self.incident, (frame, 2, 100, 50)),) if 10 <= frame <= 20 else ()


def scene(kind: type[Courtyard] = Painted, *, fps: float = 12.5, seconds: float = SECONDS) -> Courtyard:
    return kind(SceneSettings(seed=5, fps=fps, seconds=seconds))


@pytest.mark.parametrize(
    ("fps", "rate"), [(12.5, Fraction(25, 2)), (25, Fraction(25)), (29.97002997, Fraction(30000, 1001))]
)
def test_every_frame_at_its_own_time(fps: float, rate: Fraction, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    write_film(scene(fps=fps), film)
    with av.open(str(film)) as container:
        frames = list(container.decode(video=0))
    assert [frame.pts * frame.time_base for frame in frames] == [n / rate for n in range(round(fps * SECONDS))]
    assert frame_rate(fps) == rate
    for number, frame in enumerate(frames):  # and it is that frame's picture
        grey = frame.to_ndarray(format="rgb24").astype(int)
        assert abs(grey - (number % 5 * 40 + 20)).max() <= 3


def test_a_cameras_stream(tmp_path: Path) -> None:
    """H.264 in 4:2:0, decoded in the order shown, one slice a picture, a key frame at least each second."""
    film = tmp_path / "film.mp4"
    write_film(scene(Courtyard), film)
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 640, 360)
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert [packet.dts for packet in packets] == [packet.pts for packet in packets]
    keys = [float(packet.pts * packet.time_base) for packet in packets if packet.is_keyframe]
    assert keys[0] == 0
    assert max(np.diff([*keys, SECONDS])) <= 1.0
    for packet in packets:
        assert sum(kind in (1, 5) for kind in nal_types(bytes(packet))) == 1


def nal_types(packet: bytes) -> list[int]:
    """The types of the units of a packet as mp4 holds it: each behind its length in four bytes."""
    kinds, at = [], 0
    while at < len(packet):
        kinds.append(packet[at + 4] & 31)
        at += 4 + int.from_bytes(packet[at : at + 4], "big")
    return kinds


def test_the_same_scene_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one.mp4", tmp_path / "other.mp4"
    write_film(scene(Courtyard), one)
    write_film(scene(Courtyard), other)
    assert one.read_bytes() == other.read_bytes()


def test_the_films_picture_is_the_scenes(tmp_path: Path) -> None:
    shown = scene(Courtyard)
    film = tmp_path / "film.mp4"
    write_film(shown, film)
    with av.open(str(film)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            wrong = frame.to_ndarray(format="rgb24").astype(float) - shown.frame(number)
            # x264's loss and half the colours: some levels; frames or channels mixed up are far beyond it.
            assert np.abs(wrong).mean() < 10
            assert np.abs(wrong.mean(axis=(0, 1))).max() < 3


def test_progress(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_film(scene(), tmp_path / "film.mp4", progress=lambda done, total: told.append((done, total)))
    assert told == [(n, 38) for n in range(1, 39)]  # 3 s of 12.5 frames, rounded


def test_in_full_or_not_at_all(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    stop = threading.Event()

    def interrupted(done: int, _total: int) -> None:
        assert not film.exists()
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_film(scene(), film, progress=interrupted)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FilmStopped, match="after 20 of 38 frames"):
        write_film(scene(), film, progress=lambda done, _: stop.set() if done == 20 else None, stop=stop)
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"the old one")
    stop = threading.Event()
    stop.set()
    with pytest.raises(FilmStopped):
        write_film(scene(), film, stop=stop)
    assert film.read_bytes() == b"the old one"
    write_film(scene(), film)
    assert film.read_bytes() != b"the old one"


@pytest.mark.parametrize("write", [write_film, write_truth])
def test_a_folder_that_is_not_there(write, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        write(scene(), tmp_path / "none" / "file")
    assert str(tmp_path / "none" / "file") in str(caught.value.filename)


def test_truth(tmp_path: Path) -> None:
    file = tmp_path / "truth.jsonl"
    write_truth(scene(), file)
    header, *frames = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    assert header == {
        "scene": "courtyard",
        "settings": {
            "seed": 5,
            "fps": 12.5,
            "seconds": 3.0,
            "width": 640,
            "height": 360,
            "incidents_per_minute": 6.0,
        },
        "frames": 38,
        "incidents": [{"kind": "fall", "first_frame": 10, "last_frame": 20}],
    }
    assert [frame["frame"] for frame in frames] == list(range(10, 21))
    assert frames[1] == {"frame": 11, "seconds": 0.88, "incidents": [{"kind": "fall", "box": [11, 2, 100, 50]}]}


def test_the_real_scenes_truth_holds_every_frame_that_shows_something() -> None:
    shown = Courtyard(SceneSettings(seed=8, seconds=30))
    header, *frames = map(json.loads, truth_lines(shown))
    told = {frame["frame"]: frame["incidents"] for frame in frames}
    for number in range(shown.frame_count):
        assert [one["box"] for one in told.get(number, [])] == [list(one.box) for one in shown.truth(number)]
    assert len(header["incidents"]) == len(shown.incidents)
