"""The training job on small real videos: from a manifest to weights and a card, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from models.detectors.mist.generator_job import JobConfig, read_config, train_job

from models.card import BUILT_IN, Alerting, Clip
from models.data.features import Encoder, FeaturesError, FeatureStore
from models.detectors.mist.config import AlertingChoice
from models.detectors.mist.generator import load_generator
from models.detectors.mist.generator_recipe import SHORT_VIDEOS, Recipe
from models.detectors.mist.generator_scoring import clip_scores
from models.jobs.errors import ConfigError, TrainingError
from models.jobs.separation import video_auc
from pipeline.manifests.folds import hold_out_fold
from pipeline.manifests.manifest import Video, manifest_digest
from pipeline.windows import ClipSpec

CONFIG = JobConfig(
    name="tiny",
    data={"licence": "none"},
    clip=Clip.of(ClipSpec(frames=4, stride=4, height=16, width=16)),
    training_stride=2,
    recipe=Recipe(name="tiny", loss="reference", top_k=2, sub_bags=2, sub_bag_clips=2, epochs=30, standardise=True),
    seeds=2,
)


def statistics(clips):
    """Stands in for the backbone: the mean of each colour and of its change from frame to frame."""
    clips = clips.astype(np.float32)
    return np.concatenate([clips.mean((1, 2, 3)), np.abs(np.diff(clips, axis=1)).mean((1, 2, 3))], axis=1)


def make_video(path, label, seed, frames=14):
    """Grey noise; an abnormal video flickers."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for ordinal in range(frames):
            grey = 100 + (80 if label and ordinal % 2 else 0)
            picture = av.VideoFrame.from_ndarray(
                rng.integers(grey, grey + 40, (32, 32, 3), dtype=np.uint8), format="rgb24"
            )
            picture.pts = ordinal
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return Video(path.resolve(), label, group=f"camera {seed // 2}")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return [make_video(folder / f"{i}.mp4", i % 2, i) for i in range(20)]


@pytest.fixture
def stores(tmp_path):
    return open_stores_in(tmp_path / "features")


def open_stores_in(folder):
    encoder = Encoder("statistics", 4, statistics)
    return [
        FeatureStore(CONFIG.training_clip, folder=folder, engine=encoder, mirrored=mirrored)
        for mirrored in (False, True)
    ]


def test_trains_measures_and_writes(videos, stores, tmp_path):
    marked = hold_out_fold(videos, 5, 0)
    held = {video.group for video in marked if video.split == "test"}
    assert len(held) == 2
    seen = []
    card, _ = train_job(marked, CONFIG, tmp_path / "out", seed=1, stores=stores, progress=lambda *now: seen.append(now))

    generator, read = load_generator(tmp_path / "out")
    assert read == card
    assert set(read.held_out_sources) == held
    assert not held & set(read.training["groups"])
    assert (read.training["videos"], read.training["abnormal_videos"]) == (16, 8)
    assert read.training["manifest_sha256"] == manifest_digest(marked)
    assert read.clip == CONFIG.clip
    # What the card says of the held-out videos is what its weights do on them.
    test = [video for video in marked if video.split == "test"]
    scores = [clip_scores(generator, stores[0].of(video.path).values) for video in test]
    assert read.figures["held_out"]["video_auc"] == pytest.approx(video_auc([v.label for v in test], scores), abs=1e-4)
    assert read.figures["out_of_fold"]["video_auc_mean"] > 0.9
    assert len(read.figures["out_of_fold"]["video_auc"]) == 2
    for stage, total in (("features", 20), ("folds", 10), ("training", 30)):
        assert (stage, total, total) in seen


def test_the_same_seed_writes_the_same_files(videos, stores, tmp_path):
    for out in ("one", "two"):
        train_job(videos, CONFIG, tmp_path / out, seed=4, stores=stores)
    for name in ("generator.safetensors", "model-card.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_nothing_of_the_held_out_videos_reaches_the_weights(videos, stores, tmp_path):
    marked = hold_out_fold(videos, 5, 0)
    train_job(marked, CONFIG, tmp_path / "one", stores=stores)
    lied = [replace(video, label=1 - video.label) if video.split == "test" else video for video in marked]
    card, _ = train_job(lied, CONFIG, tmp_path / "two", stores=stores)
    one, two = (tmp_path / out / "generator.safetensors" for out in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert card.alerting == load_generator(tmp_path / "one")[1].alerting


def test_chosen_thresholds_are_taken_and_judged(videos, stores, tmp_path):
    judged = []
    for threshold in (0.0, 1.0):  # every score reaches the one, and none the other
        chosen = Alerting(kernel=2, open_threshold=threshold, close_threshold=0.0)
        config = CONFIG.model_copy(update={"alerting": AlertingChoice(chosen=chosen)})
        card, _ = train_job(videos, config, tmp_path / str(threshold), folds=2, stores=stores)
        assert card.alerting == chosen
        figures = card.figures["out_of_fold"]
        judged.append((figures["recall_at_open_threshold"], figures["false_alarms_at_open_threshold"]))
    assert judged == [(1.0, 1.0), (0.0, 0.0)]


def test_kernels_longer_than_the_videos_are_told_before_the_training(videos, stores, tmp_path):
    config = CONFIG.model_copy(update={"alerting": AlertingChoice(kernels=(40, 50))})
    stages = set()
    with pytest.raises(TrainingError, match=r"alerting\.kernels 40, 50: each is longer than the videos"):
        train_job(videos, config, tmp_path / "out", stores=stores, progress=lambda stage, *_: stages.add(stage))
    assert stages == {"features"}


def test_a_video_that_is_cut_off_is_used_as_far_as_it_goes_and_told_of(videos, stores, tmp_path):
    cut = make_video(tmp_path / "cut.mkv", 1, 99, frames=100)
    cut.path.write_bytes(cut.path.read_bytes()[: cut.path.stat().st_size // 2])
    card, dataset = train_job([*videos, cut], CONFIG, tmp_path / "out", stores=stores)
    assert card.training["videos"] == 21
    assert card.training["damaged"] == ["cut.mkv"]
    (line,) = dataset.damaged.values()
    assert line.startswith(f"{cut.path}: damaged recording: ")


def test_videos_shorter_than_a_clip_are_skipped_and_listed(videos, stores, tmp_path):
    short = make_video(tmp_path / "short.mp4", 1, 99, frames=3)
    card, dataset = train_job([*videos, short], CONFIG, tmp_path / "out", stores=stores)
    assert dataset.skipped == [short]
    assert card.training["skipped_as_too_short"] == ["short.mp4"]
    assert card.training["videos"] == 20


def test_unreadable_videos_are_named_before_any_work(videos, stores, tmp_path):
    for name in ("noise.mp4", "text.mp4"):
        (tmp_path / name).write_bytes(b"no video" * 50)
    broken = [Video(tmp_path / "noise.mp4", 1), Video(tmp_path / "text.mp4", 0)]
    with pytest.raises(FeaturesError) as raised:
        train_job([*videos, *broken], CONFIG, tmp_path / "out", stores=stores)
    assert [name in line for name, line in zip(("noise", "text"), str(raised.value).splitlines(), strict=True)] == [
        True
    ] * 2
    assert [store.computed for store in stores] == [0, 0]


@pytest.mark.parametrize("label", [0, 1])
def test_one_label_only(videos, stores, tmp_path, label):
    with pytest.raises(TrainingError, match="needs normal and abnormal videos"):
        train_job([video for video in videos if video.label == label], CONFIG, tmp_path / "out", stores=stores)


def test_fewer_groups_than_folds(videos, stores, tmp_path):
    with pytest.raises(TrainingError, match="5 folds need"):
        train_job(videos[:6], CONFIG, tmp_path / "out", stores=stores)


def test_a_group_in_both_splits(videos, stores, tmp_path):
    marked = [replace(video, split="test" if i == 0 else "train") for i, video in enumerate(videos)]
    with pytest.raises(TrainingError, match=r"groups must not be divided .*: camera 0"):
        train_job(marked, CONFIG, tmp_path / "out", stores=stores)


def test_an_interrupted_job_leaves_no_model_and_keeps_its_features(videos, tmp_path):
    def interrupt(stage, done, total):
        if (stage, done) == ("features", 12):
            raise KeyboardInterrupt

    folder = tmp_path / "features"
    with pytest.raises(KeyboardInterrupt):
        train_job(videos, CONFIG, tmp_path / "out", stores=open_stores_in(folder), progress=interrupt)
    assert list((tmp_path / "out").iterdir()) == []
    second = open_stores_in(folder)
    train_job(videos, CONFIG, tmp_path / "out", stores=second)
    assert [store.computed for store in second] == [0, 16]  # 24 of 40 were done: all videos, and 4 in the mirror


def test_the_committed_configurations_are_read(root):
    """Those of both stages are read in test_mist_config.py."""
    read_config(root / "configs" / "train" / "courtyard-generator.yaml")
    fights = read_config(root / "configs" / "train" / "fights.yaml")
    assert fights.recipe == SHORT_VIDEOS  # the default, written out for people to change


@pytest.mark.parametrize(("name", "file"), [("fights", "fights.yaml"), ("courtyard", "courtyard-generator.yaml")])
def test_the_committed_model_is_of_the_committed_configuration(root, name, file):
    config = read_config(root / "configs" / "train" / file)
    _generator, card = load_generator(BUILT_IN / name)
    assert card.training["recipe"] == config.recipe.model_dump(mode="json")
    assert card.training["mirrored"] == config.mirrored
    assert card.clip == config.clip
    assert card.backbone.layers == config.layers
    assert card.alerting == (config.alerting.chosen or card.alerting)
    assert not set(card.held_out_sources) & set(card.training["groups"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [", "cannot be read as YAML"),
        ("- 1", "the file: "),
        ("name: a/b", "name: String should match pattern"),
        ("alerting: {close_false_alarms: 0.01}", "alerting: .*must not be below open_false_alarms 0.08"),
        ("alerting: {kernels: []}", r"alerting\.kernels: .*at least 1"),
        ("recipe: {name: x, loss: mine, epochs: 1}", r"recipe\.loss: .*'paper' or 'reference'"),
        ("recipe: {name: x, loss: paper, epochs: 0}", r"recipe\.epochs: .*greater than or equal to 1"),
        ("training_strid: 4", "training_strid: Extra inputs"),
        (json.dumps({"clip": {"frames": 16}}), r"clip\.stride: Field required"),
    ],
)
def test_a_bad_configuration_names_the_key(tmp_path, text, complaint):
    file = tmp_path / "train.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"train\.yaml: {complaint}"):
        read_config(file)
