"""``mistwatch run`` and ``mistwatch replay`` over a connection to Triton that dies without a sign."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forgetful_proxy import ForgetfulProxy
from ports import free_port
from replays import contents, replay, start_replay
from site_runs import BRIGHT, DARK, start_run, wait_for_metric, write_site, write_video
from triton_of_brightness import Server

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

#: After the death of a connection scoring goes on within this time.
RECOVERY_SECONDS = 20.0


def test_a_live_camera_is_scored_again(tmp_path: Path, triton: Server, broker: str) -> None:
    port = free_port()
    camera = "  yard: {source: 'synthetic://courtyard?seed=1&fps=10'}\n"
    scored, replaced = 'mistwatch_clips_scored_total{camera="yard"}', "mistwatch_scorer_reconnects_total"
    with ForgetfulProxy(triton.address) as proxy:
        process = start_run(write_site(tmp_path, proxy.address, broker, camera, port))
        try:
            before = wait_for_metric(process, port, scored, 3)
            assert before[replaced] == 0
            proxy.forget()
            died_at = time.monotonic()
            after = wait_for_metric(process, port, replaced, 1)
            wait_for_metric(process, port, scored, after[scored] + 2)
            assert time.monotonic() - died_at < RECOVERY_SECONDS
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1])["scorer_reconnects"] == 1
    assert err.count("had died without a sign") == 1
    assert f"Triton at {proxy.address}" in err


def test_a_replay_goes_on_to_the_same_bytes(tmp_path: Path, triton: Server, until: Callable[..., None]) -> None:
    film = write_video(tmp_path / "film.mp4", [(8.0, DARK), (8.0, BRIGHT), (8.0, DARK)])
    replay(tmp_path / "undisturbed", [film], triton.address, site={"site": "replay"})
    with ForgetfulProxy(triton.address) as proxy:
        process = start_replay(film, "--out", tmp_path / "run", "--triton", proxy.address, "--speed", "8x")
        try:
            until(lambda: proxy.connections == 2, "a question for the model, then the scorer")
            proxy.forget(answers_only=True)
            died_at = time.monotonic()
            out, err = process.communicate(timeout=60)
            took = time.monotonic() - died_at
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert took < RECOVERY_SECONDS
    assert out.endswith("1 dead connection(s) to Triton replaced\n")
    assert contents(tmp_path / "run") == contents(tmp_path / "undisturbed")
