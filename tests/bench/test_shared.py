"""The bench of shared backbones: its table, and the processor time of a server by hand."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def shared(load):
    return load("shared")


def test_processor_time_is_that_of_the_processes_of_one_repository(shared, tmp_path):
    work = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ntime.sleep(60)"
    server = SimpleNamespace(repository=tmp_path / "repository")
    with subprocess.Popen([sys.executable, "-c", work, str(server.repository)], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            took = shared.processor_seconds(server)
            elsewhere = shared.processor_seconds(SimpleNamespace(repository=tmp_path / "other"))
        finally:
            process.kill()
    assert took == pytest.approx(0.3, abs=0.1)
    assert elsewhere == 0


def test_the_table_has_a_line_for_each_comparison(shared):
    ratio = shared.alternately.Ratio(1.8, 1.7, 1.9, 12)
    keys = ("i3d_in_process", "i3d_served", "i3d_served_processor", "i3d_served_alone", "i3d_served_alone_processor")
    results = dict.fromkeys((*keys, "memory_banks", "memory_bank_network_share"), ratio)
    text = shared.table({**results, "i3d_score_difference": 0.0, "memory_mb": {"apart": 900, "shared": 700}})
    assert text.count("| 1.80 (1.70 to 1.90) |") == 6
    assert "900 MB apart, 700 MB shared" in text
    assert "above a ratio of 1.25" in text
