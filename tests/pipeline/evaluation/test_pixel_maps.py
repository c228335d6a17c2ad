"""Figures of maps: by hand, against scikit-learn, and against the definition written out threshold by threshold."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from damaged_archives import DAMAGES, damaged_archive
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from judged_runs import clips, row, run
from PIL import Image
from scipy.ndimage import label, zoom
from sklearn.metrics import roc_auc_score

from operators.figures.ranked import Undefined
from pipeline.evaluation import pixel_maps as maps_module
from pipeline.evaluation.judged_run import judge_run
from pipeline.evaluation.pixel_maps import (
    PRO_LIMIT,
    MapsError,
    count_pixels,
    estimate_maps,
    judge_maps,
    levels_of,
    pixel_figures,
    read_maps,
    read_masks,
)


def counted(maps, masks, name="v"):
    return count_pixels(name, maps, masks, levels_of([(maps, masks.shape[1:])]))


def test_by_hand():
    # Ten normal pixels 0.1 … 1.0; a region of one pixel (0.95), another of two (0.75 and 0.05).
    normal = np.arange(1, 11) / 10
    maps = np.array([[[0.95, *normal[:5], 0.75, 0.05, *normal[5:]]]])
    masks = np.array([[[True, *[False] * 5, True, True, *[False] * 5]]])
    found = pixel_figures([counted(maps, masks)])
    # Of 3 · 10 pairs 0.95 wins 9, 0.75 seven, 0.05 none.
    assert found["pixel_auc"] == pytest.approx((9 + 7 + 0) / 30)
    # By falling threshold (false, overlap): (0, 0), (.1, 0), (.1, .5), (.2, .5), (.3, .5), (.3, .75): the area up to
    # 0.3 is 0.5 from 0.1 on.
    assert found["pro"] == pytest.approx(0.5 * 0.2 / 0.3)


def test_a_small_region_counts_like_a_large_one():
    masks = np.zeros((1, 4, 10), bool)
    masks[0, 0, 0] = masks[0, 2:, 2:] = True  # of 1 and of 16 pixels
    large, small = np.zeros((2, 1, 4, 10))
    large[0, 2:, 2:] = 1.0
    small[0, 0, 0] = 1.0
    for maps in (large, small):  # either flags one region, and nothing else; then all at once
        curve = pixel_figures([counted(maps, masks)])["pro"]
        assert curve == pytest.approx(np.interp(0.15, [0, 1], [0.5, 1]))  # the mean of a straight line up to 0.3
    assert pixel_figures([counted(large, masks)])["pixel_auc"] > pixel_figures([counted(small, masks)])["pixel_auc"]


@st.composite
def judged_pixels(draw):
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(2, 5)))
    maps = draw(arrays(np.float64, shape, elements=st.sampled_from([-1.0, 0.0, 0.2, 0.5, 3.0])))
    masks = draw(arrays(np.bool_, shape).filter(lambda mask: mask.any() and not mask.all()))
    return maps, masks


def overlap_up_to_the_limit(maps, masks):
    """The definition, threshold by threshold and region by region."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel()), reverse=True):
        flagged = maps >= threshold
        shares = []
        for one, mask in zip(flagged, masks, strict=True):
            regions, count = label(mask, np.ones((3, 3)))
            shares += [one[regions == region].mean() for region in range(1, count + 1)]
        points.append((flagged[~masks].mean(), float(np.mean(shares))))
    false, overlap = np.array(points).T
    area = 0.0
    for x0, x1, y0, y1 in zip(false, false[1:], overlap, overlap[1:], strict=False):
        if x0 < PRO_LIMIT and x1 > x0:
            end = min(x1, PRO_LIMIT)
            at_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + at_end) / 2
    return area / PRO_LIMIT


@given(judged_pixels())
def test_they_are_the_definitions_figures(pixels):
    maps, masks = pixels
    found = pixel_figures([counted(maps, masks)])
    assert found["pixel_auc"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()))
    assert found["pro"] == pytest.approx(overlap_up_to_the_limit(maps, masks), abs=1e-9)


@given(judged_pixels(), judged_pixels(), st.tuples(st.integers(1, 3), st.integers(0, 3)))
def test_a_draw_is_what_so_many_copies_of_each_video_would_be(first, second, copies):
    videos = [first, second]
    levels = levels_of((maps, masks.shape[1:]) for maps, masks in videos)
    each = [count_pixels(str(n), *pixels, levels) for n, pixels in enumerate(videos)]
    written_out = [one for one, count in zip(each, copies, strict=True) for _ in range(count)]
    assert pixel_figures(each, np.array(copies)) == pytest.approx(pixel_figures(written_out))


def test_more_values_than_levels_cost_next_to_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    masks = np.zeros((20, 40, 40), bool)
    masks[:, 10:20, 10:20] = True
    maps = rng.normal(size=masks.shape) + masks
    exact = roc_auc_score(masks.ravel(), maps.ravel())
    assert len(np.unique(maps)) > 4096
    assert pixel_figures([counted(maps, masks)])["pixel_auc"] == pytest.approx(exact, abs=1e-5)
    monkeypatch.setattr(maps_module, "LEVELS", 16)  # the price is there where the levels are few
    assert abs(pixel_figures([counted(maps, masks)])["pixel_auc"] - exact) > 1e-3


def test_a_short_peak_in_a_long_video_of_coarse_maps_is_told_from_the_rest():
    """Nine frames of 320 rise above all the others, and only in them is something."""
    rng = np.random.default_rng(3)
    maps = rng.uniform(0, 0.5, (320, 4, 5)).astype(np.float32)
    maps[145:154] = rng.uniform(0, 0.5, (9, 4, 5))
    maps[145:154, 1:3, 1:3] = rng.uniform(0.9, 1.0, (9, 2, 2))
    masks = np.zeros((320, 16, 20), bool)
    masks[145:154, 5:11, 5:11] = True
    found = pixel_figures([counted(maps, masks)])
    scaled = np.array([zoom(one, 4, order=1, mode="nearest", grid_mode=True) for one in maps])
    # A step of the levels is a 4096th of the false-positive rate.
    assert found["pixel_auc"] == pytest.approx(roc_auc_score(masks.ravel(), scaled.ravel()), abs=1 / 4096)
    assert found["pro"] == pytest.approx(overlap_at_few_thresholds(scaled, masks), abs=2 / 4096 / PRO_LIMIT)


def overlap_at_few_thresholds(maps, masks):
    """As :func:`overlap_up_to_the_limit`, of a region a frame, at a thousand thresholds."""
    normal = np.sort(maps[~masks])
    regions = [np.sort(one[mask]) for one, mask in zip(maps, masks, strict=True) if mask.any()]
    false = np.linspace(0, PRO_LIMIT, 1001)
    thresholds = np.quantile(normal, 1 - false)
    overlap = np.mean([1 - np.searchsorted(one, thresholds) / len(one) for one in regions], axis=0)
    return float(np.trapezoid(overlap, false)) / PRO_LIMIT


@pytest.mark.parametrize("kept", [1_000, 100_000])
def test_long_and_short_videos_have_levels_by_their_pixels(monkeypatch, kept):
    """A long video's values need levels, however many short ones there are: of 12 800 pixels 12 000 are its own."""
    monkeypatch.setattr(maps_module, "_KEPT", kept)
    rng = np.random.default_rng(4)
    long = rng.uniform(0, 1, (30, 20, 20))
    short = [rng.uniform(5, 6, (1, 4, 5)) for _ in range(40)]
    levels = levels_of([(maps, maps.shape[1:]) for maps in (long, *short)])
    assert np.mean(levels < 2) == pytest.approx(12_000 / 12_800, abs=0.04)  # within four standard deviations


def test_a_coarse_map_is_scaled_to_its_mask():
    masks = np.zeros((1, 8, 8), bool)
    masks[0, :4, :4] = True
    # A row of it is 1, 1, 7/8, 5/8, 3/8, 1/8, 0, 0, a pixel the product of its row's and its column's: the least in the
    # mask is 25/64, the greatest outside 24/64.
    assert pixel_figures([counted(np.array([[[1.0, 0.0], [0.0, 0.0]]]), masks)])["pixel_auc"] == 1.0
    values = np.array([1, 1, 7 / 8, 5 / 8, 3 / 8, 1 / 8, 0, 0])
    flipped = counted(np.array([[[0.0, 0.0], [0.0, 1.0]]]), masks)
    exact = roc_auc_score(masks.ravel(), np.outer(values, values)[::-1, ::-1].ravel())
    assert pixel_figures([flipped])["pixel_auc"] == pytest.approx(exact)


def test_without_abnormal_pixels_there_is_a_reason():
    of_normal = counted(np.ones((1, 2, 2)), np.zeros((1, 2, 2), bool))
    with pytest.raises(Undefined, match="got no abnormal ones"):
        pixel_figures([of_normal])
    found = estimate_maps([of_normal], draws=5)["pro"]
    assert (found.value, found.interval) == (None, None)
    assert "no abnormal ones" in found.reason


def test_intervals_are_over_videos():
    good = counted(np.array([[[0.9, 0.1]]]), np.array([[[True, False]]]))
    poor = counted(np.array([[[0.1, 0.9]]]), np.array([[[True, False]]]))
    found = estimate_maps([good, poor], draws=200)["pixel_auc"]
    assert (found.value, tuple(found.interval)) == (0.5, (0.0, 1.0))
    assert estimate_maps([good, good], draws=20)["pixel_auc"].interval == (1.0, 1.0)


def test_intervals_are_over_units_where_videos_are_of_one():
    good = counted(np.array([[[0.9, 0.1]]]), np.array([[[True, False]]]))
    poor = counted(np.array([[[0.1, 0.9]]]), np.array([[[True, False]]]))
    # Both of one group: every draw holds both.
    assert estimate_maps([good, poor], units=["g", "g"], draws=50)["pixel_auc"].interval == (0.5, 0.5)
    apart = estimate_maps([good, poor], units=["g", "h"], draws=200)["pixel_auc"]
    assert tuple(apart.interval) == (0.0, 1.0)


def test_without_a_draw_that_has_the_figure_there_is_no_interval():
    abnormal = counted(np.array([[[0.9]]]), np.array([[[True]]]))
    normal = counted(np.array([[[0.1]]]), np.array([[[False]]]))
    # A single draw of two: seed by seed it is either one twice, which is no curve, or both.
    intervals = [estimate_maps([abnormal, normal], draws=1, seed=seed)["pixel_auc"].interval for seed in range(20)]
    assert None in intervals
    assert any(one is not None for one in intervals)


# -- files and videos --------------------------------------------------------------------------------------------------


def png(mask):
    file = io.BytesIO()
    Image.fromarray(np.uint8(mask) * 255).save(file, "PNG")
    return file.getvalue()


def test_masks_as_pictures_and_as_arrays_are_the_same(tmp_path):
    masks = np.random.default_rng(2).random((3, 6, 8)) < 0.5
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for n in (1, 0, 2):
            archive.writestr(f"01/{n:03d}.png", png(masks[n]))
    np.savez(tmp_path / "m.npz", **{"01": masks.astype(np.uint8) * 7})
    for name in ("m.zip", "m.npz"):
        found = read_masks(tmp_path / name)
        assert list(found) == ["01"]
        assert found["01"]().tolist() == masks.tolist()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.npz", {"v": np.zeros((2, 2))}, r"v: expected \(frames, height, width\), got float64 \(2, 2\)"),
        ("m.npz", {}, "one array a video"),
        ("m.npz", b"no zip", "not an archive of plain arrays"),
        ("m.npz", b"\x80\x04}\x94.", r"holds a pickle, which is not loaded .*: np\.savez\('videos\.npz', "),
        ("m.zip", b"no zip", "expected an archive of arrays"),
        ("m.zip", {"01/000.png": b"no picture"}, "01/000.png: not a picture; expected a mask"),
        ("m.zip", {"01/0.png": png(np.ones((2, 2))), "01/1.png": png(np.ones((2, 4)))}, "01: masks of different sizes"),
        ("m.zip", {}, "holds no picture"),
    ],
)
def test_what_are_no_masks_is_refused_in_one_line(tmp_path, name, content, message):
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif file.suffix == ".npz":
        np.savez(file, **content)
    else:
        with zipfile.ZipFile(file, "w") as archive:
            for inside, data in content.items():
                archive.writestr(inside, data)
    with pytest.raises(MapsError, match=message) as error:
        [read() for read in read_masks(file).values()]
    assert str(file) in str(error.value)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_one_line_with_file_and_member(tmp_path, damage):
    file = damaged_archive(tmp_path / "m.npz", damage)
    for read in (read_maps, read_masks):
        with pytest.raises(MapsError, match=r"m\.npz: yard: not a plain array"):
            read(file)["yard"]()


def test_maps_must_be_finite_and_there(tmp_path):
    np.savez(tmp_path / "m.npz", v=np.full((1, 2, 2), np.nan))
    with pytest.raises(MapsError, match="v: maps must hold finite numbers"):
        read_maps(tmp_path / "m.npz")["v"]()
    for read in (read_maps, read_masks):
        with pytest.raises(MapsError, match=r"gone\.npz: no such file"):
            read(tmp_path / "gone.npz")


def judged(name="test/01.mp4", scores=(0.1, 0.9)):
    scored = clips(scores)
    return judge_run(run([(row(name, scored, label=1, intervals=[(16, 32)]), scored)])).videos[0]


def test_pictures_are_in_the_order_of_their_numbers(tmp_path):
    """As the frames of a folder are: 2.png before 10.png; a hidden file, as of a Mac's archive, is no mask."""
    masks = np.random.default_rng(2).random((12, 6, 8)) < 0.5
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for n, mask in enumerate(masks):
            archive.writestr(f"01/{n}.png", png(mask))
            archive.writestr(f"01/._{n}.png", b"resource fork")
    found = read_masks(tmp_path / "m.zip")
    assert list(found) == ["01"]
    assert found["01"]().tolist() == masks.tolist()


def test_one_array_is_no_archive_of_arrays(tmp_path):
    """A .npy that was renamed."""
    with (tmp_path / "m.npz").open("wb") as file:
        np.save(file, np.zeros((2, 3, 4)))
    for read in (read_maps, read_masks):
        with pytest.raises(MapsError, match=r"m\.npz: one array; expected an archive with one array a video"):
            read(tmp_path / "m.npz")


def test_a_clips_map_is_that_of_its_frames():
    video = judged()
    of_clips = np.array([[[0.0, 0.0]], [[1.0, 0.0]]], np.float32)
    masks = np.zeros((35, 1, 2), bool)  # three behind the last clip
    masks[16:, 0, 0] = True
    found = judge_maps([video], {video.name: lambda: of_clips}, {"01": lambda: masks})[0]
    assert (found.normal.sum(), found.abnormal.sum(), found.regions) == (48, 16, 16)
    assert pixel_figures([found])["pixel_auc"] == 1.0
    of_frames = np.repeat(of_clips, [16, 19], axis=0)
    again = judge_maps([video], {video.name: lambda: of_frames}, {video.name: lambda: masks})[0]
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
            {name: lambda n=n: np.zeros((n, 1, 2), bool) for name, n in masks.items()},
        )


def test_one_mask_is_not_two_videos():
    videos = [judged("train/01.mp4"), judged("test/01.mp4")]
    maps = {video.name: lambda: np.zeros((2, 1, 2), np.float32) for video in videos}
    with pytest.raises(MapsError, match=r"masks of 01 may be those of train/01.mp4 and of test/01.mp4"):
        judge_maps(videos, maps, {"01": lambda: np.zeros((32, 1, 2), bool)})


def test_a_cut_off_film_with_the_masks_of_all_of_it_is_left_out_and_said_to_be():
    scored = clips((0.1, 0.9))
    whole = (row("a", scored, label=1, intervals=[(16, 32)]), scored)
    hurt = (row("b", scored, label=1, intervals=[(16, 300)], damage="cut off"), scored)
    videos = judge_run(run([whole, hurt])).videos
    maps = {name: lambda: np.zeros((2, 1, 2), np.float32) for name in "ab"}
    masks = {"a": lambda: np.ones((32, 1, 2), bool), "b": lambda: np.ones((300, 1, 2), bool)}
    left_out = []
    assert [one.name for one in judge_maps(videos, maps, masks, left_out=left_out)] == ["a"]
    assert [(one.name, one.reason) for one in left_out] == [
        ("b", "its maps are not judged: it is damaged, with 32 judged frames and 300 masks")
    ]
