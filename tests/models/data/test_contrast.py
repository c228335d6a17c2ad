"""Differences from the standing scene: those of the networks by hand, in every store, and apart from plain ones."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from gray_films import write_film
from tiny_films import two_takes

from models.backbones.i3d import ClipEncoder, MapEncoder
from models.data.backbone_engines import open_feature_engine, open_map_engine
from models.data.contrast import Contrast
from models.data.extraction import Encoded, Engine, Place, extract
from models.data.feature_folder import FeatureSettings, read_index, write_features
from models.data.features import FeatureStore
from models.data.maps import MapStore, pooled
from operators.background import SceneKind
from pipeline.sources.base import Frame
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec

CLIP = ClipSpec(frames=16, stride=8, height=32, width=48)
SMALL = ClipSpec(frames=4, stride=4, height=16, width=16)
ALL = ("mixed_4f", "mixed_5b", "mixed_5c")
BACKGROUND = Contrast(scene=SceneKind.BACKGROUND)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    rng = np.random.default_rng(0)
    return write_film(tmp_path_factory.mktemp("film") / "a.mkv", rng.integers(0, 256, 24).tolist())


def halved(batch, *, mirrored=False):
    """The same pictures with a darker left half, which a mirror moves to the right; (..., H, W, 3)."""
    batch = batch.copy()
    half = slice(24, None) if mirrored else slice(None, 24)
    batch[..., half, :] //= 2
    return batch


@pytest.fixture(scope="module")
def clips(film):
    """The two clips of the film by hand, uint8 (2, 16, 32, 48, 3), and for each its median as a clip."""
    items = FileSource("a", film).frames([CLIP.frame_spec], threading.Event())
    frames = [item.image for item in items if isinstance(item, Frame)]
    seen = halved(np.stack([np.stack(frames[start : start + 16]) for start in (0, 8)]))
    lower_middle = np.sort(seen, axis=1)[:, 7]
    return seen, np.repeat(lower_middle[:, None], 16, axis=1)


def differences(network, clips, mirrored):
    found = []
    for some in clips:
        some = some[..., ::-1, :].copy() if mirrored else some
        with torch.inference_mode():
            out = network(torch.from_numpy(some))
        found.append(out if isinstance(out, tuple) else (out,))
    return [(one - other).numpy() for one, other in zip(*found, strict=True)]


@pytest.mark.parametrize(
    ("engine", "layers", "mirrored"), [("cpu", ALL, False), ("cpu", ALL, True), ("openvino", ("mixed_4f",), False)]
)
def test_features_are_those_of_the_clip_less_those_of_its_median(i3d, film, clips, tmp_path, engine, layers, mirrored):
    opened = open_feature_engine(engine, CLIP, "i3d-kinetics400", layers, contrast=True)
    darker = Engine("darker", opened.batch, lambda batch: opened.encode(halved(batch, mirrored=mirrored)))
    store = FeatureStore(CLIP, layers=layers, folder=tmp_path, engine=darker, mirrored=mirrored, contrast=Contrast())
    (expected,) = differences(ClipEncoder(i3d, layers), clips, mirrored)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(store.of(film).values, expected, atol=1e-4, rtol=0)


def test_maps_are_those_of_the_clip_less_those_of_its_median(i3d, film, clips, tmp_path):
    opened = open_map_engine("cpu", CLIP, "i3d-kinetics400", contrast=True)
    darker = Engine("darker", 1, lambda batch: opened.encode(halved(batch)))
    late = ("mixed_5b", "mixed_5c")
    maps = MapStore(CLIP, late=late, folder=tmp_path, engine=darker, contrast=Contrast()).of(film)
    mixed_4f, mixed_5b, mixed_5c = differences(MapEncoder(i3d), clips, mirrored=False)
    np.testing.assert_allclose(maps.early, mixed_4f, atol=1e-3, rtol=1e-3)  # half precision: 2**-11 of a value
    np.testing.assert_allclose(maps.late, np.concatenate([mixed_5b, mixed_5c], axis=1), atol=1e-3, rtol=1e-3)
    (features,) = differences(ClipEncoder(i3d, ALL), clips, mirrored=False)
    np.testing.assert_allclose(pooled(maps, ALL), features, atol=1e-4, rtol=0)


def test_a_clip_of_equal_frames_differs_from_nothing(i3d, tmp_path):
    still = write_film(tmp_path / "still.mkv", [77] * 16)
    engine = open_feature_engine("cpu", CLIP, "i3d-kinetics400", ALL, contrast=True)
    found = FeatureStore(CLIP, layers=ALL, folder=tmp_path, engine=engine, contrast=Contrast()).of(still)
    np.testing.assert_allclose(found.values, 0, atol=1e-5)


# --- kept -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "shapes", "part"),
    [
        (FeatureStore, [(1,)], "values"),
        (MapStore, [(832, 1, 1, 1), (832, 1, 1, 1), (1024, 1, 1, 1)], "means"),
    ],
)
def test_one_kind_is_never_taken_for_another(film, tmp_path, store, shapes, part):
    def engine(value):
        return Engine("tiny", 1, lambda clips: tuple(np.full((len(clips), *s), value, np.float32) for s in shapes))

    for computed in (1, 0):
        for ordinal, contrast in enumerate((None, Contrast(), BACKGROUND)):
            kept = store(CLIP, folder=tmp_path, engine=engine(ordinal), contrast=contrast)
            assert (getattr(kept.of(film), part) == ordinal).all()
            assert kept.computed == computed


# --- scenes -----------------------------------------------------------------------------------------------------------


def test_each_videos_scenes_are_made_anew_from_its_clips_and_follow_them(tmp_path):
    """Two takes of twelve frames in a film: two segments of three clips, and a film of one clip."""
    films = [two_takes(tmp_path / "takes.ts", 12), write_film(tmp_path / "b.mkv", [9] * 4, height=16, width=16)]
    asked = []

    def scenes():
        asked.append([])

        def scene_of(place, clip):
            assert clip.shape == (4, 16, 16, 3)
            asked[-1].append(place.segment)
            return np.full((16, 16, 3), 10 * len(asked) + len(asked[-1]), np.uint8)

        return scene_of

    engine = Engine(
        "last frames", 3, lambda seen: (seen[:, -1, :1, 0, 0].astype(np.float32) + 100 * (seen.shape[1] - 5),)
    )
    events = [event for event in extract(films, SMALL, engine, scenes=scenes) if isinstance(event, Encoded)]
    assert asked == [[0, 0, 0, 1, 1, 1], [0]]
    assert [(event.video, float(event.arrays[0][0, 0])) for event in events] == [
        *((0, grey) for grey in (11, 12, 13, 14, 15, 16)),
        (1, 21),
    ]


def room(person=None):
    """A clip of four frames of a grey room, 128 × 128; a person who stands in the upper left of all of them."""
    clip = np.full((4, 128, 128, 3), 100, np.uint8)
    if person is not None:
        clip[:, :40, :40] = person
    return clip


def test_the_background_keeps_what_came_to_rest_visible_and_starts_anew_with_a_segment():
    scene_of = BACKGROUND.scenes()
    for start in range(0, 70, 2):
        place = Place(0, float(start), start + 2.0)
        assert np.array_equal(scene_of(place, room(start)), room(start)[0])  # unknown yet: the clip's own median
    for start in range(70, 100, 2):  # known after eight samples, ten seconds apart
        scene = scene_of(Place(0, float(start), start + 2.0), room(200))
    assert np.array_equal(scene[40:], room()[0, 40:])
    assert scene[:40, :40].max() < 100, "the person who lies there now is not part of it"
    assert np.array_equal(scene_of(Place(1, 100.0, 102.0), room(200)), room(200)[0])
    assert np.array_equal(BACKGROUND.scenes()(Place(0, 100.0, 102.0), room(200)), room(200)[0])


# --- as files ---------------------------------------------------------------------------------------------------------


def test_a_folder_of_features_has_them(film, tmp_path):
    """The mean of the frames less the scene."""

    def encode(seen):
        values = seen.astype(np.float32).mean((2, 3, 4))
        return (np.repeat((values[:, :-1].mean(1) - values[:, -1])[:, None], 1024, axis=1),)

    engine = Engine("mean less scene", 1, encode)
    settings = FeatureSettings.for_clip(SMALL, contrast=Contrast(), engine=engine.name)
    ramp = write_film(tmp_path / "ramp.mkv", [0, 10, 20, 60], height=16, width=16)
    write_features([ramp], tmp_path / "found", settings, engine=engine)
    (entry,) = read_index(tmp_path / "found").videos
    np.testing.assert_allclose(np.load(tmp_path / "found" / entry.file)[:, 0], [22.5 - 10], atol=0.1)


EMPTY = np.full((4, 16, 16, 3), 50, np.uint8)
PARKED = EMPTY.copy()
PARKED[:, 4:8, 4:8] = 200  # something that stands still throughout the clip


def scene_after_two_empty_clips(contrast: Contrast):
    scene_of = contrast.scenes()
    for start in (0.0, 2.0):
        scene_of(Place(0, start, start + 1), EMPTY)
    return scene_of(Place(0, 4.0, 5.0), PARKED)


def test_a_short_span_knows_the_background_of_a_short_video():
    """Until a background is known, the median of the clip serves, and it contains things at rest."""
    short = Contrast.model_validate(
        {"scene": "background", "background": {"seconds": 10, "samples": 5, "known_after": 2}}
    )
    assert (scene_after_two_empty_clips(short) == EMPTY[0]).all()
    for unknowing in (Contrast.model_validate({"scene": "background"}), Contrast()):
        assert (scene_after_two_empty_clips(unknowing) == PARKED[0]).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scene": "clip", "background": {}}, "need scene: background, got clip"),
        ({"scene": "background", "background": {"samples": 1, "known_after": 2}}, "known_after must be at most"),
        ({"scene": "background", "background": {"span": 1}}, "Extra inputs"),
    ],
)
def test_unusable_settings_of_the_background_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Contrast.model_validate(values)
