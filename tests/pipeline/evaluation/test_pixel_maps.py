"""Maps and masks of files and runs: their sizes, their frames, and the figures of both."""

from __future__ import annotations

import numpy as np
import pytest
from damaged_archives import DAMAGES, damaged_archive
from judged_runs import clips, row, run
from scipy.ndimage import zoom
from sklearn.metrics import roc_auc_score

from operators.figures.pixels import PRO_LIMIT, PixelSample, error_bounds, pixel_figures
from pipeline.evaluation.judged_run import judge_run
from pipeline.evaluation.pixel_maps import MapsError, judge_maps, read_maps, regions_of
from pipeline.manifests.masks import ArrayMasks
from pipeline.sources.base import Fit, FrameSpec


def judged(name="test/01.mp4", scores=(0.1, 0.9)):
    scored = clips(scores)
    return judge_run(run([(row(name, scored, label=1, intervals=[(16, 32)]), scored)])).videos[0]


def counted(maps, masks):
    """Counts of a video with a map a frame."""
    scored = clips([0.5], end_frame=[len(masks)])
    (video,) = judge_run(run([(row("v", scored, label=1), scored)])).videos
    return judge_maps([video], {"v": lambda: np.asarray(maps, np.float32)}, {"v": ArrayMasks(lambda: masks)})[0]


def normal(frames, height=1, width=2):
    """Masks without abnormal pixels."""
    return ArrayMasks(lambda: np.zeros((frames, height, width), bool))


def test_regions_touch_by_corners():
    """As in the code of the figure's authors."""
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 1]], bool)
    assert regions_of(mask).tolist() == [[1, 0, 0, 2], [0, 1, 0, 2]]
    assert not regions_of(np.zeros((2, 2), bool)).any()


def test_a_coarse_map_is_scaled_to_its_mask():
    masks = np.zeros((1, 8, 8), bool)
    masks[0, :4, :4] = True
    # A row of it is 1, 1, 7/8, 5/8, 3/8, 1/8, 0, 0, a pixel the product of its row's and its column's: the least in the
    # mask is 25/64, the greatest outside 24/64.
    assert pixel_figures(counted([[[1.0, 0.0], [0.0, 0.0]]], masks))["pixel_auc"] == 1.0
    values = np.array([1, 1, 7 / 8, 5 / 8, 3 / 8, 1 / 8, 0, 0])
    flipped = counted([[[0.0, 0.0], [0.0, 1.0]]], masks)
    exact = roc_auc_score(masks.ravel(), np.outer(values, values)[::-1, ::-1].ravel())
    assert pixel_figures(flipped)["pixel_auc"] == pytest.approx(exact)


def test_a_short_peak_in_a_long_video_of_coarse_maps_is_distinguished():
    """Nine maps of 320 rise above all the others, and only in them is something."""
    rng = np.random.default_rng(3)
    maps = rng.uniform(0, 0.5, (320, 4, 5)).astype(np.float32)
    maps[145:154, 1:3, 1:3] = rng.uniform(0.9, 1.0, (9, 2, 2))
    masks = np.zeros((320, 16, 20), bool)
    masks[145:154, 5:11, 5:11] = True
    counts = counted(maps, masks)
    found, bounds = pixel_figures(counts), error_bounds(counts)
    scaled = np.array([zoom(one, 4, order=1, mode="nearest", grid_mode=True) for one in maps])
    # A step of the levels is a 4096th of the false-positive rate.
    assert bounds["pixel_auc"] < 1 / 4096
    assert bounds["pro"] < 2 / 4096 / PRO_LIMIT
    assert found["pixel_auc"] == pytest.approx(roc_auc_score(masks.ravel(), scaled.ravel()), abs=bounds["pixel_auc"])
    assert found["pro"] == pytest.approx(overlap_at_few_thresholds(scaled, masks), abs=2 / 4096 / PRO_LIMIT)


def overlap_at_few_thresholds(maps, masks):
    """The definition at a thousand thresholds, for a region a frame."""
    normal = np.sort(maps[~masks])
    regions = [np.sort(one[mask]) for one, mask in zip(maps, masks, strict=True) if mask.any()]
    false = np.linspace(0, PRO_LIMIT, 1001)
    thresholds = np.quantile(normal, 1 - false)
    overlap = np.mean([1 - np.searchsorted(one, thresholds) / len(one) for one in regions], axis=0)
    return float(np.trapezoid(overlap, false)) / PRO_LIMIT


# -- files and videos --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_one_line_with_file_and_member(tmp_path, damage):
    file = damaged_archive(tmp_path / "m.npz", damage)
    with pytest.raises(MapsError, match=r"m\.npz: yard: not a plain array"):
        read_maps(file)["yard"]()


def test_maps_must_be_finite_and_there(tmp_path):
    np.savez(tmp_path / "m.npz", v=np.full((1, 2, 2), np.nan))
    with pytest.raises(MapsError, match="v: maps must hold finite numbers"):
        read_maps(tmp_path / "m.npz")["v"]()
    with pytest.raises(MapsError, match=r"gone\.npz: no such file"):
        read_maps(tmp_path / "gone.npz")


def test_one_array_is_no_archive_of_arrays(tmp_path):
    """A .npy that was renamed."""
    with (tmp_path / "m.npz").open("wb") as file:
        np.save(file, np.zeros((2, 3, 4)))
    with pytest.raises(MapsError, match=r"m\.npz: one array; expected an archive with one array a video"):
        read_maps(tmp_path / "m.npz")


def test_a_clips_map_is_that_of_its_frames():
    video = judged()
    of_clips = np.array([[[0.0, 0.0]], [[1.0, 0.0]]], np.float32)
    masks = np.zeros((35, 1, 2), bool)  # three behind the last clip
    masks[16:, 0, 0] = True
    found = judge_maps([video], {video.name: lambda: of_clips}, {"01": ArrayMasks(lambda: masks)})[0]
    assert (found.normal.sum(), found.abnormal.sum(), found.regions) == (48, 16, 16)
    assert pixel_figures(found)["pixel_auc"] == 1.0
    of_frames = np.repeat(of_clips, [16, 19], axis=0)
    again = judge_maps([video], {video.name: lambda: of_frames}, {video.name: ArrayMasks(lambda: masks)})[0]
    assert again.abnormal.tolist() == found.abnormal.tolist()


@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        ({"test/01.mp4": 3}, {"01": 32}, r"test/01.mp4: 3 maps; expected one a clip \(2\) or one a frame"),
        ({"test/01.mp4": 2}, {"01": 31}, "32 frames were judged, but 31 have a mask"),
        ({"test/01.mp4": 2}, {"01": 48}, "32 frames were judged, but 48 have a mask"),
        ({"other": 2}, {"01": 32}, r"no video has maps and masks: 1 videos \(other\) have maps, 1 videos \(01\) have"),
    ],
)
def test_maps_and_masks_must_be_of_the_video(maps, masks, message):
    with pytest.raises(MapsError, match=message):
        judge_maps(
            [judged()],
            {name: lambda n=n: np.zeros((n, 1, 2), np.float32) for name, n in maps.items()},
            {name: normal(n) for name, n in masks.items()},
        )


def test_one_mask_is_not_two_videos():
    videos = [judged("train/01.mp4"), judged("test/01.mp4")]
    maps = {video.name: lambda: np.zeros((2, 1, 2), np.float32) for video in videos}
    with pytest.raises(MapsError, match=r"masks of 01 may be those of train/01.mp4 and of test/01.mp4"):
        judge_maps(videos, maps, {"01": normal(32)})


def test_a_cut_off_film_with_the_masks_of_all_of_it_is_left_out_and_said_to_be():
    scored = clips((0.1, 0.9))
    whole = (row("a", scored, label=1, intervals=[(16, 32)]), scored)
    hurt = (row("b", scored, label=1, intervals=[(16, 300)], damage="cut off"), scored)
    videos = judge_run(run([whole, hurt])).videos
    maps = {name: lambda: np.zeros((2, 1, 2), np.float32) for name in "ab"}
    masks = {name: ArrayMasks(lambda n=n: np.ones((n, 1, 2), bool)) for name, n in (("a", 32), ("b", 300))}
    left_out = []
    assert [one.name for one in judge_maps(videos, maps, masks, left_out=left_out)] == ["a"]
    assert [(one.name, one.reason) for one in left_out] == [
        ("b", "its maps are not judged: it is damaged, with 32 judged frames and 300 masks")
    ]


# -- where a map lies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fit", "area"), [(Fit.STRETCH, 0.5), (Fit.CROP, 1.0), (Fit.LETTERBOX, 0.5)])
def test_a_map_covers_what_the_clips_show(fit, area):
    """A map of ones over a picture of 4 × 8 pixels, whose square in the middle is abnormal: a crop shows only that."""
    scored = clips([0.5], end_frame=[1])
    (video,) = judge_run(run([(row("v", scored, label=1), scored)])).videos
    mask = np.zeros((1, 4, 8), bool)
    mask[0, :, 2:6] = True
    maps, masks = {"v": lambda: np.ones((1, 2, 2), np.float32)}, {"v": ArrayMasks(lambda: mask)}
    (found,) = judge_maps([video], maps, masks, shown={"v": FrameSpec(16, 16, fit)})
    assert pixel_figures(found)["pixel_auc"] == area


# -- videos without masks ----------------------------------------------------------------------------------------------


def three(label=0):
    """An abnormal video of two clips with masks, and two others without."""
    scored = clips((0.1, 0.9))
    rows = [row("a", scored, label=1), row("b", scored, label=label), row("c", scored, label=label)]
    return judge_run(run([(one, scored) for one in rows])).videos


MAPS = {
    name: lambda value=value: np.full((2, 1, 2), value, np.float32) for name, value in (("a", 5), ("b", 1), ("c", 9))
}


def test_all_pixels_of_a_normal_video_are_normal():
    """Frames of 1 × 2 pixels, one of them abnormal in the abnormal video: its map is 5, the normal ones' 1 and 9."""
    masks = np.zeros((32, 1, 2), bool)
    masks[..., 0] = True
    left_out = []
    found = judge_maps(three(), MAPS, {"a": ArrayMasks(lambda: masks)}, left_out=left_out)
    assert [(one.name, one.normal.sum(), one.abnormal.sum(), one.regions) for one in found] == [
        ("a", 32, 32, 32),
        ("b", 64, 0, 0),
        ("c", 64, 0, 0),
    ]
    # Of a normal pixel in five, two have 1, one has 5, a tie, and two have 9.
    assert pixel_figures(PixelSample(found).drawn())["pixel_auc"] == pytest.approx((2 + 0.5) / 5)
    assert left_out == []


def test_maps_a_frame_of_a_normal_video_may_go_on_after_its_last_clip():
    maps = MAPS | {"b": lambda: np.ones((35, 1, 2), np.float32)}
    _, of_frames, _ = judge_maps(three(), maps, {"a": normal(32)})
    assert of_frames.normal.sum() == 64
    with pytest.raises(MapsError, match=r"b: 50 maps; expected one a clip \(2\) or one a frame"):
        judge_maps(three(), MAPS | {"b": lambda: np.ones((50, 1, 2), np.float32)}, {"a": normal(32)})


def test_an_abnormal_video_without_masks_is_left_out_and_listed():
    left_out = []
    assert [one.name for one in judge_maps(three(1), MAPS, {"a": normal(32)}, left_out=left_out)] == ["a"]
    assert [(one.name, one.reason) for one in left_out] == [
        (name, "not judged by masks: abnormal, and without masks") for name in "bc"
    ]


def test_a_normal_video_has_no_size_where_the_others_differ():
    left_out = []
    masks = {"a": normal(32), "b": normal(32, 2, 2)}
    assert [one.name for one in judge_maps(three(), MAPS, masks, left_out=left_out)] == ["a", "b"]
    assert [one.name for one in left_out] == ["c"]
    assert "differ in size" in left_out[0].reason


def test_heat_that_is_not_finite_is_refused_with_the_video():
    maps = {"a": lambda: np.array([[[0.0, 1.0]], [[np.nan, 1.0]]], np.float32)}
    with pytest.raises(MapsError, match="a: map 1 holds values that are not finite; expected numbers"):
        judge_maps(three(), maps, {"a": normal(32)})
