"""A worker at work while Triton takes another version of the model, and takes it back: nothing is lost or mixed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

import av
import numpy as np
import pytest
from hearing import Heard
from site_runs import BRIGHT, site, write_video
from triton_of_brightness import Server, T, until, write_version

from models.serving import versions
from pipeline.alerts.event import AlertEvent
from pipeline.live.service import Service
from pipeline.scoring.served_model import load_version

pytestmark = [pytest.mark.realparts, pytest.mark.alone]

FRAMES, STRIDE = 4000, 2
STRICT = "0.95"  # which BRIGHT / 255 = 0.92 does not reach


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Its version 1 opens alerts at 0.5."""
    server = Server(tmp_path / "server")
    server.start()
    yield server
    server.stop()


def test_a_worker_follows_the_exchange_and_the_rollback(tmp_path: Path, server: Server, broker: str) -> None:
    """A bright recording: alert under version 1, none under the stricter 2, and again one after the rollback."""
    video = write_video(tmp_path / "bright.mp4", [(FRAMES / 10, BRIGHT)], size=(64, 48))
    settings = site(
        tmp_path,
        server.address,
        broker,
        {"cam": {"source": str(video)}},
        alerts={"min_clips": 1, "cooldown_seconds": 0, "update_every_seconds": 1e4, "max_duration_seconds": 1e4},
    )
    events: list[AlertEvent] = []
    model = server.repository / "clip_scorer"
    service = Service(settings, run="r", listeners=[Heard(accepted=events.append)])
    try:
        assert service.prepare(threading.Event(), patient=False)
        service.start()
        assert service.worker is not None
        (state,) = service.board.states
        until(lambda: len(events) == 1 and state.scored > 100)
        assert versions.add(model, write_version(tmp_path / "draft", name="strict", threshold=STRICT)) == 2
        load_version(server.address, "clip_scorer", 2)
        until(lambda: len(events) == 2)
        scored = state.scored
        until(lambda: state.scored > scored + 100)
        assert state.open_threshold == float(STRICT)
        assert versions.roll_back(model) == 1
        load_version(server.address, "clip_scorer", 1)
        until(lambda: len(events) == 3)
        assert service.worker.wait(120)
    finally:
        service.close(relay_seconds=60)

    assert service.summary.clips_dropped == 0
    assert service.summary.clips_scored == (FRAMES - T) // STRIDE + 1
    assert [(event.data.state, event.data.end_reason) for event in events] == [
        ("begin", None), ("end", "model_changed"), ("begin", None), ("end", "stream_end"),
    ]  # fmt: skip
    for event in events:
        assert (event.data.model, event.data.model_version, event.data.threshold) == ("mean", "1", 0.5)
    # What version 2 scored is in no alert: it is what lies between the two, and a good deal of the film.
    first, second = (
        [reading.index for event in pair for reading in event.data.scores] for pair in (events[:2], events[2:])
    )
    for told in (first, second):
        assert told == list(range(told[0], told[-1] + 1))
    assert second[0] - first[-1] > 100
    assert second[-1] == service.summary.clips_scored - 1


def test_a_version_that_the_site_cannot_judge_is_waited_out(tmp_path: Path, server: Server, broker: str) -> None:
    """It suggests no threshold, and the site names none: its scores would mean nothing."""
    model = server.repository / "clip_scorer"
    video = write_video(tmp_path / "bright.mp4", [(FRAMES / 10, BRIGHT)], size=(64, 48))
    events: list[AlertEvent] = []
    settings = site(tmp_path, server.address, broker, {"cam": {"source": str(video)}})
    service = Service(settings, run="r", listeners=[Heard(accepted=events.append)])
    try:
        assert service.prepare(threading.Event(), patient=False)
        service.start()
        assert service.worker is not None
        until(lambda: events)
        versions.add(model, write_version(tmp_path / "draft", threshold=""))
        load_version(server.address, "clip_scorer", 2)
        until(lambda: service.scorer_away_seconds > 0)
        versions.roll_back(model)
        load_version(server.address, "clip_scorer", 1)
        assert service.worker.wait(120)
        assert service.scorer_away_seconds == 0
    finally:
        service.close(relay_seconds=60)
    assert service.summary.clips_dropped == 0
    assert service.summary.clips_scored == (FRAMES - T) // STRIDE + 1
    assert {event.data.model_version for event in events} == {"1"}
    assert not [event for event in events if event.data.end_reason == "model_changed"]


def test_the_attention_is_drawn_on_the_alerts_picture_unless_switched_off(
    tmp_path: Path, server: Server, broker: str
) -> None:
    """A picture that is bright on its left: there it is reddened, as the tiny model looks where it is bright."""
    versions.add(
        server.repository / "clip_scorer", write_version(tmp_path / "draft", heat="attention", threshold="0.4")
    )
    load_version(server.address, "clip_scorer", 2)
    video = tmp_path / "left.mp4"
    picture = np.full((96, 128, 3), 40, np.uint8)
    picture[:, :64] = 220
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))

    def picture_of_the_alert(folder: Path, attention: bool) -> np.ndarray:
        events: list[AlertEvent] = []
        folder.mkdir()
        cameras = {"cam": {"source": str(video)}}
        settings = site(folder, server.address, broker, cameras, evidence={"attention": attention})
        service = Service(settings, run="r", listeners=[Heard(accepted=events.append)])
        try:
            assert service.prepare(threading.Event(), patient=False)
            service.start()
            assert service.worker is not None
            assert service.worker.wait(120)
        finally:
            service.close(relay_seconds=60)
        (uri,) = events[0].data.evidence
        with av.open(unquote(urlparse(uri).path)) as found:
            return next(found.decode(video=0)).to_ndarray(format="rgb24").astype(int)

    plain = picture_of_the_alert(tmp_path / "off", attention=False)
    np.testing.assert_allclose(plain, picture, atol=12)
    drawn = picture_of_the_alert(tmp_path / "on", attention=True)
    redness = drawn[..., 0] - drawn[..., 1:].mean(axis=2)
    np.testing.assert_allclose(redness[:, 100:], 0, atol=12)  # the model's least: as it was
    # Half of (220, 220, 220) and half of red: (238, 110, 110). The clip is cropped to the middle square: 16 to 112.
    assert redness[:, 20:36].mean() == pytest.approx(128, abs=15)
    np.testing.assert_allclose(redness[:, :12], 0, atol=12)

    # An anomaly map has an absolute scale: 220 / 255 is not all red, and 40 / 255 is not clear.
    versions.add(server.repository / "clip_scorer", write_version(tmp_path / "map", heat="anomaly", threshold="0.4"))
    load_version(server.address, "clip_scorer", 3)
    absolute = picture_of_the_alert(tmp_path / "absolute", attention=True)
    share = np.array([220, 40]) / 255
    colour = np.stack([[255, 255], (1 - share) * 220, [0, 0]], axis=1)
    kept = (1 - 0.5 * share)[:, None]
    expected = kept * np.array([[220], [40]]) + (1 - kept) * colour
    for columns, of_cell in ((slice(20, 36), expected[0]), (slice(92, 108), expected[1])):
        np.testing.assert_allclose(absolute[:, columns].mean(axis=(0, 1)), of_cell, atol=6)
