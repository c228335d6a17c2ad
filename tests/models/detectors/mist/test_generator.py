"""The generator's arithmetic by hand, and what its loader refuses."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
import safetensors.torch
import torch

from models.card import BUILT_IN, Alerting, write_card
from models.detectors.mist.card import Architecture, Backbone, MistCard
from models.detectors.mist.generator import (
    Generator,
    calibrate,
    load_generator,
    save_generator,
    side_by_side,
)
from pipeline.errors import MistwatchError
from pipeline.windows import ClipSpec, StoredClip

TINY = Architecture(inputs=2, hidden=(2, 1))


def card_for(sha256: str, architecture: Architecture = TINY) -> MistCard:
    return MistCard(
        name="tiny",
        description="for a test",
        architecture=architecture,
        backbone=Backbone(name="i3d-kinetics400", tensors_sha256="0" * 64),
        weights_sha256=sha256,
        clip=StoredClip.from_spec(ClipSpec()),
        alerting=Alerting(kernel=3, open_threshold=0.6, close_threshold=0.4),
        training={},
        figures={},
    )


@pytest.fixture
def tiny():
    generator = Generator(TINY).eval()
    wide, narrow, last = generator.wide, generator.narrow, generator.last
    with torch.no_grad():
        generator.mean.copy_(torch.tensor([1.0, 2.0]))
        generator.scale.copy_(torch.tensor([2.0, 1.0]))
        wide.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        wide.bias.copy_(torch.tensor([0.5, 0.0]))
        narrow.weight.copy_(torch.tensor([[1.0, 3.0]]))
        narrow.bias.fill_(-4.0)
        last.weight.fill_(2.0)
        last.bias.fill_(1.0)
    return generator


@pytest.fixture
def saved(tiny, tmp_path):
    write_card(card_for(save_generator(tiny, tmp_path)), tmp_path)
    return tmp_path


def test_by_hand(tiny):
    # (2, 1) standardised is (2, -1); + bias (2.5, -1); ReLU (2.5, 0); · (1, 3) - 4 = -1.5, no ReLU; · 2 + 1 = -2.
    assert tiny(torch.tensor([2.0, 1.0])).item() == pytest.approx(1 / (1 + math.exp(2)))
    assert tiny.logits(torch.tensor([[2.0, 1.0]] * 3)).tolist() == [-2.0] * 3


def test_sizes_are_the_papers():
    generator = Generator()
    linear = (generator.wide, generator.narrow, generator.last)
    assert [tuple(layer.weight.shape) for layer in linear] == [(512, 1024), (32, 512), (1, 32)]
    assert generator(torch.zeros(4, 5, 1024)).shape == (4, 5)


def test_unit_length_comes_before_the_standardisation(tiny):
    long = Generator(TINY.model_copy(update={"unit_length": True})).eval()
    long.load_state_dict(tiny.state_dict())
    # (30, 40) becomes (0.6, 0.8)
    assert long.logits(torch.tensor([30.0, 40.0])).item() == pytest.approx(tiny.logits(torch.tensor([0.6, 0.8])).item())
    assert torch.isfinite(long.logits(torch.zeros(2)))


def test_dropout_stands_before_the_two_last_layers():
    generator = Generator(Architecture(inputs=1, hidden=(4000, 1), dropout=0.6)).train()
    with torch.no_grad():
        for layer in (generator.wide, generator.narrow, generator.last):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
        torch.manual_seed(0)
        logits = torch.stack([generator.logits(torch.ones(1, 1)) for _ in range(200)]).flatten()
    # Of 4000 units 0.4 stay, scaled by 1 / 0.4; then all are dropped or scaled together, again by 1 / 0.4.
    kept = logits > 0
    assert 0.3 < kept.float().mean() < 0.5
    assert (logits[kept] / (4000 / 0.4)).mean().item() == pytest.approx(1.0, abs=0.02)
    assert logits[kept].std() > 0


def test_generators_side_by_side_average_their_logits():
    torch.manual_seed(0)
    members = [Generator(Architecture(inputs=3, hidden=hidden)).eval() for hidden in ((4, 2), (4, 2), (6, 1))]
    for member in members:
        member.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    joined = side_by_side(members).eval()
    features = torch.randn(5, 3)
    assert joined.architecture.hidden == (14, 5)
    torch.testing.assert_close(joined.logits(features), torch.stack([m.logits(features) for m in members]).mean(0))
    members[1].scale.mul_(2)
    with pytest.raises(ValueError, match="standardise their features alike"):
        side_by_side(members)


def test_calibration_is_of_the_logit(tiny):
    calibrate(tiny, 0.5, 3.0)
    assert tiny.logits(torch.tensor([2.0, 1.0])).item() == pytest.approx(-2.0 * 0.5 + 3.0)
    with pytest.raises(ValueError, match="slope must be above 0"):
        calibrate(tiny, 0.0, 1.0)


def test_what_is_saved_is_loaded(tiny, saved):
    loaded, card = load_generator(saved)
    features = torch.randn(10, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(features), tiny(features))
    assert not loaded.training
    assert card.weights_sha256 == hashlib.sha256((saved / "generator.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.pop("narrow.bias"), "narrow.bias is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "extra is unknown"),
        (
            lambda t: t.update({"wide.weight": torch.zeros(3, 2)}),
            "wide.weight is torch.float32 [3, 2] instead of torch.float32 [2, 2]",
        ),
        (
            lambda t: t.update(mean=torch.zeros(2, dtype=torch.float64)),
            "mean is torch.float64 [2] instead of torch.float32 [2]",
        ),
        (lambda t: t["scale"].fill_(math.nan), "scale holds values that are not finite"),
    ],
)
def test_other_tensors_are_refused_by_name(saved, change, complaint):
    file = saved / "generator.safetensors"
    tensors = safetensors.torch.load(file.read_bytes())
    change(tensors)
    safetensors.torch.save_file(tensors, file)
    with pytest.raises(MistwatchError) as raised:
        load_generator(saved)
    assert str(raised.value) == f"{file}: not the weights of this generator: {complaint}"


def test_weights_of_another_architecture_are_refused(saved):
    write_card(card_for("0" * 64, Architecture(inputs=3, hidden=(2, 1))), saved)
    with pytest.raises(MistwatchError, match=r"mean is torch\.float32 \[2\] instead of torch\.float32 \[3\], scale is"):
        load_generator(saved)


def test_weights_of_another_training_are_refused(saved):
    write_card(card_for("0" * 64), saved)
    with pytest.raises(MistwatchError, match="is not that of its model card"):
        load_generator(saved)


def test_a_pickle_is_refused(saved):
    torch.save({"mean": torch.zeros(2)}, saved / "generator.safetensors")
    with pytest.raises(MistwatchError, match="not a safetensors file"):
        load_generator(saved)


def test_missing_files(saved, tmp_path):
    (saved / "generator.safetensors").unlink()
    with pytest.raises(MistwatchError, match=r"generator\.safetensors: cannot be read: No such file"):
        load_generator(saved)
    with pytest.raises(MistwatchError, match=r"no model-card\.json there; expected the folder of a trained model"):
        load_generator(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema_version": 2}, "schema_version: "),
        ({"alerting": {"kernel": 0, "open_threshold": 0.5, "close_threshold": 0.4}}, r"alerting\.kernel: "),
        ({"alerting": {"kernel": 1, "open_threshold": 0.4, "close_threshold": 0.5}}, r"alerting: .*must not be above"),
        ({"architecture": {"type": "transformer"}}, r"architecture\.type: "),
        ({"surprise": 1}, "surprise: "),
    ],
)
def test_a_bad_card_names_the_key(saved, change, complaint):
    file = saved / "model-card.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(MistwatchError, match=rf"model-card\.json: {complaint}"):
        load_generator(saved)


def test_the_clip_settings_survive_the_card():
    for spec in (ClipSpec(), ClipSpec(16, 8, 112, 150, "crop", 12.5)):
        assert StoredClip.from_spec(spec).spec == spec


@pytest.mark.parametrize("name", ["courtyard", "fights"])
def test_shipped_models_load(name):
    folder = BUILT_IN / name
    _generator, card = load_generator(folder)
    assert card.alerting.close_threshold <= card.alerting.open_threshold
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5_000_000
