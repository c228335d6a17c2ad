"""Self-guided attention and the two heads that are trained with it (Feng, Hong & Zheng: MIST, CVPR 2021, section 3.3).

Convolutions turn the backbone's early map into K detectors for each of the two classes. The guided head averages the
detectors into logits of its own, so that the labels teach the detectors directly; a last convolution turns them into
the attention map A. The weighted head reads the late map as late + A ∘ late.

The paper draws this flow and leaves sizes open. Ours are those of the authors' published code for ShanghaiTech, where
the early map is I3D's Mixed_4f and the late one its Mixed_5c: 832 × 4 × 14 × 14 and 1024 × 2 × 7 × 7 for 16 frames of
224 × 224. The convolutions of C3D are read in the same way, conv4b as the early map and conv5b as the late one.

Ours beside the published: the weighted head may read the early map too, early + A ∘ early, where A is scaled up to its
grid. A backbone that is not trained keeps much in the early map that the late one has forgotten (small things above
all), and what the head reads can be of unit length and standardised, as the generator's features are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.layers import LateLayers
from models.detectors.mist.card import Reads, SelfGuidedArchitecture
from models.detectors.mist.unit_length import unit_length

NORMAL, ANOMALY = 0, 1  #: places of the two logits

#: The first convolution takes away two time steps, and the last looks at two of those that it leaves.
MIN_TIME_STEPS = 4


class Attention(NamedTuple):
    """Output of the attention module for N clips."""

    guided: Tensor  #: (N, 2) logits of the guided head
    attention: Tensor  #: (N, 1, t', h, w) in (0, 1); t' = 1 for the four time steps of a 16-frame clip
    detectors: Tensor  #: (N, 2 · K, t, h, w), not negative; the first K of NORMAL, the others of ANOMALY


class HeadsOutput(NamedTuple):
    """Output of the two heads for N clips."""

    weighted: Tensor  #: (N, 2) logits of the weighted head: normal, anomaly
    guided: Tensor  #: (N, 2) logits of the guided head
    attention: Tensor  #: (N, h, w) in (0, 1), on the late map's grid
    features: Tensor  #: (N, inputs), input of the weighted head, before it is standardised


class SelfGuidedAttention(nn.Module):
    """The attention module.

    Args:
        inputs: channels of the early map.
        hidden: channels of the first convolution; those of the early map by default, as published.
        detectors: K, for each of the two classes.
    """

    def __init__(self, inputs: int = 832, hidden: int | None = None, detectors: int = 8) -> None:
        super().__init__()
        self.inputs, self.hidden, self.detectors = inputs, hidden or inputs, detectors
        both = 2 * detectors
        self.reduce = nn.Conv3d(inputs, self.hidden, 3, stride=(1, 2, 2), padding=(0, 1, 1))
        self.detect = nn.Conv3d(self.hidden, both, 1)
        self.guide = nn.Conv3d(both, both, 1)
        self.attend = nn.Conv3d(both, 1, (2, 1, 1))

    def forward(self, early: Tensor) -> Attention:
        """Early map (N, inputs, t, H, W) → guided logits, attention (N, 1, t - 3, H/2, W/2), detectors.

        Halves are rounded up.

        Raises:
            ValueError: the map has other channels, or fewer than four time steps.
        """
        if early.dim() != 5 or early.shape[1] != self.inputs:
            raise ValueError(
                f"the early map must be (N, {self.inputs}, t, h, w), got {tuple(int(size) for size in early.shape)}"
            )
        if early.shape[2] < MIN_TIME_STEPS:
            raise ValueError(
                f"self-guided attention needs an early map of at least {MIN_TIME_STEPS} time steps (16 frames), "
                f"got {int(early.shape[2])}"
            )
        detectors = torch.relu(self.detect(torch.relu(self.reduce(early))))
        guided = self.guide(detectors).mean(dim=(2, 3, 4)).unflatten(1, (2, self.detectors)).mean(dim=2)
        return Attention(guided, torch.sigmoid(self.attend(detectors)), detectors)


class SelfGuidedHeads(nn.Module):
    """The trainable part of the encoder on maps of a backbone: attention, guided head, weighted head.

    ``calibration`` (slope, shift) is not a parameter and is not trained: the difference of the weighted logits, d,
    becomes slope · d + shift, so that a score can be made to mean a probability. (1, 0) leaves them alone.

    Args:
        features: channels of the late map.
        dropout: in front of the weighted head.
        reads: maps that the weighted head averages; see :class:`models.detectors.mist.card.SelfGuidedArchitecture`.
        unit_length: whether each map's average is scaled to length 1.
        late: layers that make up the late map, for the model card alone.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        attention: SelfGuidedAttention,
        features: int = 1024,
        dropout: float = 0.8,
        *,
        reads: Reads = ("late",),
        unit_length: bool = False,
        late: LateLayers = ("mixed_5c",),
    ) -> None:
        super().__init__()
        self.attention = attention
        self.late = late
        self.features = features
        self.reads, self.unit_length = reads, unit_length
        inputs = sum({"early": attention.inputs, "late": features}[part] for part in reads)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.dropout = nn.Dropout(dropout)
        self.weighted = nn.Linear(inputs, 2)
        self.calibration = (1.0, 0.0)

    def forward(self, early: Tensor, late: Tensor) -> HeadsOutput:
        """Early (N, inputs, t, H, W) and late map (N, features, t', h, w) → logits, attention, features.

        Where clips are longer than 16 frames, the attention is the mean over its time steps.

        Raises:
            ValueError: maps that do not belong together, or that these heads were not made for.
        """
        if late.dim() != 5 or late.shape[:2] != (early.shape[0], self.features):
            raise ValueError(
                f"the late map must be ({int(early.shape[0])}, {self.features}, t, h, w), "
                f"got {tuple(int(size) for size in late.shape)}"
            )
        guided, attention, _ = self.attention(early)
        attention = attention.mean(dim=2, keepdim=True)
        if attention.shape[-2:] != late.shape[-2:]:
            raise ValueError(
                f"the attention's grid {tuple(int(n) for n in attention.shape[-2:])} is not that of the late map "
                f"{tuple(int(n) for n in late.shape[-2:])}: the early map must be twice as fine"
            )
        maps = {"early": early, "late": late}
        features = torch.cat([self._read(maps[part], attention) for part in self.reads], dim=1)
        weighted = self.weighted(self.dropout((features - self.mean) * self.scale))
        return HeadsOutput(self._calibrated(weighted), guided, attention[:, 0, 0], features)

    def _read(self, seen: Tensor, attention: Tensor) -> Tensor:
        """A map (N, C, t, h, w) and the attention (N, 1, 1, h', w') → the map's part of the features, (N, C)."""
        if attention.shape[-2:] != seen.shape[-2:]:
            attention = F.interpolate(attention[:, 0], seen.shape[-2:], mode="nearest")[:, None]
        # The mean of seen + A ∘ seen; A has one time step, so time can be averaged first and space as a product.
        over_space = (1 + attention).flatten(2) / attention[0].numel()  # (N, 1, h · w)
        average = (seen.mean(dim=2).flatten(2) @ over_space.transpose(1, 2)).squeeze(2)
        return unit_length(average, dim=1) if self.unit_length else average

    def _calibrated(self, logits: Tensor) -> Tensor:
        slope, shift = self.calibration
        if (slope, shift) == (1.0, 0.0):
            return logits
        return logits * slope + logits.new_tensor([0.0, shift])

    @classmethod
    def from_card(cls, architecture: SelfGuidedArchitecture) -> SelfGuidedHeads:
        """Return the heads that a model card describes, with fresh weights."""
        attention = SelfGuidedAttention(architecture.early, architecture.hidden, architecture.detectors)
        heads = cls(
            attention,
            architecture.features,
            architecture.dropout,
            reads=architecture.reads,
            unit_length=architecture.unit_length,
            late=architecture.late,
        )
        heads.calibration = (architecture.slope, architecture.shift)
        return heads

    def architecture(self, *, fine_tuned: bool = False) -> SelfGuidedArchitecture:
        """Return the model card's description of these heads."""
        slope, shift = self.calibration
        return SelfGuidedArchitecture(
            early=self.attention.inputs,
            hidden=self.attention.hidden,
            detectors=self.attention.detectors,
            features=self.features,
            dropout=self.dropout.p,
            reads=self.reads,
            unit_length=self.unit_length,
            fine_tuned=fine_tuned,
            late=self.late,
            slope=slope,
            shift=shift,
        )


def score(output: HeadsOutput) -> Tensor:
    """Return the clips' anomaly scores (N,) in [0, 1]: the weighted head's softmax, class "anomaly"."""
    return torch.softmax(output.weighted, dim=1)[:, ANOMALY]
