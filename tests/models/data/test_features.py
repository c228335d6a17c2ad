"""Features of videos: right, kept, computed again when anything they depend on changes."""

from __future__ import annotations

import shutil
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from models.backbones.i3d import ClipEncoder
from models.data.backbone_engines import open_feature_engine
from models.data.extraction import FeaturesError
from models.data.features import FeatureStore
from pipeline.sources.base import Frame
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec

CLIP = ClipSpec(frames=16, stride=8, height=32, width=48)


def make_video(path, frames, seed=0):
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for ordinal in range(frames):
            small = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
            picture = av.VideoFrame.from_ndarray(small.repeat(8, 0).repeat(8, 1), format="rgb24")
            picture.pts = ordinal
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("video") / "a.mp4", 40)


@pytest.fixture(scope="module")
def on_torch(i3d):
    return open_feature_engine("cpu", CLIP, "i3d-kinetics400", ("mixed_5c",))


@pytest.fixture
def store(on_torch, tmp_path):
    return lambda clip=CLIP, engine=on_torch: FeatureStore(clip, folder=tmp_path / "features", engine=engine)


def test_are_those_of_the_clips_cut_by_hand(i3d, video, store):
    frames = [
        item for item in FileSource("a", video).frames([CLIP.frame_spec], threading.Event()) if isinstance(item, Frame)
    ]
    clips = np.stack([[frame.image for frame in frames[start : start + 16]] for start in (0, 8, 16, 24)])
    with torch.inference_mode():
        expected = ClipEncoder(i3d)(torch.from_numpy(clips))
    features = store().of(video)
    np.testing.assert_allclose(features.values, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(features.starts, [0, 0.32, 0.64, 0.96], atol=1e-6)
    np.testing.assert_allclose(features.ends, features.starts + 16 / 25, atol=1e-6)
    assert features.segments.tolist() == [0, 0, 0, 0]


def test_mirrored_are_those_of_the_mirrored_clips(video, on_torch, tmp_path):
    frames = [
        item for item in FileSource("a", video).frames([CLIP.frame_spec], threading.Event()) if isinstance(item, Frame)
    ]
    first = np.stack([frame.image for frame in frames[:16]])[None]
    plain = FeatureStore(CLIP, folder=tmp_path, engine=on_torch).of(video)
    mirrored = FeatureStore(CLIP, folder=tmp_path, engine=on_torch, mirrored=True).of(video)
    np.testing.assert_allclose(mirrored.values[:1], on_torch.encode(np.flip(first, 3).copy())[0], atol=1e-4, rtol=0)
    assert np.abs(mirrored.values - plain.values).max() > 1e-2


def test_engines_agree(video, store):
    np.testing.assert_allclose(store(engine="openvino").of(video).values, store().of(video).values, atol=1e-4, rtol=0)


def test_are_kept_by_content(video, store, tmp_path):
    first = store()
    features = first.of(video)
    assert first.computed == 1
    copy = tmp_path / "under another name.mp4"
    shutil.copy(video, copy)
    second = store()
    assert np.array_equal(second.of(copy).values, features.values)
    assert second.computed == 0


def test_other_clips_or_videos_are_computed(video, store, tmp_path):
    store().of(video)
    for clip in (
        ClipSpec(16, 16, 32, 48),
        ClipSpec(16, 8, 32, 32),
        ClipSpec(16, 8, 32, 48, "crop"),
        ClipSpec(16, 8, 32, 48, fps=10),
    ):
        other = store(clip)
        other.of(video)
        assert other.computed == 1
    again = store()
    again.of(make_video(tmp_path / "b.mp4", 40, seed=1))
    assert again.computed == 1


def test_other_layers_are_computed(video, store, tmp_path):
    plain = store().of(video)
    engine = open_feature_engine("cpu", CLIP, "i3d-kinetics400", ("mixed_4f", "mixed_5c"))
    other = FeatureStore(CLIP, layers=("mixed_4f", "mixed_5c"), folder=tmp_path / "features", engine=engine)
    both = other.of(video)
    assert other.computed == 1
    assert both.values.shape == (len(plain), 832 + 1024)
    np.testing.assert_array_equal(both.values[:, 832:], plain.values)


def test_a_damaged_cache_is_mended(video, store, tmp_path):
    features = store().of(video)
    (file,) = (tmp_path / "features").iterdir()
    for damage in (b"", b"PK\x03\x04 not a zip", file.read_bytes()[:1000]):
        file.write_bytes(damage)
        again = store()
        assert np.array_equal(again.of(video).values, features.values)
        assert again.computed == 1


def test_a_video_shorter_than_a_clip_has_none(store, tmp_path):
    assert len(store().of(make_video(tmp_path / "short.mp4", 15))) == 0


def test_what_is_no_video_is_named(store, tmp_path):
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 100)
    with pytest.raises(FeaturesError, match=r"noise\.mp4"):
        store().of(tmp_path / "noise.mp4")
    with pytest.raises(FeaturesError, match=r"none\.mp4: no such file"):
        store().of(tmp_path / "none.mp4")
