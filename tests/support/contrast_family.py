"""A detector family of the tests' own that reads a scene: a score from the difference in brightness."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from models.card import Alerting, Architecture, ModelCard, write_card
from models.detectors.base import BelongsTo, Family, LearnsFrom
from models.detectors.network import Divided, SceneNetwork
from models.tensors import load_tensors, save_tensors
from operators.background import SceneKind
from operators.heat_kind import HeatKind
from pipeline.windows import StoredClip

WEIGHTS_FILE = "contrast.safetensors"


class Contrast(Architecture):
    type: Literal["contrast"] = "contrast"
    scene: SceneKind = SceneKind.CLIP
    times: float = 1.0  #: factor of the score, in the detector's head


class ContrastCard(ModelCard[Contrast]):
    family: Literal["contrast"] = "contrast"


class Cells(nn.Module):
    """The brightness of each quarter of pictures, in [0, 1], times a gain that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, pictures: Tensor) -> Tensor:
        grey = pictures.to(torch.float32).mean(dim=3) / 255
        return torch.nn.functional.adaptive_avg_pool2d(grey, 2) * self.gain


class Standing(nn.Module):
    """The parts of a scene that the network needs: its quarters, (N, 2, 2), and their mean, (N, 1)."""

    def __init__(self, cells: Cells) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, scenes: Tensor) -> tuple[Tensor, Tensor]:
        cells = self.cells(scenes)
        return cells, cells.mean(dim=(1, 2))[:, None]


class ContrastNetwork(SceneNetwork):
    """HEAT is the difference of each quarter from the scene, SCORE their greatest, FEATURES the scene's mean too.

    Clips and scenes share a layer.
    """

    outputs = ("SCORE", "FEATURES", "HEAT")
    of_scene = ("CELLS", "MEAN")

    def __init__(self, times: float = 1.0) -> None:
        super().__init__()
        self.cells = Cells()
        self.standing = Standing(self.cells)
        self.times = times

    def forward(self, clips: Tensor, *of_scene: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.judge(self.cells(clips.to(torch.float32).mean(dim=1)), *of_scene)

    def judge(self, shown: Tensor, cells: Tensor, mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heat = (shown - cells).abs()
        return heat.amax(dim=(1, 2))[:, None] * self.times, torch.cat([shown.flatten(1), mean], dim=1), heat

    def divided(self) -> Divided:
        weights = self.cells.state_dict()
        return Divided(ClipCells(self.cells), ("SHOWN", "BRIGHTEST"), Judge(self), ("SHOWN",), weights)


class ClipCells(nn.Module):
    """The backbone that detectors share: the quarters of clips, and an output that no head reads."""

    def __init__(self, cells: Cells) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        shown = self.cells(clips.to(torch.float32).mean(dim=1))
        return shown, shown.amax(dim=(1, 2))[:, None]


class Judge(nn.Module):
    def __init__(self, network: ContrastNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.network.judge(*values)


def train(
    folder: Path, *, gain: float = 0.5, scene: SceneKind = SceneKind.CLIP, times: float = 1.0, width: int = 24
) -> ContrastCard:
    """Write a model whose scores are the differences times ``gain`` and ``times``."""
    network = ContrastNetwork()
    nn.init.constant_(network.cells.gain, gain)
    folder.mkdir()
    card = ContrastCard(
        name="contrast",
        description="the difference from the standing scene",
        architecture=Contrast(scene=scene, times=times),
        weights_sha256=save_tensors({"gain": network.cells.gain.detach()}, folder / WEIGHTS_FILE),
        clip=StoredClip(frames=4, stride=2, fps=5, height=16, width=width, fit="stretch"),
        alerting=Alerting(kernel=1, open_threshold=0.5, close_threshold=0.25),
        training={},
        figures={},
    )
    write_card(card, folder)
    return card


def load(card: ContrastCard, folder: Path, _progress: object) -> ContrastNetwork:
    network = ContrastNetwork(card.architecture.times)
    blank = {"gain": torch.zeros(1)}
    tensors = load_tensors(folder / WEIGHTS_FILE, blank, network="detector", sha256=card.weights_sha256)
    network.cells.load_state_dict(tensors)
    return network.eval()


FAMILY = Family(
    name="contrast",
    card=ContrastCard,
    learns_from=LearnsFrom.NORMAL_FOOTAGE,
    belongs_to=BelongsTo.SITE,
    training="contrast_family:train",
    heat=lambda _card: HeatKind.ANOMALY,
    blank=lambda card: ContrastNetwork(card.architecture.times),
    load=load,
    scene=lambda card: card.architecture.scene,
)
