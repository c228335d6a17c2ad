"""A network in two parts: a backbone that several detectors share, and the detector's own head on its outputs.

This file is copied into every exported version folder, where its imports are made relative.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.engines.one_by_one import Network
from models.serving.contract import BACKBONE_FILE, OPENVINO_FILE
from models.serving.kept import KeptResults

#: Size of the results that a backbone keeps, bytes: those of about 38 clips of 16 × 224 × 224 (3.4 MB each). The second
#: detector of a camera asks a few clips after the first one, because both wait in the same bounded queues.
ROOM = 128 * 2**20


class NamedBackbone(NamedTuple):
    """The backbone that a version needs, as its :data:`models.serving.contract.BACKBONE_FILE` has it.

    Attributes:
        model: name of the served model that computes it, in the same repository.
        reads: the outputs that the head reads.
    """

    model: str
    reads: tuple[str, ...]


#: Opens a backbone.
OpensBackbone = Callable[[NamedBackbone], Network]


class OverBackbone:
    """A detector's head on the outputs of a shared backbone. One thread at a time may use it.

    Args:
        head: its inputs are the outputs ``reads`` and, where the model reads a scene, the results of that.
        backbone: uint8 (N, T, H, W, 3) → each of ``reads``, (N, ...).
    """

    def __init__(self, head: Network, backbone: Network, reads: Sequence[str]) -> None:
        self.name = f"{head.name} over {backbone.name}"
        self._head, self._backbone, self._reads = head, backbone, tuple(reads)

    def run(self, values: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]) -> Mapping[str, npt.NDArray[np.float32]]:
        """See :meth:`models.engines.one_by_one.Network.run`; a clip's input is CLIP."""
        given = dict(values) if isinstance(values, Mapping) else {"CLIP": values}
        found = self._backbone.run(given.pop("CLIP"))
        return self._head.run({**{name: found[name] for name in self._reads}, **given})


def read_backbone(version: Path) -> NamedBackbone | None:
    """Return the backbone that a version needs; None where it has its own. Raises RuntimeError: the file is damaged."""
    file = version / BACKBONE_FILE
    if not file.exists():
        return None
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        model, reads = str(stored["model"]), tuple(map(str, stored["reads"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RuntimeError(f"{file} cannot be read ({error}); write it again with mistwatch export") from None
    if not model.isidentifier():  # it becomes a folder's name
        raise RuntimeError(f"{file}: model {model!r} names no backbone; write it again with mistwatch export")
    return NamedBackbone(model, reads)


def open_beside(version: Path, backbone: NamedBackbone) -> KeptResults:
    """Return the backbone in this process, where no Triton serves it: that of the version's own repository.

    Raises:
        RuntimeError: it is missing or cannot be read.
    """
    from models.engines.one_by_one import OneByOne
    from models.engines.openvino import OpenVinoNetwork

    file = version.resolve().parent.parent / backbone.model / "1" / OPENVINO_FILE
    if not file.exists():
        raise RuntimeError(f"{version}: its backbone {file} is missing; write it again with mistwatch export")
    return KeptResults(OneByOne(OpenVinoNetwork(file, threads=0)), room=ROOM)
