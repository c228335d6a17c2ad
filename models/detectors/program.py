"""Detectors that are programs: they compute with numpy and OpenCV, and may own networks that they run."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from models.engines.one_by_one import Network, OneByOne
from operators.rarity import Rarity

if TYPE_CHECKING:
    from torch import nn


class Scorer(Protocol):
    """An opened program. One thread at a time may use it.

    Attributes:
        name: the library that computes, for the log.
    """

    name: str

    def run(
        self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]
    ) -> Mapping[str, npt.NDArray[np.float32]]:
        """Clips, uint8 (N, T, H, W, 3) RGB → SCORE (N, 1) in [0, 1], FEATURES (N, D) and optionally HEAT (N, h, w).

        A scorer whose HEAT has an absolute meaning also takes CLIP and MASK by these names: uint8 (N, h, w), not zero
        where a place is ignored. SCORE and HEAT are then those of :func:`operators.cells.judged` with the mask.

        No value of a clip depends on the other clips of its batch.
        """
        ...


class SharingScorer(Scorer, Protocol):
    """A scorer whose first step is the same for every camera: clips of several cameras take it together.

    ``run(clips)`` is ``judge(common(clips))``, and with a mask ``judge(common(clips), mask)``.
    """

    def common(self, clips: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Clips → the results of the first step, (N, ...). No value depends on the other clips of the batch."""
        ...

    def judge(
        self, common: npt.NDArray[Any], mask: npt.NDArray[np.uint8] | None = None
    ) -> Mapping[str, npt.NDArray[np.float32]]:
        """Results of the first step → the outputs of :meth:`run`."""
        ...


class CellScorer(Scorer, Protocol):
    """A scorer that compares each cell of a picture with normal footage; it can be a member of a fused detector.

    Attributes:
        rarity: its map from the values of pictures to scores.
    """

    rarity: Rarity

    def measure(self, clips: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the raw values of the cells, (N, h, w), higher is stranger, and FEATURES (N, D).

        SCORE and HEAT are those of :func:`operators.cells.judged`.
        """
        ...


@dataclass(frozen=True, slots=True)
class ProgramNetwork:
    """A network of a program: a backbone, the same for every camera, or networks that were trained on the camera.

    Attributes:
        network: in evaluation mode, on the CPU: the inputs, (N, ...), in their order → a tuple of float32 (N, ...).
        inputs: the shape of each input without N, and its type: ``uint8`` or ``float32``.
        outputs: the names of the outputs, in their order.
        common: identifies a network that is the same for every camera, so that their parts can share it: its weights
            and its settings; empty where it was trained on the camera.
        weights: name of the published weights in it (:data:`models.backbones.weights.PUBLISHED`); empty: none.
    """

    network: nn.Module
    inputs: Mapping[str, tuple[tuple[int, ...], str]]
    outputs: tuple[str, ...]
    common: str = ""
    weights: str = ""

    def converted(self) -> Any:
        """Return it as an ``openvino.Model``, float32, for inputs of these shapes alone.

        Raises:
            ImportError: OpenVINO is missing.
        """
        import torch

        from models.engines.openvino_convert import Input, to_openvino

        inputs = {name: Input(shape, getattr(torch, kind)) for name, (shape, kind) in self.inputs.items()}
        return to_openvino(self.network, inputs, self.outputs)

    def open(self) -> Network:
        """Return it on the engine that serves it, so that a detector learns from the values that it will see.

        Raises:
            ImportError: OpenVINO is missing.
        """
        from models.engines.openvino import OpenVinoNetwork

        return OneByOne(OpenVinoNetwork(self.converted(), threads=0))


@dataclass(frozen=True, slots=True)
class ServedProgram:
    """A program as it is served: its modules are copied into the version folder, beside what it has learned.

    Attributes:
        module: full name of the module whose function ``open_program`` returns the :class:`Scorer`: called with the
            arrays; where it takes two arguments, also with the networks by their names, opened
            (:class:`models.engines.one_by_one.Network`); and where it takes three, with the opened members by their
            names. It and ``uses`` import nothing of ours but one another.
        uses: full names of further modules that it imports.
        arrays: what it has learned, by names; no objects.
        networks: what it runs, by names, which become names of files.
        members: programs that it combines, by names, which become names of folders.
    """

    module: str
    uses: tuple[str, ...]
    arrays: Mapping[str, npt.NDArray[Any]]
    networks: Mapping[str, ProgramNetwork] = field(default_factory=dict)
    members: Mapping[str, ServedProgram] = field(default_factory=dict)

    def open(self) -> Scorer:
        """Return the scorer. Raises ImportError: a library that it needs is missing."""
        opens = importlib.import_module(self.module).open_program
        networks = {name: network.open() for name, network in self.networks.items()}
        members = {name: member.open() for name, member in self.members.items()}
        takes = len(inspect.signature(opens).parameters)
        scorer: Scorer = opens(*(self.arrays, networks, members)[:takes])
        return scorer
