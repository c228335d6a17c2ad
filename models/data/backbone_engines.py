"""Engines for extraction: a published backbone, from uint8 clips to its features or its maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from models.backbones.i3d import ClipEncoder, MapEncoder, load_i3d
from models.backbones.layers import WIDTHS
from models.backbones.still import StillEncoder, StillI3D
from models.data.extraction import Clips, Engine, Floats
from pipeline.windows import ClipSpec

Run = Callable[[Clips], dict[str, Floats]]

#: Clips in a batch on a GPU. On a few CPU cores batches gain nothing and cost memory.
_CUDA_BATCH = 16


def open_feature_engine(
    engine: str, clip: ClipSpec, backbone: str, layers: Sequence[str], *, contrast: bool = False
) -> Engine:
    """Load a backbone whose pooled maps are the features, (N, D); see :class:`models.backbones.i3d.ClipEncoder`.

    Args:
        engine: ``cuda``, ``openvino`` or ``cpu``.
        clip: OpenVINO's form is right for clips of this size alone.
        contrast: the features are differences from those of a standing scene, which is each clip's last picture, behind
            its frames: (N, T + 1, H, W, 3).

    Raises:
        ValueError: the engine is unknown.
        models.engines.torch.EngineError: it cannot run here; so does the engine when it is used.
        models.backbones.weights.WeightsError: the weights are not here.
    """
    network = load_i3d(backbone)
    still = StillEncoder(network, layers, clip.frames) if contrast else None
    return _opened(engine, ClipEncoder(network, layers), still, ("FEATURES",), clip)


def open_map_engine(engine: str, clip: ClipSpec, backbone: str, *, contrast: bool = False) -> Engine:
    """Load a backbone whose maps are wanted, those of all layers; see :class:`models.backbones.i3d.MapEncoder`.

    Args and errors are those of :func:`open_feature_engine`.
    """
    network = load_i3d(backbone, classifier=False)
    still = StillI3D(network, clip.frames) if contrast else None
    return _opened(engine, MapEncoder(network), still, tuple(WIDTHS), clip)


def _opened(
    engine: str, network: nn.Module, still: nn.Module | None, outputs: tuple[str, ...], clip: ClipSpec
) -> Engine:
    if engine not in ("cuda", "openvino", "cpu"):
        raise ValueError(f"engine must be cuda, openvino or cpu, got {engine!r}")
    batch = _CUDA_BATCH if engine == "cuda" else 1
    picture = (clip.height, clip.width, 3)

    def runs(part: nn.Module, name: str, shape: tuple[int, ...]) -> Run:
        if engine == "openvino":
            return _compiled(part, name, shape, outputs)
        return _on_torch(part, outputs, engine, batch)

    run = runs(network, "CLIP", (clip.frames, *picture))
    run_still = runs(still, "SCENE", picture) if still is not None else None

    def encode(clips: Clips) -> tuple[Floats, ...]:
        if run_still is None:
            found = run(clips)
            return tuple(found[name] for name in outputs)
        found, standing = run(clips[:, :-1]), run_still(clips[:, -1])
        return tuple(found[name] - standing[name] for name in outputs)

    return Engine(engine, batch, encode)


def _compiled(network: nn.Module, name: str, shape: tuple[int, ...], outputs: Sequence[str]) -> Run:
    from models.engines.openvino import OpenVinoNetwork
    from models.engines.openvino_convert import Input, to_openvino

    return OpenVinoNetwork(to_openvino(network, {name: Input(shape)}, outputs)).run


def _on_torch(network: nn.Module, outputs: Sequence[str], device: str, batch: int) -> Run:
    from models.engines.torch import TorchNetwork

    return TorchNetwork(network, outputs, device, batch=batch, tf32=True).run
