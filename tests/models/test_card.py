"""The card's two architectures, and the cards that are committed."""

from __future__ import annotations

import json

import pytest
import yaml

from models.card import BUILT_IN, CardError, read_card, write_card
from models.data.contrast import Contrast
from models.detectors.base import read_detector
from models.detectors.mist.card import MistCard, SelfGuidedArchitecture
from models.detectors.mist.family import FAMILY
from operators.background import SceneKind

BUILT_IN_MODELS = sorted(file.parent for file in BUILT_IN.glob("*/model-card.json"))


def changed(folder, **keys):
    """A committed card with another architecture, as a file of its own."""
    card = json.loads((BUILT_IN_MODELS[0] / "model-card.json").read_text())
    (folder / "model-card.json").write_text(json.dumps(card | {"architecture": keys}))
    return folder


@pytest.mark.parametrize("model", BUILT_IN_MODELS, ids=lambda folder: folder.name)
def test_committed_cards_keep_every_word(model, tmp_path):
    _family, card = read_detector(model)
    write_card(card, tmp_path)
    committed, written = (json.loads((folder / "model-card.json").read_text()) for folder in (model, tmp_path))
    for part in ("architecture", "backbone"):  # an older card leaves to the defaults what it did not know of
        if committed.get(part) is not None:
            assert written[part] == written[part] | committed.pop(part)
    assert {key: written[key] for key in committed} == committed


@pytest.mark.parametrize("name", ["fights", "ped2-i3d", "_a.B-9", "7", "n" * 100])
def test_names_that_a_model_may_have(tmp_path, name):
    write_card(MistCard.model_validate(dict(read_card(BUILT_IN_MODELS[0], MistCard)) | {"name": name}), tmp_path)
    assert read_card(tmp_path).name == name


@pytest.mark.parametrize(
    "name", ["", "..", ".hidden", "-rf", "../up", "/root", "a/b", "a b", "a\n", "a\0", "ä", "n" * 101]
)
def test_a_name_that_would_not_be_one_file_is_refused(tmp_path, name):
    card = json.loads((BUILT_IN_MODELS[0] / "model-card.json").read_text())
    (tmp_path / "model-card.json").write_text(json.dumps(card | {"name": name}))
    with pytest.raises(CardError, match=r"model-card\.json: name: String should "):
        read_card(tmp_path)


def test_every_recipe_names_a_model_as_a_card_may(root):
    for recipe in sorted((root / "configs" / "train").glob("*.yaml")):
        name = yaml.safe_load(recipe.read_text())["name"]
        assert MistCard.model_validate(dict(read_card(BUILT_IN_MODELS[0], MistCard)) | {"name": name}).name == name


def test_a_self_guided_architecture_survives_the_card(tmp_path):
    architecture = SelfGuidedArchitecture(
        early=512, features=512, hidden=64, reads=("early", "late"), unit_length=True, fine_tuned=True, slope=1.5
    )
    assert architecture.inputs == 1024
    card = MistCard.model_validate(dict(read_card(BUILT_IN_MODELS[0], MistCard)) | {"architecture": architecture})
    write_card(card, tmp_path)
    assert read_card(tmp_path, MistCard).architecture == architecture


def test_the_defaults_are_the_published_sizes(tmp_path):
    card = read_card(changed(tmp_path, type="self_guided"), MistCard)
    assert card.architecture.model_dump() == {
        "type": "self_guided",
        "early": 832,
        "hidden": 832,
        "detectors": 8,
        "features": 1024,
        "dropout": 0.8,
        "reads": ("late",),
        "unit_length": False,
        "fine_tuned": False,
        "late": ("mixed_5c",),
        "slope": 1.0,
        "shift": 0.0,
    }


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"type": "transformer"}, "architecture.type: Input tag 'transformer'"),
        ({}, "architecture.type: Unable to extract tag"),
        ({"type": "self_guided", "detectors": 0}, "architecture.self_guided.detectors: "),
        ({"type": "self_guided", "slope": 0}, "architecture.self_guided.slope: "),
        ({"type": "self_guided", "inputs": 1024}, "architecture.self_guided.inputs: Extra inputs"),
        ({"type": "generator", "early": 832}, "architecture.generator.early: Extra inputs"),
    ],
)
def test_a_bad_architecture_names_the_key(tmp_path, keys, complaint):
    folder = changed(tmp_path, **keys)
    with pytest.raises(CardError) as raised:
        read_card(folder, MistCard)
    assert str(raised.value).startswith(f"{folder / 'model-card.json'}: {complaint}")


def written(folder, **keys):
    """A committed card with other keys, as a file of its own."""
    card = json.loads((BUILT_IN_MODELS[0] / "model-card.json").read_text())
    (folder / "model-card.json").write_text(json.dumps({**card, "contrast": None} | keys))
    return folder


def test_the_standing_scene_survives_the_card_and_is_no_part_that_all_families_have(tmp_path):
    card = read_card(written(tmp_path, contrast={"scene": "background"}), MistCard)
    assert card.contrast == Contrast(scene=SceneKind.BACKGROUND)
    assert FAMILY.scene(card) is SceneKind.BACKGROUND
    write_card(card, tmp_path)
    assert read_card(tmp_path, MistCard) == card
    assert read_card(tmp_path).name == card.name


def test_a_card_from_before_there_were_standing_scenes_reads_none(tmp_path):
    file = written(tmp_path) / "model-card.json"
    card = json.loads(file.read_text())
    del card["contrast"]
    file.write_text(json.dumps(card))
    read = read_card(tmp_path, MistCard)
    assert read.contrast is None
    assert FAMILY.scene(read) is None


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"contrasts": {}}, "contrasts: Extra inputs"),
        ({"contrast": {"scene": "median"}}, "contrast.scene: Input should be 'clip' or 'background'"),
        ({"contrast": {}, "backbone": {"name": "c3d", "tensors_sha256": ""}}, "Value error, contrast needs a backbone"),
    ],
)
def test_a_bad_card_names_the_key(tmp_path, keys, complaint):
    with pytest.raises(CardError) as raised:
        read_card(written(tmp_path, **keys), MistCard)
    assert str(raised.value).startswith(f"{tmp_path / 'model-card.json'}: {complaint}")
