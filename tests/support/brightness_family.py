"""A detector family of the tests' own: a score from brightness, and a heat map that is absolute."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from models.card import Alerting, Architecture, ModelCard, write_card
from models.detectors.base import BelongsTo, Family, LearnsFrom
from models.detectors.network import ServedNetwork
from models.tensors import load_tensors, save_tensors
from operators.heat_kind import HeatKind
from pipeline.windows import StoredClip

WEIGHTS_FILE = "brightness.safetensors"


class Levels(Architecture):
    """A level of brightness, which counts as normal, and the cells of the heat map."""

    type: Literal["levels"] = "levels"
    cells: int = 2


class BrightnessCard(ModelCard[Levels]):
    family: Literal["brightness"] = "brightness"
    camera: str | None = None


class BrightnessNetwork(ServedNetwork):
    outputs = ("SCORE", "FEATURES", "HEAT")
    level: Tensor

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.register_buffer("level", torch.zeros(1))

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grey = clips.to(torch.float32).mean(dim=(1, 4)) / 255
        heat = (torch.nn.functional.adaptive_avg_pool2d(grey, self.cells) - self.level).abs()
        return heat.amax(dim=(1, 2))[:, None], heat.flatten(1), heat


def train(folder: Path, level: float, *, camera: str | None = None, **changes: object) -> BrightnessCard:
    """Write a model whose normal brightness is ``level``, in [0, 1]; ``changes`` are those of its clips."""
    network = BrightnessNetwork(Levels().cells)
    network.level.fill_(level)
    folder.mkdir()
    card = BrightnessCard(
        name="bright",
        description="the distance from the normal brightness",
        architecture=Levels(),
        weights_sha256=save_tensors(network.state_dict(), folder / WEIGHTS_FILE),
        clip=StoredClip.model_validate(
            {"frames": 4, "stride": 2, "fps": 5, "height": 16, "width": 16, "fit": "stretch"} | changes
        ),
        alerting=Alerting(kernel=1, open_threshold=0.5, close_threshold=0.25),
        training={"level": level},
        figures={},
        camera=camera,
    )
    write_card(card, folder)
    return card


def blank(card: BrightnessCard) -> BrightnessNetwork:
    return BrightnessNetwork(card.architecture.cells)


def load(card: BrightnessCard, folder: Path, _progress: object) -> BrightnessNetwork:
    network = blank(card)
    state = network.state_dict()
    tensors = load_tensors(folder / WEIGHTS_FILE, state, network="detector", sha256=card.weights_sha256)
    network.load_state_dict(tensors)
    return network.eval()


FAMILY = Family(
    name="brightness",
    card=BrightnessCard,
    learns_from=LearnsFrom.NORMAL_FOOTAGE,
    belongs_to=BelongsTo.CAMERA,
    training="brightness_family:train",
    heat=lambda _card: HeatKind.ANOMALY,
    blank=blank,
    load=load,
)
