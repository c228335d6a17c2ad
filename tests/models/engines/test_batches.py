"""Batch sizes: the choice from measured times, and a network that computes in batches of these sizes."""

from __future__ import annotations

import numpy as np
import pytest

from models.engines.batches import CANDIDATES, InBatches, in_suitable_batches, measure, suitable
from models.engines.torch import EngineError


class TestSuitable:
    def test_the_smallest_that_is_nearly_as_fast_as_the_best(self) -> None:
        # 100, 160, 191, 200 clips a second: 191 is within 5 % of 200, and 160 is not.
        seconds = {1: 1 / 100, 2: 2 / 160, 4: 4 / 191, 8: 8 / 200}
        assert suitable(seconds) == 4

    def test_a_batch_gains_nothing_on_a_few_cores(self) -> None:
        assert suitable({size: 0.21 * size for size in (1, 2, 4)}, longest=2) == 1

    def test_a_batch_that_takes_too_long_is_left_out(self) -> None:
        seconds = {1: 0.1, 8: 0.25, 64: 0.5}
        assert suitable(seconds) == 8
        assert suitable(seconds, longest=1) == 64
        assert suitable(seconds, longest=0.05) == 1

    def test_nothing_measured(self) -> None:
        with pytest.raises(ValueError, match="got none"):
            suitable({})


class Clock:
    """Time that passes when a batch is computed: the first run of each size takes ten times as long."""

    def __init__(self, seconds: dict[int, float], room: int = 1000) -> None:
        self.now, self.seconds, self.room = 0.0, seconds, room
        self.ran: list[int] = []

    def run(self, size: int) -> None:
        if size > self.room:
            raise EngineError("no memory left on the GPU")
        self.now += self.seconds[size] * (1 if size in self.ran else 10)
        self.ran.append(size)


def test_each_size_is_measured_behind_a_first_run() -> None:
    clock = Clock({1: 0.1, 2: 0.15, 4: 0.2})
    assert measure(clock.run, 7, clock=lambda: clock.now) == pytest.approx({1: 0.1, 2: 0.15, 4: 0.2})
    assert set(clock.ran) == {1, 2, 4}


def test_measuring_ends_where_the_memory_does() -> None:
    seconds = dict.fromkeys(CANDIDATES, 0.1)
    assert list(measure(Clock(seconds, room=8).run, 128)) == [1, 2, 4, 8]
    with pytest.raises(EngineError, match="no memory"):
        measure(Clock(seconds, room=0).run, 128)


class Summing:
    """Adds up each clip and its weight; keeps the sizes of its batches."""

    name = "summing"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, values):
        clips, weights = (values["CLIP"], values["WEIGHT"]) if isinstance(values, dict) else (values, 0)
        self.sizes.append(len(clips))
        return {"SUM": clips.sum(axis=(1, 2), dtype=np.float32) + weights}


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (2, [2]), (3, [4]), (4, [4]), (5, [4, 1]), (7, [4, 4]), (10, [4, 4, 2])]
)
def test_batches_are_filled_up_and_no_clip_is_lost(count: int, sizes: list[int]) -> None:
    network = Summing()
    clips = np.random.default_rng(count).integers(0, 256, (count, 3, 5), dtype=np.uint8)
    weights = np.arange(count, dtype=np.float32)
    batched = InBatches(network, (1, 2, 4))
    np.testing.assert_array_equal(batched.run(clips)["SUM"], clips.sum(axis=(1, 2)))
    assert network.sizes == sizes
    np.testing.assert_array_equal(
        batched.run({"CLIP": clips, "WEIGHT": weights})["SUM"], clips.sum(axis=(1, 2)) + weights
    )


def test_a_network_is_opened_in_the_batches_that_suit_and_says_so() -> None:
    lines: list[str] = []
    inputs = {"CLIP": np.zeros((1, 3, 5), np.uint8), "WEIGHT": np.zeros(1, np.float32)}
    batched = in_suitable_batches(Summing(), inputs, 4, lines.append)
    (line,) = lines
    assert line.startswith("summing: clips a second by batch 1: ")
    assert line.endswith(f"batches of {batched.name.split()[-1]} at most")
