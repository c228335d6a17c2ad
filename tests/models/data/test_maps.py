"""Maps of videos: those of the network, kept whole or not at all, and features pooled from them by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from gray_films import write_film

from models.backbones.i3d import I3D, normalise_clips
from models.backbones.weights import WeightsError
from models.data.backbone_engines import open_feature_engine, open_map_engine
from models.data.extraction import Engine, FeaturesError
from models.data.features import FeatureStore
from models.data.maps import ClipMaps, MapStore, pooled
from pipeline.sources.base import Frame
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec

CLIP = ClipSpec(frames=16, stride=8, height=32, width=48)
BOTH = ("mixed_4f", "mixed_5c")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    rng = np.random.default_rng(0)
    return write_film(tmp_path_factory.mktemp("film") / "a.mkv", rng.integers(0, 256, 32).tolist())


@pytest.fixture(scope="module")
def on_torch(i3d):
    return open_map_engine("cpu", CLIP, "i3d-kinetics400")


def clips_by_hand(film):
    items = FileSource("a", film).frames([CLIP.frame_spec], threading.Event())
    frames = [item.image for item in items if isinstance(item, Frame)]
    return np.stack([np.stack(frames[start : start + 16]) for start in (0, 8, 16)])


# --- of the network ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirrored", [False, True])
def test_are_those_of_the_clips_cut_by_hand(i3d, film, on_torch, tmp_path, mirrored):
    clips = clips_by_hand(film)
    clips[:, :, :, :24] //= 2  # left and right differ, for a mirror to exchange
    engine = Engine("halved", 1, lambda batch: on_torch.encode(_halved(batch, mirrored)))
    with torch.inference_mode():
        early = i3d.mixed_4f(normalise_clips(torch.from_numpy(clips[:, :, :, :: -1 if mirrored else 1].copy())))
        late = i3d.mixed_5c(i3d.mixed_5b(early))
    maps = MapStore(CLIP, folder=tmp_path, engine=engine, mirrored=mirrored).of(film)
    assert (maps.early.shape, maps.late.shape) == ((3, 832, 4, 2, 3), (3, 1024, 2, 1, 2))
    assert maps.early.dtype == maps.late.dtype == np.float16
    np.testing.assert_allclose(maps.early, early, atol=1e-3, rtol=1e-3)  # half precision: 2**-11 of a value
    np.testing.assert_allclose(maps.late, late, atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(maps.starts, [0, 0.32, 0.64], atol=1e-3)
    np.testing.assert_allclose(maps.ends - maps.starts, 0.64, atol=1e-3)
    assert maps.segments.tolist() == [0, 0, 0]


def _halved(batch, mirrored):
    """The left half of what the camera saw, darker: the right one of what a mirror shows."""
    batch = batch.copy()
    half = slice(24, None) if mirrored else slice(None, 24)
    batch[:, :, :, half] //= 2
    return batch


def test_engines_agree(film, on_torch, tmp_path):
    one = MapStore(CLIP, folder=tmp_path, engine=on_torch).of(film)
    other = MapStore(CLIP, folder=tmp_path, engine="openvino").of(film)
    np.testing.assert_allclose(one.early, other.early, atol=2e-3, rtol=2e-3)
    np.testing.assert_allclose(one.late, other.late, atol=2e-3, rtol=2e-3)
    np.testing.assert_allclose(one.means, other.means, atol=1e-4, rtol=0)


@pytest.mark.parametrize("layers", [("mixed_5c",), ("mixed_4f",), BOTH[::-1], ("mixed_5b", "mixed_5c")])
def test_pooled_they_are_the_features_of_the_same_clips(film, on_torch, tmp_path, layers):
    store = MapStore(CLIP, folder=tmp_path / "maps", engine=on_torch)
    encoder = open_feature_engine("cpu", CLIP, "i3d-kinetics400", layers)
    features = FeatureStore(CLIP, layers=layers, folder=tmp_path / "features", engine=encoder).of(film)
    found = store.of(film)
    np.testing.assert_allclose(pooled(found, layers), features.values, atol=1e-4, rtol=0)
    for name in ("segments", "starts", "ends"):
        assert np.array_equal(getattr(found, name), getattr(features, name))
    if "mixed_5b" not in layers:
        cells = pooled(store.of(film), layers, grid=(1, 1))
        np.testing.assert_allclose(cells[:, 0], features.values, atol=5e-3, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_time_weighs_as_in_the_backbones_own_pooling(steps):
    late = np.random.default_rng(0).random((2, 4, steps, 3, 2)).astype(np.float16)
    expected = I3D.pool(None, torch.from_numpy(late.astype(np.float32)))
    np.testing.assert_allclose(pooled(made(late=late), grid=(1, 1))[:, 0], expected, atol=1e-6, rtol=0)


# --- grids, by hand ---------------------------------------------------------------------------------------------------


def made(early=None, late=None):
    """Maps of clips that nobody filmed."""
    early = np.zeros((len(late), 1, 1, 1, 1), np.float16) if early is None else early
    late = np.zeros((len(early), 1, 1, 1, 1), np.float16) if late is None else late
    n = len(early)
    times = np.zeros(n)
    means = np.zeros((n, 832 + 832 + 1024), np.float32)
    return ClipMaps(early, late, means, segments=np.zeros(n, np.int64), starts=times, ends=times)


def test_cells_by_rows():
    # 2 × 4: 0 1 2 3 / 4 5 6 7, the second time step 10 more.
    first = np.arange(8, dtype=np.float16).reshape(2, 4)
    early = np.stack([first, first + 10])[None, None]
    cells = pooled(made(early=early), ("mixed_4f",), grid=(2, 2))
    assert cells.shape == (1, 4, 1)
    assert cells.ravel().tolist() == [5.5, 7.5, 9.5, 11.5]  # (0 + 1)/2 + 5, …


def test_cells_of_an_odd_map_share_what_lies_between():
    late = np.array([0, 3, 9], np.float16).reshape(1, 1, 1, 1, 3)
    assert pooled(made(late=late), grid=(1, 2)).ravel().tolist() == [1.5, 6]


def test_cells_finer_than_a_map_repeat_it():
    late = np.array([2, 8], np.float16).reshape(1, 1, 1, 1, 2)
    assert pooled(made(late=late), grid=(2, 4)).ravel().tolist() == [2, 2, 8, 8] * 2


def test_cells_of_two_layers_lie_side_by_side():
    early = np.array([1, 2], np.float16).reshape(1, 1, 1, 1, 2)
    late = np.array([30, 50], np.float16).reshape(1, 2, 1, 1, 1)
    assert pooled(made(early, late), BOTH, grid=(1, 2)).tolist() == [[[1, 30, 50], [2, 30, 50]]]


@pytest.mark.parametrize(
    ("layers", "grid", "words"),
    [(("fc6",), None, "got fc6"), (BOTH, (0, 2), "got 0×2"), (("mixed_5b",), (1, 1), "got mixed_5b")],
)
def test_what_cannot_be_pooled(layers, grid, words):
    with pytest.raises(ValueError, match=words):
        pooled(made(np.zeros((1, 1, 1, 1, 1), np.float16)), layers, grid=grid)


# --- kept -------------------------------------------------------------------------------------------------------------


def tiny(name="tiny", value=None):
    """An engine whose maps hold a clip's mean grey everywhere, or ``value``."""

    def encode(clips):
        means = np.float32(clips.mean((1, 2, 3, 4))) if value is None else np.full(len(clips), value, np.float32)
        means = means[:, None, None, None, None]
        return tuple(np.tile(means, (1, *shape)) for shape in ((832, 4, 2, 3), (832, 2, 1, 2), (1024, 2, 1, 2)))

    return Engine(name, 1, encode)


def test_are_kept_by_content_and_settings(film, tmp_path):
    store = MapStore(CLIP, folder=tmp_path / "maps", engine=tiny())
    first = store.of(film)
    assert store.computed == 1
    copy = tmp_path / "another name.mkv"
    copy.write_bytes(film.read_bytes())
    again = MapStore(CLIP, folder=tmp_path / "maps", engine=tiny("tiny", value=99))
    assert np.array_equal(again.of(copy).early, first.early)
    assert again.computed == 0
    for other in (
        MapStore(ClipSpec(16, 16, 32, 48), folder=tmp_path / "maps", engine=tiny()),
        MapStore(CLIP, folder=tmp_path / "maps", engine=tiny(), mirrored=True),
        MapStore(CLIP, folder=tmp_path / "maps", engine=tiny("another")),
    ):
        other.of(film)
        assert other.computed == 1


def test_fill_computes_what_is_missing_and_says_what_cannot_be(film, tmp_path):
    noise = tmp_path / "noise.mkv"
    noise.write_bytes(b"noise" * 100)
    second = write_film(tmp_path / "b.mkv", [9] * 16)
    short = write_film(tmp_path / "short.mkv", [9] * 15)
    store = MapStore(CLIP, folder=tmp_path / "maps", engine=tiny())
    store.of(second)
    told = []
    failed = store.fill([film, noise, second, short, film], progress=lambda *done: told.append(done))
    assert list(failed) == [noise]
    assert "noise.mkv: not a video" in str(failed[noise])
    assert store.computed == 3
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(store.of(short)) == 0
    assert store.of(short).early.shape[1:2] == (832,)
    with pytest.raises(FeaturesError, match=r"noise\.mkv"):
        store.of(noise)


def test_damaged_ones_are_mended(film, tmp_path):
    store = MapStore(CLIP, folder=tmp_path, engine=tiny())
    whole = store.of(film)
    (place,) = tmp_path.iterdir()
    for file in sorted(place.iterdir()):
        content = file.read_bytes()
        for damage in (b"", content[: len(content) // 2]):
            file.write_bytes(damage)
            again = MapStore(CLIP, folder=tmp_path, engine=tiny())
            assert np.array_equal(again.of(film).early, whole.early)
            assert again.computed == 1


def test_of_many_videos_no_file_stays_open(film, tmp_path, open_files_limit):
    store = MapStore(CLIP, folder=tmp_path, engine=tiny())
    first = store.of(film)
    with open_files_limit(20):
        held = [store.of(film) for _ in range(100)]  # as of a hundred videos: each opens its files anew
        assert all(np.array_equal(maps.early[:1], first.early[:1]) for maps in held)
        assert all(np.array_equal(maps.late[1:2], first.late[1:2]) for maps in held)


def test_what_cannot_be_read_now_is_not_taken_for_damaged(film, tmp_path, open_files_limit):
    store = MapStore(CLIP, folder=tmp_path, engine=tiny())
    whole = store.of(film)
    with open_files_limit(1), pytest.raises(FeaturesError, match=rf"cannot read the cache {tmp_path}: Too many open"):
        store.of(film)  # to see that an array is whole takes two
    again = MapStore(CLIP, folder=tmp_path, engine=tiny())
    assert np.array_equal(again.of(film).early, whole.early)
    assert again.computed == 0


def test_damage_is_kept_with_what_could_be_decoded(tmp_path):
    cut = write_film(tmp_path / "cut.mkv", [9] * 100)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    store = MapStore(CLIP, folder=tmp_path / "maps", engine=tiny())
    first = store.of(cut)
    assert 0 < len(first) < 11
    assert first.damage.startswith("damaged recording: ")
    assert str(tmp_path) not in first.damage
    again = MapStore(CLIP, folder=tmp_path / "maps", engine=tiny())
    assert again.of(cut).damage == first.damage
    assert again.computed == 0


def test_what_an_earlier_mistwatch_kept_is_taken(film, tmp_path):
    """It did not write of damage."""
    store = MapStore(CLIP, folder=tmp_path, engine=tiny())
    store.of(film)
    (file,) = tmp_path.glob("*/clips.npz")
    with np.load(file) as stored:
        np.savez(file, **{name: stored[name] for name in stored if name != "damage"})
    again = MapStore(CLIP, folder=tmp_path, engine=tiny())
    assert again.of(film).damage == ""
    assert again.computed == 0


def test_numbers_that_are_none_are_not_kept(film, tmp_path):
    with pytest.raises(FeaturesError, match=r"a\.mkv: the clip at 0\.00 s gives NaN"):
        MapStore(CLIP, folder=tmp_path / "maps", engine=tiny(value=np.nan)).of(film)
    assert list((tmp_path / "maps").iterdir()) == []


SLOW = """
import sys, time
sys.path.insert(0, {support!r}); sys.path.insert(0, {here!r})
from pathlib import Path
import test_maps
from models.data.extraction import Engine
from models.data.maps import MapStore
engine = test_maps.tiny()
def slow(clips):
    print("clip", flush=True)
    time.sleep(0.3)
    return engine.encode(clips)
MapStore(test_maps.CLIP, folder=Path({folder!r}), engine=Engine("tiny", 1, slow)).of(Path({film!r}))
"""


def test_killed_in_the_middle_nothing_half_written_counts(film, tmp_path, root):
    folder = tmp_path / "maps"
    code = SLOW.format(
        support=str(root / "tests" / "support"),
        here=str(root / "tests" / "models" / "data"),
        folder=str(folder),
        film=str(film),
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert [process.stdout.readline() for _ in range(2)] == ["clip\n"] * 2  # the first clip is written
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    (left,) = folder.iterdir()
    assert f".{process.pid}-" in left.name
    store = MapStore(CLIP, folder=folder, engine=tiny())
    maps = store.of(film)
    assert store.computed == 1
    expected = MapStore(CLIP, folder=tmp_path / "fresh", engine=tiny()).of(film)
    assert np.array_equal(maps.early, expected.early)
    assert np.array_equal(maps.means, expected.means)
    assert [place.name for place in folder.iterdir()] == [place.name for place in (tmp_path / "fresh").iterdir()]


def test_what_another_process_is_writing_is_left_alone(film, tmp_path):
    maps = MapStore(CLIP, folder=tmp_path, engine=tiny())
    maps.of(film)
    (place,) = tmp_path.iterdir()
    theirs = place.with_name(f"{place.name}.{os.uname().nodename}.{os.getppid()}-0.tmp")
    theirs.mkdir()
    (place / "early.npy").write_bytes(b"")
    assert len(maps.of(film)) == 3
    assert theirs.exists()


def test_a_cache_that_cannot_be_written(film, tmp_path):
    (tmp_path / "maps").write_text("a file where a folder should be")
    with pytest.raises(FeaturesError, match=rf"cannot write to the cache {tmp_path / 'maps'}"):
        MapStore(CLIP, folder=tmp_path / "maps", engine=tiny()).of(film)


def test_a_full_disk_leaves_nothing_that_counts(film, tmp_path, file_size_limit):
    store = MapStore(CLIP, folder=tmp_path, engine=tiny())
    with file_size_limit(100_000), pytest.raises(FeaturesError, match=rf"cannot write to the cache {tmp_path}: "):
        store.of(film)
    assert list(tmp_path.iterdir()) == []
    assert len(store.of(film)) == 3


def test_without_the_weights_the_command_that_fetches_them_is_named(film, tmp_path, monkeypatch):
    monkeypatch.setenv("MISTWATCH_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="run `mistwatch weights fetch i3d-kinetics400`"):
        MapStore(CLIP, engine="cpu").of(film)
