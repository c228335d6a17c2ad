"""Networks on CPUs with OpenVINO: three times as fast as torch there (212 against 686 ms a clip on two cores).

This file is copied into every exported version folder, so nothing of ours is imported. Import OpenVINO from here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.engines.precision import Precision, lacking

# OpenVINO's import reports its use to Intel unless one has opted out. None makes the import of that part fail.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402

__all__ = ["OpenVinoNetwork", "cpu_capabilities", "ov"]


def cpu_capabilities() -> Sequence[str]:
    """Return what OpenVINO computes natively on this processor: ``FP32``, ``INT8``, ``BF16``, ..."""
    found: Sequence[str] = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


class OpenVinoNetwork:
    """A network, compiled for the CPU. One thread at a time may use it.

    Args:
        network: an ``openvino.Model`` or the path of its ``.xml``: normalisation inside, any batch size, the other
            dimensions fixed, a name for each input and output.
        precision: of what is not quantised: ``fp32``, and also ``int8`` for a network with quantised layers; ``bf16``
            where the processor has it, else float32, which :attr:`name` then says.
        threads: number of threads of one stream that computes each batch at once, as a server wants it; 0 takes every
            core that this process may use. None leaves threads and streams to OpenVINO.

    Attributes:
        name: the engine and its precision, for the log.

    Raises:
        RuntimeError: OpenVINO cannot read the network.
    """

    name = "openvino"

    def __init__(
        self, network: Path | Any, *, threads: int | None = None, precision: Precision = Precision.FP32
    ) -> None:
        hint = "f32"
        if precision is not Precision.FP32:
            lacks = lacking(precision, cpu_capabilities())
            self.name = f"openvino in float32, not {precision}: {lacks}" if lacks else f"openvino {precision}"
            hint = "bf16" if precision is Precision.BF16 and not lacks else "f32"
        settings = {
            # Decoding shares the cores: a pinned thread would wait for its core while another one idles.
            "ENABLE_CPU_PINNING": "NO",
            # Else a CPU with bf16 units computes in bf16, 1e-2 away from torch.
            "INFERENCE_PRECISION_HINT": hint,
        }
        if threads is not None:
            settings |= {
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": "1",
                "INFERENCE_NUM_THREADS": str(threads or len(os.sched_getaffinity(0))),
            }
        try:
            core = ov.Core()
            model = network if isinstance(network, ov.Model) else core.read_model(network)
            compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            # OpenVINO's text begins with its own source files; the reason comes last.
            reason = [line for line in str(error).splitlines() if line.strip()][-1].strip()
            raise RuntimeError(f"{network} cannot be loaded ({reason}); write it again with mistwatch export") from None
        self._request = compiled.create_infer_request()
        # Compiling may add the names of tensors that it has merged with an input.
        self._inputs = {port.any_name: ordinal for ordinal, port in enumerate(model.inputs)}
        self._outputs = [sorted(output.names) for output in compiled.outputs]  # a tensor may have several names

    def run(self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """Compute each output by its names, (N, ...); the arrays belong to the caller.

        Args:
            values: clips, uint8 (N, T, H, W, 3), for a network with one input; otherwise each input by its name,
                (N, ...), of the input's type.

        Raises:
            ValueError: the names are not those of the inputs.
        """
        arrays = values if isinstance(values, Mapping) else dict.fromkeys(list(self._inputs)[:1], values)
        if arrays.keys() != self._inputs.keys():
            raise ValueError(f"inputs must be {', '.join(self._inputs)}, got {', '.join(arrays)}")
        tensors = {
            self._inputs[name]: ov.Tensor(np.require(array, requirements=["C", "W"]), shared_memory=True)
            for name, array in arrays.items()
        }
        self._request.infer(tensors)
        found: dict[str, npt.NDArray[np.float32]] = {}
        for ordinal, names in enumerate(self._outputs):
            # A copy, because the request's next inference overwrites its memory.
            values = np.array(self._request.get_output_tensor(ordinal).data, dtype=np.float32)
            found |= dict.fromkeys(names, values)
        return found
