"""Footage of one camera: its clock, its pieces, and what cannot be learned from."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from walking_films import FPS, HEIGHT, WIDTH, pictures, write, write_two, yard

from models.data.kept_clips import KeptPictures
from models.data.normal_footage import (
    FootageError,
    NormalFootage,
    PlacedClip,
    Stretch,
    clock,
    parse_stretch,
    read_footage,
)
from models.data.one_scene import OneScene
from pipeline.errors import UsageError
from pipeline.sources.base import SourceError
from pipeline.windows import ClipSpec

CLIP = ClipSpec(3, 1, 48, 80, fps=FPS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films of one camera, of 24 and 16 s: 20 pieces of 2 s."""
    return write_two(tmp_path_factory.mktemp("yard"), 40, 24)


@pytest.fixture(scope="module")
def footage(folder: Path) -> NormalFootage:
    return read_footage("yard", [folder], hold_out=0.2)


class TestFootage:
    def test_its_films_follow_one_another_on_one_clock(self, footage: NormalFootage) -> None:
        assert [(film.start, film.seconds, film.rate) for film in footage.films] == [
            (0, pytest.approx(24), pytest.approx(FPS)),
            (pytest.approx(24), pytest.approx(16), pytest.approx(FPS)),
        ]
        assert {(film.height, film.width) for film in footage.films} == {(HEIGHT, WIDTH)}
        assert (footage.seconds, footage.piece_seconds) == (pytest.approx(40), pytest.approx(2))

    def test_every_fifth_piece_is_held_back(self, footage: NormalFootage) -> None:
        assert [piece for piece in range(20) if footage.is_held_back(piece)] == [4, 9, 14, 19]

    def test_a_film_that_was_cut_off_is_reported(self, folder: Path, tmp_path: Path) -> None:
        whole = write(tmp_path / "whole.mkv", pictures(10)).read_bytes()
        (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 6 // 10])
        lines: list[str] = []
        cut_off = read_footage("yard", [folder / "1.mp4", tmp_path / "cut.mkv"], hold_out=0.2)
        assert {clip.film for clip in cut_off.clips(CLIP, lines.append)} == {0, 1}
        (line,) = lines
        assert line.startswith(f"camera yard: {tmp_path / 'cut.mkv'}: damaged recording: ")

    @pytest.mark.parametrize(("share", "held"), [(0.5, 10), (0.25, 5), (0.1, 2), (0.05, 1), (0.3, 6)])
    def test_the_share_is_kept_over_all_pieces(self, footage: NormalFootage, share: float, held: int) -> None:
        changed = NormalFootage(footage.camera, footage.films, footage.seconds, share)
        assert sum(changed.is_held_back(piece) for piece in range(20)) == held

    def test_its_lengths_leave_out_excluded_and_unused_footage(self, footage: NormalFootage) -> None:
        """Of 20 pieces of 2 s, each fifth is held back: from 8 s to 10 s, 18 s to 20 s, and so on."""
        assert footage.lengths() == pytest.approx((32, 8))
        excluded = (Stretch(7, 8.5), Stretch(8, 9), Stretch(39, 50))
        assert dataclasses.replace(footage, excluded=excluded).lengths() == pytest.approx((31, 6))
        part = dataclasses.replace(footage, seconds=21.0)
        assert sum(part.lengths()) == pytest.approx(21)

    def test_clips_stay_within_their_piece_and_film(self, footage: NormalFootage) -> None:
        clips = list(footage.clips(CLIP))
        # A piece of 20 pictures has 18 clips of three.
        assert [sum(clip.piece == piece for clip in clips) for piece in range(20)] == 20 * [18]
        assert all(clip.held_back == (clip.piece % 5 == 4) for clip in clips)
        starts = [clip.start for clip in clips]
        assert starts == sorted(starts)
        assert [clip.film for clip in clips] == [int(clip.start >= 24) for clip in clips]

    def test_a_stretch_that_is_excluded_is_in_no_clip(self, folder: Path) -> None:
        less = read_footage("yard", [folder], hold_out=0.2, excluded=[Stretch(10.05, 11.95)])
        within = [clip.start for clip in less.clips(CLIP) if 9 <= clip.start < 13]
        # The clips end at 10.05 or before, or start at 11.95 or later.
        assert within == pytest.approx(
            [9.0, 9.1, 9.2, 9.3, 9.4, 9.5, 9.6, 9.7, 12.0] + [12 + k / 10 for k in range(1, 10)]
        )

    def test_minutes_take_the_first_ones(self, folder: Path) -> None:
        less = read_footage("yard", [folder], hold_out=0.2, minutes=0.25)
        assert less.seconds == 15
        assert max(clip.end for clip in less.clips(CLIP)) <= 15.2
        assert {clip.film for clip in less.clips(CLIP)} == {0}

    def test_a_run_of_clips_ends_where_clips_are_missing(self, folder: Path) -> None:
        """A stretch in the middle of a piece is excluded; without one, a run is a piece."""
        whole = read_footage("yard", [folder], hold_out=0.2)
        assert [clip.run for clip in whole.clips(CLIP)] == [clip.piece for clip in whole.clips(CLIP)]
        less = read_footage("yard", [folder], hold_out=0.2, excluded=[Stretch(8.75, 9.05)])
        within = [(round(clip.start, 1), clip.run) for clip in less.clips(CLIP) if clip.piece == 4]
        before, after = [start for start, run in within if run == 4], [start for start, run in within if run == 5]
        assert (before, after) == ([8.0, 8.1, 8.2, 8.3, 8.4], [9.1, 9.2, 9.3, 9.4, 9.5, 9.6, 9.7])

    def test_the_clock_stands_still_while_a_films_clock_jumps_ahead(self, tmp_path: Path) -> None:
        """A film of 12 s: after 6 s nothing is recorded for an hour."""
        times = [k / FPS + 3600 * (k >= 60) for k in range(120)]
        paused = read_footage("yard", [write(tmp_path / "1.mkv", pictures(12), times=times)], hold_out=0.2)
        (film,) = paused.films
        assert paused.seconds == film.seconds == pytest.approx(12)
        starts = [clip.start for clip in paused.clips(CLIP)]
        assert starts == pytest.approx([2 * piece + k / FPS for piece in range(6) for k in range(18)], abs=2e-3)
        assert [film.since_start(moment) for moment in (1, 5.95, 6.5, 11)] == pytest.approx([1, 5.95, 3606.5, 3611])

    def test_its_identity_is_content_and_use(self, folder: Path, footage: NormalFootage, tmp_path: Path) -> None:
        copy = read_footage("other", [shutil.copytree(folder, tmp_path / "moved")], hold_out=0.2)
        assert copy.identity == footage.identity
        assert read_footage("yard", [folder], hold_out=0.3).identity != footage.identity


class TestEvenRate:
    @pytest.mark.parametrize(
        ("rates", "even"),
        [
            ([25, 12.5], 12.5),
            ([30, 15], 15),
            ([30, 20], 10),
            ([29.97, 30.0, 29.9], 29.9 / 2),
            ([6, 12], 6),
            ([25, 23.976], 23.976),
            ([60, 24, 12], 12),
        ],
    )
    def test_the_gap_is_even_in_films_of_rates_with_a_common_part(
        self, footage: NormalFootage, rates: list[float], even: float
    ) -> None:
        assert of_rates(footage, *[(rate,) for rate in rates]).even_rate(10) == pytest.approx(even, abs=1e-3)

    @pytest.mark.parametrize("seconds", [60, 3600, 86400])
    def test_the_rate_of_a_slow_camera_is_its_own(self, footage: NormalFootage, seconds: int) -> None:
        assert of_rates(footage, (1 / seconds,)).even_rate(10) == pytest.approx(1 / seconds, rel=1e-5)

    @pytest.mark.parametrize("rates", [(25, 15), (25, 20), (30, 25), (12, 8)])
    def test_other_rates_are_refused(self, footage: NormalFootage, rates: tuple[float, float]) -> None:
        message = (
            rf"camera yard: .* \(got {min(rates):.3g} a second in .*\.mp4, {max(rates):.3g} in .*\.mp4\); expected"
        )
        with pytest.raises(FootageError, match=message):
            of_rates(footage, *[(rate,) for rate in rates]).even_rate(10)

    def test_a_rate_that_changes_within_a_film_is_refused(self, tmp_path: Path) -> None:
        """15 s at 10 pictures a second and then 30 s at 7, as in the dark."""
        times = [k / 10 if k < 150 else 15 + (k - 150) / 7 for k in range(360)]
        film = write(tmp_path / "dusk.mkv", pictures(36), times=times)
        footage = read_footage("yard", [film], hold_out=0.2)
        with pytest.raises(FootageError, match=r"\(got 7 to 10 a second within .*dusk\.mkv\)"):
            footage.even_rate(5)

    def test_jitter_and_lost_pictures_are_no_other_rate(self, tmp_path: Path) -> None:
        drawn = np.random.default_rng(5)
        times = [k / 15 + drawn.uniform(-0.01, 0.01) for k in range(450) if k % 23]
        film = write(tmp_path / "wall-clock.mkv", pictures(45)[: len(times)], times=times)
        assert read_footage("yard", [film], hold_out=0.2).even_rate(10) == pytest.approx(15, abs=0.1)


def of_rates(footage: NormalFootage, *rates: tuple[float, ...]) -> NormalFootage:
    """Return footage whose films have these rates."""
    films = tuple(dataclasses.replace(footage.films[at % 2], rates=one) for at, one in enumerate(rates))
    return dataclasses.replace(footage, films=films)


class TestRefused:
    def test_a_place_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FootageError, match=rf"{tmp_path}/no\.mp4: no such file or folder"):
            read_footage("yard", [tmp_path / "no.mp4"], hold_out=0.2)

    def test_a_folder_without_videos(self, tmp_path: Path) -> None:
        with pytest.raises(FootageError, match="a folder without videos; expected those of one camera"):
            read_footage("yard", [tmp_path], hold_out=0.2)

    def test_names_that_state_two_cameras(self, folder: Path, tmp_path: Path) -> None:
        """As Reolink names its files."""
        for camera in ("Door", "Gate"):
            for minute in (10, 20):
                shutil.copy(
                    folder / "1.mp4", tmp_path / f"{camera}_00_202405011{minute}000.mp4".replace("0110", "0118")
                )
        with pytest.raises(FootageError, match=r"state 2 cameras \(.*Door.*Gate.*\); expected the footage of one"):
            read_footage("yard", [tmp_path], hold_out=0.2)

    def test_films_of_two_sizes(self, folder: Path, tmp_path: Path) -> None:
        other = write(tmp_path / "2.mp4", [picture[:64] for picture in pictures(3)])
        with pytest.raises(FootageError, match=r"2\.mp4: pictures of 160×64, and those of .*1\.mp4 have 160×96"):
            read_footage("yard", [folder / "1.mp4", other], hold_out=0.2)

    def test_pictures_that_change_their_size_within_a_film(self, tmp_path: Path) -> None:
        """As a camera sends that was set to another size: two transport streams, one after the other."""
        shown = pictures(6)
        parts = [write(tmp_path / "1.ts", shown[:9]), write(tmp_path / "2.ts", [one[:64] for one in shown])]
        film = tmp_path / "both.ts"
        film.write_bytes(b"".join(part.read_bytes() for part in parts))
        footage = read_footage("yard", [film], hold_out=0.2)
        with pytest.raises(FootageError, match=r"both\.ts: its pictures change their size \(got 160×64 and 160×96\);"):
            list(footage.clips(CLIP))

    def test_a_copy_of_a_film(self, folder: Path, tmp_path: Path) -> None:
        copy = shutil.copy(folder / "1.mp4", tmp_path / "again.mp4")
        with pytest.raises(FootageError, match=r"again\.mp4: a copy of another film of the footage"):
            read_footage("yard", [folder, Path(copy)], hold_out=0.2)

    def test_a_file_that_is_not_a_video(self, tmp_path: Path) -> None:
        (tmp_path / "words.mp4").write_text("no pictures")
        with pytest.raises(SourceError, match=r"words\.mp4: not a video"):
            read_footage("yard", [tmp_path / "words.mp4"], hold_out=0.2)

    def test_a_stretch_beyond_the_end(self, folder: Path) -> None:
        with pytest.raises(UsageError, match=r"--exclude 0:01:30-0:01:35: the footage ends at 0:00:40"):
            read_footage("yard", [folder], hold_out=0.2, excluded=[Stretch(90, 95)])

    @pytest.mark.parametrize("text", ["", "5", "5-4", "5-5", "a-b", "1:2:3:4-5", "-5-6", "1-2-3"])
    def test_a_stretch_that_is_none(self, text: str) -> None:
        with pytest.raises(FootageError, match="expected FROM-TO on the footage's clock, such as 0:12:30-0:13:05"):
            parse_stretch(text)


def test_a_film_whose_clock_starts_again_is_refused(tmp_path: Path) -> None:
    """4 s and 2 s on a new clock: the last time before is 3.9 s, and the clock goes back to 0."""
    shown = pictures(6)
    parts = [write(tmp_path / "1.ts", shown[:40]), write(tmp_path / "2.ts", shown[40:])]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(FootageError, match=r"joined\.ts: its clock goes back by 3\.9 s, 0:00:03 after its start"):
        read_footage("yard", [joined], hold_out=0.2)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [("90-95.5", 90, 95.5), ("1:30-1:35", 90, 95), ("0:01:30-0:01:35", 90, 95), ("2:00:00 - 2:00:01", 7200, 7201)],
)
def test_a_stretch_is_read_as_people_write_it(text: str, start: float, end: float) -> None:
    assert parse_stretch(text) == (start, end)


def test_a_moment_is_read_back() -> None:
    assert parse_stretch(f"{clock(3725)}-{clock(3726)}") == (3725, 3726)


class TestOneScene:
    def watched(self, tmp_path: Path, shown: list[np.ndarray]) -> None:
        footage = read_footage("yard", [write(tmp_path / "film.mp4", shown)], hold_out=0.2)
        scene = OneScene("yard")
        for clip in footage.clips(ClipSpec(1, 3, HEIGHT, WIDTH, fps=FPS)):
            scene.add(clip)
        scene.finish()

    def test_people_that_walk_and_light_that_changes_are_one_scene(self, tmp_path: Path) -> None:
        shown = pictures(10)
        self.watched(tmp_path, [*shown, *[(picture * 0.5).astype(np.uint8) for picture in shown]])

    def test_a_second_camera_is_found(self, tmp_path: Path) -> None:
        message = r"camera yard: the footage at 0:00:10 shows another scene than at its start \(likeness -?0\.\d+;"
        with pytest.raises(FootageError, match=message):
            self.watched(tmp_path, [*pictures(10), *pictures(10, seed=7)])

    def test_a_camera_that_was_turned_is_found(self, tmp_path: Path) -> None:
        shown = pictures(10)
        with pytest.raises(FootageError, match="the camera was moved, or these are two cameras"):
            self.watched(tmp_path, [*shown, *[np.roll(picture, 29, 1) for picture in shown]])

    def test_the_earlier_part_is_not_checked_again(self) -> None:
        """A few of its clips may show a car before the scene; no --exclude could leave them out."""
        scene = OneScene("yard")
        for piece, shown in ((-3, yard()), (-2, np.zeros_like(yard())), (-1, yard(seed=7)), (0, yard())):
            coloured = np.repeat(shown[None, ..., None], 3, axis=-1)
            scene.add(PlacedClip(min(piece, 0), 0.0, 0.0, piece, piece, False, KeptPictures(coloured)))
        scene.finish()
        coloured = np.repeat(yard(seed=7)[None, ..., None], 3, axis=-1)
        scene.add(PlacedClip(0, 60.0, 60.3, 1, 1, False, KeptPictures(coloured)))
        with pytest.raises(FootageError, match="at 0:01:00 shows another scene than the footage learned before"):
            scene.finish()

    def test_black_footage_is_found(self, tmp_path: Path) -> None:
        with pytest.raises(
            FootageError, match=r"at 0:00:00 shows nothing \(contrast 0\.0 of 255; expected at least 2\)"
        ):
            self.watched(tmp_path, [np.zeros_like(yard())] * 60)
