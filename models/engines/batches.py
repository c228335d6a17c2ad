"""The batch sizes that suit a GPU, chosen by measurement when a network is opened there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.engines.one_by_one import Network
from models.engines.torch import EngineError, filled_up

CANDIDATES = (1, 2, 4, 8, 16, 32, 64, 128)  #: clips in a batch
#: A batch that is smaller and nearly as fast answers its first clip sooner.
NEARLY = 0.05
#: Seconds that a batch may take, because the last clip of a batch waits for as long. The aim is 1 s from a clip to its
#: alert, of which other stages take the rest.
LONGEST_SECONDS = 0.3
_REPEATS = 3


def suitable(seconds: Mapping[int, float], *, longest: float = LONGEST_SECONDS) -> int:
    """Return the smallest batch whose clips per second are within :data:`NEARLY` of the best.

    Args:
        seconds: that a batch of each size takes.
        longest: seconds that a batch may take; if all take longer, the smallest batch is returned.

    Raises:
        ValueError: nothing was measured.
    """
    if not seconds:
        raise ValueError("expected at least one measured batch size, got none")
    rates = {size: size / took for size, took in seconds.items() if took <= longest}
    if not rates:
        return min(seconds)
    return min(size for size, rate in rates.items() if rate >= (1 - NEARLY) * max(rates.values()))


def measure(
    run: Callable[[int], object], most: int, *, clock: Callable[[], float] = time.perf_counter
) -> dict[int, float]:
    """Return the median seconds of batches of each candidate size up to ``most``; the first run of each is not counted.

    Stops at a size for which no memory is left.

    Args:
        run: computes a batch of a size.

    Raises:
        models.engines.torch.EngineError: no memory is left even for one clip.
    """
    found: dict[int, float] = {}
    for size in (size for size in CANDIDATES if size <= most):
        try:
            run(size)
            taken = []
            for _ in range(_REPEATS):
                began = clock()
                run(size)
                taken.append(clock() - began)
        except EngineError:
            if not found:
                raise
            break
        found[size] = sorted(taken)[_REPEATS // 2]
    return found


class InBatches:
    """A network that computes clips in batches of a few sizes, each filled up with black clips.

    Each size is then computed by the same kernels every time, and is compiled once.

    Args:
        sizes: of the batches, ascending.
    """

    def __init__(self, network: Network, sizes: Sequence[int]) -> None:
        self.name = f"{network.name}, batches of {', '.join(map(str, sizes))}"
        self._network, self._sizes = network, tuple(sizes)

    def run(self, values: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """See :meth:`models.engines.one_by_one.Network.run`."""
        arrays = dict(values) if isinstance(values, Mapping) else {"": values}
        count = len(next(iter(arrays.values())))
        pieces = []
        for first in range(0, count, self._sizes[-1]):
            wanted = min(count - first, self._sizes[-1])
            size = next(size for size in self._sizes if size >= wanted)
            piece = {name: filled_up(array[first : first + wanted], size) for name, array in arrays.items()}
            found = self._network.run(piece if isinstance(values, Mapping) else piece[""])
            pieces.append({name: output[:wanted] for name, output in found.items()})
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def in_suitable_batches(
    network: Network, inputs: Mapping[str, npt.NDArray[Any]], most: int, report: Callable[[str], object]
) -> InBatches:
    """Measure a network here and return it in batches of the sizes up to the suitable one.

    Args:
        inputs: one item of each input, (1, ...).
        most: clips in a batch at most.
        report: called with a line of the measurement.

    Raises:
        models.engines.torch.EngineError: no memory is left for one clip.
    """
    seconds = measure(lambda size: network.run({name: np.repeat(one, size, 0) for name, one in inputs.items()}), most)
    chosen = suitable(seconds)
    rates = ", ".join(f"{size}: {size / took:.1f}" for size, took in seconds.items())
    report(f"{network.name}: clips a second by batch {rates}; batches of {chosen} at most")
    return InBatches(network, [size for size in seconds if size <= chosen])
