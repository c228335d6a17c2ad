"""The bench of the served path: its clips, its processor time, and its model that costs nothing on a real Triton."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from pipeline.scoring.served_model import Trouble
from pipeline.scoring.transport import Answer, Failure


class ScriptedTransport:
    """Answers each clip with its first byte, on a thread of its own, the later ones first."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at
        self.now = self.most = self.sent = 0
        self.lock = threading.Lock()

    def infer(self, _target, pixels, *, on_answer, **_options) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            at, self.sent = self.sent, self.sent + 1
        threading.Timer(0.01 * (3 - at % 3), self._answer, (at, pixels, on_answer)).start()

    def _answer(self, at, pixels, on_answer) -> None:
        with self.lock:
            self.now -= 1
        on_answer(Failure(Trouble.FAILED, "no") if at == self.fails_at else Answer("1", float(pixels.flat[0])))


def test_scores_come_in_the_order_of_the_clips_and_so_many_are_in_flight(load):
    clips = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1, 1)
    transport = ScriptedTransport()
    assert load("transport").send(transport, "free", clips, None, 12, 3) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert transport.most == 3


def test_a_clip_that_is_not_scored_ends_the_measurement(load):
    clips = np.zeros((1, 1, 1, 1, 1), np.uint8)
    with pytest.raises(ValueError, match="a clip was not scored: no"):
        load("transport").send(ScriptedTransport(fails_at=2), "free", clips, None, 5)


def test_processor_time_includes_this_process(load):
    bench = load("transport")
    before, own = bench.processor_seconds([]), time.process_time()
    while time.process_time() - own < 0.1:
        pass
    assert bench.processor_seconds([]) - before >= 0.1


def test_processor_time_includes_other_processes(load):
    bench = load("transport")
    program = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "a-word-of-its-own"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"done\n"
        (found,) = bench.processes("a-word-of-its-own")
        assert found.name == str(other.pid)
        own = time.process_time()
        assert bench.processor_seconds([found]) - own >= 0.29
        other.communicate(b"\n")


def test_the_newest_version_is_the_highest_number(load, tmp_path):
    for name in ("9", "10", "configs"):
        (tmp_path / name).mkdir()
    assert load("transport").newest_version(tmp_path) == "10"


@pytest.mark.realparts
def test_both_ways_carry_clips_to_the_model_that_costs_nothing(load, monkeypatch, require):
    if importlib.util.find_spec("pytriton") is None:
        require("tritonserver (make venv installs the wheel nvidia-pytriton)")
    bench = load("transport")
    monkeypatch.setattr(bench, "FREE_CLIPS", 10)
    found = bench.measure_free(1)
    for key in ("milliseconds_a_clip", "milliseconds_of_a_single_clip", "processor_milliseconds_a_clip"):
        assert found[key].keys() == {bench.GRPC, bench.SHARED}
    assert min(found["milliseconds_a_clip"].values()) > 0
    assert found["grpc_against_shared_memory"].rounds == 1
