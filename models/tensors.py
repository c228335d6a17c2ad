"""A network's weights in a safetensors file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pipeline import files
from pipeline.errors import MistwatchError


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

    data = safetensors.torch.save({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()})
    files.write_bytes(file, data)
    return hashlib.sha256(data).hexdigest()


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
    import safetensors
    import safetensors.torch

    try:
        data = file.read_bytes()
    except OSError as error:
        raise TensorsError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise TensorsError(f"{file}: not a safetensors file ({error})") from None
    if problems := _problems(tensors, expected):
        raise TensorsError(f"{file}: not the weights of this {network}: {', '.join(problems)}")
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise TensorsError(f"{file}: SHA-256 {found} is not that of its model card ({sha256})")
    return tensors


def _problems(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
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
            elif not torch.isfinite(found).all():
                problems.append(f"{name} holds values that are not finite")
    return problems
