"""Ignore zones in the clips of one detector: the right cells and pixels in every fit, and what is shown there."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from structlog.testing import capture_logs

from operators.background import SceneKind
from operators.heat_kind import HeatKind
from operators.zones import Zone
from pipeline.scoring.ignoring import Ignoring, ignored_cells, without
from pipeline.scoring.served_model import HeatMap, ServedModel
from pipeline.sources.base import Fit, FrameSpec, Segment
from pipeline.sources.scale import Scaler
from pipeline.windows import ClipSpec, ClipWindow

T, H, W = 4, 48, 64
CLIP = ClipSpec(frames=T, stride=T, height=H, width=W)
PLAIN = ServedModel("plain", "1", CLIP)
ATTENTION = dataclasses.replace(PLAIN, heat=HeatMap(3, 4, HeatKind.ATTENTION))
OLDER = dataclasses.replace(PLAIN, heat=HeatMap(6, 8, HeatKind.ANOMALY))
MASKED = dataclasses.replace(OLDER, takes_mask=True)
#: The right half of the upright picture, and a zone that is not ignored.
RIGHT = Zone("road", ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)), ignore=True)
WATCHED = Zone("gate", ((0.0, 0.0), (0.4, 0.0), (0.4, 1.0)))
LEFT_GREY, RIGHT_GREY = 50, 90


def picture(width: int = 192, height: int = 108, grey: npt.NDArray[np.uint8] | int = 0) -> av.VideoFrame:
    shown = np.empty((height, width, 3), np.uint8)
    shown[...] = grey
    return av.VideoFrame.from_ndarray(shown, format="rgb24")


def window(pixels: npt.NDArray[np.uint8], *, index: int = 0, **said: Any) -> ClipWindow:
    middle = said.pop("middle", None) or picture()
    return ClipWindow(
        segment=Segment("gate-1", "gate", True),
        index=index,
        start=float(index),
        end=index + 1.0,
        started_at=None,
        ended_at=None,
        captured_at=datetime.now(UTC),
        pixels=pixels,
        middle=middle,
        **said,
    )


def still() -> npt.NDArray[np.uint8]:
    """A clip of an empty yard: a grey left half, and another one on the right."""
    clip = np.full((T, H, W, 3), LEFT_GREY, np.uint8)
    clip[:, :, W // 2 :] = RIGHT_GREY
    return clip


def busy(*, standing: bool = False) -> npt.NDArray[np.uint8]:
    """The same with a white thing in each half: on the right it moves, or stands there in every frame."""
    clip = still()
    clip[:, 10:14, 4:8] = 255
    for frame in range(T):
        at = W // 2 + (8 if standing else 6 * frame)
        clip[frame, 10:14, at : at + 4] = 255
    return clip


def right_half(clip: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return clip[:, :, W // 2 :]


class TestPlaces:
    @pytest.mark.parametrize("fit", list(Fit))
    @pytest.mark.parametrize("size", [(192, 108), (108, 192), (100, 100)])
    def test_ignored_pixels_are_those_that_show_the_zone(self, fit: Fit, size: tuple[int, int]) -> None:
        """The oracle is a picture that is white in the zone and grey elsewhere, scaled as a camera's is."""
        width, height = size
        zone = Zone("pond", ((0.1, 0.3), (0.6, 0.3), (0.6, 0.8), (0.1, 0.8)), ignore=True)
        shown = np.full((height, width, 3), 100, np.uint8)
        shown[round(0.3 * height) : round(0.8 * height), round(0.1 * width) : round(0.6 * width)] = 255
        native = picture(width, height, shown)
        spec = FrameSpec(H, W, fit, None)
        scaled = Scaler(spec)(native).astype(int)[..., 0]
        found = Ignoring("gate", [WATCHED, zone], spec).apply(
            window(still(), middle=native), dataclasses.replace(MASKED, heat=HeatMap(H, W, HeatKind.ANOMALY))
        )
        assert found.mask is not None
        assert found.hidden is not None
        sure = np.abs(scaled - (100 + 255) / 2) > 45  # all but pixels on the zone's border
        np.testing.assert_array_equal(found.mask[sure] != 0, (scaled > 200)[sure])
        np.testing.assert_array_equal(found.hidden, found.mask != 0)
        assert found.mask.any()

    def test_a_zone_is_of_the_picture_as_people_hold_it(self) -> None:
        """The camera lies on its side: its upright picture is 108 wide and 192 high, cropped to its middle."""
        lying = picture(192, 108)
        spec = FrameSpec(H, W, Fit.CROP, None)
        lower = Zone("ground", ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)), ignore=True)
        upright = Ignoring("gate", [lower], spec).apply(window(still(), middle=picture(108, 192)), MASKED)
        assert upright.mask is not None
        assert lying.rotation == 0
        np.testing.assert_array_equal(upright.mask, np.repeat([[0], [0], [0], [1], [1], [1]], 8, axis=1))

    def test_a_cell_is_ignored_from_half_of_what_it_shows_on(self) -> None:
        """Of four columns, the zone covers the last whole, half of the third, and in the lower row a bit less."""
        points = ((0.625, 0.0), (1.0, 0.0), (1.0, 1.0), (0.63, 1.0), (0.63, 0.5), (0.625, 0.5))
        found = ignored_cells([Zone("road", points, ignore=True)], 2, 4, (0.0, 0.0, 1.0, 1.0))
        np.testing.assert_array_equal(found, [[0, 0, 1, 1], [0, 0, 0, 1]])

    def test_the_bars_of_a_letterbox_do_not_count(self) -> None:
        """The picture begins in the middle of the upper row of cells, and the zone covers it up to there."""
        top = Zone("sky", ((0.0, 0.0), (1.0, 0.0), (1.0, 0.2), (0.0, 0.2)), ignore=True)
        found = ignored_cells([top], 3, 1, (0.0, -0.4, 1.0, 1.4))  # cells from −0.4, 0.2 and 0.8 on
        np.testing.assert_array_equal(found, [[1], [0], [0]])

    def test_two_zones_may_share_a_cell(self) -> None:
        halves = [
            Zone(side, ((x, 0.0), (x + 0.25, 0.0), (x + 0.25, 1.0), (x, 1.0)), True)
            for side, x in (("a", 0.25), ("b", 0.5))
        ]
        np.testing.assert_array_equal(ignored_cells(halves, 1, 1, (0.0, 0.0, 1.0, 1.0)), [[1]])
        np.testing.assert_array_equal(ignored_cells(halves[:1], 1, 1, (0.0, 0.0, 1.0, 1.0)), [[0]])

    def test_what_two_zones_cover_counts_once(self) -> None:
        """Each covers 30 % of the cell, off its edges; together the same 30 %, or 45 % where they are moved."""
        third, moved = (
            Zone(name, ((x, 0.0), (x + 0.3, 0.0), (x + 0.3, 1.0), (x, 1.0)), True)
            for name, x in (("a", 0.11), ("b", 0.26))
        )
        for zones in ([third, third], [third, moved], [moved, third, moved]):
            np.testing.assert_array_equal(ignored_cells(zones, 1, 1, (0.0, 0.0, 1.0, 1.0)), [[0]])

    def test_a_size_that_changes_moves_the_places(self) -> None:
        """A crop of a wide picture to 4:3 shows less of the left and right sides than of a narrow one."""
        side = Zone("side", ((0.0, 0.0), (0.2, 0.0), (0.2, 1.0), (0.0, 1.0)), ignore=True)
        ignoring = Ignoring("gate", [side], FrameSpec(H, W, Fit.CROP, None))
        columns = []
        for size in ((192, 108), (128, 96)):
            hidden = ignoring.apply(window(still(), middle=picture(*size)), MASKED).hidden
            assert hidden is not None
            columns.append(int(hidden[0].sum()))
        # 192 × 108 shows its middle 144: 0.2 · 192 − 24 of 144 pixels; 128 × 96 is shown whole.
        assert columns == [round((38.4 - 24) / 144 * W), round(0.2 * W)]


class TestApply:
    def test_without_ignore_zones_a_clip_is_itself(self) -> None:
        clip = window(busy())
        for served in (PLAIN, ATTENTION, MASKED, OLDER):
            assert Ignoring("gate", [WATCHED], CLIP.frame_spec).apply(clip, served) is clip

    def test_a_model_with_a_mask_gets_it_and_the_pixels_as_they_are(self) -> None:
        clip = window(busy())
        found = Ignoring("gate", [WATCHED, RIGHT], CLIP.frame_spec).apply(clip, MASKED)
        assert found.pixels is clip.pixels
        assert found.mask is not None
        assert found.mask.dtype == np.uint8
        np.testing.assert_array_equal(found.mask, np.repeat([[0, 1]], 4, axis=1).repeat(6, axis=0).reshape(6, 8))

    @pytest.mark.parametrize("served", [PLAIN, ATTENTION, OLDER], ids=["no heat", "attention", "older export"])
    def test_other_models_see_the_standing_scene_there(self, served: ServedModel) -> None:
        ignoring = Ignoring("gate", [RIGHT], CLIP.frame_spec)
        ignoring.apply(window(still()), served)
        for index, standing in ((1, False), (2, True)):
            clip = window(busy(standing=standing), index=index)
            before = clip.pixels.copy()
            found = ignoring.apply(clip, served)
            np.testing.assert_array_equal(right_half(found.pixels), RIGHT_GREY)
            np.testing.assert_array_equal(found.pixels[:, :, : W // 2], before[:, :, : W // 2])
            np.testing.assert_array_equal(clip.pixels, before)  # not ours to change
            assert found.middle is clip.middle  # the evidence
            assert found.mask is None

    def test_a_clip_of_one_picture_shows_the_pictures_before(self) -> None:
        short = ClipSpec(frames=1, stride=1, height=H, width=W)
        ignoring = Ignoring("gate", [RIGHT], short.frame_spec)
        served = dataclasses.replace(PLAIN, clip=short)
        ignoring.apply(window(still()[:1]), served)
        found = ignoring.apply(window(busy()[:1], index=1), served)
        np.testing.assert_array_equal(right_half(found.pixels), RIGHT_GREY)

    def test_of_the_first_clip_the_median_is_shown(self) -> None:
        found = Ignoring("gate", [RIGHT], CLIP.frame_spec).apply(window(busy()), PLAIN)
        np.testing.assert_array_equal(right_half(found.pixels), RIGHT_GREY)

    @pytest.mark.parametrize("kind", list(SceneKind))
    def test_a_model_that_reads_a_scene_sees_that_very_scene(self, kind: SceneKind) -> None:
        served = dataclasses.replace(PLAIN, scene=kind)
        scene = np.random.default_rng(1).integers(0, 256, (H, W, 3), np.uint8)
        clip = window(busy(), scene=scene, scene_kind=kind)
        found = Ignoring("gate", [RIGHT], CLIP.frame_spec).apply(clip, served)
        np.testing.assert_array_equal(right_half(found.pixels), np.stack(T * [scene[:, W // 2 :]]))
        assert found.scene is scene

    def test_while_the_scene_is_unknown_the_median_serves_as_in_the_model(self) -> None:
        served = dataclasses.replace(PLAIN, scene=SceneKind.BACKGROUND)
        clip = window(busy(), scene_kind=SceneKind.BACKGROUND)
        found = Ignoring("gate", [RIGHT], CLIP.frame_spec).apply(clip, served)
        np.testing.assert_array_equal(right_half(found.pixels), RIGHT_GREY)

    def test_an_older_export_is_reported_once(self) -> None:
        ignoring = Ignoring("gate", [RIGHT], CLIP.frame_spec)
        with capture_logs() as logged:
            for index, served in enumerate([ATTENTION, OLDER, OLDER, MASKED, OLDER]):
                ignoring.apply(window(still(), index=index), served)
        (line,) = logged
        assert (line["camera"], line["model"], line["log_level"]) == ("gate", "plain", "warning")
        assert "takes no MASK" in line["event"]
        assert "export again" in line["event"]

    def test_a_zone_outside_of_what_the_clip_shows_changes_nothing(self) -> None:
        """A square crop of a wide picture does not show its right margin."""
        margin = Zone("margin", ((0.95, 0.0), (1.0, 0.0), (1.0, 1.0), (0.95, 1.0)), ignore=True)
        spec = FrameSpec(H, H, Fit.CROP, None)
        clip = window(np.zeros((T, H, H, 3), np.uint8))
        for served in (PLAIN, MASKED):
            assert Ignoring("gate", [margin], spec).apply(clip, served) is clip


def test_hidden_pixels_show_the_median_without_a_scene() -> None:
    clip = np.random.default_rng(2).integers(0, 256, (5, 6, 7, 3), np.uint8)
    hidden = np.zeros((6, 7), np.bool_)
    hidden[2, 3:] = True
    found = without(clip, hidden, None)
    np.testing.assert_array_equal(found[:, 2, 3:], np.stack(5 * [np.median(clip[:, 2, 3:], axis=0).astype(np.uint8)]))
    np.testing.assert_array_equal(found[:, ~hidden], clip[:, ~hidden])
