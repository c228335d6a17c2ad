"""A model's weights in a safetensors file: tensors of torch, or arrays of a program that needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline import files
from pipeline.errors import MistwatchError

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.floating]

_T = TypeVar("_T", "Tensor", Array)


class TensorsError(MistwatchError):
    """Weights cannot be loaded."""


def save_tensors(tensors: Mapping[str, Tensor], file: Path) -> str:
    """Write ``tensors``, in full or not at all.

    Returns:
        The file's SHA-256, for the model card.

    Raises:
        OSError: the folder cannot be written.
    """
    import safetensors.torch

    return _save(
        safetensors.torch.save({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}), file
    )


def save_arrays(arrays: Mapping[str, Array], file: Path) -> str:
    """Write ``arrays`` as :func:`save_tensors` writes tensors of the same values, byte for byte."""
    import safetensors.numpy

    in_order = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # save takes memory as it lies
    return _save(safetensors.numpy.save(in_order), file)


def load_tensors(file: Path, expected: Mapping[str, Tensor], *, network: str, sha256: str) -> dict[str, Tensor]:
    """Return the tensors of ``file``, on the CPU.

    Args:
        expected: state of the network that they are for: names, shapes and types.
        network: name of that network in an error.
        sha256: hash of the file, as its model card has it.

    Raises:
        TensorsError: the file is missing or damaged, its tensors belong to another network or are not finite, or its
            hash is not the card's.
    """
    import safetensors.torch
    import torch

    return _load(file, expected, safetensors.torch.load, torch.isfinite, network=network, sha256=sha256)


def load_arrays(file: Path, expected: Mapping[str, Array], *, network: str, sha256: str) -> dict[str, Array]:
    """Return the arrays of ``file``, read-only; see :func:`load_tensors`."""
    import safetensors.numpy

    return _load(file, expected, safetensors.numpy.load, np.isfinite, network=network, sha256=sha256)


def _save(data: bytes, file: Path) -> str:
    files.write_bytes(file, data)
    return hashlib.sha256(data).hexdigest()


def _load(
    file: Path,
    expected: Mapping[str, _T],
    parse: Callable[[bytes], dict[str, _T]],
    finite: Callable[[_T], Any],
    *,
    network: str,
    sha256: str,
) -> dict[str, _T]:
    from safetensors import SafetensorError

    try:
        data = file.read_bytes()
    except OSError as error:
        raise TensorsError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        tensors = parse(data)
    except (SafetensorError, KeyError) as error:  # KeyError: of a type that numpy lacks
        raise TensorsError(f"{file}: not a safetensors file ({error})") from None
    if problems := _problems(tensors, expected, finite):
        raise TensorsError(f"{file}: not the weights of this {network}: {', '.join(problems)}")
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise TensorsError(f"{file}: SHA-256 {found} is not that of its model card ({sha256})")
    return tensors


def _problems(tensors: Mapping[str, _T], expected: Mapping[str, _T], finite: Callable[[_T], Any]) -> list[str]:
    """Return a line for each tensor that is missing, unknown, of another shape or type, or not finite."""
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    problems += [f"{name} is unknown" for name in sorted(tensors) if name not in expected]
    for name in expected:
        if name in tensors:
            found, wanted = tensors[name], expected[name]
            if found.shape != wanted.shape or found.dtype != wanted.dtype:
                problems.append(
                    f"{name} is {found.dtype} {list(found.shape)} instead of {wanted.dtype} {list(wanted.shape)}"
                )
            elif not finite(found).all():
                problems.append(f"{name} holds values that are not finite")
    return problems
