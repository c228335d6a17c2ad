"""A served embedding model: passes Triton's requests to an :class:`~models.alike.served.embedder.Embedder`.

Triton's stub loads this file from the version folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from models.alike.served.embedder import EMBEDDER_FILE, Embedder
from models.serving.triton_tensors import output


class TritonPythonModel:
    """The class that Triton makes once per instance and calls from one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the arrays.

        Raises:
            OSError, ValueError: reach Triton's log and end the loading.
        """
        folder = Path(args["model_repository"]) / args["model_version"]
        with np.load(folder / EMBEDDER_FILE, allow_pickle=False) as stored:
            self._embedder = Embedder(dict(stored))
        config = json.loads(args["model_config"])
        sizes = {
            tensor["name"]: [int(size) for size in tensor["dims"]] for tensor in config["input"] + config["output"]
        }
        expected = {"FEATURES": [self._embedder.inputs], "EMBEDDING": [self._embedder.outputs]}
        if sizes != expected:
            raise ValueError(
                f"config.pbtxt names {sizes}, the arrays need {expected}; write it again: mistwatch export"
            )
        print(f"{args['model_name']}: embeddings of {self._embedder.inputs} features", file=sys.stderr, flush=True)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with the embeddings of its clips."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        # The tensor itself, not its capsule: numpy then asks for a view that is read-only, as the memory is shared.
        features: Any = np.from_dlpack(triton.get_input_tensor_by_name(request, "FEATURES"))
        try:
            return triton.InferenceResponse([output("EMBEDDING", self._embedder.embed(features))])
        except ValueError as error:
            return triton.InferenceResponse(error=triton.TritonError(f"no embedding: {error}"))
