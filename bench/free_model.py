"""A served model whose scores cost nothing, so that what remains is the transport: bench/transport.py serves it.

It copies its clips as a served detector does (models/serving/model.py), and answers with their first byte.
"""

from __future__ import annotations

import ctypes
import json
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

_clear_destructor = ctypes.pythonapi.PyCapsule_SetDestructor
_clear_destructor.argtypes = [ctypes.py_object, ctypes.c_void_p]


class TritonPythonModel:
    """See models/serving/triton_tensors.py for the way of an array out."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        clip = [int(size) for size in config["input"][0]["dims"]]
        self._batch = np.zeros((int(config["max_batch_size"]), *clip), np.uint8)

    def execute(self, requests: list[Any]) -> list[Any]:
        responses = []
        for row, request in enumerate(requests):
            self._batch[row] = np.from_dlpack(triton.get_input_tensor_by_name(request, "CLIP"))[0]
            score = np.full((1, 1), self._batch[row].flat[0] / 255, np.float32)
            capsule = score.__dlpack__()
            _clear_destructor(capsule, None)
            responses.append(triton.InferenceResponse([triton.Tensor.from_dlpack("SCORE", capsule)]))
        return responses
