"""The places of clips: kept beside what was computed of the clips, and split into unbroken runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.data.clip_places import ClipPlaces, PlaceList
from models.data.normal_footage import PlacedClip

#: (film, piece, run, held back): piece 1 spans two films, and has an excluded stretch in the second one.
ROWS = [
    *((0, 0, 0, False), (0, 0, 0, False), (0, 1, 1, True)),
    *((1, 1, 2, True), (1, 1, 2, True), (1, 1, 3, True), (1, 2, 4, False), (1, 3, 5, True)),
]


def places() -> ClipPlaces:
    found = PlaceList()
    for at, (film, piece, run, held_back) in enumerate(ROWS):
        found.add(PlacedClip(film, at, at + 0.5, piece, run, held_back, None))  # type: ignore[arg-type]
    return found.places()


def test_values_of_held_back_clips_come_by_unbroken_runs() -> None:
    runs = places().held_back_runs(np.arange(8.0))
    assert [run.tolist() for run in runs] == [[2.0], [3.0, 4.0], [5.0], [7.0]]


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    places().write(tmp_path / "places.npz")
    read = ClipPlaces.read(tmp_path / "places.npz")
    assert len(read) == 8
    np.testing.assert_array_equal(read.film, [0, 0, 0, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(read.run, [0, 0, 1, 2, 2, 3, 4, 5])
    np.testing.assert_array_equal(read.start, np.arange(8.0))
    np.testing.assert_array_equal(read.end, np.arange(8) + 0.5)
    assert read.held_back.dtype == np.bool_
