"""A trained model with random weights, exported once, and real clips to score with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Clips = npt.NDArray[np.uint8]
MAX_BATCH = 3


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory, i3d: object) -> Callable[..., Path]:
    """Writes a model folder with a random generator, for clips of the given size."""
    import torch

    from models.backbones import weights
    from models.card import Alerting, write_card
    from models.detectors.mist.card import Architecture, Backbone, MistCard
    from models.detectors.mist.generator import Generator, save_generator
    from pipeline.windows import StoredClip

    def make(
        name: str = "random",
        frames: int = 16,
        height: int = 224,
        width: int = 224,
        layers: tuple[str, ...] = ("mixed_5c",),
        inputs: int = 1024,
    ) -> Path:
        folder = tmp_path_factory.mktemp("models") / name
        folder.mkdir()
        torch.manual_seed(20)
        generator = Generator(Architecture(inputs=inputs))
        with torch.no_grad():  # as it is drawn, every clip scores 0.46 and a wrong wiring would pass
            for layer in generator.modules():
                if isinstance(layer, torch.nn.Linear):
                    layer.weight.mul_(8)
        card = MistCard(
            name=name,
            description="random weights, for tests",
            architecture=generator.architecture,
            backbone=Backbone(
                name="i3d-kinetics400",
                tensors_sha256=weights.published("i3d-kinetics400").tensors_sha256,
                layers=layers,
            ),
            weights_sha256=save_generator(generator, folder),
            clip=StoredClip(frames=frames, stride=8, fps=12.5, height=height, width=width, fit="letterbox"),
            alerting=Alerting(kernel=5, open_threshold=0.625, close_threshold=0.5),
            training={},
            figures={},
        )
        write_card(card, folder)
        return folder

    return make


@pytest.fixture(scope="session")
def make_encoder(tmp_path_factory: pytest.TempPathFactory, i3d: object) -> Callable[..., Path]:
    """Writes a model folder with random self-guided heads on the published backbone; ``changes`` are the card's clip's.

    Scores are calibrated so that they differ from clip to clip, and from what the heads say uncalibrated.
    """
    import torch

    from models.backbones import weights
    from models.card import Alerting, write_card
    from models.detectors.mist.card import Backbone, MistCard
    from models.detectors.mist.encoder import save_encoder
    from models.detectors.mist.sga import SelfGuidedAttention, SelfGuidedHeads
    from pipeline.windows import StoredClip

    def make(
        name: str = "guided", seed: int = 21, heads_options: dict[str, Any] | None = None, **changes: object
    ) -> Path:
        folder = tmp_path_factory.mktemp("models") / name
        folder.mkdir()
        torch.manual_seed(seed)
        heads = SelfGuidedHeads(SelfGuidedAttention(hidden=16, detectors=3), **(heads_options or {}))
        with torch.no_grad():  # as it is drawn, the attention is 0.5 everywhere
            heads.attention.attend.weight.mul_(40)
        heads.calibration = (6.0, 0.25)
        clip = {"frames": 16, "stride": 8, "fps": 12.5, "height": 64, "width": 96, "fit": "letterbox"} | changes
        card = MistCard(
            name=name,
            description="random weights, for tests",
            architecture=heads.architecture(),
            backbone=Backbone(
                name="i3d-kinetics400", tensors_sha256=weights.published("i3d-kinetics400").tensors_sha256
            ),
            weights_sha256=save_encoder(heads, folder),
            clip=StoredClip.model_validate(clip),
            alerting=Alerting(kernel=5, open_threshold=0.625, close_threshold=0.5),
            training={},
            figures={},
        )
        write_card(card, folder)
        return folder

    return make


@pytest.fixture(scope="session")
def trained(make_model: Callable[..., Path]) -> Path:
    """The folder of a trained model for clips of 16 × 224 × 224."""
    return make_model()


@pytest.fixture(scope="session")
def repository(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its model repository. Read-only: copy it to change it."""
    from models.serving.export import export

    out = tmp_path_factory.mktemp("repository")
    export(str(trained), out, max_batch=MAX_BATCH)
    return out


@pytest.fixture(scope="session")
def version(repository: Path) -> Path:
    """The version folder."""
    return repository / "clip_scorer" / "1"


@pytest.fixture(scope="session")
def golden(data: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Inputs and outputs of an independent I3D."""
    with np.load(data / "i3d" / "golden_i3d_kinetics400.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def clips(golden: dict[str, npt.NDArray[np.generic]]) -> Clips:
    """Six real clips, uint8 (6, 16, 224, 224, 3), three of each golden video; 0 and 3 are the golden ones."""
    videos = golden["clips_u8"]
    return np.ascontiguousarray(
        np.concatenate([[video[first : first + 16] for first in (0, 20, 40)] for video in videos])
    )


@pytest.fixture(scope="session")
def openvino_engine(version: Path) -> Iterator[object]:
    from models.serving.engine import open_engine

    return open_engine("openvino", version, (16, 224, 224, 3))


@pytest.fixture(scope="session")
def torch_engine(version: Path) -> Iterator[object]:
    from models.serving.engine import Engine
    from models.serving.torch_file import open_networks

    return Engine(open_networks(version / "scorer.safetensors", "cpu").scorer, (16, 224, 224, 3))
