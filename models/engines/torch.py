"""Networks with torch, on a CUDA device or on the CPU, in float32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.errors import MistwatchError


class EngineError(MistwatchError):
    """An engine cannot run here, whatever the video."""


class TorchNetwork:
    """A network on one device. One thread at a time may use it.

    Args:
        network: in evaluation mode, on the CPU; it is moved.
        inputs: the names of its arguments, in order, where it has several.
        device: ``cuda:0``, ``cuda``, ``cpu``, ...
        batch: number of clips that every batch is filled up to, see :func:`filled_up`; None leaves batches as they are.
        tf32: let cuDNN compute convolutions in TF32, torch's default on CUDA: faster, and 1e-3 away from float32.

    Raises:
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
    ) -> None:
        self.name = f"torch on {device}"
        self._network = moved_to(device, network)
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._device = torch.device(device)
        self._batch = batch
        self._tf32 = tf32

    def run(self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """Compute each output by its name, (N, ...); the arrays belong to the caller.

        Args:
            values: clips, uint8 (N, T, H, W, 3), for a network with one input; otherwise each input by its name,
                (N, ...), of the input's type.

        Raises:
            EngineError: no memory is left on the GPU.
            ValueError: the names are not those of the inputs.
        """
        named = values if isinstance(values, Mapping) else dict.fromkeys(self._inputs[:1], values)
        if named.keys() != set(self._inputs):
            raise ValueError(f"inputs must be {', '.join(self._inputs)}, got {', '.join(named)}")
        arguments = [named[name] for name in self._inputs]
        size = len(arguments[0])
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False)
        with with_room(), torch.inference_mode(), nullcontext() if self._tf32 else exact:
            found = self._network(*map(self._moved, arguments))
            results = found if isinstance(found, tuple) else (found,)
            arrays = [result[:size].cpu().contiguous().numpy() for result in results]
        return dict(zip(self._outputs, arrays, strict=True))

    def _moved(self, argument: npt.NDArray[Any]) -> torch.Tensor:
        full = argument if self._batch is None else filled_up(argument, self._batch)
        return torch.from_numpy(np.require(full, requirements=["C", "W"])).to(self._device)


def filled_up(argument: npt.NDArray[Any], batch: int) -> npt.NDArray[Any]:
    """Add zeros, which are black clips: (n, ...) → (batch, ...).

    For another number of clips cuDNN may choose another algorithm, and the last digits would depend on the clips that
    happen to be computed together.
    """
    return np.concatenate([argument, np.zeros((batch - len(argument), *argument.shape[1:]), argument.dtype)])


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
