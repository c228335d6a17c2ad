"""I3D's two maps that self-guided attention reads, from uint8 clips, on whatever engine there is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from models.backbones.i3d import I3D, load_i3d
from models.data.extraction import Clips, Engine, Floats, filled_up
from models.data.features import moved_to, with_room
from pipeline.windows import ClipSpec


class MapEncoder(nn.Module):
    """I3D up to its last block, with the clip's normalisation inside."""

    def __init__(self, backbone: I3D) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, T, H, W, 3) RGB → Mixed_4f (N, 832, T/4, H/16, W/16), Mixed_5c (N, 1024, T/8, H/32, W/32), float32.

        All divisions are rounded up.
        """
        maps = self.backbone.maps(clips)
        return maps.early, maps.late


def open_map_engine(engine: str, clip: ClipSpec, backbone: str) -> Engine:
    """Load the backbone.

    Args:
        engine: ``cuda``, ``openvino`` or ``cpu``.
        clip: OpenVINO's form is right for clips of this size alone.
        backbone: name of published weights.

    Raises:
        ValueError: there is no such engine.
        models.data.features.EngineError: it cannot run here; so does what is returned.
        models.backbones.weights.WeightsError: its weights are not here.
    """
    if engine not in ("cuda", "openvino", "cpu"):
        raise ValueError(f"engine must be cuda, openvino or cpu, got {engine!r}")
    encoder = MapEncoder(load_i3d(backbone, classifier=False))
    if engine == "openvino":
        from models.serving.openvino_convert import ov, to_openvino

        network = to_openvino(encoder, (clip.frames, clip.height, clip.width, 3), ("EARLY", "LATE"))
        # Decoding shares the cores: a pinned thread would wait for its core while another one idles.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": "NO"}
        compiled = ov.compile_model(network, "CPU", settings)

        def infer(clips: Clips) -> tuple[Floats, ...]:
            outputs = compiled([np.ascontiguousarray(clips)])
            return np.array(outputs[0]), np.array(outputs[1])

        # Batches gain nothing on a few cores and cost memory.
        return Engine(engine, 1, infer)
    moved_to(engine, encoder)
    batch = 16 if engine == "cuda" else 1

    def encode(clips: Clips) -> tuple[Floats, ...]:
        full = torch.from_numpy(filled_up(clips, batch))
        with with_room(), torch.inference_mode():
            early, late = (values[: len(clips)] for values in encoder(full.to(engine)))
        return early.cpu().numpy(), late.cpu().numpy()

    return Engine(engine, batch, encode)
