"""The main job: cameras over RTSP, the committed model on a real Triton, alerts read back from a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import av
import jsonschema
import numpy as np
import pytest
from film_pieces import write_piece
from joined_stream import FPS, Joined
from kafka import KafkaConsumer, TopicPartition
from ports import free_port
from rtsp_server import serve_file
from site_runs import wait_for_metric

from deploy.triton.server import TritonServer

pytestmark = [pytest.mark.realparts, pytest.mark.alone]

#: The clips of the committed model, as its card says: 16 frames at 12.5 fps, a clip every 10 of them.
CLIP_FRAMES, CLIP_STRIDE, CLIP_FPS = 16, 10, 12.5
STREET_FRAMES, STREET_FPS = 377, 12.5
SIZE = 224


@pytest.fixture(scope="session")
def schema(root: Path) -> jsonschema.Draft202012Validator:
    document = json.loads((root / "pipeline" / "alerts" / "schema" / "alert.v1.schema.json").read_text())
    return jsonschema.Draft202012Validator(document, format_checker=jsonschema.FormatChecker())


def mistwatch(*arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "pipeline.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def read_topic(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """Everything on the topic, by a consumer that knows nothing of mistwatch."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        messages = []
        deadline = time.monotonic() + 60
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            assert time.monotonic() < deadline, f"the topic {topic} cannot be read to its end"
            for batch in consumer.poll(timeout_ms=200).values():
                messages += batch
    finally:
        consumer.close()
    for message in messages:
        assert message.key.decode() == json.loads(message.value)["subject"]
    return [json.loads(message.value) for message in messages]


def frames_by_ffmpeg(ffmpeg: str, video: Path) -> np.ndarray:
    """uint8 (N, 224, 224, 3), decoded and scaled by Debian's ffmpeg, not by our code."""
    command = [ffmpeg, "-v", "error", "-i", str(video), "-fps_mode", "passthrough"]
    command += ["-vf", f"scale={SIZE}:{SIZE}:flags=bilinear,format=rgb24", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, SIZE, SIZE, 3)


def clips_in(frames: int) -> int:
    """The number of clips in so many frames at the clips' own rate, or at a lower one, of which every frame is kept."""
    return (frames - CLIP_FRAMES) // CLIP_STRIDE + 1


def scores_by_torch(frames: np.ndarray, starts: list[int], step: int, root: Path) -> list[float]:
    """The scores of the clips of every ``step``-th frame from these on, by torch I3D and G in this process.

    The scene of each clip is its own median, shown to the whole I3D as a clip of equal frames.
    """
    import torch

    from models.backbones.i3d import ClipEncoder, load_i3d
    from models.detectors.mist.generator import load_generator

    generator, card = load_generator(root / "models" / "weights" / "fights")
    encoder = ClipEncoder(load_i3d(), card.backbone.layers).eval()
    scores = []
    with torch.inference_mode():
        for start in starts:
            clip = frames[start : start + CLIP_FRAMES * step : step]
            median = np.sort(clip, axis=0)[(CLIP_FRAMES - 1) // 2]  # the lower of the two in the middle
            both = np.stack([clip, np.broadcast_to(median, clip.shape)])
            seen, still = encoder(torch.from_numpy(both))
            scores.append(float(generator((seen - still)[None])))
    return scores


def readings(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every scored clip that the events tell of, in order."""
    return [reading for event in events for reading in event["data"]["scores"]]


def test_scores_of_vtest_are_those_of_an_independent_decoder_and_torch(
    data: Path,
    root: Path,
    tmp_path: Path,
    triton: TritonServer,
    broker: str,
    ffmpeg: str,
    schema: jsonschema.Draft202012Validator,
) -> None:
    """With a threshold that everything exceeds, one alert reports every score.

    The film is a third of vtest.avi, 275 frames at 10 fps. That is slower than the clips' rate, so every frame is kept.
    """
    video = write_piece(data / "cctv" / "vtest.avi", tmp_path / "vtest.avi", pictures=275)
    result = mistwatch(
        *("watch", str(video), "--json", "--out", str(tmp_path / "run"), "--threshold", "1e-9"),
        *("--triton", triton.grpc_address, "--kafka", broker, "--topic", "vtest"),
    )
    assert result.returncode == 0, result.stderr
    *events, summary = [json.loads(line) for line in result.stdout.splitlines()]
    counts = {
        "clips_scored": 26,
        "clips_dropped": 0,
        "clips_gated": 0,
        "alerts": 1,
        "cameras": 1,
        "scorer_reconnects": 0,
    }
    assert summary == {"type": "summary", **counts}
    assert events == read_topic(broker, "vtest")
    for event in events:
        schema.validate(event)

    reported = readings(events)
    assert [reading["index"] for reading in reported] == list(range(26))
    fps = 10
    starts = [round(reading["started_pts_seconds"] * fps) for reading in reported]
    assert starts == [10 * i for i in range(26)]
    chosen = list(range(0, 26, 6))
    expected = scores_by_torch(frames_by_ffmpeg(ffmpeg, video), [starts[i] for i in chosen], 1, root)
    assert [reported[i]["score"] for i in chosen] == pytest.approx(expected, abs=1e-2)


def test_watch_starts_its_own_servers_when_none_is_named(data: Path, tmp_path: Path) -> None:
    """No server is named: an embedded Triton and an embedded broker come and go with the command.

    There are more clips than may wait and be in flight, so a clip that was dropped would be seen.
    """
    video = write_piece(data / "cctv" / "vtest.avi", tmp_path / "vtest.avi", pictures=136)
    result = mistwatch("watch", str(video), "--json", "--out", str(tmp_path / "run"))
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["clips_scored"] == clips_in(136) == 13
    assert summary["clips_dropped"] == 0
    assert "Traceback" not in result.stderr


@pytest.mark.timeout(1200)  # the street and the fights last a minute or two; a slow machine scores on after that
def test_fights_over_rtsp_raise_alerts_and_most_normal_footage_does_not(
    joined: Joined,
    data: Path,
    root: Path,
    tmp_path: Path,
    triton: TritonServer,
    broker: str,
    rtsp: None,
    ffmpeg: str,
    schema: jsonschema.Draft202012Validator,
    record_property: Any,
) -> None:
    """Two cameras at once: the joined fights behind a password, and a street whose every score is reported.

    The clips may wait as long as they must: how fast this machine is decides how long the test takes, and nothing else.
    """
    street_video = data / "cctv" / "car-detection.mp4"
    with (
        serve_file(joined.video, "tcp", user="viewer", password="p@ss:w0rd") as fights,
        serve_file(street_video) as street,
    ):
        config = tmp_path / "site.yaml"
        config.write_text(
            f"site: realparts\nstate_dir: state\n"
            f"triton: {{address: '{triton.grpc_address}', queue_clips: 256, deadline_seconds: 120}}\n"
            f"kafka: {{bootstrap: '{broker}', topic: fights}}\nmetrics: {{port: {(port := free_port())}}}\n"
            "cameras:\n"
            f"  fights: {{source: '{fights.bare_url}', username: viewer}}\n"
            f"  street: {{source: '{street.url}', alerts: {{open_threshold: 1.0e-9, close_threshold: 1.0e-9}}}}\n"
        )
        began = datetime.now(UTC)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.cli", "run", "--config", str(config), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "MISTWATCH_CAMERAS__FIGHTS__PASSWORD": "p@ss:w0rd"},
        )
        try:
            # A stream plays once a connection. When clips of the second play are scored, the first is through.
            for camera, frames in (("street", STREET_FRAMES), ("fights", round(joined.duration * CLIP_FPS))):
                scored = f'mistwatch_capture_to_score_seconds_count{{camera="{camera}"}}'
                metrics = wait_for_metric(process, port, scored, clips_in(frames) + 2, seconds=1000)
            os.kill(process.pid, signal.SIGTERM)
            output, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert "p@ss" not in errors + output
    assert "p%40ss" not in errors + output
    assert "Traceback" not in errors
    assert json.loads(output.splitlines()[-1])["type"] == "summary"

    for camera in ("fights", "street"):
        assert metrics[f'mistwatch_frames_decoded_total{{camera="{camera}"}}'] > 300
        assert metrics[f'mistwatch_capture_to_score_seconds_count{{camera="{camera}"}}'] > 15
        assert metrics[f'mistwatch_capture_to_published_seconds_count{{camera="{camera}"}}'] >= 1
    clips = sum(metrics[f'mistwatch_clips_scored_total{{camera="{camera}"}}'] for camera in ("fights", "street"))
    for stage in ("window", "queue", "score", "smooth"):  # a few scores wait for earlier clips
        assert metrics[f'mistwatch_stage_seconds_count{{stage="{stage}"}}'] == pytest.approx(clips, abs=8)
    for stage in ("outbox", "publish"):
        assert metrics[f'mistwatch_stage_seconds_count{{stage="{stage}"}}'] >= 2
    assert metrics['mistwatch_reconnects_total{camera="fights",reason="stream_end"}'] >= 1
    assert not [name for name in metrics if name.startswith("mistwatch_clips_dropped_total{")]

    events = read_topic(broker, "fights")
    assert events
    for event in events:
        schema.validate(event)
    cars = first_play(events, "street")
    check_order(cars)
    check_times(cars, began, 31.0)
    check_pictures(cars, (768, 432))
    check_scores(cars, ffmpeg, street_video, STREET_FPS, root)
    indices = [reading["index"] for reading in readings(cars)]
    assert indices == sorted(set(indices))
    # The first frame is lost to its missing time stamp.
    assert len(indices) >= clips_in(STREET_FRAMES - 1)

    events = first_play(events, "fights")
    check_order(events)
    check_times(events, began, joined.duration + 1)
    check_pictures(events, (640, 360))
    check_scores(events, ffmpeg, joined.video, FPS, root)

    alerts = intervals(events, joined.duration)
    found = sum(any(start < b and a < end for a, b in alerts) for start, end in joined.incidents)
    normal = [part for part in joined.parts if part.label == 0]
    # A normal clip counts as alarmed when an alert begins in it: one that reaches in from the fight before does not.
    alarmed = sum(any(part.start <= a < part.end for a, _ in alerts) for part in normal)
    report = (
        f"{found} of {len(joined.incidents)} incidents found, {alarmed} of {len(normal)} normal clips began an alert"
    )
    record_property("fights_over_rtsp", report)
    print(report)
    assert found >= len(joined.incidents) / 2, report
    assert alarmed < len(normal) / 2, report


def check_order(events: list[dict[str, Any]]) -> None:
    """Each alert's events are begin, updates, end, numbered without a gap."""
    by_alert: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_alert.setdefault(event["data"]["alert_id"], []).append(event)
    for its_events in by_alert.values():
        assert [event["data"]["sequence"] for event in its_events] == list(range(len(its_events)))
        states = [event["data"]["state"] for event in its_events]
        assert states == ["begin", *["update"] * (len(states) - 2), "end"]


def first_play(events: list[dict[str, Any]], camera: str) -> list[dict[str, Any]]:
    """The camera's events of its first connection: the server plays the file once a connection."""
    of_camera = [event for event in events if event["subject"] == camera]
    assert of_camera, f"camera {camera} raised no alert"
    return [event for event in of_camera if event["data"]["segment"] == of_camera[0]["data"]["segment"]]


def check_times(events: list[dict[str, Any]], began: datetime, duration: float) -> None:
    """The stream's clock and the wall clock run together, and every time lies within the run."""
    offsets = []
    for event in events:
        data = event["data"]
        started = datetime.fromisoformat(data["started_at"])
        offsets.append((started - began).total_seconds() - data["started_pts_seconds"])
        assert 0 <= data["started_pts_seconds"] < duration
        captured, scored, published = (
            datetime.fromisoformat(data[key]) for key in ("captured_at", "scored_at", "published_at")
        )
        assert began < captured < scored < published
    # A live camera's wall clock is when a frame arrived: the network's and the server's jitter, not drift.
    assert max(offsets) - min(offsets) < 3.0


def check_pictures(events: list[dict[str, Any]], size: tuple[int, int]) -> None:
    """Every alert has a JPEG of the camera's own size."""
    for event in events:
        (uri,) = event["data"]["evidence"]
        with av.open(unquote(urlparse(uri).path)) as picture:
            frame = next(picture.decode(video=0))
        assert (frame.width, frame.height) == size


def check_scores(events: list[dict[str, Any]], ffmpeg: str, video: Path, fps: float, root: Path) -> None:
    """Compare the reported scores with those of the same clips decoded by ffmpeg and scored by torch."""
    frames = frames_by_ffmpeg(ffmpeg, video)
    reported = readings(events)
    chosen = reported[:: max(1, len(reported) // 4)]
    starts = [round(reading["started_pts_seconds"] * fps) for reading in chosen]
    step = round(fps / CLIP_FPS)  # of 25 fps, every second frame is kept
    assert len({start % (CLIP_STRIDE * step) for start in starts}) == 1  # one grid of clips through the whole segment
    expected = scores_by_torch(frames, starts, step, root)
    assert [reading["score"] for reading in chosen] == pytest.approx(expected, abs=1e-2)


def intervals(events: list[dict[str, Any]], duration: float) -> list[tuple[float, float]]:
    """(start, end) of each alert on the stream's clock."""
    ends = {e["data"]["alert_id"]: e["data"]["ended_pts_seconds"] for e in events if e["data"]["state"] == "end"}
    begins = {e["data"]["alert_id"]: e["data"]["started_pts_seconds"] for e in events if e["data"]["state"] == "begin"}
    return [(start, ends.get(alert, duration)) for alert, start in begins.items()]
