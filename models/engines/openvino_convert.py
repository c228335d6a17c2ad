"""Conversion of torch networks for OpenVINO."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

# Before OpenVINO's own modules: it keeps OpenVINO's telemetry from being imported.
from models.engines.openvino import ov  # isort: skip
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder


def save(model: Any, file: Path) -> None:
    """Write an ``openvino.Model`` as ``file``, NAME.xml, and its weights beside it, in float32.

    Raises:
        OSError: they cannot be written.
    """
    try:
        ov.save_model(model, file, compress_to_fp16=False)
    except RuntimeError as error:  # OpenVINO does not say what is wrong with the disk
        raise OSError(errno.EIO, f"OpenVINO has failed ({error}); is the disk full?", str(file)) from error


class Input(NamedTuple):
    """An input of a network, without the batch's dimension."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.uint8


def to_openvino(network: nn.Module, inputs: Mapping[str, Input], outputs: Sequence[str]) -> Any:
    """Trace ``network`` for inputs of these shapes: any batch, float32 weights.

    The converter's parts are called one by one, as ``openvino.convert_model`` reports its use to Intel.

    Args:
        inputs: the network's inputs by their names, in the order of its arguments; a clip is ``(T, H, W, 3)`` of uint8.
            The padding inside is right for these shapes alone, and the result takes no others.
        outputs: the names of the network's outputs, in order.

    Returns:
        an ``openvino.Model``.
    """
    with warnings.catch_warnings(), torch.inference_mode():
        # That sizes are frozen and that tracing has a successor is known here.
        warnings.simplefilter("ignore")
        # Traced here, as the decoder's own tracing runs the network three times more to check it; our tests do that.
        examples = tuple(torch.zeros(1, *one.shape, dtype=one.dtype) for one in inputs.values())
        traced = torch.jit.trace(network, examples, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)
        converter = FrontEndManager().load_by_framework("pytorch")
        converted = converter.convert(converter.load(decoder))
    converted.reshape({port: ov.PartialShape([-1, *one.shape]) for port, one in enumerate(inputs.values())})
    for ports, names in ((converted.inputs, inputs), (converted.outputs, outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    return converted
