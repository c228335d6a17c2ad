"""What ran live, replayed from a recording of its own packets: the same clips and the same scores."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import numpy as np
import pytest
from hearing import Heard
from replays import replay
from rtsp_server import serve_file

from deploy.triton.server import TritonServer
from operators.scores import SmoothedScore
from pipeline.live.service import Service
from pipeline.runs.folder import read_run
from pipeline.settings import site_from_options
from pipeline.sources.rtsp import RtspSource

pytestmark = [pytest.mark.realparts, pytest.mark.alone]

FPS, FRAMES = 10, 100
#: A threshold that everything exceeds: one alert from the first clip to the last.
ALERTS = {"open_threshold": 1e-9, "close_threshold": 1e-9, "min_clips": 1}


class Recorder:
    """A connection to a camera whose packets are copied into an MP4 as they pass by, none decoded or encoded."""

    def __init__(self, container: av.container.InputContainer, file: Path) -> None:
        self._container = container
        self._file = file
        self.streams = container.streams

    def demux(self) -> Iterator[av.Packet[Any]]:
        origin: int | None = None
        keys: list[bytes] = []  # of the first packet, which comes without a time
        with av.open(str(self._file), "w") as film:
            written = film.add_stream_from_template(self.streams.video[0])
            for packet in self._container.demux():
                if packet.size and packet.pts is None:
                    keys.append(bytes(packet))
                elif packet.size:
                    if origin is None:
                        origin = packet.pts
                        # Needed to decode the others, and never shown: live it has no place in time.
                        film.mux(copied(keys.pop(), -90_000 // FPS, written, key=True))
                        assert not keys
                    film.mux(copied(bytes(packet), packet.pts - origin, written, key=packet.is_keyframe))
                yield packet

    def close(self) -> None:
        self._container.close()


def copied(content: bytes, pts: int, stream: av.VideoStream, *, key: bool) -> av.Packet[Any]:
    packet = av.Packet(content)
    packet.pts = packet.dts = pts
    packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, 90_000), key, stream
    return packet


def test_live_equals_replay(
    data: Path, tmp_path: Path, triton: TritonServer, broker: str, rtsp: None, ffmpeg: str, monkeypatch: Any
) -> None:
    film, recording = tmp_path / "street.mp4", tmp_path / "recorded.mp4"
    encode = ["-c:v", "libx264", "-bf", "0", "-g", "20", "-vf", "scale=384:288", "-frames:v", str(FRAMES)]
    command = [ffmpeg, "-v", "error", "-i", str(data / "cctv" / "vtest.avi"), *encode, str(film)]
    subprocess.run(command, check=True, timeout=120)
    connect = RtspSource._open
    recorders: list[Recorder] = []

    def connect_and_record(source: RtspSource) -> Any:
        container = connect(source)
        if recorders:
            return container  # the file is played once a connection; the first one is enough
        recorders.append(Recorder(container, recording))
        return recorders[0]

    monkeypatch.setattr(RtspSource, "_open", connect_and_record)
    live: list[SmoothedScore] = []
    events: list[Any] = []
    with serve_file(film, "tcp") as camera:
        settings = site_from_options(
            {
                "state_dir": tmp_path / "state",
                "decoding": "threads",  # the recorder stands in this process
                # The clips may wait as long as they must: how fast this machine is makes no difference.
                "triton": {"address": triton.grpc_address, "queue_clips": 256, "deadline_seconds": 120},
                "kafka": {"bootstrap": broker, "topic": "live-equals-replay"},
                "alerts": ALERTS,
                "cameras": {"cam": {"source": camera.url}},
            }
        )
        service = Service(settings, listeners=[Heard(smoothed=live.append, accepted=events.append)])
        try:
            assert service.prepare(threading.Event(), patient=False)
            service.start()
            limit = time.monotonic() + 200
            while not any(event.data.state == "end" for event in events):
                assert time.monotonic() < limit, (service.board.states, len(live))
                time.sleep(0.1)
        finally:
            service.close()
    monkeypatch.undo()
    first = [score for score in live if score.clip.segment == live[0].clip.segment]

    replay(tmp_path / "run", [recording], triton.grpc_address, site={"alerts": ALERTS})
    run = read_run(tmp_path / "run")
    (row,) = run.videos
    clips = run.clips[row.name]
    assert row.frames == FRAMES - 1, "the first has no time live, and is not shown in the recording"
    assert row.damage is None
    stride = run.settings.clip.stride
    assert len(first) == len(clips) == (row.frames - run.settings.clip.frames) // stride + 1
    began = first[0].clip.start
    assert clips.index.tolist() == [score.clip.index for score in first]
    assert clips.start == pytest.approx(np.array([score.clip.start - began for score in first]), abs=1e-4)
    assert clips.end == pytest.approx(np.array([score.clip.end - began for score in first]), abs=1e-4)
    assert clips.score == pytest.approx(np.array([score.clip.score for score in first]), abs=1e-3)
    assert clips.smoothed == pytest.approx(np.array([score.value for score in first]), abs=1e-3)
    assert np.ptp(clips.score) > 5e-3, "clips that all score alike would prove nothing"

    begun, ended = events[0].data, next(event.data for event in events if event.data.state == "end")
    (alert,) = run.alerts[row.name]
    assert alert.started == pytest.approx(begun.started_pts_seconds - began, abs=1e-4)
    assert alert.ended == pytest.approx(ended.ended_pts_seconds - began, abs=1e-4)
    assert alert.peak == pytest.approx(ended.peak.smoothed_score, abs=1e-3)
