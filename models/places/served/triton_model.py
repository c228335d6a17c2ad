"""A served model of places: passes Triton's requests to a network of OpenVINO.

Triton's stub loads this file from the version folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from models.engines.openvino import OpenVinoNetwork
from models.serving.triton_tensors import output

#: The network in the version folder; its weights lie beside it.
_NETWORK_FILE = "places.xml"


class TritonPythonModel:
    """The class that Triton makes once per instance and calls from one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network and run it once, so that the first request is as fast as the later ones.

        Raises:
            OSError, ValueError, RuntimeError: reach Triton's log and end the loading.
        """
        folder = Path(args["model_repository"]) / args["model_version"]
        self._network = OpenVinoNetwork(folder / _NETWORK_FILE, threads=0)
        config = json.loads(args["model_config"])
        (size,) = ([int(length) for length in tensor["dims"]] for tensor in config["input"])
        classes = self._classes(np.zeros((1, *size), np.uint8))
        (expected,) = ([int(length) for length in tensor["dims"]] for tensor in config["output"])
        if list(classes.shape[1:]) != expected:
            raise ValueError(f"config.pbtxt names CLASSES {expected}, and the network gives {classes.shape[1:]}")
        print(f"{args['model_name']}: places in pictures of {size}", file=sys.stderr, flush=True)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with the classes of its pictures."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        # The tensor itself, not its capsule: numpy then asks for a view that is read-only, as the memory is shared.
        pictures: Any = np.from_dlpack(triton.get_input_tensor_by_name(request, "PICTURE"))
        try:
            return triton.InferenceResponse([output("CLASSES", self._classes(pictures))])
        except (ValueError, RuntimeError) as error:
            return triton.InferenceResponse(error=triton.TritonError(f"no classes: {error}"))

    def _classes(self, pictures: Any) -> Any:
        return self._network.run({"PICTURE": pictures})["CLASSES"].astype(np.uint8)
