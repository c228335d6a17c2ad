"""Networks with torch, on a CUDA device or on the CPU, in float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.errors import MistwatchError


class EngineError(MistwatchError):
    """An engine cannot run here, whatever the video."""


class TorchNetwork:
    """A network over clips on one device. One thread at a time may use it.

    Args:
        network: in evaluation mode, on the CPU; it is moved.
        device: ``cuda:0``, ``cuda``, ``cpu``, ...
        batch: number of clips that every batch is filled up to, see :func:`filled_up`; None leaves batches as they are.
        tf32: let cuDNN compute convolutions in TF32, torch's default on CUDA: faster, and 1e-3 away from float32.

    Raises:
        EngineError: torch finds no GPU that it can use, or no memory is left there.
    """

    def __init__(
        self, network: nn.Module, outputs: Sequence[str], device: str, *, batch: int | None = None, tf32: bool = False
    ) -> None:
        self.name = f"torch on {device}"
        self._network = moved_to(device, network)
        self._outputs = tuple(outputs)
        self._device = torch.device(device)
        self._batch = batch
        self._tf32 = tf32

    def run(self, clips: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """uint8 (N, T, H, W, 3) → each output by its name, (N, ...); the arrays belong to the caller.

        Raises:
            EngineError: no memory is left on the GPU.
        """
        full = clips if self._batch is None else filled_up(clips, self._batch)
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False)
        with with_room(), torch.inference_mode(), nullcontext() if self._tf32 else exact:
            found = self._network(torch.from_numpy(np.require(full, requirements=["C", "W"])).to(self._device))
            values = found if isinstance(found, tuple) else (found,)
            arrays = [value[: len(clips)].cpu().contiguous().numpy() for value in values]
        return dict(zip(self._outputs, arrays, strict=True))


def filled_up(clips: npt.NDArray[np.uint8], batch: int) -> npt.NDArray[np.uint8]:
    """Add black clips: uint8 (n, T, H, W, 3) → (batch, T, H, W, 3).

    For another number of clips cuDNN may choose another algorithm, and the last digits would depend on the clips that
    happen to be computed together.
    """
    return np.concatenate([clips, np.zeros((batch - len(clips), *clips.shape[1:]), np.uint8)])


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
