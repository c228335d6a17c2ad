"""Films are recognised by suffix or content, and whatever a folder holds besides is counted."""

from __future__ import annotations

import os
import socket
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tiny_films import film

from pipeline.sources.film_files import PassedOver, is_film, list_folder


def encode(path: Path, muxer: str, codec: str, pictures: int, **options: str) -> Path:
    """Write a film of moving stripes, 64 × 64, with the muxer that is named, whatever the file's name says."""
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options)
        stream.width, stream.height = 64, 64
        stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        for number in range(pictures):
            picture = np.zeros((64, 64, 3), np.uint8)
            picture[:, number % 60 : number % 60 + 4] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def sound_with_a_cover(path: Path) -> Path:
    """A piece of music with a picture, which is a video stream to FFmpeg."""
    cover = path.with_name("cover.png")
    Image.new("RGB", (32, 32)).save(cover)
    with av.open(str(cover)) as picture, av.open(str(path), "w", format="mp3") as container:
        sound = container.add_stream("libmp3lame", rate=44100)
        shown = container.add_stream_from_template(picture.streams.video[0])
        shown.disposition = av.stream.Disposition.attached_pic
        for packet in picture.demux(video=0):
            if packet.size:
                packet.stream = shown
                container.mux(packet)
        samples = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), format="fltp", layout="stereo")
        samples.sample_rate = 44100
        container.mux(sound.encode(samples))
        container.mux(sound.encode())
    return path


@pytest.mark.parametrize(
    ("muxer", "codec", "options"),
    [
        ("h264", "libx264", {}),
        ("h264", "libx264", {"bf": "2"}),
        ("vob", "mpeg2video", {}),
        ("mpegts", "libx264", {}),
        ("mp4", "libx264", {}),
        ("matroska", "libx264", {}),
        ("avi", "mpeg4", {}),
        ("flv", "flv1", {}),
        ("gif", "gif", {}),
    ],
)
def test_a_film_is_known_by_its_content(tmp_path: Path, muxer: str, codec: str, options: dict[str, str]) -> None:
    assert is_film(encode(tmp_path / "export.dat", muxer, codec, 50, **options))


def test_other_content_is_not_a_film(tmp_path: Path) -> None:
    files = {
        "random": np.random.default_rng(0).bytes(200_000),
        "zeros": bytes(100_000),
        "empty": b"",
        "text": "Tür 1: 00:07–00:12\n".encode() * 500,
        "cut off within a letter": "ü".encode() * 5000,
        "latin": b"caf\xe9\n" * 1000,
        "script": b"%!PS-Adobe-3.0\n%%Pages: 1\n",
        "playlist": b"#EXTM3U\n#EXTINF:10,\nhttp://192.0.2.1/a.ts\n",
        "joined": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    Image.new("RGB", (64, 64)).save(tmp_path / "picture", format="JPEG")
    Image.new("RGB", (64, 64)).save(tmp_path / "other picture", format="PNG")
    with (tmp_path / "array").open("wb") as file:
        np.save(file, np.random.default_rng(1).random((300, 300)))
    encode(tmp_path / "one picture.gif", "gif", "gif", 1)
    sound_with_a_cover(tmp_path / "music")
    assert [path.name for path in sorted(tmp_path.iterdir()) if is_film(path)] == []


def test_a_folder_by_kinds(tmp_path: Path) -> None:
    """Known suffixes are believed, in either case; the rest is looked at; hidden entries are ignored."""
    for name in ("a.MP4", "b.264", "c.265", "d.dav", "notes.txt", ".hidden.mp4", "x.jpg", "labels.npy"):
        (tmp_path / name).touch()
    encode(tmp_path / "e.ps", "vob", "mpeg2video", 50)
    encode(tmp_path / "f.gif", "gif", "gif", 5)
    encode(tmp_path / "g", "matroska", "libx264", 5)
    (tmp_path / "h.ps").write_text("%!PS-Adobe-3.0\n")
    (tmp_path / "i.dat").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    listing = list_folder(tmp_path)
    assert [path.name for path in listing.films] == ["a.MP4", "b.264", "c.265", "d.dav", "e.ps", "f.gif", "g"]
    assert [path.name for path in listing.pictures] == ["x.jpg"]
    assert [path.name for path in listing.folders] == ["folder", "link"]
    assert [path.name for path in listing.others] == ["h.ps", "i.dat", "labels.npy", "notes.txt"]


@pytest.mark.timeout(20)
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "camera.mp4")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listing = list_folder(tmp_path)
    assert listing.films == ()
    assert [path.name for path in listing.others] == ["camera.mp4", "pipe", "socket"]


def test_thousands_of_files_are_listed_in_seconds(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(20_000)
    for number in range(5000):
        (tmp_path / f"{number:04d}.{'mp4' if number % 10 else 'dat'}").write_bytes(content)
    begun = time.monotonic()
    listing = list_folder(tmp_path)
    assert time.monotonic() - begun < 10
    assert (len(listing.films), len(listing.others)) == (4500, 500)


def test_the_line_counts_kinds_and_names_examples(tmp_path: Path) -> None:
    passed_over = PassedOver()
    assert passed_over.line() is None
    passed_over.add(tmp_path / name for name in ("a.txt", "b.TXT", "c.bin", "d"))
    assert passed_over.line() == (
        "passed over 4 files not recognised as video (2 .txt, 1 .bin, 1 without a suffix): "
        f"{tmp_path}/a.txt, {tmp_path}/b.TXT, {tmp_path}/c.bin, …"
    )
    passed_over.add([tmp_path / "e.jpg"])
    line = passed_over.line()
    assert line is not None
    assert line.endswith("; a folder of pictures is a video in a manifest that gives its fps")


def test_the_line_is_short_whatever_there_is(tmp_path: Path) -> None:
    passed_over = PassedOver()
    passed_over.add(Path(f"{number}.k{number}") for number in range(1000))
    line = passed_over.line()
    assert line is not None
    assert "and 994 more kinds" in line
    assert len(line) < 250


def test_a_film_in_use_by_its_name_is_not_read(tmp_path: Path) -> None:
    """A damaged film is listed, so that the replay reports why it cannot be used."""
    whole = film(tmp_path / "whole.mp4", 5).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    assert [path.name for path in list_folder(tmp_path).films] == ["cut.mp4", "whole.mp4"]
