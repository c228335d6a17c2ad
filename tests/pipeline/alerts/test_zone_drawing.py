"""Zones on pictures: at their place, in their colours, with their names, and nowhere else."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import unquote, urlparse

import av
import numpy as np
import pytest
from PIL import Image

from operators.zones import Zone
from pipeline.alerts.evidence import EvidenceStore, encode_jpeg
from pipeline.alerts.zone_drawing import draw_zones
from pipeline.heat import Heat
from pipeline.lettering import drawable, lettered
from pipeline.sources.scale import Part

GREY = 100
SQUARE = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))


def grey(width: int = 400, height: int = 200) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), GREY, np.uint8), format="rgb24")


def read(picture: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(picture)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def drawn(frame: av.VideoFrame, *zones: Zone) -> np.ndarray:
    return read(encode_jpeg(frame, zones=zones))


def changed(pixels: np.ndarray) -> np.ndarray:
    return np.abs(pixels - GREY).max(axis=2) > 25


def test_an_outline_lies_on_the_sides_and_nowhere_else() -> None:
    """One pixel of blue with one of black on each side; JPEG's blocks of chroma smear by a few pixels."""
    touched = changed(drawn(grey(), Zone("a", SQUARE)))
    rows, columns = np.nonzero(touched)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((50, 150, 100, 300), abs=4)
    assert touched[148:153, 110:290].any(axis=0).all()  # the lower side, without gaps
    assert touched[75:145, 98:103].any(axis=1).all()  # the left one, below the name
    assert not touched[75:140, 110:290].any()


@pytest.mark.parametrize("size", [(320, 180), (321, 179), (1920, 1080), (64, 48), (16, 16)])
def test_zones_scale_with_the_picture(size: tuple[int, int]) -> None:
    width, height = size
    touched = changed(drawn(grey(width, height), Zone("a", SQUARE)))
    thick = max(1, round(height / 360))
    assert touched[round(0.75 * height) - thick : round(0.75 * height) + thick + 1, width // 2].any()
    assert touched[round(0.7 * height), round(0.75 * width) - thick : round(0.75 * width) + thick + 1].any()


def test_a_zone_over_the_whole_picture_is_seen_at_its_edges() -> None:
    touched = changed(drawn(grey(), Zone("a", ((0, 0), (1, 0), (1, 1), (0, 1)))))
    assert all(side.mean() > 0.9 for side in (touched[0], touched[-1], touched[:, 0], touched[:, -1]))


def test_an_ignore_zone_is_hatched_in_grey_and_another_is_not() -> None:
    pixels = drawn(grey(), Zone("a", SQUARE, ignore=True))
    inside = pixels[75:145, 110:290]
    assert 0.05 < changed(inside).mean() < 0.4
    assert np.ptp(inside, axis=2).max() < 25  # no colour
    assert not changed(pixels)[:45].any()
    assert not changed(pixels)[:, 310:].any()


def test_its_hatching_ends_at_a_slanted_side() -> None:
    pixels = drawn(grey(), Zone("a", ((0, 0), (1, 1), (0, 1)), ignore=True))
    touched = changed(pixels)
    y, x = np.mgrid[0:200, 0:400]
    above = x / 400 > y / 200 + 0.05
    above[:15, :30] = False  # the name
    assert not touched[above].any()
    assert touched[x / 400 < y / 200 - 0.05].mean() > 0.05


def test_the_name_stands_at_the_topmost_corner_in_white_on_blue() -> None:
    pixels = drawn(grey(), Zone("GATE", SQUARE))
    letters = lettered("GATE")
    place = pixels[52 : 52 + letters.shape[0], 102 : 102 + letters.shape[1]]
    assert place[letters].mean() > place[~letters].mean() + 60
    assert place[~letters][:, 2].mean() > place[~letters][:, 0].mean() + 60  # blue


def test_a_name_is_moved_into_the_picture() -> None:
    """It ends at the right edge: eleven letters of six pixels, and two before and one behind them."""
    pixels = drawn(grey(), Zone("a-long-name", ((0.9, 0.1), (1, 0.1), (1, 0.2))))
    letters = lettered("A-LONG-NAME")
    left = 400 - letters.shape[1] - 1
    place = pixels[22 : 22 + letters.shape[0], left : left + letters.shape[1]]
    assert place[letters].mean() > place[~letters].mean() + 60


def test_other_scripts_are_drawn_as_the_zones_number() -> None:
    with_number = drawn(grey(), Zone("a", ((0, 0), (0.1, 0), (0, 0.1))), Zone("駐車場", SQUARE))
    named = drawn(grey(), Zone("a", ((0, 0), (0.1, 0), (0, 0.1))), Zone("門", SQUARE))
    np.testing.assert_array_equal(with_number, named)
    assert drawable("Zufahrt-Süd_2.ß") == "ZUFAHRT-SUD_2.SS"
    assert drawable("駐車場") is None


def test_each_letter_differs_from_all_others() -> None:
    glyphs = {lettered(char).tobytes() for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:# "}
    assert len(glyphs) == 26 + 10 + 6


def test_the_frame_itself_is_not_changed() -> None:
    frame = grey()
    encode_jpeg(frame, zones=(Zone("a", SQUARE),))
    np.testing.assert_array_equal(frame.to_ndarray(), GREY)


def test_only_a_picture_of_jpeg_is_drawn_into() -> None:
    with pytest.raises(ValueError, match="zones are drawn into yuvj420p, got rgb24"):
        draw_zones([Zone("a", SQUARE)], grey())


@pytest.mark.parametrize(("heat", "zones"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_store_draws_what_it_is_asked_to(tmp_path: Path, heat: bool, zones: bool) -> None:
    store = EvidenceStore(tmp_path, quota_bytes=10**6, max_age_seconds=60, heat=heat, zones=zones)
    hot = Heat(np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]], np.float32), Part(0, 0, 400, 200))
    uri = store.save(grey(), camera="gate", name="a", heat=hot, zones=(Zone("a", SQUARE),))
    touched = changed(read(Path(unquote(urlparse(uri).path)).read_bytes()))
    assert touched[190, 390] == heat
    assert touched[148:153, 150].any() == zones
