"""The choice of what computes: a CUDA device, or the CPU.

This file is copied into every exported version folder, so nothing of ours is imported.
"""

from __future__ import annotations

import ctypes
import importlib.util


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


def fastest_engine() -> str:
    """Return ``cuda`` where torch has a device, else ``openvino`` where it is installed, else ``cpu``."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "openvino" if importlib.util.find_spec("openvino") else "cpu"
