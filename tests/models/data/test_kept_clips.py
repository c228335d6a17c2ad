"""Clips that are kept for an update: without loss, of bounded number, and drawn with added footage by length."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from walking_films import FPS, pictures, write

from models.data import camera_clips
from models.data.camera_clips import clips_to_keep, judged_clips, sparse_clips
from models.data.kept_clips import KeptClips, read_kept, spread, write_kept
from models.data.lossless_film import LosslessFilm, pictures_of
from models.data.normal_footage import NormalFootage, PlacedClip, read_footage
from pipeline.windows import ClipSpec

CLIP = ClipSpec(3, 1, 48, 80, fps=FPS)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> NormalFootage:
    """Return 40 s, in pieces of 2 s."""
    film = write(tmp_path_factory.mktemp("films") / "1.mp4", pictures(40))
    return read_footage("yard", [film], hold_out=0.25)


@pytest.fixture(scope="module")
def kept(footage: NormalFootage, tmp_path_factory: pytest.TempPathFactory) -> KeptClips:
    return written(footage, tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def added(kept: KeptClips, tmp_path_factory: pytest.TempPathFactory) -> NormalFootage:
    """Return 10 s that are added to the 40 s."""
    film = write(tmp_path_factory.mktemp("films") / "2.mp4", pictures(10, pace=2))
    return dataclasses.replace(read_footage("yard", [film], hold_out=0.2), earlier=kept)


def written(footage: NormalFootage, folder: Path) -> KeptClips:
    write_kept(folder, footage, CLIP, clips_to_keep(footage, CLIP), lambda _: None)
    return read_kept(folder, "digest")


def test_a_lossless_film_returns_its_pictures_and_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (7, 48, 80, 3), np.uint8)
    for name in ("1.mkv", "2.mkv"):
        film = LosslessFilm(tmp_path / name, 48, 80)
        assert [film.add(picture) for picture in noise] == list(range(7))
        film.close()
    assert np.array_equal(np.stack(list(pictures_of(tmp_path / "1.mkv"))), noise)
    assert (tmp_path / "1.mkv").read_bytes() == (tmp_path / "2.mkv").read_bytes()


@pytest.mark.parametrize("frames", [1, 3])
def test_kept_clips_are_those_of_the_footage(footage: NormalFootage, kept: KeptClips, frames: int) -> None:
    """Also for a member of a fused detector that sees fewer pictures."""
    every = list(kept.clips(np.ones(len(kept.last), np.bool_), frames))
    drawn = list(clips_to_keep(footage, CLIP))
    assert len(every) == len(drawn)
    for one, other in zip(every, drawn, strict=True):
        assert np.array_equal(one.window.pixels, other.window.pixels[-frames:])
        assert (one.film, one.held_back) == (-1, other.held_back)
        assert max(one.run, one.piece) < 0
    assert runs(every) == runs(drawn)
    assert (kept.height, kept.width, kept.clip) == (96, 160, CLIP)


def test_overlapping_clips_share_their_pictures(kept: KeptClips) -> None:
    """Each piece of 2 s has 18 clips of 3 pictures, and 20 pictures."""
    assert (len(kept.last), len(list(pictures_of(kept.folder / "pictures.mkv")))) == (20 * 18, 20 * 20)


@pytest.mark.parametrize(("number", "wanted", "length"), [(2000, 1935, 50), (2000, 700, 50), (60, 16, 50), (9, 4, 1)])
def test_a_spread_has_the_wanted_number_in_even_stretches(number: int, wanted: int, length: int) -> None:
    taken = spread(number, wanted, length)
    assert taken.sum() == pytest.approx(wanted, abs=1)
    begins = np.flatnonzero(np.diff(taken.astype(int), prepend=0) == 1)
    lengths = np.flatnonzero(np.diff(taken.astype(int), append=0) == -1) + 1 - begins
    assert lengths.min() >= min(length, wanted) - 1 or length == 1
    for half in np.split(taken[: number // 2 * 2], 2):
        assert half.sum() == pytest.approx(wanted / 2, abs=length)


def test_a_spread_takes_no_more_than_there_is_or_is_wanted() -> None:
    assert spread(0, 10, 50).shape == (0,)
    assert not spread(10, 0, 1).any()
    assert spread(10, 11, 3).all()


def test_the_parts_have_shares_by_length(added: NormalFootage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30 and 10 s that are learned from and held back, and 8 and 2 s added: four fifths and a fifth."""
    monkeypatch.setattr(camera_clips, "_KEPT_LEARNED", 95)
    monkeypatch.setattr(camera_clips, "_HELD_BACK", 60)
    monkeypatch.setattr(camera_clips, "_STRETCH", 10)
    for clips in (list(judged_clips(added, CLIP)), list(clips_to_keep(added, CLIP))):
        counts = {(one.film, one.held_back): 0 for one in clips}
        for one in clips:
            counts[one.film, one.held_back] += 1
        assert counts[-1, False] == pytest.approx(95 * 30 / 38, abs=1)
        assert counts[0, False] == pytest.approx(95 * 8 / 38, abs=4)  # one in so many pictures
        assert counts[-1, True] == pytest.approx(60 * 10 / 12, abs=1)
        assert counts[0, True] == pytest.approx(60 * 2 / 12, abs=1)
        assert min(len(run) for run in runs(clips) if run[0][1]) >= 8  # stretches, to be averaged
    sample = [one.film for one in sparse_clips(added, CLIP, 50)]
    assert sample.count(-1) == pytest.approx(40, abs=1)
    assert 10 <= sample.count(0) <= 20  # a clip in each of 5 pieces, at least


def test_clips_that_are_kept_again_have_the_ordinals_of_their_learnings(added: NormalFootage, tmp_path: Path) -> None:
    again = written(added, tmp_path)
    assert [len(one["films"]) for one in again.learnings] == [1, 1]
    assert sorted(set(again.learning)) == [0, 1]
    assert again.films == {*added.identity["films"], *added.identity["earlier"]["learnings"][0]["films"]}
    assert (again.learned_seconds, again.held_back_seconds) == (pytest.approx(38, abs=0.3), pytest.approx(12, abs=0.3))
    films = [one.film for one in again.clips(np.ones(len(again.last), np.bool_), 3)]
    assert films == sorted(films)
    assert set(films) == {-2, -1}


def runs(clips: list[PlacedClip]) -> list[list[tuple[int, bool]]]:
    """Return length of the run and kind of each clip, by runs."""
    borders = np.flatnonzero(np.diff([one.run for one in clips])) + 1
    return [[(part.size, clips[at].held_back) for at in part] for part in np.split(np.arange(len(clips)), borders)]
