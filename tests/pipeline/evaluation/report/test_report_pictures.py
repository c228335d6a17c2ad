"""Thumbnails: the very pictures that were asked for, from films of every kind."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tiny_films import frame_folder, two_takes

from pipeline.evaluation.report.pictures import HEIGHT, Picture, thumbnails
from pipeline.sources.base import SourceError

_BITS = 10


def striped(path: Path, frames: int, *, size: tuple[int, int] = (160, 96), gop: int = 60) -> Path:
    """A film whose pictures show their own number: a stripe a bit, white for 1."""
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "g": str(gop), "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            bits = [number >> bit & 1 for bit in range(_BITS)]
            row = np.repeat(np.array(bits, np.uint8) * 255, width // _BITS)
            picture = np.broadcast_to(row[None, :, None], (height, width, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())
    return path


def levels(picture: Picture) -> np.ndarray:
    """Its greys."""
    return np.asarray(Image.open(io.BytesIO(picture.jpeg())).convert("L"))


def number_of(picture: Picture) -> int:
    """What a striped film's picture says."""
    grey = levels(picture)
    middles = (np.arange(_BITS) + 0.5) * grey.shape[1] / _BITS
    return sum(int(grey[grey.shape[0] // 2, int(x)] > 127) << bit for bit, x in enumerate(middles))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough to be sought in."""
    return striped(tmp_path_factory.mktemp("film") / "film.mp4", 700)


def test_the_pictures_are_those_asked_for_with_b_frames_and_seeks(film):
    wanted = [699, 0, 1, 61, 400, 401, 251]
    found = thumbnails(film, wanted)
    assert {number: number_of(picture) for number, picture in found.items()} == {number: number for number in wanted}


def test_pictures_past_the_end_are_left_out(film):
    assert set(thumbnails(film, [10, 5000])) == {10}


def test_thumbnails_are_small_and_keep_their_shape(film, tmp_path):
    assert Image.open(io.BytesIO(thumbnails(film, [3])[3].jpeg())).size == (round(HEIGHT * 160 / 96), HEIGHT)
    panorama = striped(tmp_path / "wide.mp4", 3, size=(960, 32))
    assert Image.open(io.BytesIO(thumbnails(panorama, [1])[1].jpeg())).size == (4 * HEIGHT, HEIGHT)


def test_a_phone_film_stands_upright(film, tmp_path, require):
    if shutil.which("ffmpeg") is None:
        require("ffmpeg (`make system` installs it)")
    turned, still = tmp_path / "turned.mp4", tmp_path / "still.png"
    for arguments in (
        ["-i", film, "-c", "copy", "-metadata:s:v", "rotate=90", turned],
        ["-i", turned, "-vf", "select=eq(n\\,5)", "-frames:v", "1", still],
    ):
        subprocess.run(["ffmpeg", "-v", "error", *arguments], check=True, timeout=60)
    picture = Image.open(io.BytesIO(thumbnails(turned, [5])[5].jpeg())).convert("L")
    assert picture.size == (round(HEIGHT * 96 / 160), HEIGHT)
    expected = np.asarray(Image.open(still).convert("L").resize(picture.size)).astype(int)
    assert expected.std() > 50  # stripes, not one grey
    assert np.abs(np.asarray(picture).astype(int) - expected).mean() < 8


def test_pictures_are_counted_where_the_clock_jumps_back(tmp_path):
    film = two_takes(tmp_path / "twice.ts", 20)
    found = thumbnails(film, [3, 23])
    greys = {number: levels(picture).mean() for number, picture in found.items()}
    assert greys[3] == pytest.approx(15, abs=4)  # picture k is grey 5 k, in either take
    assert greys[23] == pytest.approx(15, abs=4)


def test_pictures_of_a_folder(tmp_path):
    folder = frame_folder(tmp_path / "frames", 12, suffix="png")
    found = thumbnails(folder, [2, 11, 40], fps=10.0)
    assert set(found) == {2, 11}
    assert levels(found[11]).mean() == pytest.approx(55, abs=2)


def test_a_cut_off_film_gives_what_it_has(film, tmp_path):
    transport = tmp_path / "cut.ts"
    with av.open(str(film)) as source, av.open(str(transport), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    transport.write_bytes(transport.read_bytes()[: transport.stat().st_size // 2])
    found = thumbnails(transport, [10, 690])
    assert number_of(found[10]) == 10
    assert 690 not in found


def test_a_recording_that_is_gone_says_so(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        thumbnails(tmp_path / "gone.mp4", [0])


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_films_without_times_of_showing(suffix, tmp_path):
    """AVI has none, and pictures wait for others in it: they are counted."""
    film = striped(tmp_path / f"film.{suffix}", 60)
    wanted = [0, 1, 2, 3, 4, 30, 59]
    found = thumbnails(film, wanted)
    assert {number: number_of(picture) for number, picture in found.items()} == {number: number for number in wanted}
