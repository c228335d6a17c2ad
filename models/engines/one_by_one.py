"""Networks that are run, and one that computes a batch item by item.

This file is copied into every exported version folder, so nothing of ours is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Network(Protocol):
    """A compiled network, or a program. One thread at a time may use it.

    Attributes:
        name: the engine and its device, for the log: ``openvino``, ``torch on cuda:0``, ...
    """

    name: str

    def run(self, values: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]) -> Mapping[str, npt.NDArray[np.float32]]:
        """The one input, (N, ...), or each input by its name → each output by its name, (N, ...)."""
        ...


class OneByOne:
    """A network that computes clips one after another, so that no bit of an answer depends on the rest of its batch.

    OpenVINO's kernels for the last layers depend on the number of clips: in pairs, the scores of the default model
    differed by up to 2e-8 from those of single clips. On a CPU a batch costs as much as its clips one by one.
    """

    def __init__(self, network: Network) -> None:
        self.name = network.name
        self._network = network

    def run(self, values: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]) -> Mapping[str, npt.NDArray[np.float32]]:
        """See :meth:`Network.run`."""
        if isinstance(values, Mapping):
            items = len(next(iter(values.values())))
            found = [self._network.run({name: of[i : i + 1] for name, of in values.items()}) for i in range(items)]
        else:
            found = [self._network.run(values[i : i + 1]) for i in range(len(values))]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}
