"""Conversion of torch networks over clips for OpenVINO."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

# Before OpenVINO's own modules: it keeps OpenVINO's telemetry from being imported.
from models.engines.openvino import ov  # isort: skip
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder


def to_openvino(network: nn.Module, clip: tuple[int, int, int, int], outputs: Sequence[str]) -> Any:
    """Trace ``network`` for uint8 clips (N, T, H, W, 3) of this size: any batch, float32 weights.

    The converter's parts are called one by one, as ``openvino.convert_model`` reports its use to Intel.

    Args:
        clip: (T, H, W, 3). The padding inside is right for this size alone, and the result takes no other.
        outputs: the names of the network's outputs, in order; its input is ``CLIP``.

    Returns:
        an ``openvino.Model``.
    """
    with warnings.catch_warnings(), torch.inference_mode():
        # That sizes are frozen and that tracing has a successor is known here.
        warnings.simplefilter("ignore")
        # Traced here, as the decoder's own tracing runs the network three times more to check it; our tests do that.
        example = torch.zeros(1, *clip, dtype=torch.uint8)
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)
        converter = FrontEndManager().load_by_framework("pytorch")
        converted = converter.convert(converter.load(decoder))
    converted.reshape({0: ov.PartialShape([-1, *clip])})
    converted.inputs[0].get_tensor().set_names({"CLIP"})
    for output, name in zip(converted.outputs, outputs, strict=True):
        output.get_tensor().set_names({name})
    return converted
