"""``mistwatch replay --annotate`` as a process, on a Triton whose model tells where it looked."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from replays import start_replay
from site_runs import BRIGHT, DARK, write_video
from triton_of_brightness import Server, write_repository

from pipeline.replay.annotate import annotated_file
from pipeline.runs.folder import read_run

pytestmark = pytest.mark.realparts


def test_each_recording_has_its_film_beside_the_scores(tmp_path: Path) -> None:
    """Dark, bright, dark: the alert's red frame stands from when it was known to its end, and nowhere else."""
    video = write_video(tmp_path / "gate.mp4", [(2.0, DARK), (2.0, BRIGHT), (2.0, DARK)])
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film")
    server = Server(tmp_path / "server")
    write_repository(server.repository, heat="attention")
    server.start()
    try:
        process = start_replay(
            video, broken, "--out", tmp_path / "run", "--triton", server.address, "--annotate", "--skip-bad"
        )
        _, err = process.communicate(timeout=240)
    finally:
        server.stop()
    assert process.returncode == 0, err
    run = read_run(tmp_path / "run")
    scored, bad = run.videos
    assert run.attention(scored) is not None
    assert bad.error is not None
    file = annotated_file(run, scored)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    with av.open(str(file)) as film:
        pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in film.decode(video=0)]
    assert len(pictures) == scored.frames == 60
    (alert,) = run.alerts[scored.name]
    red = np.array([picture[:2, :, 0].mean() - picture[:2, :, 1].mean() > 60 for picture in pictures])
    times = np.arange(60) / 10
    expected = (times >= alert.opened - 1e-3) & (times < alert.ended - 1e-3)
    assert 10 < expected.sum() < 50
    assert red.tolist() == expected.tolist()
