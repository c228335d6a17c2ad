"""Numbers that a network computes with, and what a processor has for them.

This file is copied into every exported version folder, so nothing of ours is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Precision(StrEnum):
    """Values of the parameter ``PRECISION`` in a ``config.pbtxt``, without ``auto``, which an export resolves."""

    AUTO = "auto"  #: the fastest that the accuracy gate has accepted, on this processor
    FP32 = "fp32"
    BF16 = "bf16"  #: a hint to the engine: the files are those of fp32
    INT8 = "int8"  #: quantised layers in the network's file; the rest of it computes in float32
    FP16 = "fp16"  #: on CUDA devices alone


#: Names in OpenVINO's property OPTIMIZATION_CAPABILITIES.
_CAPABILITY = {Precision.BF16: "BF16", Precision.INT8: "INT8"}
_LACKS = {
    Precision.BF16: "this processor has no bfloat16 (AVX512-BF16 or AMX)",
    Precision.INT8: "OpenVINO has no int8 for this processor",
    Precision.FP16: "fp16 needs a CUDA device",
}


def lacking(precision: Precision, capabilities: Sequence[str]) -> str:
    """Return why a processor cannot compute with this precision; empty where it can.

    Args:
        capabilities: see :func:`models.engines.openvino.cpu_capabilities`.
    """
    if precision in (Precision.AUTO, Precision.FP32):
        return ""
    return "" if _CAPABILITY.get(precision) in capabilities else _LACKS[precision]
