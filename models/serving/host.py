"""A served model that hosts the parts of many cameras: scores each request with the part that it names.

Triton's stub loads this file from the version folder as ``model.py``, beside the program's code and the networks that
the cameras share. The parts lie in the model's folder (:mod:`models.serving.parts`). A request whose part is missing or
damaged is answered with an error of its own, and the others of its batch are scored.

PART is UINT8 and not BYTES: with numpy 2, Triton's Python backend dies at the first string of a request.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as triton

from models.serving.contract import PART_TROUBLE, PARTS_FOLDER
from models.serving.hosted import OpenedCode
from models.serving.parts import OpenedPart, Parts
from models.serving.triton_tensors import output

Outputs = Mapping[str, npt.NDArray[np.float32]]


class TritonPythonModel:
    """The class that Triton makes once per instance and calls from one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the code and the shared networks, and score a black clip with one part, as the first run is slow.

        Raises:
            RuntimeError, ValueError: reach Triton's log and end the loading.
        """
        started = time.monotonic()
        config = json.loads(args["model_config"])
        (clip,) = (tuple(map(int, each["dims"])) for each in config["input"] if each["name"] == "CLIP")
        model = Path(args["model_repository"])
        self._parts = Parts(
            model / PARTS_FOLDER, OpenedCode(model / args["model_version"]).open, int(args["model_version"])
        )
        self._batch = np.zeros((max(int(config["max_batch_size"]), 1), *clip), np.uint8)
        self._has_heat = any(tensor["name"] == "HEAT" for tensor in config["output"])
        names = self._parts.names()
        self._warm_up(names)
        seconds = time.monotonic() - started
        line = f"{args['model_name']}: {len(names)} parts, clips {clip}, ready in {seconds:.1f} s"
        print(line, file=sys.stderr, flush=True)

    def _warm_up(self, names: list[str]) -> None:
        for name in names:
            try:
                outputs = self._parts.find(name).scorer.run(self._batch)
            except Exception as error:  # one damaged part does not keep the others from being served
                print(f"{PART_TROUBLE}{name}: {error}", file=sys.stderr, flush=True)
                continue
            if self._has_heat == ("HEAT" in outputs):
                return
            print(f"{PART_TROUBLE}{name}: differs from config.pbtxt in the output HEAT", file=sys.stderr, flush=True)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Score all requests; Triton keeps the sum of their clips in bounds.

        A request without CLIP asks for the settings of its part.
        """
        responses: list[Any] = [None] * len(requests)
        parts: dict[int, OpenedPart] = {}  # by the place of their request
        clips: dict[int, slice] = {}
        masks: dict[int, npt.NDArray[Any] | None] = {}
        filled = 0
        for place, request in enumerate(requests):
            try:
                part = self._parts.find(_part_name(request))
            except LookupError as error:
                responses[place] = _failed(f"{PART_TROUBLE}{error}", triton.TritonError.NOT_FOUND)
                continue
            if (tensor := triton.get_input_tensor_by_name(request, "CLIP")) is None:
                responses[place] = triton.InferenceResponse([output("PART_SETTINGS", _settings(part))])
                continue
            # The tensor itself, not its capsule: numpy then asks for a view that is read-only, as the memory is shared.
            given = np.from_dlpack(tensor)
            parts[place], clips[place] = part, slice(filled, filled + len(given))
            self._batch[clips[place]] = given
            mask = triton.get_input_tensor_by_name(request, "MASK")
            masks[place] = None if mask is None else np.from_dlpack(mask)
            filled += len(given)
        common: npt.NDArray[Any] | Exception | None = None
        if parts:
            common = _common(next(iter(parts.values())), self._batch[:filled])
        for place, part in parts.items():
            try:
                scored = _scored(part, self._batch[clips[place]], common, clips[place], masks[place])
                responses[place] = _answered(part, scored)
            except Exception as error:  # any error answers this request and leaves the server running
                responses[place] = _failed(f"scoring failed: {error}", triton.TritonError.INTERNAL)
        return responses


def _part_name(request: Any) -> str:
    """Return the part that a request names, once or with each of its clips. Raises LookupError: it names none."""
    try:
        rows = np.from_dlpack(triton.get_input_tensor_by_name(request, "PART"))
        (name,) = {bytes(row) for row in rows}
        return name.decode()
    except Exception:  # whatever a client may send, the other requests of the batch are scored
        raise LookupError("a request must name one part, in UTF-8") from None


def _settings(part: OpenedPart) -> npt.NDArray[np.uint8]:
    """Return the settings of a part, and its version, as JSON in UTF-8: (1, n)."""
    text = json.dumps({**part.settings, "version": str(part.version)})
    return np.frombuffer(bytearray(text.encode()), np.uint8)[np.newaxis]


def _common(part: OpenedPart, clips: npt.NDArray[np.uint8]) -> npt.NDArray[Any] | Exception | None:
    """Return the work on clips of several cameras that all parts share: (N, ...); None where they share none."""
    if not hasattr(part.scorer, "common"):
        return None
    try:
        found: npt.NDArray[Any] = part.scorer.common(clips)
    except Exception as error:  # it answers the requests one by one
        return error
    return found


def _scored(
    part: OpenedPart,
    clips: npt.NDArray[np.uint8],
    common: npt.NDArray[Any] | Exception | None,
    place: slice,
    mask: npt.NDArray[np.uint8] | None,
) -> Outputs:
    """Score clips with their part, which ``common`` has at ``place``; without their ignored places, if any."""
    if isinstance(common, Exception):
        raise common
    outputs: Outputs
    if common is not None:
        outputs = part.scorer.judge(common[place], *([] if mask is None else [mask]))
    else:
        outputs = part.scorer.run(clips if mask is None else {"CLIP": clips, "MASK": mask})
    return outputs


def _answered(part: OpenedPart, outputs: Outputs) -> Any:
    version = np.full((len(outputs["SCORE"]), 1), part.version, np.int64)
    tensors = [output(name, np.require(values, requirements=["C", "W"])) for name, values in outputs.items()]
    return triton.InferenceResponse([*tensors, output("PART_VERSION", version)])


def _failed(text: str, code: Any) -> Any:
    return triton.InferenceResponse(error=triton.TritonError(text, code))
