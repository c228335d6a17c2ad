"""A served backbone: computes a clip once for all detectors that share it.

Triton's stub loads this file from the version folder as ``model.py``. The detectors' own models ask it
(:mod:`models.serving.asked_backbone`); a client may do so too. Metric of Triton: ``mistwatch_backbone_clips_total``, by
``result``: ``computed``, or ``kept`` for a clip whose results were there.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from models.engines.one_by_one import OneByOne
from models.engines.openvino import OpenVinoNetwork
from models.serving.contract import OPENVINO_FILE, RAISED
from models.serving.kept import KeptResults
from models.serving.over_backbone import ROOM
from models.serving.triton_tensors import output


class TritonPythonModel:
    """The class that Triton makes once per instance and calls from one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network and run it once, as its first run is slow. Raises RuntimeError."""
        started = time.monotonic()
        config = json.loads(args["model_config"])
        clip = tuple(map(int, config["input"][0]["dims"]))
        file = Path(args["model_repository"]) / args["model_version"] / OPENVINO_FILE
        self._kept = KeptResults(OneByOne(OpenVinoNetwork(file, threads=0)), room=ROOM)
        self._kept.compute(np.zeros(clip, np.uint8))
        family = triton.MetricFamily(
            name="mistwatch_backbone_clips_total",
            description="Clips that detectors have asked a shared backbone for, by result: computed or kept",
            kind=triton.MetricFamily.COUNTER,
        )
        self._family = family  # Triton forgets the metrics with it
        labels = {"model": args["model_name"]}
        self._counted = {which: family.Metric(labels={**labels, "result": which}) for which in ("computed", "kept")}
        seconds = time.monotonic() - started
        print(f"{args['model_name']}: {self._kept.name}, ready in {seconds:.1f} s", file=sys.stderr, flush=True)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with the outputs that it asks for."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        before = self._kept.passes
        try:
            clips = np.asarray(np.from_dlpack(triton.get_input_tensor_by_name(request, "CLIP")), np.uint8)
            found = self._kept.run(clips)
            tensors = [output(name, np.require(found[name], requirements=["C", "W"])) for name in _wanted(request)]
        except Exception as error:  # any error answers this request and leaves the server running
            return triton.InferenceResponse(error=triton.TritonError(f"{RAISED}{error}"))
        computed = self._kept.passes - before
        self._counted["computed"].increment(computed)
        self._counted["kept"].increment(len(clips) - computed)
        return triton.InferenceResponse(tensors)


def _wanted(request: Any) -> list[str]:
    return list(request.requested_output_names())
