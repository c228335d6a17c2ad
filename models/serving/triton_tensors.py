"""Arrays for Triton.

This file is copied into every exported version folder.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy.typing as npt
import triton_python_backend_utils as triton

_clear_destructor = ctypes.pythonapi.PyCapsule_SetDestructor
_clear_destructor.argtypes = [ctypes.py_object, ctypes.c_void_p]


def output(name: str, array: npt.NDArray[Any]) -> Any:
    """Return a tensor for Triton over ``array``, which must be contiguous and writable.

    By DLPack, as the backend was built for numpy 1: ``Tensor(name, array)`` gives empty data with numpy 2. Triton takes
    the capsule's content over without saying so, hence the destructor is cleared, or each capsule would complain.
    """
    capsule = array.__dlpack__()
    _clear_destructor(capsule, None)
    return triton.Tensor.from_dlpack(name, capsule)
