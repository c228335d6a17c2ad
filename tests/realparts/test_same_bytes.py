"""Two replays of the same recordings on the committed model give the same bytes, however many are read at a time."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from replays import contents, replay

from deploy.triton.server import TritonServer
from models.engines.device import cuda_devices
from pipeline.runs.folder import read_run

pytestmark = [pytest.mark.realparts, pytest.mark.alone]

#: Everything exceeds it: the scores are in the alerts' events, too.
ALERTS = {"open_threshold": 1e-9, "close_threshold": 1e-9, "min_clips": 1}


def beginning(film: Path, path: Path, pictures: int) -> Path:
    """The first packets of a film as a film of their own."""
    with av.open(str(film)) as whole, av.open(str(path), "w") as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(whole.demux(video=0)):
            if number == pictures:
                break
            packet.stream = stream
            part.mux(packet)
    return path


def test_the_bytes_do_not_depend_on_how_many_recordings_are_read_at_a_time(
    data: Path, tmp_path: Path, triton: TritonServer
) -> None:
    """One at a time, a batch of Triton's is of one recording; two at a time, it may be of both."""
    if cuda_devices():
        pytest.skip("the promise is for the CPU engine, and there is a CUDA device")
    cctv = data / "cctv"
    films = [  # of 5 and 4 clips: 16 frames, and 10 more for each further one
        beginning(cctv / "vtest.avi", tmp_path / "street.avi", 16 + 10 * 4),
        beginning(cctv / "car-detection.mp4", tmp_path / "cars.mp4", 16 + 10 * 3 + 4),
    ]
    for jobs in (1, 2):
        outcome = replay(tmp_path / str(jobs), films, triton.grpc_address, site={"alerts": ALERTS}, jobs=jobs)
        assert (sum(row.clips for row in outcome.rows), outcome.kept) == (9, 0)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    run = read_run(tmp_path / "1")
    assert all(np.ptp(clips.score) > 1e-4 for clips in run.clips.values()), "clips that score alike would prove nothing"
    assert all(run.alerts.values())
