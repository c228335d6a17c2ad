"""The choice of what computes: a CUDA device, or the CPU.

This file is copied into every exported version folder, so nothing of ours is imported.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

#: Processor features that decide the speed of networks, and which precisions it computes in, as Linux names them.
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "amx_tile")


def cuda_devices() -> int:
    """Return the number of CUDA devices that this process may use.

    The driver is asked, because importing torch would cost 0.5 GB.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def processor_features() -> list[str]:
    """Return those of the processor's features that matter to networks; none where the system does not list them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return [name for name in _FEATURES if name in flags]


def fastest_engine() -> str:
    """Return ``cuda`` where torch has a device, else ``openvino`` where it is installed, else ``cpu``."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "openvino" if importlib.util.find_spec("openvino") else "cpu"
