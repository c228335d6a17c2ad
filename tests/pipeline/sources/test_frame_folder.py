"""Recordings that are folders of pictures."""

from __future__ import annotations

import threading
import wave

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.frame_folder import FrameFolder, pictures
from pipeline.sources.recordings import open_recording

SPEC = FrameSpec(48, 64)


@pytest.fixture
def folder_of(ffmpeg, tmp_path):
    """folder_of("jpg", count=5): the first frames of a test film, 000.jpg and so on."""

    def make(suffix: str, count: int = 5, size: str = "128x96"):
        folder = tmp_path / suffix
        folder.mkdir()
        film = f"testsrc2=size={size}:rate=10"
        options = ("-frames:v", str(count), "-start_number", "0")
        ffmpeg("-f", "lavfi", "-i", film, *options, folder / f"%03d.{suffix}")
        return folder

    return make


def frames_of(recording, spec: FrameSpec = SPEC) -> tuple[list[Frame], list[SegmentOver]]:
    items = list(recording.frames([spec], threading.Event()))
    return [i for i in items if isinstance(i, Frame)], [i for i in items if isinstance(i, SegmentOver)]


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif"])
def test_the_pictures_in_their_order(folder_of, rgb_frames, suffix):
    folder = folder_of(suffix)
    frames, ends = frames_of(open_recording(folder, fps=12.5))
    assert [frame.pts_seconds for frame in frames] == pytest.approx([0, 0.08, 0.16, 0.24, 0.32])
    assert [end.reason for end in ends] == [EndReason.STREAM_END]
    assert {frame.segment.id for frame in frames} == {f"{open_recording(folder, fps=12.5).content_hash}/0"}
    assert {frame.taken_at for frame in frames} == {None}
    expected = rgb_frames(folder / f"%03d.{suffix}", "scale=64:48:flags=bilinear", 48, 64)
    assert np.abs(np.stack([f.image for f in frames]).astype(int) - expected).max() <= 2
    assert len({frame.image.tobytes() for frame in frames}) == 5


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_a_photograph_stands_upright(tmp_path, orientation, quarter_turns):
    """As EXIF has it: 6 is to be turned clockwise by a quarter, 8 the other way, 3 by a half."""
    picture = np.zeros((48, 48, 3), np.uint8)
    picture[:24, :24], picture[24:, :24] = (255, 0, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / "1.jpg", exif=exif, quality=95, subsampling=0)
    (frame,), _ = frames_of(open_recording(tmp_path, fps=1), FrameSpec(48, 48))
    assert np.abs(frame.image.astype(int) - np.rot90(picture, quarter_turns)).mean() < 5


def test_numbers_are_sorted_as_people_count(tmp_path):
    for name in ("10.jpg", "9.jpg", "100.JPG", "\u00b2.jpg", "._9.jpg", "Thumbs.db", "list.txt"):
        (tmp_path / name).touch()
    # A superior two is a digit, and no number.
    assert [file.name for file in pictures(tmp_path)] == ["9.jpg", "10.jpg", "100.JPG", "\u00b2.jpg"]


def test_the_rate_decides_when_a_picture_is_shown(folder_of):
    folder = folder_of("png", count=10)
    recording = open_recording(folder, fps=10)
    assert recording.frame_times() == pytest.approx(np.arange(10) / 10)
    kept, _ = frames_of(recording, FrameSpec(48, 64, fps=5))
    assert [frame.pts_seconds for frame in kept] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    with pytest.raises(SourceError, match="states no rate; give its fps"):
        open_recording(folder)
    for fps in (0, 1e-7, 1e7, float("nan"), float("inf")):
        with pytest.raises(SourceError, match="expected pictures a second"):
            open_recording(folder, fps=fps)


@pytest.mark.parametrize("fps", [1e-6, 1 / 86_400, 1 / 3600, 29.97, 1e6])
def test_a_picture_a_day_or_a_million_a_second(folder_of, fps):
    frames, ends = frames_of(open_recording(folder_of("png", count=3), fps=fps))
    assert [frame.pts_seconds for frame in frames] == pytest.approx([0, 1 / fps, 2 / fps])
    assert [float(frame.native.pts * frame.native.time_base) for frame in frames] == pytest.approx(
        [0, 1 / fps, 2 / fps], rel=1e-4
    )
    assert [end.reason for end in ends] == [EndReason.STREAM_END]


def test_the_hash_follows_content_order_and_rate_not_names(folder_of, tmp_path):
    folder = folder_of("png")
    content_hash = open_recording(folder, fps=10).content_hash
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for file in folder.iterdir():
        (renamed / f"frame{int(file.stem) + 1}.png").write_bytes(file.read_bytes())
    assert open_recording(renamed, fps=10).content_hash == content_hash
    assert open_recording(renamed, fps=12).content_hash != content_hash
    (renamed / "frame5.png").rename(renamed / "frame0.png")
    assert open_recording(renamed, fps=10).content_hash != content_hash


def test_a_damaged_picture_takes_its_time_and_is_told(folder_of):
    folder = folder_of("png")
    (folder / "002.png").write_bytes(b"not a picture")
    told: list[str] = []
    frames, ends = frames_of(open_recording(folder, camera="gate", fps=10, on_damage=told.append))
    assert [frame.pts_seconds for frame in frames] == pytest.approx([0, 0.1, 0.3, 0.4])
    assert [end.reason for end in ends] == [EndReason.STREAM_END]
    (line,) = told
    assert line.startswith(f"camera gate: {folder}: damaged recording: 4 pictures decoded, 1 could not be (002.png: ")


def test_stopping_ends_the_segment(folder_of):
    stop = threading.Event()
    seen = []
    for item in FrameFolder("cam", folder_of("png"), fps=10).frames([SPEC], stop):
        seen.append(item)
        stop.set()
    assert isinstance(seen[0], Frame)
    assert [end.reason for end in seen[1:]] == [EndReason.SHUTDOWN]


def test_a_folder_that_is_no_recording(tmp_path):
    with pytest.raises(SourceError, match="holds no pictures; expected a file a frame"):
        frames_of(open_recording(tmp_path, fps=10))
    (tmp_path / "001.jpg").write_bytes(b"nonsense")
    with pytest.raises(SourceError, match=r"001\.jpg: not a picture"):
        open_recording(tmp_path, fps=10).check()
    with wave.open(str(tmp_path / "001.jpg"), "wb") as sound:  # opens, and holds no picture
        sound.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        sound.writeframes(bytes(16000))
    with pytest.raises(SourceError, match=r"001\.jpg: not a picture"):
        open_recording(tmp_path, fps=10).check()
    with pytest.raises(SourceError, match="no such folder"):
        FrameFolder("cam", tmp_path / "none", fps=10)
    with pytest.raises(SourceError, match="cannot be read as a folder"):
        FrameFolder("cam", tmp_path / "001.jpg", fps=10)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("b-frames.mp4", "libx264", ("-bf", "2")),
        ("cut.mp4", "libx264", ("-ss", "0.55", "-bf", "2")),
        ("old.avi", "mpeg4", ("-bf", "0")),
        ("matroska.mkv", "libx264", ("-bf", "2")),
        ("bare.h264", "libx264", ("-bf", "0", "-f", "h264")),
    ],
)
def test_times_of_a_film_are_known_without_decoding(video, name, codec, options):
    recording = open_recording(video(name, codec=codec, options=options))
    frames, _ = frames_of(recording)
    assert recording.frame_times() == pytest.approx([frame.pts_seconds for frame in frames], abs=1e-6)


def test_times_of_real_footage(data):
    for film in (data / "cctv" / "vtest.avi", data / "ped2" / "test" / "01.mp4"):
        recording = open_recording(film)
        frames, _ = frames_of(recording, FrameSpec(16, 16))
        assert recording.frame_times() == pytest.approx([frame.pts_seconds for frame in frames], abs=1e-6)


def test_a_film_cut_from_a_longer_one_without_encoding_has_frames_that_are_not_shown(video, ffmpeg, tmp_path):
    """An edit list hides them: they are decoded for what follows, and shown to nobody."""
    cut = tmp_path / "cut.mp4"
    ffmpeg("-ss", "0.55", "-i", video("b-frames.mp4", options=("-bf", "2")), "-c", "copy", cut)
    recording = open_recording(cut)
    frames, _ = frames_of(recording)
    assert 0 < len(frames) < 20
    assert recording.frame_times() == pytest.approx([frame.pts_seconds for frame in frames], abs=1e-6)
