"""Small live pictures on a topic of their own, where the site asks for them."""

from __future__ import annotations

import base64
import io
import time
from datetime import UTC, datetime
from typing import Any

import av
import numpy as np
import pytest
from brokers import TestBroker, noida_db  # noqa: F401  # a fixture
from kafka import KafkaConsumer, TopicPartition

from operators.heat_kind import HeatKind
from pipeline.alerts.live_picture import HeatGrid, live_picture_from
from pipeline.heat import Heat
from pipeline.live.listener import Watch
from pipeline.live.live_pictures import LivePictures, shrunk
from pipeline.settings import KafkaSettings
from pipeline.sinks.kafka_broker import Broker
from pipeline.sources.base import Frame, Segment
from pipeline.sources.scale import Part

TOPIC = "pictures"


def frame(shade: int = 90, at: float | None = None) -> Frame:
    native = av.VideoFrame.from_ndarray(np.full((720, 1280, 3), shade, np.uint8), format="rgb24")
    now = datetime.now(UTC)
    segment = Segment("one", "gate", True)
    return Frame(segment, 1.0, now, now, {}, native, time.monotonic() if at is None else at)


def records(bootstrap: str, count: int) -> list[Any]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
    consumer.assign([TopicPartition(TOPIC, 0)])
    consumer.seek_to_beginning()
    found: list[Any] = []
    until = time.monotonic() + 20
    while len(found) < count and time.monotonic() < until:
        for batch in consumer.poll(timeout_ms=200).values():
            found += batch
    consumer.close()
    return found


def test_nothing_leaves_a_worker_unless_the_site_asks_for_it():
    assert KafkaSettings().pictures_topic is None


def test_a_picture_of_each_live_camera_is_published_at_its_pace(noida_db: TestBroker):  # noqa: F811
    pictures = LivePictures(Broker(noida_db.bootstrap), TOPIC, site="yard", create=True, every_seconds=60.0)
    pictures.camera_added("gate", [Watch("gate")], live=True)
    pictures.camera_added("film", [Watch("film")], live=False)
    pictures.start()
    began = time.monotonic()
    for camera in ("gate", "film"):
        for step in range(20):
            pictures.frame(camera, frame(at=began + step))
    (record,) = records(noida_db.bootstrap, 1)
    pictures.frame("gate", frame(shade=200, at=began + 61))
    first, second = records(noida_db.bootstrap, 2)
    pictures.close(2.0)
    assert record.value == first.value != second.value
    assert (first.key, second.key) == (b"gate", b"gate")
    assert first.value.startswith(b"\xff\xd8")
    header = live_picture_from(first.headers)
    assert header is not None
    assert (header.site, header.camera, header.width, header.height) == ("yard", "gate", 480, 270)
    decoded = next(av.open(io.BytesIO(first.value), format="mjpeg").decode(video=0))
    assert (decoded.width, decoded.height) == (480, 270)
    assert abs(int(decoded.to_ndarray(format="rgb24").mean()) - 90) <= 2


def test_the_camera_s_thread_never_waits_for_a_broker_that_is_away():
    pictures = LivePictures(Broker("127.0.0.1:1"), TOPIC, site="yard", create=True, every_seconds=0.0)
    pictures.camera_added("gate", [Watch("gate")], live=True)
    pictures.start()
    one = frame()
    began = time.perf_counter()
    for _ in range(1000):
        pictures.frame("gate", one)
    assert time.perf_counter() - began < 1.0
    pictures.close(2.0)
    assert len(pictures._frames) <= 1


@pytest.mark.parametrize(
    ("width", "height", "size"), [(1280, 720, (480, 270)), (320, 240, (320, 240)), (481, 2, (480, 2))]
)
def test_a_picture_is_never_wider_than_it_may_be(width, height, size):
    small = shrunk(av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24"))
    assert (small.width, small.height) == size


def test_a_heat_map_becomes_bytes_of_shares_and_a_large_one_keeps_its_peaks():
    values = np.zeros((200, 300), np.float32)
    values[150, 30] = 1.0
    grid = HeatGrid.of(Heat(values, Part(-10, 0, 110, 50), HeatKind.ANOMALY), 100, 50)
    assert grid is not None

    cells = np.frombuffer(base64.b64decode(grid.values), np.uint8).reshape(grid.rows, grid.columns)
    assert cells.size <= 3072
    assert cells.max() == 255
    assert (cells > 0).sum() == 1
    assert (grid.left, grid.right, grid.bottom) == (-0.1, 1.1, 1.0)
    flat = Heat(np.full((4, 4), 0.5, np.float32), Part(0, 0, 1, 1), HeatKind.ATTENTION)
    assert HeatGrid.of(flat, 1, 1) is None
