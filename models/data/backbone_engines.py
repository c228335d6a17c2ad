"""Engines for extraction: a published backbone, from uint8 clips to its features or its maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from models.backbones.i3d import ClipEncoder, MapEncoder, load_i3d
from models.backbones.layers import WIDTHS
from models.data.extraction import Clips, Engine, Floats
from pipeline.windows import ClipSpec

Run = Callable[[Clips], dict[str, Floats]]

#: Clips in a batch on a GPU. On a few CPU cores batches gain nothing and cost memory.
_CUDA_BATCH = 16


def open_feature_engine(engine: str, clip: ClipSpec, backbone: str, layers: Sequence[str]) -> Engine:
    """Load a backbone whose pooled maps are the features, (N, D); see :class:`models.backbones.i3d.ClipEncoder`.

    Args:
        engine: ``cuda``, ``openvino`` or ``cpu``.
        clip: OpenVINO's form is right for clips of this size alone.

    Raises:
        ValueError: the engine is unknown.
        models.engines.torch.EngineError: it cannot run here; so does the engine when it is used.
        models.backbones.weights.WeightsError: the weights are not here.
    """
    return _opened(engine, ClipEncoder(load_i3d(backbone), layers), ("FEATURES",), clip)


def open_map_engine(engine: str, clip: ClipSpec, backbone: str) -> Engine:
    """Load a backbone whose maps are wanted, those of all layers; see :class:`models.backbones.i3d.MapEncoder`.

    Args and errors are those of :func:`open_feature_engine`.
    """
    return _opened(engine, MapEncoder(load_i3d(backbone, classifier=False)), tuple(WIDTHS), clip)


def _opened(engine: str, network: nn.Module, outputs: tuple[str, ...], clip: ClipSpec) -> Engine:
    if engine not in ("cuda", "openvino", "cpu"):
        raise ValueError(f"engine must be cuda, openvino or cpu, got {engine!r}")
    batch = _CUDA_BATCH if engine == "cuda" else 1
    run = _compiled(network, outputs, clip) if engine == "openvino" else _on_torch(network, outputs, engine, batch)

    def encode(clips: Clips) -> tuple[Floats, ...]:
        found = run(clips)
        return tuple(found[name] for name in outputs)

    return Engine(engine, batch, encode)


def _compiled(network: nn.Module, outputs: Sequence[str], clip: ClipSpec) -> Run:
    from models.engines.openvino import OpenVinoNetwork
    from models.engines.openvino_convert import Input, to_openvino

    inputs = {"CLIP": Input((clip.frames, clip.height, clip.width, 3))}
    return OpenVinoNetwork(to_openvino(network, inputs, outputs)).run


def _on_torch(network: nn.Module, outputs: Sequence[str], device: str, batch: int) -> Run:
    from models.engines.torch import TorchNetwork

    return TorchNetwork(network, outputs, device, batch=batch, tf32=True).run
