"""Clips of one camera: their rate, and a sample with the same share of held-back footage, however long it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from walking_films import FPS, write_two

from models.data import normal_footage
from models.data.camera_clips import clip_of_camera, judged_clips, sparse_clips
from models.data.normal_footage import Film, FootageError, NormalFootage, PlacedClip, read_footage
from pipeline.windows import ClipSpec

HOUR, DAY = 3600, 24 * 3600
CLIP = ClipSpec(1, 1, 240, 320, fps=10.0)


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Films of days whose pictures are never made: only the clips' places count here."""

    class Undecoded:
        def __init__(self, _camera: str, path: Path, **_: Any) -> None:
            self.seconds = float(path.stem)

        def frames(self, *_: Any) -> Iterator[float]:
            yield self.seconds

    def cut(frames: Iterator[float], spec: ClipSpec) -> Iterator[SimpleNamespace]:
        assert spec.fps is not None
        size, segment = SimpleNamespace(width=320, height=240), SimpleNamespace(id="0")
        for index, first in enumerate(range(0, int(next(frames) * spec.fps) - spec.frames + 1, spec.stride)):
            start, end = first / spec.fps, (first + spec.frames) / spec.fps
            yield SimpleNamespace(middle=size, start=start, end=end, segment=segment, index=index)

    monkeypatch.setattr(normal_footage, "FileSource", Undecoded)
    monkeypatch.setattr(normal_footage, "cut", cut)


def footage_of(seconds: int, number: int, hold_out: float) -> NormalFootage:
    """Return so many films of so many seconds."""
    films = tuple(
        Film(Path(f"{seconds}.mp4"), str(at), at * seconds, seconds, 0.0, (10.0,), 240, 320) for at in range(number)
    )
    return NormalFootage("gate", films, seconds * number, hold_out)


@pytest.mark.usefixtures("undecoded")
class TestLongFootage:
    def test_clips_of_a_stride_are_drawn_by_their_own_number(self) -> None:
        """Of 45,000 clips in ten hours, 36,000 are learned from: about 2000 of them are judged, as of any clips."""
        clip = ClipSpec(16, 8, 240, 320, fps=10.0)
        found = [one for one in judged_clips(footage_of(HOUR, 10, 0.2), clip) if not one.held_back]
        assert 1800 <= len(found) <= 2000

    @pytest.mark.parametrize(("most", "frames"), [(1200, 7), (1000, 1)])
    @pytest.mark.parametrize(
        ("film", "whole"),
        [
            (HOUR, DAY),
            (HOUR, 3 * DAY),
            (300, 7 * DAY),
            (1800, 7 * DAY),
            (HOUR, 7 * DAY),
            (HOUR, 14 * DAY),
            (HOUR, 30 * DAY),
            (25 * HOUR, 25 * HOUR),
            (50 * HOUR, 50 * HOUR),
            (100 * HOUR, 100 * HOUR),
        ],
    )
    def test_a_fifth_of_the_sample_is_held_back(self, film: int, whole: int, most: int, frames: int) -> None:
        footage = footage_of(film, whole // film, 0.2)
        found = list(sparse_clips(footage, ClipSpec(frames, 1, 240, 320, fps=10.0), most))
        held_back = [one.start for one in found if one.held_back]
        assert len(found) == pytest.approx(most, rel=0.02)
        assert len(held_back) == pytest.approx(most / 5, rel=0.02)
        # Evenly: multiples of the golden ratio leave gaps of three lengths at most, the longest 2.6 times the mean.
        for kind in (held_back, [one.start for one in found if not one.held_back]):
            moments = [0.0, *kind, float(whole)]
            gaps = [after - before for before, after in pairwise(moments)]
            assert max(gaps) < 3 * whole / len(kind) + 300  # 300 s is the period of the held-back pieces

    @pytest.mark.parametrize("hold_out", [0.05, 0.1, 0.3, 0.5])
    def test_other_shares_are_kept_too(self, hold_out: float) -> None:
        footage = footage_of(HOUR, 168, hold_out)
        found = Counter(one.held_back for one in sparse_clips(footage, ClipSpec(7, 1, 240, 320, fps=10.0), 1200))
        assert found[True] == pytest.approx(1200 * hold_out, abs=3)
        assert found[False] == pytest.approx(1200 * (1 - hold_out), abs=3)

    def test_a_slow_camera_has_a_clip_in_every_piece_that_is_chosen(self) -> None:
        """Clips of 35 s in pieces of 60 s: starts that a fixed stride may step over."""
        footage = footage_of(HOUR, 168, 0.2)
        found = Counter(one.held_back for one in sparse_clips(footage, ClipSpec(7, 1, 240, 320, fps=0.2), 1200))
        assert (found[False], found[True]) == (pytest.approx(960, abs=3), pytest.approx(240, abs=3))

    def test_many_short_films_give_no_more(self) -> None:
        """Films of 10 s over 10 hours: a stride that begins anew with each would give 3600 clips."""
        found = list(sparse_clips(footage_of(10, 3600, 0.2), ClipSpec(1, 1, 240, 320, fps=10.0), 600))
        assert Counter(one.piece for one in found) == dict.fromkeys(range(600), 1)

    def test_an_hour_is_judged_by_2000_clips_of_each_kind(self) -> None:
        """12 of 60 pieces are held back: 167 clips each. Of the rest, one clip in 15."""
        found = list(judged_clips(footage_of(HOUR, 1, 0.2), CLIP))
        held_back = [one for one in found if one.held_back]
        assert Counter(one.piece for one in held_back) == dict.fromkeys(range(4, 60, 5), 167)
        for _, stretch in groupby(held_back, key=lambda one: one.run):
            starts = [one.start for one in stretch]
            assert np.diff(starts) == pytest.approx(0.1)
        learned = [one.start for one in found if not one.held_back]
        assert 1800 <= len(learned) <= 2000
        assert max(np.diff([0.0, *learned, HOUR])) < 60 + 2 * 1.5  # over a held-back piece

    def test_days_are_judged_by_stretches_that_are_long_enough_to_average(self) -> None:
        clip = ClipSpec(1, 1, 240, 320, fps=1.0)
        found = [one for one in judged_clips(footage_of(HOUR, 10, 0.2), clip) if one.held_back]
        stretches = Counter(one.piece for one in found)
        assert set(stretches.values()) == {50}
        assert len(stretches) == pytest.approx(40, abs=2)
        starts = sorted(60.0 * piece for piece in stretches)
        assert max(np.diff([0.0, *starts, 10 * HOUR])) < 3 * 10 * HOUR / 40 + 300


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> NormalFootage:
    """Return two films, of 24 and 16 s: 400 pictures, in 20 pieces."""
    return read_footage("yard", [write_two(tmp_path_factory.mktemp("yard"), 40, 24)], hold_out=0.2)


class TestShortFootage:
    @pytest.mark.parametrize(("most", "stride"), [(1200, 1), (400, 1), (200, 2), (100, 4)])
    def test_the_sample_is_one_clip_every_few_frames(self, footage: NormalFootage, most: int, stride: int) -> None:
        clip = ClipSpec(3, 1, 48, 80, fps=FPS)
        found = places(sparse_clips(footage, clip, most))
        assert found == places(footage.clips(ClipSpec(3, stride, 48, 80, fps=FPS)))
        assert {piece for _, piece, _ in found} == set(range(20))

    def test_all_of_it_is_judged(self, footage: NormalFootage) -> None:
        clip = ClipSpec(3, 1, 48, 80, fps=FPS)
        assert places(judged_clips(footage, clip)) == places(footage.clips(clip))


class TestSlowCameras:
    @pytest.mark.parametrize(("every", "frames"), [(10, 7), (30, 3), (61, 1), (3600, 1), (3600, 7), (86400, 2)])
    def test_pictures_that_come_too_seldom(self, every: int, frames: int) -> None:
        """A piece has 60 s at most."""
        message = (
            rf"^camera gate: its pictures come too seldom to compare them \(got one in {every} s\); "
            rf"expected at least {frames} in 60 s; set the camera to a higher rate$"
        )
        with pytest.raises(FootageError, match=message):
            clip_of(every, frames)

    @pytest.mark.parametrize(("every", "frames"), [(8, 7), (30, 2), (60, 1)])
    def test_the_slowest_ones_have_their_own_rate(self, every: int, frames: int) -> None:
        assert clip_of(every, frames).fps == pytest.approx(1 / every, rel=1e-5)


def clip_of(every: int, frames: int) -> ClipSpec:
    """Return the clips of a camera with a picture in so many seconds."""
    films = (Film(Path("slow.mkv"), "0", 0.0, 120.0 * every, 0.0, (1 / every,), 240, 320),)
    footage = NormalFootage("gate", films, 120.0 * every, 0.2)
    return clip_of_camera(footage, frames=frames, height=240, cell=8, least_cells=4, least_fps=10)


def places(clips: Iterator[PlacedClip]) -> list[tuple[float, int, bool]]:
    return [(one.start, one.piece, one.held_back) for one in clips]
