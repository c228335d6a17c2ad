"""A detector family of the tests' own with convolutions: the strength of edges, so that int8 has something to do.

``gain`` steepens the scores: the higher, the further a rounded feature moves one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from models.card import Alerting, Architecture, ModelCard, write_card
from models.detectors.base import BelongsTo, Family, LearnsFrom
from models.detectors.network import ServedNetwork
from models.tensors import load_tensors, save_tensors
from pipeline.windows import StoredClip

WEIGHTS_FILE = "convolving.safetensors"
CLIP = (4, 16, 24, 3)


class Convolving(Architecture):
    type: Literal["convolving"] = "convolving"


class ConvolvingCard(ModelCard[Convolving]):
    family: Literal["convolving"] = "convolving"


class ConvolvingNetwork(ServedNetwork):
    """Two convolutions and a max-pool; the score is a sigmoid of the mean of their maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 8, 3, padding=1)
        self.second = nn.Conv3d(8, 8, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(1))
        self.centre = nn.Parameter(torch.zeros(1))

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.first(clips.permute(0, 4, 1, 2, 3).to(torch.float32) / 127.5 - 1))
        x = torch.relu(self.second(nn.functional.max_pool3d(x, 2)))
        features = x.mean(dim=(2, 3, 4))
        return torch.sigmoid(self.gain * (features.mean(dim=1, keepdim=True) - self.centre)), features


def train(folder: Path, *, gain: float = 1.0, seed: int = 0) -> ConvolvingCard:
    """Write a model with random weights, whose scores lie around 0.5 for clips of noise."""
    torch.manual_seed(seed)
    network = ConvolvingNetwork()
    with torch.no_grad():
        noise = torch.randint(0, 256, (1, *CLIP), dtype=torch.uint8)
        network.centre.fill_(network(noise)[1].mean())
        network.gain.fill_(gain)
    folder.mkdir()
    card = ConvolvingCard(
        name="convolving",
        description="edges, for tests",
        architecture=Convolving(),
        weights_sha256=save_tensors(network.state_dict(), folder / WEIGHTS_FILE),
        clip=StoredClip(frames=4, stride=4, fps=None, height=16, width=24, fit="stretch"),
        alerting=Alerting(kernel=2, open_threshold=0.6, close_threshold=0.4),
        training={},
        figures={},
    )
    write_card(card, folder)
    return card


def load(card: ConvolvingCard, folder: Path, _progress: object) -> ConvolvingNetwork:
    network = ConvolvingNetwork()
    expected = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    tensors = load_tensors(folder / WEIGHTS_FILE, expected, network="detector", sha256=card.weights_sha256)
    network.load_state_dict(tensors)
    return network.eval()


FAMILY = Family(
    name="convolving",
    card=ConvolvingCard,
    learns_from=LearnsFrom.LABELS,
    belongs_to=BelongsTo.SITE,
    training="convolving_family:train",
    heat=lambda _card: None,
    blank=lambda _card: ConvolvingNetwork(),
    load=load,
)
