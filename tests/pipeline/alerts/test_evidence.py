"""Pictures: right colours, right size, confined names, atomic writes, quota and age. Read back with Pillow."""

from __future__ import annotations

import io
import os
import threading
import time
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote, urlparse

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.alerts.evidence import EvidenceError, EvidenceStore, encode_jpeg, file_name

#: Red, green, blue, white, black, grey and two mixed colours, each a block of 64×64.
COLOURS = np.array(
    [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [255, 255, 255],
        [0, 0, 0],
        [128, 128, 128],
        [200, 100, 50],
        [30, 160, 220],
    ]
)
#: Luma's share of red and blue, ITU-R BT.601 and BT.709, and FFmpeg's number for the matrix.
MATRICES = {"bt601": (0.299, 0.114, 6), "bt709": (0.2126, 0.0722, 1)}
MPEG, JPEG = 1, 2  # limited and full range


def colour_bars(matrix: str, *, full: bool, lines: int = 64, name: str = "yuv420p") -> av.VideoFrame:
    """The colours as Y'CbCr 4:2:0, computed from the definitions in BT.601 and BT.709."""
    red_share, blue_share, _ = MATRICES[matrix]
    red, green, blue = (COLOURS / 255).T
    luma = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    cb, cr = (blue - luma) / (2 - 2 * blue_share), (red - luma) / (2 - 2 * red_share)
    planes = (luma * 255, cb * 255 + 128, cr * 255 + 128) if full else (luma * 219 + 16, cb * 224 + 128, cr * 224 + 128)
    shapes = ((lines, 64), (lines // 2, 32), (lines // 2, 32))
    drawn = [
        np.concatenate([np.full(shape, np.clip(round(value), 0, 255), np.uint8) for value in plane], axis=1)
        for plane, shape in zip(planes, shapes, strict=True)
    ]
    stacked = np.concatenate([plane.reshape(-1) for plane in drawn]).reshape(lines * 3 // 2, 512)
    return av.VideoFrame.from_ndarray(stacked, format=name)


def plain(width: int, height: int, colour: tuple[int, int, int] = (200, 100, 50)) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), colour, np.uint8), format="rgb24")


def noise(width: int, height: int, seed: int = 0) -> av.VideoFrame:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return av.VideoFrame.from_ndarray(pixels, format="rgb24")


def read(picture: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB")).astype(int)


def bar_colours(picture: bytes) -> np.ndarray:
    pixels = read(picture)
    return pixels[pixels.shape[0] // 2, 32::64]


class TestColours:
    @pytest.mark.parametrize("matrix", MATRICES)
    @pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
    def test_as_tagged(self, matrix: str, full: bool) -> None:
        frame = colour_bars(matrix, full=full)
        frame.colorspace = MATRICES[matrix][2]
        frame.color_range = JPEG if full else MPEG
        assert np.abs(bar_colours(encode_jpeg(frame)) - COLOURS).max() <= 6

    def test_untagged_small_pictures_are_bt601_and_large_ones_bt709_both_limited(self) -> None:
        small, large = colour_bars("bt601", full=False), colour_bars("bt709", full=False, lines=720)
        assert small.colorspace == large.colorspace == 2  # unspecified
        for frame in (small, large):
            assert np.abs(bar_colours(encode_jpeg(frame)) - COLOURS).max() <= 6

    def test_a_format_that_says_it_is_full_range(self) -> None:
        frame = colour_bars("bt601", full=True, name="yuvj420p")
        assert np.abs(bar_colours(encode_jpeg(frame)) - COLOURS).max() <= 6

    def test_full_range_of_bt709_in_the_encoders_own_format(self) -> None:
        frame = colour_bars("bt709", full=True, name="yuvj420p")
        frame.colorspace, frame.color_range = 1, JPEG
        assert np.abs(bar_colours(encode_jpeg(frame)) - COLOURS).max() <= 6

    def test_through_a_real_encoder_and_decoder(self, tmp_path: Path) -> None:
        """Tagged H.264, as a camera sends it: the matrix that no default would choose for its size."""
        with av.open(tmp_path / "v.mp4", "w") as out:
            stream = out.add_stream("libx264", 25, options={"crf": "1"})
            stream.width, stream.height, stream.pix_fmt = 512, 64, "yuv420p"
            stream.codec_context.colorspace, stream.codec_context.color_range = 1, MPEG
            for _ in range(3):
                out.mux(stream.encode(colour_bars("bt709", full=False)))
            out.mux(stream.encode(None))
        with av.open(tmp_path / "v.mp4") as video:
            frame = next(video.decode(video=0))
        assert frame.colorspace == 1
        assert np.abs(bar_colours(encode_jpeg(frame)) - COLOURS).max() <= 8

    @pytest.mark.parametrize("name", ["rgb24", "bgr24", "gray", "yuv444p", "yuv420p10le", "nv12", "gbrp"])
    def test_other_formats(self, name: str) -> None:
        grey = plain(64, 48, (90, 90, 90)).reformat(format=name)
        assert np.abs(read(encode_jpeg(grey)) - 90).max() <= 3


class TestSize:
    @pytest.mark.parametrize(
        ("width", "height"), [(1920, 1080), (1080, 1920), (101, 57), (57, 101), (3, 7), (1, 1), (2, 4000)]
    )
    def test_the_pictures_own(self, width: int, height: int) -> None:
        pixels = read(encode_jpeg(plain(width, height)))
        assert pixels.shape == (height, width, 3)
        assert np.abs(pixels - (200, 100, 50)).max() <= 6

    def test_details_are_kept(self) -> None:
        """Left white and right black, top to bottom: nothing is turned, mirrored or blurred."""
        pixels = np.zeros((96, 128, 3), np.uint8)
        pixels[:48, :64] = 255
        got = read(encode_jpeg(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        assert np.abs(got - pixels).mean() < 1

    def test_the_frame_is_left_as_it_was(self) -> None:
        for name in ("yuv420p", "yuvj420p"):
            frame = colour_bars("bt601", full=name == "yuvj420p", name=name)
            frame.pts, frame.time_base = 12345, Fraction(1, 90000)
            before = frame.to_ndarray()
            encode_jpeg(frame)
            assert (frame.pts, frame.time_base, frame.format.name) == (12345, Fraction(1, 90000), name)
            assert np.array_equal(frame.to_ndarray(), before)

    def test_too_wide_is_one_line(self) -> None:
        with pytest.raises(EvidenceError, match="70000×2 cannot be encoded") as caught:
            encode_jpeg(plain(70_000, 2))
        assert "\n" not in str(caught.value)


class TestNames:
    @pytest.mark.parametrize(
        "camera",
        [
            "gate",
            "hall/2",
            "..",
            ".",
            "../../etc/passwd",
            "/etc",
            "Küche 1",
            "a\\b",
            "x\0y",
            "%2E",
            "",
            "é" * 300,
            "駐車場",
        ],
    )
    def test_a_picture_stays_in_the_folder_and_is_found_by_its_uri(self, tmp_path: Path, camera: str) -> None:
        folder = tmp_path / "evidence"
        store = EvidenceStore(folder, quota_bytes=10**7, max_age_seconds=1e6)
        uri = store.save(plain(32, 32), camera=camera, name="../7/..")
        path = Path(unquote(urlparse(uri).path))
        assert urlparse(uri).scheme == "file"
        assert read(path.read_bytes()).shape == (32, 32, 3)
        assert path.resolve().parent.parent == folder.resolve()
        assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]

    def test_a_link_that_leads_out_of_the_folder_is_not_followed(self, tmp_path: Path) -> None:
        folder, outside = tmp_path / "evidence", tmp_path / "outside"
        folder.mkdir()
        outside.mkdir()
        (folder / "gate").symlink_to(outside)
        store = EvidenceStore(folder, quota_bytes=10**7, max_age_seconds=1e6)
        with pytest.raises(EvidenceError, match="leads out of the evidence folder; remove it"):
            store.save(plain(32, 32), camera="gate", name="one")
        assert list(outside.iterdir()) == []

    @given(st.text(max_size=300))
    def test_a_name_is_one_visible_part_of_a_path(self, text: str) -> None:
        name = file_name(text)
        assert name
        assert not name.startswith(".")
        assert not set(name) & set("/\\\0 ")
        assert name.isprintable()
        assert len(os.fsencode(name)) <= 120

    @given(st.text(max_size=200), st.text(max_size=200))
    def test_two_texts_have_two_names(self, one: str, other: str) -> None:
        assert (file_name(one) == file_name(other)) == (one == other)

    @pytest.mark.parametrize("text", ["監視カメラ", "Вход-2", "S\u00fcd", "कैमरा"])
    def test_letters_of_any_script_stay(self, text: str) -> None:
        assert file_name(text) == text

    def test_two_forms_of_a_letter_stay_apart_on_every_file_system(self) -> None:
        assert file_name("S\u00fcd") == "S\u00fcd"
        assert file_name("Su\u0308d") == "Su%CC%88d"

    def test_letters_that_file_names_cannot_hold_are_escaped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.getfilesystemencoding", lambda: "latin-1")
        assert file_name("門 S\u00fcd") == "%E9%96%80%20S%C3%BCd"

    def test_long_texts_with_the_same_beginning(self) -> None:
        assert file_name("x" * 500) != file_name("x" * 501)


class TestLimits:
    def pictures(self, folder: Path) -> set[str]:
        return {path.stem for path in folder.rglob("*.jpg")}

    def test_the_quota_holds_after_every_save_and_the_oldest_go(self, tmp_path: Path) -> None:
        size = len(encode_jpeg(noise(64, 64)))
        quota = int(size * 3.5)
        store = EvidenceStore(tmp_path, quota_bytes=quota, max_age_seconds=1e6)
        for number in range(8):
            store.save(noise(64, 64), camera=f"camera {number % 2}", name=str(number))
            on_disk = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
            assert on_disk == store.total_bytes <= quota
        assert self.pictures(tmp_path) == {"5", "6", "7"}

    def test_age(self, tmp_path: Path) -> None:
        now = 1_000_000.0
        store = EvidenceStore(tmp_path, quota_bytes=10**7, max_age_seconds=60, clock=lambda: now)
        store.save(plain(8, 8), camera="gate", name="a")
        now += 40
        store.save(plain(8, 8), camera="hall", name="b")
        now += 30
        store.prune()
        assert self.pictures(tmp_path) == {"b"}
        assert [path.name for path in tmp_path.iterdir()] == ["hall"]  # an empty camera's folder goes, too
        now += 31
        store.save(plain(8, 8), camera="gate", name="c")
        assert self.pictures(tmp_path) == {"c"}

    def test_saving_again_replaces_and_makes_young(self, tmp_path: Path) -> None:
        now = 1_000_000.0
        store = EvidenceStore(tmp_path, quota_bytes=10**7, max_age_seconds=60, clock=lambda: now)
        store.save(noise(64, 64), camera="gate", name="a")
        now += 50
        uri = store.save(plain(8, 8), camera="gate", name="a")
        now += 50
        store.prune()
        path = Path(urlparse(uri).path)
        assert read(path.read_bytes()).shape == (8, 8, 3)
        assert store.total_bytes == path.stat().st_size

    def test_what_lay_there_at_the_start_counts(self, tmp_path: Path) -> None:
        first = EvidenceStore(tmp_path, quota_bytes=10**7, max_age_seconds=1e6)
        for number, hours in enumerate([5, 1, 3]):
            path = Path(urlparse(first.save(noise(64, 64), camera="gate", name=str(number))).path)
            os.utime(path, (time.time() - 3600 * hours,) * 2)
        size = first.total_bytes // 3
        again = EvidenceStore(tmp_path, quota_bytes=int(size * 2.5), max_age_seconds=1e6)
        assert self.pictures(tmp_path) == {"1", "2"}  # the one of five hours ago is gone
        assert again.total_bytes == 2 * size
        EvidenceStore(tmp_path, quota_bytes=10**7, max_age_seconds=2 * 3600)
        assert self.pictures(tmp_path) == {"1"}

    def test_other_files_are_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "gate").mkdir()
        for name in ("notes.txt", "gate/notes.txt", "holiday.jpg"):
            (tmp_path / name).write_bytes(b"x" * 5000)
        outside = tmp_path.parent / "outside.jpg"
        outside.write_bytes(b"x" * 5000)
        (tmp_path / "gate" / "link.jpg").symlink_to(outside)
        store = EvidenceStore(tmp_path, quota_bytes=3000, max_age_seconds=0.001)
        assert store.total_bytes == 0
        assert len(list(tmp_path.rglob("*.*"))) == 4
        assert outside.exists()

    def test_a_picture_beyond_the_whole_quota_is_refused_and_removes_nothing(self, tmp_path: Path) -> None:
        small = len(encode_jpeg(plain(8, 8)))
        store = EvidenceStore(tmp_path, quota_bytes=small + 10, max_age_seconds=1e6)
        store.save(plain(8, 8), camera="gate", name="a")
        with pytest.raises(EvidenceError, match="exceed the quota"):
            store.save(noise(256, 256), camera="gate", name="b")
        assert self.pictures(tmp_path) == {"a"}

    def test_pictures_removed_by_somebody_else(self, tmp_path: Path) -> None:
        size = len(encode_jpeg(noise(64, 64)))
        store = EvidenceStore(tmp_path, quota_bytes=int(size * 2.5), max_age_seconds=1e6)
        for number in range(4):
            path = Path(urlparse(store.save(noise(64, 64), camera="gate", name=str(number))).path)
            path.unlink()
        store.save(noise(64, 64), camera="gate", name="last")
        assert self.pictures(tmp_path) == {"last"}

    def test_limits_that_make_no_sense(self, tmp_path: Path) -> None:
        for quota, age in ((0, 1.0), (-1, 1.0), (1, 0.0), (1, float("nan"))):
            with pytest.raises(ValueError, match="must be positive"):
                EvidenceStore(tmp_path, quota_bytes=quota, max_age_seconds=age)


class Clocks:
    """A monotonic clock, and a wall clock beside it that can be set."""

    def __init__(self, wall: float) -> None:
        self.monotonic = 500.0
        self.ahead = wall - 500.0

    def set(self, wall: float) -> None:
        self.ahead = wall - self.monotonic

    def store(self, folder: Path, max_age: float = 86_400.0, quota: int = 10**7) -> EvidenceStore:
        return EvidenceStore(
            folder,
            quota_bytes=quota,
            max_age_seconds=max_age,
            clock=lambda: self.monotonic,
            wall_clock=lambda: self.monotonic + self.ahead,
        )

    def save(self, store: EvidenceStore, name: str) -> Path:
        """Save a picture, which has the wall clock's time as any file has."""
        path = Path(urlparse(store.save(noise(64, 64), camera="gate", name=name)).path)
        os.utime(path, (self.monotonic + self.ahead,) * 2)
        return path


class TestAClockThatIsSet:
    NOW = 1_790_000_000.0

    @pytest.mark.parametrize("before", [30.0, NOW - 40 * 86_400, NOW - 3600, NOW + 3600])
    def test_pictures_of_minutes_ago_stay_and_go_at_their_true_age(self, tmp_path: Path, before: float) -> None:
        clocks = Clocks(wall=before)
        store = clocks.store(tmp_path)
        first = clocks.save(store, "first")
        clocks.monotonic += 300
        clocks.set(self.NOW)
        second = clocks.save(store, "second")
        assert first.exists()
        clocks.monotonic += 86_400 - 200
        store.prune()
        assert (first.exists(), second.exists()) == (False, True)

    @pytest.mark.parametrize("before", [30.0, NOW - 40 * 86_400, NOW + 3600])
    def test_the_next_process_knows_the_ages(self, tmp_path: Path, before: float) -> None:
        clocks = Clocks(wall=before)
        store = clocks.store(tmp_path)
        first = clocks.save(store, "first")
        clocks.monotonic += 600
        clocks.set(self.NOW)
        store.prune()
        assert first.stat().st_mtime == pytest.approx(self.NOW - 600)
        clocks.monotonic += 86_400 - 500
        clocks.store(tmp_path)
        assert not first.exists()

    def test_a_process_that_was_killed_before_the_clock_was_set(self, tmp_path: Path) -> None:
        """Nobody knows the age of its pictures; they age from now on, and go after those of a known age."""
        clocks = Clocks(wall=30.0)
        unknown = clocks.save(clocks.store(tmp_path), "unknown")
        clocks.set(self.NOW)
        size = unknown.stat().st_size
        store = clocks.store(tmp_path, quota=int(size * 2.5))
        assert unknown.stat().st_mtime == pytest.approx(self.NOW)
        clocks.monotonic += 86_400 - 100
        store.prune()
        assert unknown.exists()
        clocks.monotonic += 200
        store.prune()
        assert not unknown.exists()

    def test_a_start_before_the_clock_is_set_prunes_nothing(self, tmp_path: Path) -> None:
        clocks = Clocks(wall=self.NOW)
        store = clocks.store(tmp_path)
        names = ["first", "second", "third"]
        paths = []
        for name in names:
            paths.append(clocks.save(store, name))
            clocks.monotonic += 10
        clocks.set(30.0)  # it was rebooted
        store = clocks.store(tmp_path, quota=int(paths[0].stat().st_size * 3.5))
        assert all(path.exists() for path in paths)
        clocks.save(store, "fourth")
        assert [path.exists() for path in paths] == [False, True, True], "the oldest goes first"


class TestAtomic:
    def test_a_reader_never_sees_half_a_picture(self, tmp_path: Path) -> None:
        store = EvidenceStore(tmp_path, quota_bytes=10**8, max_age_seconds=1e6)
        path = Path(urlparse(store.save(noise(256, 256), camera="gate", name="a")).path)
        over = threading.Event()
        written = seen = 0

        def rewrite() -> None:
            nonlocal written
            while not over.is_set():
                store.save(noise(256, 256, written), camera="gate", name="a")
                written += 1

        writer = threading.Thread(target=rewrite)
        writer.start()
        try:
            while writer.is_alive() and min(written, seen) < 60:
                assert path.read_bytes()[-2:] == b"\xff\xd9"  # a JPEG's end
                seen += 1
        finally:
            over.set()
            writer.join()
        assert min(written, seen) >= 60

    def test_a_write_that_fails_leaves_nothing_behind(self, tmp_path: Path) -> None:
        store = EvidenceStore(tmp_path, quota_bytes=10**7, max_age_seconds=1e6)
        (tmp_path / "gate").write_text("a file where the camera's folder should be")
        with pytest.raises(EvidenceError, match=r"gate/a\.jpg: ") as caught:
            store.save(plain(8, 8), camera="gate", name="a")
        assert isinstance(caught.value, OSError)
        (tmp_path / "hall" / "a.jpg").mkdir(parents=True)
        with pytest.raises(EvidenceError, match=r"hall/a\.jpg: Is a directory"):
            store.save(plain(8, 8), camera="hall", name="a")
        assert [path.name for path in (tmp_path / "hall").iterdir()] == ["a.jpg"]
        assert store.total_bytes == 0

    def test_what_a_killed_process_left_half_written_goes_at_the_next_start(self, tmp_path: Path) -> None:
        (tmp_path / "gate").mkdir()
        (tmp_path / "gate" / "a.part").write_bytes(b"\xff\xd8half")
        EvidenceStore(tmp_path, quota_bytes=10**7, max_age_seconds=1e6)
        assert list((tmp_path / "gate").iterdir()) == []

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(EvidenceError, match="file/evidence: Not a directory"):
            EvidenceStore(tmp_path / "file" / "evidence", quota_bytes=1, max_age_seconds=1)
