"""From a recipe with a standing scene to the served network: it scores clips as the stages did, on both engines."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import sklearn
import torch
from gray_films import write_film
from tiny_mist import film

from models.backbones.i3d import MapEncoder
from models.card import Alerting, CardError, read_card, write_card
from models.data.contrast import Contrast, StoredBackground
from models.detectors.mist.card import Architecture, Backbone, MistCard
from models.detectors.mist.config import AlertingChoice, MistConfig
from models.detectors.mist.encoder import load_encoder
from models.detectors.mist.encoder_recipe import EncoderRecipe
from models.detectors.mist.encoder_scoring import score_maps
from models.detectors.mist.footage import Footage
from models.detectors.mist.generator import load_generator
from models.detectors.mist.generator_recipe import Recipe
from models.detectors.mist.generator_scoring import clip_scores
from models.detectors.mist.job import train_mist
from models.detectors.mist.sga import score
from models.jobs.errors import TrainingError
from models.serving.engine import open_engine
from models.serving.export import export
from models.tensors import TensorsError
from operators.background import SceneKind
from pipeline.manifests.manifest import Video
from pipeline.sources.base import Frame
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec, StoredClip

CLIP = ClipSpec(frames=16, stride=16, height=32, width=32)
ENCODER = EncoderRecipe(
    epochs=4,
    hidden=8,
    detectors=2,
    batch=4,
    accumulation=1,
    warm_up_epochs=1,
    learning_rate=0.01,
    late=("mixed_5b", "mixed_5c"),
    reads=("early", "late"),
    unit_length=True,
)
CONFIG = MistConfig(
    name="tiny-contrast",
    clip=StoredClip.from_spec(CLIP),
    training_stride=8,
    layers=("mixed_5b", "mixed_5c"),
    contrast=Contrast(),
    recipe=Recipe(
        name="tiny",
        loss="reference",
        top_k=1,
        sub_bags=2,
        sub_bag_clips=1,
        epochs=5,
        unit_length=True,
        standardise=True,
        heads="both",
    ),
    alerting=AlertingChoice(chosen=Alerting(kernel=1, open_threshold=0.5, close_threshold=0.5)),
    calibrate=False,
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Five films of noise, of which two flicker, and a film whose picture stands still."""
    folder = tmp_path_factory.mktemp("films")
    for ordinal in range(5):
        film(folder / f"{ordinal}.mp4", bool(ordinal % 2), ordinal, frames=34)
    write_film(folder / "5.mp4", [90] * 34, height=32, width=32)
    return [Video((folder / f"{ordinal}.mp4").resolve(), int(ordinal in (1, 3))) for ordinal in range(6)]


@pytest.fixture(scope="module")
def cache(i3d, tmp_path_factory):
    """A cache of our own, with the fetched weights."""
    from models.backbones import weights

    folder = tmp_path_factory.mktemp("cache")
    (folder / "weights").symlink_to(weights.path("i3d-kinetics400").parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MISTWATCH_CACHE", str(folder))
        yield folder


def clips_of(video):
    """The clips of a video as they are cut live, by hand: uint8 (2, 16, 32, 32, 3)."""
    items = FileSource("a", video.path).frames([CLIP.frame_spec], threading.Event())
    frames = [item.image for item in items if isinstance(item, Frame)]
    return np.stack([np.stack(frames[:16]), np.stack(frames[16:32])])


def assert_close(scores, expected, clips, *, tolerance=1e-5):
    """Differences of equal frames are rounding errors, which the networks' scaling magnifies."""
    still = (clips == clips[:, :1]).all(axis=(1, 2, 3, 4))
    assert still[-2:].all()
    np.testing.assert_allclose(scores[~still], expected[~still], atol=tolerance, rtol=0)
    np.testing.assert_allclose(scores[still], expected[still], atol=1e-3, rtol=0)


def served(product, tmp_path, clips):
    """The scores of clips by both engines of an exported version: (2, clips)."""
    version = export(str(product), tmp_path / "repository") / "1"
    assert read_card(version, MistCard) == read_card(product, MistCard)
    return [open_engine(engine, version, clips.shape[1:]).score(clips).scores for engine in ("openvino", "torch")]


def test_a_generator_with_both_heads(cache, videos, tmp_path):
    footage = Footage(CONFIG, engine="cpu")
    card = train_mist(videos, CONFIG, tmp_path / "run", footage=footage).card
    assert card.contrast == Contrast(scene=SceneKind.CLIP)
    assert card.training["scikit-learn"] == sklearn.__version__  # its head is trained by it
    generator, _ = load_generator(tmp_path / "run" / "product")
    expected = np.concatenate([clip_scores(generator, footage.live(video).features) for video in videos])
    assert np.ptp(expected) > 0.1
    clips = np.concatenate([clips_of(video) for video in videos])
    for scores in served(tmp_path / "run" / "product", tmp_path, clips):
        assert_close(scores, expected, clips)


@pytest.mark.slow  # a training; its parts have tests
def test_an_encoder_on_maps(i3d, cache, videos, tmp_path):
    config = CONFIG.model_copy(update={"encoder": ENCODER, "contrast": Contrast(scene=SceneKind.BACKGROUND)})
    footage = Footage(config, engine="cpu")
    card = train_mist(videos, config, tmp_path / "run", footage=footage).card
    assert card.contrast == config.contrast
    encoder, _ = load_encoder(tmp_path / "run" / "product")
    stages = np.concatenate([score_maps(encoder.heads, *footage.live(video).inputs) for video in videos])
    assert np.ptp(stages) > 0.1
    clips = np.concatenate([clips_of(video) for video in videos])
    medians = np.repeat(np.sort(clips, axis=1)[:, 7:8], 16, axis=1)  # no background is known after a second
    with torch.inference_mode():
        seen, still = (MapEncoder(i3d)(torch.from_numpy(some)) for some in (clips, medians))
        early, middle, late = (one - other for one, other in zip(seen, still, strict=True))
        expected = score(encoder.heads(early, torch.cat([middle, late], dim=1))).numpy()
    for scores in served(tmp_path / "run" / "product", tmp_path, clips):
        assert_close(scores, expected, clips)
        assert_close(scores, stages, clips, tolerance=1e-3)  # their maps were rounded to half precision


UNSERVED = Contrast(scene=SceneKind.BACKGROUND, background=StoredBackground(seconds=20, samples=10, known_after=2))
COMPLAINT = (
    "contrast.background: a model that was trained with settings of its own cannot be served, because a worker keeps "
    "the background with the default ones; leave it out, or train with --no-export for figures alone"
)


def test_a_background_with_settings_of_its_own_is_not_exported(tmp_path):
    """Live it would be another scene than in the training, and the figures of the card would be untrue."""
    card = MistCard(
        name="tiny",
        description="a card without weights: it is refused before they are read",
        architecture=Architecture(),
        backbone=Backbone(name="i3d-kinetics400", tensors_sha256="0" * 64),
        contrast=UNSERVED,
        weights_sha256="0" * 64,
        clip=CONFIG.clip,
        alerting=CONFIG.alerting.chosen,
        training={},
        figures={},
    )
    write_card(card, tmp_path)
    with pytest.raises(CardError) as refused:
        export(str(tmp_path), tmp_path / "repository")
    assert str(refused.value) == f"{tmp_path}/model-card.json: {COMPLAINT}"
    assert list((tmp_path / "repository").iterdir()) == []
    # The default settings, spelt out, are those of a worker: the next complaint is about the missing weights.
    spelt = Contrast(scene=SceneKind.BACKGROUND, background=StoredBackground())
    write_card(card.model_copy(update={"contrast": spelt}), tmp_path)
    with pytest.raises(TensorsError, match=r"generator\.safetensors"):
        export(str(tmp_path), tmp_path / "repository")


def test_its_training_is_refused_before_it_begins_unless_nothing_is_exported(videos, tmp_path):
    config = CONFIG.model_copy(update={"contrast": UNSERVED})
    with pytest.raises(TrainingError) as refused:
        train_mist(videos, config, tmp_path / "run", export=lambda _product, _repository: None)
    assert str(refused.value) == f"recipe tiny-contrast: {COMPLAINT}"
    assert not (tmp_path / "run").exists()
