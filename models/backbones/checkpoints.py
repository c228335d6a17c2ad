"""Published checkpoints, read from the bytes of their files into tensors with the names of our networks.

A checkpoint is a pickle. Those of I3D and VGG-16 are read by a reader that admits arrays and nothing else,
EfficientNet-Lite0's by torch's own reader of weights alone. So nothing else that a checkpoint names is ever imported or
called.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

#: Ordinals of the 13 convolutions among the layers ``features`` of torchvision's VGG-16; ReLUs and pools are between.
VGG16_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


class ArraysOnly(pickle.Unpickler):
    """Reads pickles of plain containers and numpy arrays. Any other global in the stream is refused before it is
    looked up, so nothing that a pickle names is ever imported or called."""

    _ADMITTED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),  # numpy 1's name for it, which is what old files hold
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in self._ADMITTED:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which is not an array")
        return super().find_class(module_name.replace("numpy.core.", "numpy._core."), global_name)


def read_i3d(data: bytes) -> dict[str, FloatArray]:
    """Return the tensors of :class:`models.backbones.i3d.I3D`, by name, from the JAX checkpoint.

    Raises:
        ValueError, pickle.UnpicklingError, EOFError: it holds anything else.
    """
    return convert_i3d(ArraysOnly(io.BytesIO(data)).load())


def convert_i3d(checkpoint: object) -> dict[str, FloatArray]:
    """The JAX checkpoint's tree of arrays → the tensors of :class:`models.backbones.i3d.I3D`, by name.

    ``params / Mixed_4b / Branch_1/Conv3d_0b_3x3 / Conv_0 / kernel`` (D, H, W, in, out) becomes
    ``Mixed_4b.Branch_1.Conv3d_0b_3x3.conv.weight`` (out, in, D, H, W).

    Raises:
        ValueError: a leaf is not an array of float32, or has a name that I3D does not know.
    """
    names = {
        ("Conv_0", "kernel"): "conv.weight",
        ("Conv_0", "bias"): "conv.bias",
        ("BatchNorm_0", "bias"): "bn.bias",
        ("BatchNorm_0", "mean"): "bn.mean",
        ("BatchNorm_0", "var"): "bn.var",
    }
    tensors: dict[str, FloatArray] = {}
    for trail, array in _leaves(checkpoint):
        _, *unit, kind, leaf = trail if len(trail) >= 4 else ("", "", "", "")
        where = "::".join(trail)
        if (kind, leaf) not in names:
            raise ValueError(f"unexpected tensor {where}")
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            raise ValueError(f"{where} is not an array of float32")
        name = f"{'.'.join(unit).replace('/', '.')}.{names[kind, leaf]}"
        tensors[name] = np.ascontiguousarray(array.transpose(4, 3, 0, 1, 2) if leaf == "kernel" else array.reshape(-1))
    return tensors


def _leaves(tree: object, trail: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, (*trail, str(key)))
    else:
        yield trail, tree


def read_efficientnet_lite0(data: bytes) -> dict[str, FloatArray]:
    """Return the tensors of :class:`models.backbones.efficientnet_lite0.EfficientNetLite0`, by name.

    ``_blocks.0._bn1.running_mean`` of the torch checkpoint becomes ``blocks.0.bn1.running_mean``. The counters of
    BatchNorm's batches are left out.

    Raises:
        ValueError: a value is not a tensor of float32.
        pickle.UnpicklingError, EOFError, RuntimeError: it is not a checkpoint of tensors alone.
    """
    import torch

    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"expected tensors by their names, got a {type(state).__name__}")
    tensors: dict[str, FloatArray] = {}
    for name, tensor in state.items():
        if str(name).endswith(".num_batches_tracked"):
            continue
        if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float32:
            raise ValueError(f"{name} is not a tensor of float32")
        tensors[".".join(part.removeprefix("_") for part in str(name).split("."))] = tensor.contiguous().numpy()
    return tensors


def read_vgg16(data: bytes) -> dict[str, FloatArray]:
    """Return the convolutions of torchvision's VGG-16, by name, from the JAX checkpoint of a perceptual distance.

    The kernel (H, W, in, out) of ``Conv_2`` becomes ``features.5.weight`` (out, in, H, W). The linear layers of the
    distance itself are left out.

    Raises:
        ValueError: the tree holds other convolutions, or a leaf that is not an array of float32.
        pickle.UnpicklingError, EOFError: it is not a pickle of arrays alone.
    """
    tree = ArraysOnly(io.BytesIO(data), encoding="latin1").load()  # written under Python 2's rules for arrays
    found = tree.get("VGG16_0") if isinstance(tree, dict) else None
    if not isinstance(found, dict) or sorted(found) != sorted(f"Conv_{i}" for i in range(len(VGG16_CONVOLUTIONS))):
        raise ValueError(f"expected the {len(VGG16_CONVOLUTIONS)} convolutions of VGG16_0")
    tensors: dict[str, FloatArray] = {}
    for ordinal, place in enumerate(VGG16_CONVOLUTIONS):
        for name, array in dict(found[f"Conv_{ordinal}"]).items():
            if name not in ("kernel", "bias") or not isinstance(array, np.ndarray) or array.dtype != np.float32:
                raise ValueError(f"Conv_{ordinal}::{name} is not a kernel or a bias of float32")
            of = "weight" if name == "kernel" else "bias"
            ours = array.transpose(3, 2, 0, 1) if name == "kernel" else array
            tensors[f"features.{place}.{of}"] = np.ascontiguousarray(ours)
    return tensors
