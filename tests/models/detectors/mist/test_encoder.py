"""The attention encoder: what it trains, what it saves, and what its loader refuses."""

from __future__ import annotations

import math

import pytest
import safetensors.torch
import torch
from torch import nn

from models.backbones.base import MapBackbone, Maps
from models.backbones.c3d import C3D
from models.backbones.i3d import I3D
from models.backbones.weights import PUBLISHED
from models.card import Alerting, write_card
from models.detectors.mist.card import Architecture, Backbone, MistCard, SelfGuidedArchitecture
from models.detectors.mist.encoder import (
    AttentionEncoder,
    encoder_maps,
    freeze,
    load_encoder,
    save_encoder,
    unfreeze,
)
from models.detectors.mist.generator import load_generator
from models.detectors.mist.sga import SelfGuidedAttention, SelfGuidedHeads
from pipeline.errors import MistwatchError
from pipeline.windows import ClipSpec, StoredClip

I3D_NAME = "i3d-kinetics400"


class Tiny(MapBackbone):
    """Four time steps of sixteen frames, as I3D; two channels early, three late."""

    early_channels = 2
    late_channels = 3

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 2, 4, stride=4)
        self.second = nn.Conv3d(2, 3, 2, stride=2)

    def maps(self, clips):
        early = self.first(clips.permute(0, 4, 1, 2, 3) / 255)
        return Maps(early, self.second(early))


def tiny_heads(seed: int = 0) -> SelfGuidedHeads:
    torch.manual_seed(seed)
    return SelfGuidedHeads(SelfGuidedAttention(2, 3, 2), features=3, dropout=0.5)


def card_for(
    sha256: str,
    architecture: Architecture | SelfGuidedArchitecture,
    name: str = I3D_NAME,
    tensors_sha256: str = PUBLISHED[I3D_NAME].tensors_sha256,
) -> MistCard:
    return MistCard(
        name="tiny",
        description="for a test",
        architecture=architecture,
        backbone=Backbone(name=name, tensors_sha256=tensors_sha256),
        weights_sha256=sha256,
        clip=StoredClip.from_spec(ClipSpec()),
        alerting=Alerting(kernel=3, open_threshold=0.6, close_threshold=0.4),
        training={},
        figures={},
    )


@pytest.fixture
def clips():
    return torch.randint(0, 256, (2, 16, 24, 16, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture
def saved(tmp_path):
    """A folder with heads for a published backbone."""
    heads = tiny_heads()
    write_card(card_for(save_encoder(heads, tmp_path), heads.architecture()), tmp_path)
    return tmp_path


def test_the_heads_read_the_backbones_maps(clips):
    encoder = AttentionEncoder(Tiny(), tiny_heads()).eval()
    maps = encoder_maps(encoder.backbone, clips)
    assert maps.early.shape == (2, 2, 4, 6, 4)
    for found, expected in zip(encoder(clips), encoder.heads(*maps), strict=True):
        assert torch.equal(found, expected)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"have \(2, 3\) channels, and the heads are made for \(832, 1024\)"):
        AttentionEncoder(Tiny(), SelfGuidedHeads(SelfGuidedAttention(hidden=2)))
    with pytest.raises(ValueError, match="no classifier: make it with classes=0"), torch.device("meta"):
        AttentionEncoder(C3D(), SelfGuidedHeads(SelfGuidedAttention(512), features=512))


def test_heads_alone_are_saved_for_a_published_backbone(saved, clips):
    assert all(name.startswith("heads.") for name in safetensors.torch.load_file(saved / "encoder.safetensors"))
    torch.manual_seed(1)
    backbone = Tiny()
    expected = AttentionEncoder(backbone, tiny_heads()).eval()(clips)
    encoder, card = load_encoder(saved, backbone=backbone)
    assert not encoder.training
    assert card.architecture == tiny_heads().architecture()
    for found, wanted in zip(encoder(clips), expected, strict=True):
        assert torch.equal(found, wanted)


def test_a_fine_tuned_backbone_is_saved_too(tmp_path, clips):
    torch.manual_seed(1)
    tuned = AttentionEncoder(Tiny(), tiny_heads()).eval()
    tuned.heads.calibration = (0.5, 1.0)
    write_card(card_for(save_encoder(tuned, tmp_path), tuned.heads.architecture(fine_tuned=True)), tmp_path)
    loaded, _ = load_encoder(tmp_path, backbone=Tiny())
    for found, wanted in zip(loaded(clips), tuned(clips), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(("name", "backbone"), [(I3D_NAME, I3D), ("c3d", C3D)])
def test_a_fine_tuned_backbone_is_made_by_the_cards_name(tmp_path, name, backbone):
    torch.manual_seed(0)
    network = backbone(classes=0)
    attention = SelfGuidedAttention(network.early_channels, hidden=2)
    tuned = AttentionEncoder(network, SelfGuidedHeads(attention, network.late_channels)).eval()
    architecture = tuned.heads.architecture(fine_tuned=True)
    write_card(card_for(save_encoder(tuned, tmp_path), architecture, name), tmp_path)
    loaded, _ = load_encoder(tmp_path)
    clips = torch.randint(0, 256, (1, 16, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(loaded(clips).weighted, tuned(clips).weighted)
    assert loaded.state_dict().keys() == tuned.state_dict().keys()


def test_published_weights_come_from_the_cache(tmp_path, i3d):
    heads = SelfGuidedHeads(SelfGuidedAttention(hidden=2))
    write_card(card_for(save_encoder(heads, tmp_path), heads.architecture()), tmp_path)
    loaded, _ = load_encoder(tmp_path)
    clips = torch.randint(0, 256, (1, 16, 32, 48, 3), dtype=torch.uint8)
    with torch.inference_mode():
        for found, expected in zip(encoder_maps(loaded.backbone, clips), i3d.maps(clips), strict=True):
            assert torch.equal(found, expected)
    assert not hasattr(loaded.backbone, "Logits")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.pop("heads.weighted.bias"), "heads.weighted.bias is missing"),
        (lambda t: t.update({"backbone.first.bias": torch.zeros(2)}), "backbone.first.bias is unknown"),
        (
            lambda t: t.update({"heads.attention.guide.bias": torch.zeros(6)}),
            "heads.attention.guide.bias is torch.float32 [6] instead of torch.float32 [4]",
        ),
        (
            lambda t: t.update({"heads.weighted.weight": torch.zeros(2, 3, dtype=torch.float16)}),
            "heads.weighted.weight is torch.float16 [2, 3] instead of torch.float32 [2, 3]",
        ),
        (
            lambda t: t["heads.attention.attend.weight"].view(-1)[3:4].fill_(math.inf),
            "heads.attention.attend.weight holds values that are not finite",
        ),
        (
            lambda t: (t.pop("heads.attention.attend.bias"), t.update(extra=torch.zeros(1))),
            "heads.attention.attend.bias is missing, extra is unknown",
        ),
    ],
)
def test_other_tensors_are_refused_by_name(saved, change, complaint):
    file = saved / "encoder.safetensors"
    tensors = safetensors.torch.load(file.read_bytes())
    change(tensors)
    safetensors.torch.save_file(tensors, file)
    with pytest.raises(MistwatchError) as raised:
        load_encoder(saved, backbone=Tiny())
    assert str(raised.value) == f"{file}: not the weights of this encoder: {complaint}"


def test_weights_of_another_training_are_refused(saved):
    save_encoder(tiny_heads(seed=1), saved)
    with pytest.raises(MistwatchError, match=r"encoder\.safetensors: SHA-256 \w{64} is not that of its model card"):
        load_encoder(saved, backbone=Tiny())


def test_heads_alone_are_no_fine_tuned_encoder(saved):
    write_card(card_for("0" * 64, tiny_heads().architecture(fine_tuned=True)), saved)
    with pytest.raises(MistwatchError, match=r"backbone\.first\.weight is missing, backbone\.first\.bias is missing"):
        load_encoder(saved, backbone=Tiny())


@pytest.mark.parametrize(
    ("card", "complaint"),
    [
        (
            card_for("0" * 64, Architecture()),
            "expected a self-guided encoder, got the architecture generator",
        ),
        (
            card_for("0" * 64, SelfGuidedArchitecture(hidden=2), name="resnet"),
            "the backbone of its model card: weights 'resnet' are unknown; there are: efficientnet-lite0, "
            "i3d-kinetics400, vgg16-convolutions",
        ),
        (
            card_for("0" * 64, SelfGuidedArchitecture(hidden=2), tensors_sha256="1" * 64),
            "backbone.tensors_sha256 of its model card is not that of i3d-kinetics400",
        ),
        (
            card_for("0" * 64, SelfGuidedArchitecture(hidden=2), name="c3d"),
            "its model card asks for published weights of C3D, and there are none",
        ),
        (
            card_for("0" * 64, SelfGuidedArchitecture(early=512, hidden=2, fine_tuned=True)),
            "its model card does not fit its backbone: "
            "the backbone's maps have (832, 1024) channels, and the heads are made for (512, 1024)",
        ),
    ],
    ids=["generator", "unknown", "weights", "c3d", "channels"],
)
def test_other_cards_are_refused(saved, card, complaint):
    write_card(card, saved)
    with pytest.raises(MistwatchError) as raised:
        load_encoder(saved)
    assert str(raised.value) == f"{saved}: {complaint}"


def test_an_encoder_is_no_generator(saved):
    with pytest.raises(MistwatchError, match="expected a generator, got the architecture self_guided"):
        load_generator(saved)


def test_what_is_no_safetensors_file_is_refused(saved, tmp_path):
    torch.save(tiny_heads().state_dict(), saved / "encoder.safetensors")
    with pytest.raises(MistwatchError, match="not a safetensors file"):
        load_encoder(saved, backbone=Tiny())
    (saved / "encoder.safetensors").unlink()
    with pytest.raises(MistwatchError, match=r"encoder\.safetensors: cannot be read: No such file"):
        load_encoder(saved, backbone=Tiny())
    with pytest.raises(MistwatchError, match=r"no model-card\.json there"):
        load_encoder(tmp_path / "none")


def trained_by_a_step(encoder: AttentionEncoder, clips: torch.Tensor) -> set[str]:
    """Names of what a step of SGD changes."""
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=1.0)
    output = encoder.train()(clips)
    (output.weighted.square().sum() + output.guided.square().sum()).backward()
    optimiser.step()
    return {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}


def test_a_frozen_backbone_and_its_batch_norm_always(clips):
    torch.manual_seed(0)
    heads = SelfGuidedHeads(SelfGuidedAttention(hidden=4), dropout=0.0)
    encoder = AttentionEncoder(I3D(classes=0), heads)
    freeze(encoder.backbone)
    changed = trained_by_a_step(encoder, clips)
    assert changed
    assert all(name.startswith("heads.") for name in changed)
    unfreeze(encoder.backbone)
    changed = trained_by_a_step(encoder, clips)
    assert {"backbone.Conv3d_1a_7x7.conv.weight", "backbone.Mixed_5c.Branch_0.Conv3d_0a_1x1.conv.weight"} <= changed
    assert not any(".bn." in name for name in changed)
