"""Networks with torch, on a CUDA device or on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.errors import MistwatchError

#: Types that layers compute in, by the words of the precision; None leaves them in float32.
TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class EngineError(MistwatchError):
    """An engine cannot run here, whatever the video."""


class TorchNetwork:
    """A network on one device. One thread at a time may use it.

    Args:
        network: in evaluation mode, on the CPU; it is moved.
        outputs: the names of its outputs, in order.
        device: ``cuda:0``, ``cuda``, ``cpu``, ...
        inputs: the names of its inputs, in the order of its arguments.
        batch: number of clips that every batch is filled up to, see :func:`filled_up`; None leaves batches as they are.
        tf32: let cuDNN compute convolutions in TF32, torch's default on CUDA: faster, and 1e-3 away from float32.
        precision: ``fp32``, or ``bf16`` or ``fp16``: convolutions and products in that type, with channels last in
            memory, as matrix units want them; sums, normalisation and outputs stay in float32.
        compiled: compile the network for each shape that it is run with, and replay it as a CUDA graph. A CPU needs a
            compiler for that, which is not part of an installation.

    Raises:
        ValueError: the precision is unknown.
        EngineError: torch finds no GPU that it can use, or no memory is left there.
    """

    def __init__(
        self,
        network: nn.Module,
        outputs: Sequence[str],
        device: str,
        *,
        inputs: Sequence[str] = ("CLIP",),
        batch: int | None = None,
        tf32: bool = False,
        precision: str = "fp32",
        compiled: bool = False,
    ) -> None:
        if precision not in TYPES:
            raise ValueError(f"precision must be one of {', '.join(TYPES)}, got {precision!r}")
        self._type = TYPES[precision]
        self.name = f"torch on {device}" + ("" if self._type is None else f" in {precision}")
        self._network = moved_to(device, network)
        if self._type is not None:
            self._network = self._network.to(memory_format=torch.channels_last_3d)
        # Beside the network, which stays as it is: nn.Module.compile would change it for the next TorchNetwork, too.
        self._compute: Callable[..., Any] = self._network
        if compiled:
            self._compute = torch.compile(self._network, mode="reduce-overhead", dynamic=False)
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._device = torch.device(device)
        self._batch = batch
        self._tf32 = tf32

    def run(self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """Compute each output by its name, (N, ...); the arrays belong to the caller.

        Args:
            values: clips, uint8 (N, T, H, W, 3), for a network with one input; otherwise each input by its name,
                (N, ...), of the input's type.

        Raises:
            ValueError: the names are not those of the inputs.
            EngineError: no memory is left on the GPU.
        """
        arrays = values if isinstance(values, Mapping) else {self._inputs[0]: values}
        if arrays.keys() != set(self._inputs):
            raise ValueError(f"inputs must be {', '.join(self._inputs)}, got {', '.join(arrays)}")
        ordered = [arrays[name] for name in self._inputs]
        count = len(ordered[0])
        if self._batch is not None:
            ordered = [filled_up(array, self._batch) for array in ordered]
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False)
        with with_room(), torch.inference_mode(), nullcontext() if self._tf32 else exact, self._autocast():
            tensors = [torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in ordered]
            found = self._compute(*(tensor.to(self._device) for tensor in tensors))
            outputs = found if isinstance(found, tuple) else (found,)
            results = [output[:count].to(torch.float32).cpu().contiguous().numpy() for output in outputs]
        return dict(zip(self._outputs, results, strict=True))

    def _autocast(self) -> AbstractContextManager[object]:
        return nullcontext() if self._type is None else torch.autocast(self._device.type, self._type)


def filled_up(clips: npt.NDArray[Any], batch: int) -> npt.NDArray[Any]:
    """Add black clips: (n, T, H, W, 3) → (batch, T, H, W, 3); zeros to any other input.

    For another number of clips cuDNN may choose another algorithm, and the last digits would depend on the clips that
    happen to be computed together.
    """
    return np.concatenate([clips, np.zeros((batch - len(clips), *clips.shape[1:]), clips.dtype)])


def moved_to(device: str, network: nn.Module) -> nn.Module:
    """Return the network on the device.

    Raises:
        EngineError: torch finds no GPU that it can use, or no memory is left there.
    """
    if device == "cpu":
        return network
    with with_room():
        try:
            return network.to(device)
        except (AssertionError, RuntimeError) as error:  # torch without CUDA raises the former
            if isinstance(error, torch.OutOfMemoryError):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise EngineError(
                f"engine {device}: torch can use no GPU here ({reason}); take another with --engine openvino or cpu"
            ) from None


@contextmanager
def with_room() -> Iterator[None]:
    """Turn a GPU's lack of memory into one line. Raises EngineError: no memory is left there."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise EngineError(
            "engine cuda: no memory left on the GPU: see what else runs there (nvidia-smi), or take another with "
            "--engine openvino or cpu"
        ) from None
