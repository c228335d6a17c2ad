"""A served model: passes Triton's requests to an engine.

Triton's stub loads this file from the version folder, beside the engines and the weights, and passes it the arrays of
every batch that its dynamic batcher put together. It imports numpy and the engine that is used, nothing else: with
OpenVINO the stub takes a fifth of the memory that it takes with torch.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as triton

from models.engines.precision import Precision
from models.serving.asked_backbone import AskedBackbone, BackboneAwayError
from models.serving.contract import PRECISION
from models.serving.engine import Engine, open_engine
from models.serving.over_backbone import read_backbone
from models.serving.triton_tensors import output


class TritonPythonModel:
    """The class that Triton makes once per instance and calls from one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the engine and run it once for every batch size, as the first run of each is slow.

        A model on a shared backbone is not run: Triton asks no other model before this one is loaded.

        Raises:
            FileNotFoundError, ValueError, RuntimeError: reach Triton's log and end the loading.
        """
        started = time.monotonic()
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        frames, height, width, channels = (int(size) for size in config["input"][0]["dims"])
        clip = (frames, height, width, channels)
        self._reads_scene = any(tensor["name"] == "SCENE" for tensor in config["input"])
        cells = [tuple(map(int, tensor["dims"])) for tensor in config["input"] if tensor["name"] == "MASK"]
        version = Path(args["model_repository"]) / args["model_version"]
        self._name = args["model_name"]
        self._engine: Engine = open_engine(
            parameters.get("ENGINE", "auto"),
            version,
            clip,
            precision=parameters.get(PRECISION, Precision.FP32),
            device=int(args["model_instance_device_id"]) if args["model_instance_kind"] == "GPU" else 0,
            most=max(int(config["max_batch_size"]), 1),
            backbone=AskedBackbone,
        )
        if self._engine.reads_scene != self._reads_scene:
            raise ValueError("config.pbtxt and the network differ in the input SCENE; write it again: mistwatch export")
        self._batch = np.zeros((max(int(config["max_batch_size"]), 1), *clip), np.uint8)
        #: The masks of the batch, where the model takes them.
        self._masks = np.zeros((len(self._batch), *cells[0]), np.uint8) if cells else None
        if read_backbone(version) is None:
            self._warm_up(has_heat=any(tensor["name"] == "HEAT" for tensor in config["output"]))
        seconds = time.monotonic() - started
        line = f"{args['model_name']}: {self._engine.name}, clips {clip}, ready in {seconds:.1f} s"
        print(line, file=sys.stderr, flush=True)

    def _warm_up(self, *, has_heat: bool) -> None:
        for size in range(1, len(self._batch) + 1):
            # The same scene for all: it is computed once.
            scenes = size * [self._batch[0, 0]] if self._reads_scene else None
            scored = self._engine.score(self._batch[:size], scenes, None if self._masks is None else self._masks[:size])
        if has_heat != (scored.heat is not None):
            raise ValueError("config.pbtxt and the network differ in the output HEAT; write it again: mistwatch export")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Score all requests in one batch; each brings one clip or more, and Triton keeps the sum in bounds."""
        sizes = []
        filled = 0
        is_masked = False
        scenes: list[npt.NDArray[np.uint8] | None] = []
        for request in requests:
            # The tensor itself, not its capsule: numpy then asks for a view that is read-only, as the memory is shared.
            clips = np.from_dlpack(triton.get_input_tensor_by_name(request, "CLIP"))
            self._batch[filled : filled + len(clips)] = clips
            if self._masks is not None:
                mask = triton.get_input_tensor_by_name(request, "MASK")
                self._masks[filled : filled + len(clips)] = 0 if mask is None else np.from_dlpack(mask)
                is_masked |= mask is not None
            sizes.append(len(clips))
            filled += len(clips)
            if self._reads_scene:
                scene = triton.get_input_tensor_by_name(request, "SCENE")
                scenes += [None] * len(clips) if scene is None else list(np.from_dlpack(scene))
        try:
            masks = self._masks[:filled] if self._masks is not None and is_masked else None
            scored = self._engine.score(self._batch[:filled], scenes if self._reads_scene else None, masks)
        except BackboneAwayError as error:  # the worker holds its clips until it is back
            text = f"{self._name}: {error}; load it, or restart Triton"
            away = triton.TritonError(text, triton.TritonError.UNAVAILABLE)
            return [triton.InferenceResponse(error=away) for _ in requests]
        except Exception as error:  # any error answers these requests and leaves the server running
            return [triton.InferenceResponse(error=triton.TritonError(f"scoring failed: {error}")) for _ in requests]

        responses = []
        first = 0
        for size in sizes:
            of_request = slice(first, first + size)
            outputs = [
                output("SCORE", scored.scores[of_request, None]),
                output("FEATURES", scored.features[of_request]),
            ]
            if scored.heat is not None:
                outputs.append(output("HEAT", scored.heat[of_request]))
            responses.append(triton.InferenceResponse(outputs))
            first += size
        return responses
