"""A backbone that another model of the same Triton computes: it is asked through Triton, from within a request.

This file is copied into every exported version folder, where its imports are made relative.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as triton

from models.serving.contract import BACKBONE_BATCH, RAISED
from models.serving.over_backbone import NamedBackbone
from models.serving.triton_tensors import output


class BackboneAwayError(RuntimeError):
    """Triton does not serve the backbone now; it may come back."""


class AskedBackbone:
    """Asks the served backbone. Triton allows that while it waits for an answer, so not while a model is loaded."""

    def __init__(self, backbone: NamedBackbone) -> None:
        self.name = f"the served model {backbone.model}"
        self._backbone = backbone

    def run(self, values: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """uint8 (N, T, H, W, 3) → the outputs that the head reads.

        Raises:
            BackboneAwayError: it is not loaded.
            RuntimeError: it fails on these clips, or its process has died; with Triton's words.
        """
        assert not isinstance(values, Mapping)
        pieces = [self._ask(values[at : at + BACKBONE_BATCH]) for at in range(0, len(values), BACKBONE_BATCH)]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in self._backbone.reads}

    def _ask(self, clips: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float32]]:
        request = triton.InferenceRequest(
            model_name=self._backbone.model,
            requested_output_names=list(self._backbone.reads),
            inputs=[output("CLIP", clips)],
        )
        answer = request.exec()
        if answer.has_error():
            words = answer.error().message()
            line = f"{self.name} does not answer: {words}"
            raise BackboneAwayError(line) if _is_away(self._backbone.model, words) else RuntimeError(line)
        # Copies, because the tensors lie in memory that Triton shares with this process.
        return {
            name: np.array(np.from_dlpack(triton.get_output_tensor_by_name(answer, name)), np.float32)
            for name in self._backbone.reads
        }


def _is_away(model: str, words: str) -> bool:
    """Return whether Triton refuses because it does not serve the model: within a request all its errors have one code.

    The words of a backbone that raises do not count, whatever they are.
    """
    absent = "not ready|not found|no available versions|not at ready state"
    return re.search(f"odel:? '{re.escape(model)}'[^']*({absent})", words.partition(RAISED)[0]) is not None
