"""Heat on pictures: at its place, in its colours, and nowhere else."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from operators.heat_kind import HeatKind
from pipeline.alerts.evidence import encode_jpeg
from pipeline.heat import Heat, at_pixels, draw
from pipeline.sources.base import Fit, FrameSpec
from pipeline.sources.scale import Part, Scaler, seen_part

GREY = 100


def grey(width: int, height: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), GREY, np.uint8), format="rgb24")


def read(picture: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(picture)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def drawn(
    frame: av.VideoFrame,
    values: list[list[float]],
    part: Part | None = None,
    kind: HeatKind = HeatKind.ATTENTION,
) -> np.ndarray:
    heat = Heat(np.array(values, np.float32), part or Part(0, 0, frame.width, frame.height), kind)
    return read(encode_jpeg(frame, heat))


def test_the_greatest_value_is_half_red_and_the_least_is_clear() -> None:
    """Beyond the centres of the outer cells (16 pixels from the edge) nothing changes any more."""
    pixels = drawn(grey(128, 64), [[0.25, 0.25, 0.25, 0.75]])
    np.testing.assert_allclose(pixels[:, :70].reshape(-1, 3), GREY, atol=3)
    # Half of (100, 100, 100) and half of (255, 0, 0).
    np.testing.assert_allclose(pixels[:, 116:].mean(axis=(0, 1)), (177.5, 50, 50), atol=3)
    middle = pixels[:, 95:97].mean(axis=(0, 1))  # between the centres of the last two cells: a quarter of (255, 110, 0)
    np.testing.assert_allclose(middle, (0.75 * GREY + 0.25 * 255, 0.75 * GREY + 0.25 * 110, 0.75 * GREY), atol=4)


@pytest.mark.parametrize("size", [(200, 120), (101, 57), (57, 101)])
def test_rows_and_columns_are_those_of_the_picture(size: tuple[int, int]) -> None:
    width, height = size
    for row in range(2):
        for column in range(3):
            cells = np.zeros((2, 3))
            cells[row, column] = 1.0
            red = drawn(grey(width, height), cells.tolist())[..., 0]
            y, x = np.unravel_index(np.argmax(red), red.shape)
            assert (int(y * 2 / height), int(x * 3 / width)) == (row, column)


def test_outside_of_what_the_model_saw_nothing_is_drawn() -> None:
    pixels = drawn(grey(128, 64), [[1.0, 0.0], [1.0, 0.0]], Part(32, 0, 96, 64))
    np.testing.assert_allclose(pixels[:, :30].reshape(-1, 3), GREY, atol=3)
    assert pixels[32, 36, 0] > 160


@pytest.mark.parametrize(
    "attention", [[[0.5, 0.5]], [[0.5, 0.509]], [[np.nan, 1.0]], [[0.7]]], ids=["even", "flat", "no number", "one cell"]
)
def test_a_map_that_tells_nothing_is_not_drawn(attention: list[list[float]]) -> None:
    np.testing.assert_array_equal(drawn(grey(64, 64), attention), read(encode_jpeg(grey(64, 64))))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([[0.0, 0.0]], (GREY, GREY, GREY), id="nothing abnormal is clear"),
        pytest.param([[0.5, 0.5]], (0.75 * GREY + 0.25 * 255, 0.75 * GREY + 0.25 * 110, 0.75 * GREY), id="half"),
        pytest.param([[1.0, 1.0]], (0.5 * GREY + 0.5 * 255, 0.5 * GREY, 0.5 * GREY), id="red everywhere"),
        pytest.param([[3.0, 3.0]], (0.5 * GREY + 0.5 * 255, 0.5 * GREY, 0.5 * GREY), id="above the scale"),
    ],
)
def test_an_anomaly_map_has_an_absolute_scale(values: list[list[float]], expected: tuple[float, ...]) -> None:
    """Even where it is flat: an attention map of these values would be clear."""
    pixels = drawn(grey(64, 64), values, kind=HeatKind.ANOMALY)
    np.testing.assert_allclose(pixels.mean(axis=(0, 1)), expected, atol=4)


def test_an_anomaly_map_without_numbers_is_not_drawn() -> None:
    pixels = drawn(grey(64, 64), [[np.nan, 1.0]], kind=HeatKind.ANOMALY)
    np.testing.assert_array_equal(pixels, read(encode_jpeg(grey(64, 64))))


@pytest.mark.parametrize("name", ["yuv420p", "yuvj420p", "rgb24"])
def test_the_frame_itself_stays_clean(name: str) -> None:
    frame = grey(64, 48).reformat(format=name)
    before = frame.to_ndarray()
    assert not np.array_equal(drawn(frame, [[0.0, 1.0]]), read(encode_jpeg(frame)))
    np.testing.assert_array_equal(frame.to_ndarray(), before)


def test_what_cannot_be_drawn_is_refused() -> None:
    part = Part(0, 0, 64, 64)
    with pytest.raises(ValueError, match=r"must be \(h, w\), got shape \(1, 2, 2\)"):
        draw(Heat(np.zeros((1, 2, 2), np.float32), part), grey(64, 64).reformat(format="yuvj420p"))
    with pytest.raises(ValueError, match="yuvj420p, got rgb24"):
        draw(Heat(np.zeros((2, 2), np.float32), part), grey(64, 64))


class TestSeenPart:
    """What a clip's frame shows of the camera's picture."""

    @pytest.mark.parametrize(
        ("fit", "part"),
        [
            (Fit.STRETCH, (0, 0, 320, 200)),
            (Fit.CROP, (60, 0, 260, 200)),  # a square clip shows the middle square
            (Fit.LETTERBOX, (0, -60, 320, 260)),
        ],
    )
    def test_of_a_wide_picture_in_a_square_clip(self, fit: Fit, part: tuple[float, ...]) -> None:
        assert seen_part(320, 200, FrameSpec(112, 112, fit)) == pytest.approx(part)

    @given(
        fit=st.sampled_from(list(Fit)),
        width=st.integers(60, 200).map(lambda n: 2 * n),
        height=st.integers(60, 200).map(lambda n: 2 * n),
        x=st.floats(0.35, 0.65),
        y=st.floats(0.35, 0.65),
    )
    def test_a_point_of_the_picture_is_where_the_scaler_puts_it(
        self, fit: Fit, width: int, height: int, x: float, y: float
    ) -> None:
        """A white spot, scaled by FFmpeg as every clip is, then looked up through the part."""
        centre_x, centre_y = round(x * width), round(y * height)
        rows, columns = np.ogrid[:height, :width]
        spot = (abs(rows + 0.5 - centre_y) < 12) & (abs(columns + 0.5 - centre_x) < 12)
        image = np.repeat(np.where(spot, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
        spec = FrameSpec(96, 96, fit)
        small = Scaler(spec)(av.VideoFrame.from_ndarray(image, format="rgb24"))[..., 0].astype(float)
        part = seen_part(width, height, spec)
        found_x = (small.sum(axis=0) * (np.arange(96) + 0.5)).sum() / small.sum() / 96
        found_y = (small.sum(axis=1) * (np.arange(96) + 0.5)).sum() / small.sum() / 96
        # The scaler rounds to whole pixels of the clip.
        assert part.left + found_x * (part.right - part.left) == pytest.approx(centre_x, abs=0.02 * width + 2)
        assert part.top + found_y * (part.bottom - part.top) == pytest.approx(centre_y, abs=0.02 * height + 2)


def test_a_map_at_the_pixels_of_a_letterboxed_picture():
    """Two rows of cells over a square of 8 × 8, of which the picture, 8 × 4, is the middle half.

    The picture's rows are at 2.5 to 5.5 of the square, between cells with their centres at 2 and 6.
    """
    cells = np.array([[1.0, 1.0], [0.0, 0.0]], np.float32)
    found = at_pixels(cells, Part(0, -2, 8, 6), 8, 4)
    assert found.shape == (4, 8)
    assert found.T.tolist() == [[7 / 8, 5 / 8, 3 / 8, 1 / 8]] * 8


def test_a_map_is_zero_where_it_does_not_reach():
    found = at_pixels(np.full((3, 3), 0.7, np.float32), Part(2, 0, 6, 4), 8, 4)
    assert found.tolist() == [[0, 0, *[np.float32(0.7)] * 4, 0, 0]] * 4
