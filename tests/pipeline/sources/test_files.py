"""Recordings, against Debian's ffmpeg as an independent decoder."""

from __future__ import annotations

import gc
import os
import shutil
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.sources.base import EndReason, Fit, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.files import FileSource
from pipeline.sources.scale import upright
from pipeline.windows import ClipSpec, ClipWindow, cut

#: Between FFmpeg 5.1 (Debian) and the one in PyAV: 0 on H.264, 2 on MPEG-4 (its inverse DCT is another). Grey levels.
DECODER_TOLERANCE = 2
SPEC = FrameSpec(120, 160)


def difference(frames: list[Frame], expected: np.ndarray) -> int:
    assert len(frames) == len(expected)
    assert {frame.image.dtype for frame in frames} == {np.dtype(np.uint8)}
    pairs = zip(frames, expected, strict=True)
    return max(int(np.abs(frame.image.astype(np.int16) - picture).max()) for frame, picture in pairs)


@pytest.mark.parametrize("name", ["cctv/vtest.avi", "cctv/car-detection.mp4"])
def test_real_footage_equals_ffmpegs(name, data, read, rgb_frames):
    frames, ends = read(data / name, height=224, width=224)
    expected = rgb_frames(data / name, "scale=224:224:flags=bilinear", 224, 224)
    assert difference(frames, expected) <= DECODER_TOLERANCE
    assert [end.reason for end in ends] == [EndReason.STREAM_END]


def test_vtest_gives_795_frames_and_49_windows(data):
    spec = ClipSpec()
    source = FileSource("cam", data / "cctv" / "vtest.avi")
    frames = [item for item in source.frames([spec.frame_spec], threading.Event()) if isinstance(item, Frame)]
    assert len(frames) == 795
    assert [frame.pts_seconds for frame in frames] == pytest.approx([n / 10 for n in range(795)])
    windows = [w for w in cut(source.frames([spec.frame_spec], threading.Event()), spec) if isinstance(w, ClipWindow)]
    assert [window.index for window in windows] == list(range(49))
    assert [(w.start, w.end) for w in windows] == [pytest.approx((1.6 * n, 1.6 * (n + 1))) for n in range(49)]


@pytest.mark.parametrize(
    ("fit", "filters"),
    [
        (Fit.STRETCH, "scale=160:120:flags=bilinear"),
        # 640x360 covers 160x120 as 213x120, and fits into it as 160x90
        (Fit.CROP, "scale=213:120:flags=bilinear,format=rgb24,crop=160:120"),
        (Fit.LETTERBOX, "scale=160:90:flags=bilinear,format=rgb24,pad=160:120:0:15:black"),
    ],
)
def test_fit(fit, filters, video, read, rgb_frames):
    path = video("wide.mp4", size="640x360", seconds=1)
    frames, _ = read(path, fit=fit)
    assert difference(frames, rgb_frames(path, filters, 120, 160)) == 0


@pytest.mark.parametrize(
    ("fit", "filters"),
    [
        # 320x240 of pixels twice as wide as high is 640x240 on the screen
        (Fit.CROP, "scale=320:120:flags=bilinear,format=rgb24,crop=160:120"),
        (Fit.LETTERBOX, "scale=160:60:flags=bilinear,format=rgb24,pad=160:120:0:30:black"),
    ],
)
def test_pixels_that_are_not_square(fit, filters, video, read, rgb_frames):
    path = video("anamorphic.mp4", seconds=1, options=("-bf", "0", "-vf", "setsar=2"))
    frames, _ = read(path, fit=fit)
    assert difference(frames, rgb_frames(path, filters, 120, 160)) == 0


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_of_phone_videos(degrees, video, ffmpeg, tmp_path, read, rgb_frames):
    """The picture stands upright, as ffmpeg turns it by itself.

    In grey: ffmpeg turns first and scales then, and the colours of YUV 4:2:0 lie between other pixels when turned.
    """
    path = tmp_path / "phone.mp4"
    film = video("grey.mp4", options=("-bf", "0", "-vf", "hue=s=0"))
    ffmpeg("-i", film, "-c", "copy", "-metadata:s:v", f"rotate={degrees}", path)
    for fit, filters in [
        (Fit.STRETCH, "scale=160:120:flags=bilinear"),
        (
            Fit.LETTERBOX,
            "scale=160:120:flags=bilinear:force_original_aspect_ratio=decrease,format=rgb24,pad=160:120:-1:-1",
        ),
    ]:
        frames, _ = read(path, fit=fit)
        expected = rgb_frames(path, filters, 120, 160)
        images = np.stack([frame.image for frame in frames]).astype(int)
        assert np.abs(images - expected).mean() < 1.0
        unturned = rgb_frames(film, filters, 120, 160)
        assert np.abs(images - unturned).mean() > 20, "the test picture must tell a turned film from an upright one"
    native = frames[0].native
    assert (native.width, native.height) == (320, 240)
    people = upright(native).to_ndarray(format="rgb24")
    expected = rgb_frames(path, "null", *((320, 240) if degrees % 180 else (240, 320)))[0]
    assert people.shape == expected.shape
    assert np.abs(people.astype(int) - expected).mean() < 1.0


def test_an_upright_picture_is_left_alone(video, read):
    native = read(video("plain.mp4"))[0][0].native
    assert upright(native) is native


def test_b_frames_come_in_the_order_of_their_pts(video, read, rgb_frames):
    path = video("b.mp4", options=("-bf", "3", "-g", "20"))
    frames, _ = read(path)
    assert [frame.pts_seconds for frame in frames] == pytest.approx([n / 10 for n in range(20)])
    assert difference(frames, rgb_frames(path, "scale=160:120:flags=bilinear", 120, 160)) == 0


@pytest.mark.parametrize("name", ["plain.mkv", "plain.ts", "plain.flv", "plain.avi", "plain.webm", "plain.gif"])
def test_anything_that_ffmpeg_opens(name, video, ffmpeg, tmp_path, read):
    path = tmp_path / name
    codec = {".webm": ("-c:v", "libvpx"), ".avi": ("-c:v", "mpeg4"), ".gif": ()}.get(path.suffix, ("-c", "copy"))
    ffmpeg("-i", video("plain.mp4"), *codec, path)
    frames, ends = read(path)
    assert len(frames) == 20
    spacings = np.diff([frame.pts_seconds for frame in frames])
    assert spacings == pytest.approx(0.1, abs=0.002)  # FLV and WebM count milliseconds
    assert [end.reason for end in ends] == [EndReason.STREAM_END]


def test_bare_pictures_without_time_stamps(video, ffmpeg, tmp_path, read):
    path = tmp_path / "plain.h264"
    ffmpeg("-i", video("plain.mp4"), "-c", "copy", path)
    frames, _ = read(path)
    assert [frame.pts_seconds for frame in frames] == pytest.approx([n / 10 for n in range(20)])


def test_variable_frame_rate(video, ffmpeg, tmp_path, read):
    """Ten frames a second for a second, then every third of the next three: 10 + 10 frames, at their own times."""
    path = tmp_path / "variable.mkv"
    pick = "select=lt(t\\,1)+not(mod(n\\,3))"
    ffmpeg("-i", video("four.mp4", seconds=4), "-vf", pick, "-fps_mode", "passthrough", "-c:v", "libx264", path)
    frames, _ = read(path)
    expected = [n / 10 for n in range(40) if n < 10 or n % 3 == 0]
    assert [frame.pts_seconds for frame in frames] == pytest.approx(expected, abs=0.001)
    resampled, _ = read(path, fps=5)
    # 0 … 1 s at 5 a second; then the film itself is slower than that, and nothing is made up
    assert [frame.pts_seconds for frame in resampled] == pytest.approx(
        [0, 0.2, 0.4, 0.6, 0.8, 1.2, *(n / 10 for n in range(15, 40, 3))], abs=0.101
    )
    assert len(resampled) == len({frame.pts_seconds for frame in resampled})


def test_resampled_frames_are_the_films_own(video, read):
    path = video("fast.mp4", fps=25, seconds=4)
    native, _ = read(path)
    frames, _ = read(path, fps=10)
    assert len(frames) == 41  # the wanted times 0.0 … 3.9, and 4.0, which the film's last frame at 3.96 is nearest to
    by_pts = {frame.pts_seconds: frame.image for frame in native}
    for frame in frames:
        assert np.array_equal(frame.image, by_pts[frame.pts_seconds])


def test_a_change_of_size_starts_a_segment(video, ffmpeg, tmp_path, read):
    path = tmp_path / "two-sizes.ts"
    ffmpeg("-i", video("plain.mp4"), "-c", "copy", tmp_path / "a.ts")
    ffmpeg("-i", video("large.mp4", size="640x480"), "-c", "copy", "-output_ts_offset", "2", tmp_path / "b.ts")
    path.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    frames, ends = read(path)
    assert [end.reason for end in ends] == [EndReason.SIZE_CHANGED, EndReason.STREAM_END]
    assert len({end.segment.id for end in ends}) == 2
    assert {frame.native.width for frame in frames if frame.segment == ends[0].segment} == {320}
    assert {frame.native.width for frame in frames if frame.segment == ends[1].segment} == {640}
    assert {frame.image.shape for frame in frames} == {(120, 160, 3)}


@pytest.mark.parametrize("offset", ["0", "60"])
def test_a_jump_of_the_clock_starts_a_segment(offset, video, ffmpeg, tmp_path, read):
    path = tmp_path / "jump.ts"
    ffmpeg("-i", video("plain.mp4"), "-c", "copy", tmp_path / "a.ts")
    ffmpeg("-i", video("plain.mp4"), "-c", "copy", "-output_ts_offset", offset, tmp_path / "b.ts")
    path.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    started_at = datetime(2024, 5, 1, 18, tzinfo=UTC)
    frames, ends = read(path, started_at=started_at)
    assert [end.reason for end in ends] == [EndReason.CLOCK_JUMP, EndReason.STREAM_END]
    first, second = ([frame for frame in frames if frame.segment == end.segment] for end in ends)
    assert (len(first), len(second)) == (20, 20)
    assert first[0].taken_at == started_at
    if offset == "60":
        assert second[0].taken_at == started_at + timedelta(seconds=60)
    else:
        assert second[0].taken_at is None, "a clock that was set back tells no time"


def test_time_lapse_is_one_segment(video, read):
    frames, ends = read(video("lapse.mp4", fps=0.1, seconds=80))
    assert (len(frames), len(ends)) == (8, 1)


def test_wall_clock(video, ffmpeg, tmp_path, read):
    plain = video("plain.mp4")
    path = tmp_path / "dated.mp4"
    ffmpeg("-i", plain, "-c", "copy", "-metadata", "creation_time=2024-05-01T18:00:00Z", path)
    assert read(plain)[0][0].taken_at is None
    assert read(path)[0][5].taken_at == datetime(2024, 5, 1, 18, 0, 0, 500_000, tzinfo=UTC)
    given = datetime(2023, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert read(path, started_at=given)[0][5].taken_at == datetime(2023, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    ffmpeg("-i", plain, "-c", "copy", "-metadata", "creation_time=1904-01-01T00:00:00Z", path)
    assert read(path)[0][0].taken_at is None, "1904 is the zero of MP4's clock"


def test_wall_clock_counts_from_the_first_frame(video, ffmpeg, tmp_path, read):
    path = tmp_path / "late.ts"
    ffmpeg("-i", video("plain.mp4"), "-c", "copy", "-output_ts_offset", "1000", path)
    origin = datetime(2024, 5, 1, 18, tzinfo=UTC)
    frames, _ = read(path, started_at=origin)
    assert frames[0].pts_seconds > 1000
    assert frames[0].taken_at == origin


def test_segment_ids_are_the_contents(video, tmp_path, read):
    plain = video("plain.mp4")
    copy = tmp_path / "another name.mp4"
    shutil.copy(plain, copy)
    ids = [read(path)[1][0].segment.id for path in (plain, copy, video("large.mp4", size="640x480"))]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].endswith("/0")


def test_identity_of_a_very_large_file(tmp_path, monkeypatch):
    from pipeline.sources import content_hash

    monkeypatch.setattr(content_hash, "HASH_WHOLE_BYTES", 1 << 20)
    monkeypatch.setattr(content_hash, "HASH_BLOCK_BYTES", 4096)
    path = tmp_path / "large"
    content = bytearray(np.random.default_rng(0).bytes(2 << 20))
    path.write_bytes(content)
    whole = content_hash.content_hash(path)
    assert whole == content_hash.content_hash(path)
    for position in (0, len(content) - 1):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        assert content_hash.content_hash(path) != whole
    path.write_bytes(content + b"\0")
    assert content_hash.content_hash(path) != whole


def test_native_picture_is_the_cameras_own(video, read):
    frames, _ = read(video("large.mp4", size="640x480"))
    assert (frames[0].native.width, frames[0].native.height) == (640, 480)
    assert frames[0].image.shape == (120, 160, 3)


def test_pictures_are_let_go_at_once(video):
    """Without the garbage collector's help: it comes by too seldom for pictures of megabytes."""
    path = video("long.mp4", seconds=30, size="640x480")  # 300 pictures of 0.46 MB each as decoded
    for _ in FileSource("cam", path, threads=1).frames([SPEC], threading.Event()):
        pass  # what the first use loads stays
    gc.collect()
    gc.disable()
    try:
        before = _resident_bytes()
        for _ in FileSource("cam", path, threads=1).frames([SPEC], threading.Event()):
            pass
        assert _resident_bytes() - before < 30e6
    finally:
        gc.enable()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_stop_closes_the_segment(video):
    stop = threading.Event()
    items = []
    for item in FileSource("cam", video("plain.mp4")).frames([SPEC], stop):
        items.append(item)
        if len(items) == 5:
            stop.set()
    assert len(items) == 6
    assert isinstance(items[-1], SegmentOver)
    assert items[-1].reason is EndReason.SHUTDOWN


# What is no recording.


def fails(path: Path | str, code: str, *words: str) -> None:
    with pytest.raises(SourceError) as caught:
        list(FileSource("gate", path).frames([SPEC], threading.Event()))
    text = str(caught.value)
    assert caught.value.code == code
    assert "\n" not in text
    for word in ("camera gate", str(path), *words):
        assert word in text


def test_missing_file(tmp_path):
    fails(tmp_path / "none.mp4", "not_found", "no such file")


def test_folder(tmp_path):
    fails(tmp_path, "usage", "folder")


def test_device(tmp_path):
    fails("/dev/null", "usage", "not a regular file")


@pytest.mark.parametrize("content", [b"", b"hello world\n", b"\0" * 5000, bytes(range(256)) * 400])
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".bin"])
def test_not_a_video(content, suffix, tmp_path):
    path = tmp_path / f"not{suffix}"
    path.write_bytes(content)
    fails(path, "not_a_video")


def test_text_is_not_a_film_of_a_terminal(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("The quick brown fox jumps over the lazy dog.\n" * 200)
    with av.open(str(path)) as container:
        assert container.format.name == "tty", "FFmpeg itself takes it for one"
    fails(path, "not_a_video", "text")


def test_audio_only(ffmpeg, tmp_path):
    path = tmp_path / "sound.wav"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    fails(path, "no_video_stream")


def test_music_with_a_cover_picture(ffmpeg, tmp_path):
    cover, path = tmp_path / "cover.png", tmp_path / "song.mp3"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64", "-frames:v", "1", cover)
    ffmpeg(
        *("-f", "lavfi", "-i", "sine=duration=1", "-i", cover, "-map", "0", "-map", "1", "-c:v", "copy"),
        *("-disposition:v", "attached_pic", path),
    )
    fails(path, "no_video_stream")


def test_a_playlist_reaches_nothing_beyond_itself(video, tmp_path):
    secret = video("plain.ts", options=("-bf", "0"))
    path = tmp_path / "list.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/{secret.name}\n#EXT-X-ENDLIST\n")
    fails(path, "not_a_video")


def test_a_name_is_only_a_name(video, tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)
    shutil.copy(video("plain.mp4"), tmp_path / "concat:x|y.mp4")
    assert len(read(Path("concat:x|y.mp4"))[0]) == 20


def test_no_pictures_at_all(ffmpeg, video, tmp_path):
    path = tmp_path / "none.mkv"
    ffmpeg("-i", video("plain.mp4"), "-frames:v", "0", "-c", "copy", path)
    with pytest.raises(SourceError) as caught:
        list(FileSource("gate", path).frames([SPEC], threading.Event()))
    assert caught.value.code in {"decode", "no_video_stream", "not_a_video"}


def test_one_picture(ffmpeg, video, tmp_path, read):
    path = tmp_path / "one.mp4"
    ffmpeg("-i", video("plain.mp4"), "-frames:v", "1", "-c", "copy", path)
    frames, ends = read(path)
    assert (len(frames), [end.reason for end in ends]) == (1, [EndReason.STREAM_END])
    spec = ClipSpec()
    windows = list(cut(FileSource("cam", path).frames([spec.frame_spec], threading.Event()), spec))
    assert windows == [windows[-1]]
    assert isinstance(windows[-1], SegmentOver)


def test_start_time_needs_its_offset(video):
    with pytest.raises(SourceError, match="UTC offset") as caught:
        FileSource("gate", video("plain.mp4"), started_at=datetime(2024, 5, 1))
    assert caught.value.code == "usage"


# Damaged recordings: what can be decoded is, and then it is said.


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.avi"])
def test_truncated(name, video, ffmpeg, tmp_path, read):
    whole, path = tmp_path / f"whole{Path(name).suffix}", tmp_path / name
    ffmpeg("-i", video("four.mp4", seconds=4), "-c", "copy", "-movflags", "+faststart", whole)
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    said: list[str] = []
    frames, ends = read(path, on_damage=said.append)
    assert 15 <= len(frames) < 40
    assert [end.reason for end in ends] == [EndReason.ERROR]
    assert len(said) == 1
    assert "cut off" in said[0]
    assert str(path) in said[0]
    assert "\n" not in said[0]


def test_truncated_before_its_index(video, tmp_path):
    """An MP4 whose index stands at the end cannot be read at all without it."""
    path = tmp_path / "headless.mp4"
    content = video("plain.mp4").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    fails(path, "not_a_video")


def test_damage_in_the_middle(video, tmp_path, read):
    path = tmp_path / "scratched.avi"
    content = bytearray(video("scratch.avi", seconds=4, codec="mjpeg", options=()).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    said: list[str] = []
    frames, ends = read(path, on_damage=said.append)
    assert 30 <= len(frames) <= 40
    assert ends[-1].reason is EndReason.STREAM_END


def test_a_whole_recording_is_not_called_damaged(data, video, read):
    said: list[str] = []
    for path in [
        video("plain.mp4"),
        video("b.mp4", options=("-bf", "3", "-g", "20")),
        *sorted((data / "cctv").glob("*.*")),
    ]:
        _, ends = read(path, on_damage=said.append, fps=1)
        assert {end.reason for end in ends} == {EndReason.STREAM_END}
    assert said == []
