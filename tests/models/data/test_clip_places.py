"""The places of clips: kept beside what was computed of the clips, and split into pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.data.clip_places import ClipPlaces, PlaceList
from models.data.normal_footage import PlacedClip

#: (film, piece, held back): piece 1 spans two films, and no clip of one spans both.
ROWS = [(0, 0, False), (0, 0, False), (0, 1, True), (1, 1, True), (1, 1, True), (1, 2, False), (1, 3, True)]


def places() -> ClipPlaces:
    found = PlaceList()
    for at, (film, piece, held_back) in enumerate(ROWS):
        found.add(PlacedClip(film, at, at + 0.5, piece, held_back, None))  # type: ignore[arg-type]
    return found.places()


def test_values_of_held_back_clips_come_piece_by_piece_and_film_by_film() -> None:
    pieces = places().held_back_pieces(np.arange(7.0))
    assert [piece.tolist() for piece in pieces] == [[2.0], [3.0, 4.0], [6.0]]


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    places().write(tmp_path / "places.npz")
    read = ClipPlaces.read(tmp_path / "places.npz")
    assert len(read) == 7
    np.testing.assert_array_equal(read.film, [0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(read.start, np.arange(7.0))
    np.testing.assert_array_equal(read.end, np.arange(7) + 0.5)
    assert read.held_back.dtype == np.bool_
