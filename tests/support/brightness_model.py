"""A tiny model behind the served contract: its score is known, its service time and its failures are in the pixels.

SCORE is the clip's mean / 255, with a SCENE the mean of its absolute difference from that / 255; HEAT (where the
configuration has that output) the mean / 255 of each quarter of the picture over the whole clip; FEATURES (likewise)
the mean / 255 of each frame. The first pixel of the
first frame steers: red × 10 ms is the service time of this clip, green 255 makes the model raise, blue 255 makes its
score NaN.
"""

from __future__ import annotations

import ctypes
import json
import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb

_set_destructor = ctypes.pythonapi.PyCapsule_SetDestructor
_set_destructor.argtypes = [ctypes.py_object, ctypes.c_void_p]
_set_destructor.restype = ctypes.c_int


def _tensor(name: str, array: np.ndarray) -> Any:
    """With numpy 2 only DLPack carries data out, and only when the capsule's destructor is cleared."""
    capsule = array.__dlpack__()
    _set_destructor(capsule, None)
    return pb.Tensor.from_dlpack(name, capsule)


class TritonPythonModel:
    def initialize(self, args: dict[str, Any]) -> None:
        self.outputs = {output["name"] for output in json.loads(args["model_config"])["output"]}
        self.keep: list[np.ndarray] = []  # outputs outlive `execute`: the capsule no longer owns them

    def execute(self, requests: list[Any]) -> list[Any]:
        self.keep.clear()
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        clips = np.array(np.from_dlpack(pb.get_input_tensor_by_name(request, "CLIP")))  # (N, T, H, W, 3)
        steering = clips[:, 0, 0, 0][clips[:, 0, 0, 0, 2] == 0]  # (M, 3)
        if (steering[:, 1] == 255).any():
            raise ValueError("a green pixel")
        time.sleep(float(steering[:, 0].sum()) * 0.010)
        scene = pb.get_input_tensor_by_name(request, "SCENE")
        shown = clips if scene is None else np.abs(clips - np.from_dlpack(scene)[:, None].astype(float))
        score = np.ascontiguousarray((shown.mean(axis=(1, 2, 3, 4)) / 255).astype(np.float32)[:, None])
        score[clips[:, 0, 0, 0, 2] == 255] = np.nan
        tensors = {"SCORE": score}
        if "FEATURES" in self.outputs:
            tensors["FEATURES"] = np.ascontiguousarray((clips.mean(axis=(2, 3, 4)) / 255).astype(np.float32))
        if "HEAT" in self.outputs:
            n, t, h, w, c = clips.shape
            quarters = clips.reshape(n, t, 2, h // 2, 2, w // 2, c).mean(axis=(1, 3, 5, 6)) / 255
            tensors["HEAT"] = np.ascontiguousarray(quarters.astype(np.float32))
        self.keep += tensors.values()
        return pb.InferenceResponse([_tensor(name, array) for name, array in tensors.items()])
