"""A backbone that another model of the same Triton computes: it is asked through Triton, from within a request.

This file is copied into every exported version folder, where its imports are made relative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as triton

from models.serving.contract import BACKBONE_BATCH
from models.serving.over_backbone import NamedBackbone
from models.serving.triton_tensors import output


class BackboneAwayError(RuntimeError):
    """The served backbone does not answer."""


class AskedBackbone:
    """Asks the served backbone. Triton allows that while it waits for an answer, so not while a model is loaded."""

    def __init__(self, backbone: NamedBackbone) -> None:
        self.name = f"the served model {backbone.model}"
        self._backbone = backbone

    def run(self, values: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """uint8 (N, T, H, W, 3) → the outputs that the head reads. Raises BackboneAwayError."""
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
            raise BackboneAwayError(f"{self.name} does not answer: {answer.error().message()}")
        # Copies, because the tensors lie in memory that Triton shares with this process.
        return {
            name: np.array(np.from_dlpack(triton.get_output_tensor_by_name(answer, name)), np.float32)
            for name in self._backbone.reads
        }
