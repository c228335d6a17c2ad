"""The card of an embedding model and its weights: written, found and read again, refused where they are damaged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_embedder import make_arrays, write_embedder

from models.alike.served.card import (
    EMBEDDING_CARD_FILE,
    find_embedding_model,
    read_embedding_card,
    write_embedding_card,
)
from models.alike.served.weights import WEIGHTS_FILE, load_embedder, save_embedder
from models.card import BUILT_IN, CARD_FILE, CardError, features_digest, read_card
from models.tensors import TensorsError, save_arrays


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_embedder(tmp_path / "model")


def rewrite(model: Path, **changes: Any) -> None:
    file = model / EMBEDDING_CARD_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_card_is_read_as_it_was_written(model: Path, tmp_path: Path) -> None:
    card = read_embedding_card(model)
    write_embedding_card(card, tmp_path)
    assert read_embedding_card(tmp_path) == card
    assert (card.name, card.widths, card.features.count) == ("alike-tiny", (16, 8), 4)


def test_the_version_names_the_model_and_its_weights(model: Path) -> None:
    digest = hashlib.sha256((model / WEIGHTS_FILE).read_bytes()).hexdigest()
    assert read_embedding_card(model).version == f"alike-tiny/{digest[:16]}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"similarity": 0}, "similarity: Input should be greater than 0"),
        ({"similarity": 1.5}, "similarity: Input should be less than or equal to 1"),
        ({"widths": []}, "widths: Tuple should have at least 1 item"),
        ({"widths": [1]}, "widths.0: Input should be greater than or equal to 2"),
        ({"name": "../up"}, "name: String should match pattern"),
        ({"schema_version": 2}, "schema_version: Input should be 1"),
        ({"threshold": 0.5}, "threshold: Extra inputs are not permitted"),
    ],
)
def test_a_damaged_card_is_one_line(model: Path, changes: dict[str, Any], message: str) -> None:
    rewrite(model, **changes)
    with pytest.raises(CardError) as refused:
        read_embedding_card(model)
    assert str(refused.value).startswith(f"{model / EMBEDDING_CARD_FILE}: {message}")
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_card_is_one_line(tmp_path: Path) -> None:
    message = f"{tmp_path}: no embedding-card.json there; expected the folder of an embedding model"
    with pytest.raises(CardError, match=f"^{message}$"):
        read_embedding_card(tmp_path)


def test_an_embedding_model_is_found_by_its_folder_and_a_detector_is_not_one(model: Path) -> None:
    assert find_embedding_model(str(model)) == model
    assert find_embedding_model(str(model.parent)) is None
    assert find_embedding_model("fights") is None
    assert find_embedding_model("no such model") is None


def test_the_features_of_a_detector_are_recognised(model: Path) -> None:
    """By its backbone, layers, contrast and clips; a stride is the caller's choice."""
    detector = read_card(BUILT_IN / "fights")
    of_detector = json.loads((BUILT_IN / "fights" / CARD_FILE).read_text())
    count = of_detector["architecture"]["inputs"]
    features = {
        "backbone": {key: of_detector["backbone"][key] for key in ("name", "tensors_sha256")},
        "layers": of_detector["backbone"]["layers"],
        "contrast": of_detector.get("contrast"),
        "clip": of_detector["clip"] | {"stride": 3},
        "count": count,
    }
    rewrite(model, features=features)
    fit = read_embedding_card(model).features
    assert fit.are_those_of(detector)
    rewrite(model, features=features | {"clip": of_detector["clip"]})
    assert read_embedding_card(model).features.are_like(fit), "another stride"
    for changes in (
        {"layers": ["mixed_5c"]},
        {"contrast": {"another": "one"}},
        {"clip": of_detector["clip"] | {"frames": 32}},
        {"backbone": features["backbone"] | {"tensors_sha256": "0" * 64}},
    ):
        rewrite(model, features=features | changes)
        other = read_embedding_card(model).features
        assert not other.are_those_of(detector)
        assert not other.are_like(fit)


class TestWeights:
    def test_they_are_loaded_as_they_were_saved(self, model: Path) -> None:
        loaded = load_embedder(read_embedding_card(model), model)
        expected = make_arrays()
        assert loaded.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(loaded[name], array)

    def test_arrays_that_make_no_embedder_are_not_saved(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="spread above 0"):
            save_embedder(make_arrays() | {"spread": np.zeros(4, np.float32)}, tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_weights_of_another_card_are_one_line(self, model: Path) -> None:
        rewrite(model, weights_sha256="0" * 64)
        with pytest.raises(TensorsError, match="is not that of its model card"):
            load_embedder(read_embedding_card(model), model)
        rewrite(model, widths=[16, 9])
        with pytest.raises(TensorsError, match=r"not the weights of this embedding model: weight_1 is .*\[8, 16\]"):
            load_embedder(read_embedding_card(model), model)

    def test_weights_that_make_no_embedder_are_one_line(self, model: Path) -> None:
        arrays = make_arrays() | {"spread": np.zeros(4, np.float32)}
        rewrite(model, weights_sha256=save_arrays(arrays, model / WEIGHTS_FILE))
        with pytest.raises(TensorsError, match="not the weights of an embedding model: centre and spread must be"):
            load_embedder(read_embedding_card(model), model)

    def test_missing_weights_are_one_line(self, model: Path) -> None:
        (model / WEIGHTS_FILE).unlink()
        with pytest.raises(TensorsError, match=r"embedder\.safetensors: cannot be read: No such file"):
            load_embedder(read_embedding_card(model), model)


def test_the_digest_tells_features_apart_and_leaves_the_stride_out() -> None:
    """Two built-in models have 1856 features of one backbone: of other layers, and as differences from the scene."""
    courtyard, fights = (read_card(BUILT_IN / name) for name in ("courtyard", "fights"))
    of_courtyard = read_embedding_card(BUILT_IN / "alike-courtyard").features
    assert of_courtyard.are_those_of(courtyard)
    assert not of_courtyard.are_those_of(fights)
    other_stride = courtyard.model_copy(update={"clip": courtyard.clip.model_copy(update={"stride": 4})})
    assert of_courtyard.are_those_of(other_stride)
    taller = courtyard.model_copy(update={"clip": courtyard.clip.model_copy(update={"height": 160})})
    assert not of_courtyard.are_those_of(taller)
    assert features_digest(read_card(BUILT_IN / "courtyard-motion")) is None, "its card names no layers"
