"""A site with a real source, scorer and broker: its alert's film has the incident, its pre-roll and its times."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import av
import pytest
import rtsp_server
from site_runs import BRIGHT, DARK, site, write_video
from triton_of_brightness import Server

from pipeline.alerts.event import AlertEvent
from pipeline.alerts.film import FilmNotes
from pipeline.alerts.reading import Event
from pipeline.live.service import Service

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

LIMIT_SECONDS = 120.0


def path_of(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


@pytest.mark.skipif(rtsp_server.why_missing() is not None, reason="GStreamer's RTSP server is not installed")
@pytest.mark.parametrize("decoding", ["threads", "processes"])
def test_the_film_that_an_alerts_end_names_has_the_incident_and_its_pre_roll(
    tmp_path: Path, triton: Server, broker: str, decoding: str
) -> None:
    video = write_video(tmp_path / "camera.mp4", [(4.0, DARK), (2.0, BRIGHT), (6.0, DARK)])
    events: list[AlertEvent] = []
    ended = threading.Event()

    def published(event: Event) -> None:
        assert isinstance(event, AlertEvent)
        events.append(event)
        if event.data.state == "end":
            ended.set()

    with rtsp_server.RtspServer("--file", str(video)) as camera:
        settings = site(
            tmp_path,
            triton.address,
            broker,
            {"gate": {"source": camera.url}},
            decoding=decoding,
            evidence={"pre_roll_seconds": 1.0, "post_roll_seconds": 1.0},
        )
        service = Service(settings, published=published)
        try:
            assert service.prepare(threading.Event(), patient=False)
            service.start()
            assert ended.wait(LIMIT_SECONDS)
            end = next(event for event in events if event.data.state == "end")
            film = end.data.film
            assert film is not None
            until = time.monotonic() + LIMIT_SECONDS
            while not path_of(film.notes).exists():
                assert time.monotonic() < until, "the film never came"
                time.sleep(0.02)
        finally:
            service.close()
    assert all(event.data.film is None for event in events if event.data.state != "end")
    assert service.metrics.registry.get_sample_value("mistwatch_films_total", {"camera": "gate", "outcome": "complete"})
    notes = FilmNotes.model_validate_json(path_of(film.notes).read_bytes())
    assert notes.complete
    assert notes.alert_id == end.data.alert_id
    assert notes.alert_starts_at_seconds == film.alert_starts_at_seconds
    with av.open(str(path_of(film.uri))) as container:
        pictures = [(frame.time, float(frame.to_ndarray(format="gray").mean())) for frame in container.decode(video=0)]
    bright = [seconds for seconds, grey in pictures if grey > 150]
    assert notes.alert_starts_at_seconds >= 1.0
    # The alert begins with the clip that first reaches the threshold: about where the light goes on.
    assert notes.alert_starts_at_seconds == pytest.approx(bright[0], abs=0.5)
    assert bright[0] - pictures[0][0] >= 1.0
    assert bright[-1] - bright[0] == pytest.approx(1.9, abs=0.2)
    assert pictures[-1][0] > bright[-1]
    assert end.data.started_at is not None
    assert notes.started_at is not None
    lead = (end.data.started_at - notes.started_at).total_seconds()
    assert lead == pytest.approx(notes.alert_starts_at_seconds, abs=2e-3)


def test_a_recordings_films_are_there_when_its_run_ends(tmp_path: Path, triton: Server, broker: str) -> None:
    """Of two incidents, the second one lasts to the recording's end."""
    parts = [(4.0, DARK), (2.0, BRIGHT), (24.0, DARK), (2.0, BRIGHT)]
    video = write_video(tmp_path / "recording.mp4", parts)
    events: list[AlertEvent] = []
    settings = site(
        tmp_path,
        triton.address,
        broker,
        {"gate": {"source": str(video)}},
        evidence={"pre_roll_seconds": 1.0, "post_roll_seconds": 1.0},
    )
    service = Service(settings, published=events.append)  # type: ignore[arg-type]
    try:
        assert service.prepare(threading.Event(), patient=False)
        service.start()
        until = time.monotonic() + LIMIT_SECONDS
        while not service.wait(0.1):
            assert time.monotonic() < until, "the recording never ended"
        films = sorted((tmp_path / "state").rglob("*.mp4"))
        service.flush(threading.Event(), LIMIT_SECONDS)
    finally:
        service.close()
    ends = [event for event in events if event.data.state == "end"]
    assert len(ends) == len(films) == 2
    for end in ends:
        assert end.data.film is not None
        assert path_of(end.data.film.uri) in films
        notes = FilmNotes.model_validate_json(path_of(end.data.film.notes).read_bytes())
        assert notes.alert_id == end.data.alert_id
        with av.open(str(path_of(end.data.film.uri))) as container:
            pictures = [
                (frame.time, float(frame.to_ndarray(format="gray").mean())) for frame in container.decode(video=0)
            ]
        bright = [seconds for seconds, grey in pictures if grey > 150]
        assert notes.alert_starts_at_seconds >= 1.0
        assert notes.alert_starts_at_seconds == pytest.approx(bright[0], abs=0.5)
        assert bright[-1] - bright[0] == pytest.approx(1.9, abs=0.2)
        assert notes.complete is (pictures[-1][0] > bright[-1] + 0.9)
