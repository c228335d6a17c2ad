"""A pickle that runs code when it is loaded, given to every reader of models, arrays and checkpoints: nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.backbones.checkpoints import ArraysOnly
from models.card import read_card
from pipeline.plain_arrays import load_arrays, load_member


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str, int]]:
        return os.open, (str(self._mark), os.O_CREAT | os.O_WRONLY)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def as_pickle(mark: Path) -> bytes:
    return pickle.dumps({"state_dict": Payload(mark)})


def as_torch(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": Payload(mark)}, buffer)
    return buffer.getvalue()


def as_npy(mark: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def as_npz(mark: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", as_npy(mark))
    return buffer.getvalue()


FORMS: dict[str, Callable[[Path], bytes]] = {
    "pickle": as_pickle,
    "torch": as_torch,
    "npy": as_npy,
    "npz": as_npz,
}


def test_the_payload_would_run(mark: Path) -> None:
    os.close(pickle.loads(as_pickle(mark))["state_dict"])
    assert mark.exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pkl", ".pt", ".pth", ".bin", ".safetensors", ".mat"])
def test_arrays_of_other_programs(form: str, suffix: str, tmp_path: Path, mark: Path) -> None:
    file = tmp_path / f"scores{suffix}"
    file.write_bytes(FORMS[form](mark))
    for read in (load_arrays, lambda path: load_member(path, "a")):
        with pytest.raises(Exception):  # noqa: B017, PT011  (of many kinds; that nothing runs is what counts)
            read(file)
    assert not mark.exists()


@pytest.mark.parametrize("form", FORMS)
def test_the_reader_of_published_weights(form: str, mark: Path) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011
        ArraysOnly(io.BytesIO(FORMS[form](mark))).load()
    assert not mark.exists()


@pytest.mark.parametrize("form", FORMS)
def test_checkpoints_of_a_training(form: str, tmp_path: Path, mark: Path) -> None:
    file = tmp_path / "last.ckpt"
    file.write_bytes(FORMS[form](mark))
    with pytest.raises(Exception):  # noqa: B017, PT011
        torch.load(file, map_location="cpu", weights_only=True)
    assert not mark.exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_model_of_an_exchange_folder(form: str, tmp_path: Path, mark: Path) -> None:
    for name in ("model-card.json", "weights.safetensors"):
        (tmp_path / name).write_bytes(FORMS[form](mark))
    with pytest.raises(Exception):  # noqa: B017, PT011
        read_card(tmp_path)
    assert not mark.exists()


def test_no_code_of_ours_loads_a_pickle_with_code(root: Path) -> None:
    """Every call that could, says that it must not; the exceptions are two readers that admit arrays alone."""
    unsafe = {
        r"(?<!safetensors\.)torch\.load\((?!.*weights_only=True)",
        r"(?<!weights_only)np\.load\((?!.*allow_pickle=False)",
        r"\bpickle\.loads?\(",
        r"\bjoblib\b",
        r"\bmarshal\.",
        r"allow_pickle=True",
        r"weights_only=False",
        r"yaml\.(?:unsafe_load|full_load|Loader)",
    }
    found = [
        f"{file.relative_to(root)}: {line.strip()}"
        for room in ("operators", "pipeline", "models", "deploy")
        for file in (root / room).rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        for pattern in unsafe
        if re.search(pattern, line)
    ]
    # Steps that an error message proposes, for a file that the user trusts; requests of a worker to its own child.
    allowed = ("pipeline/plain_arrays.py: ", "pipeline/sources/isolation/host.py: ")
    assert not [one for one in found if not one.startswith(allowed)]
