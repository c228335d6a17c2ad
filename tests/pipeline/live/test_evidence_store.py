"""A site with a real scorer, broker and object store: events name objects, and a dead store delays no alert."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import object_stores
import pytest
from object_stores import store_at
from ports import free_port
from site_runs import BRIGHT, DARK, site, write_video
from triton_of_brightness import Server

from pipeline.alerts.event import AlertEvent
from pipeline.live.service import Service
from pipeline.settings import Site

LIMIT_SECONDS = 120.0

pytestmark = [pytest.mark.realparts, pytest.mark.waits]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", object_stores.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", object_stores.SECRET_KEY)


def run(settings: Site, *, until_uploaded: bool = False) -> tuple[Service, list[AlertEvent]]:
    """Run a site to the end of its recordings, and until its store has every file."""
    events: list[AlertEvent] = []
    service = Service(settings, run="r", published=events.append)
    limit = time.monotonic() + LIMIT_SECONDS
    try:
        assert service.prepare(threading.Event(), patient=False)
        service.start()
        while not service.wait(0.2) or (until_uploaded and sample(service, "evidence_waiting") > 0):
            assert time.monotonic() < limit, "it never ended"
        service.flush(threading.Event(), LIMIT_SECONDS)
    finally:
        began = time.monotonic()
        service.close()
        assert time.monotonic() - began < 10, "a store holds up no stop"
    return service, events


def sample(service: Service, name: str, **labels: str) -> float:
    return service.metrics.registry.get_sample_value(f"mistwatch_{name}", labels) or 0.0


def site_of(folder: Path, triton: Server, broker: str, video: Path, endpoint: str) -> Site:
    evidence = {"store": "s3://evidence/site", "store_endpoint": endpoint, "pre_roll_seconds": 1.0}
    cameras = {"gate": {"source": str(video)}}
    return site(folder, triton.address, broker, cameras, worker="north", evidence=evidence)


def named_in(events: list[AlertEvent]) -> set[str]:
    """The URIs of all pictures, films and notes."""
    found = {uri for event in events for uri in event.data.evidence}
    films = [event.data.film for event in events if event.data.film is not None]
    return found | {film.uri for film in films} | {film.notes for film in films}


def test_alerts_come_without_their_store_and_its_objects_with_the_next_start(
    tmp_path: Path, triton: Server, broker: str
) -> None:
    bright = write_video(tmp_path / "bright.mp4", [(2.0, DARK), (2.0, BRIGHT), (3.0, DARK)])
    dark = write_video(tmp_path / "dark.mp4", [(2.0, DARK)])
    service, events = run(site_of(tmp_path, triton, broker, bright, f"http://127.0.0.1:{free_port()}"))
    assert [event.data.state for event in events][-1] == "end"
    uris = named_in(events)
    assert {uri.rpartition(".")[2] for uri in uris} == {"jpg", "mp4", "json"}
    assert all(uri.startswith("s3://evidence/site/test/north/gate/") for uri in uris)
    assert sample(service, "evidence_store_away") == 1
    assert sample(service, "evidence_uploads_total", outcome="failed") >= 1
    assert sample(service, "evidence_waiting") == len(uris)

    with object_stores.serving_s3() as endpoint:
        service, later = run(site_of(tmp_path, triton, broker, dark, endpoint), until_uploaded=True)
        assert later == []
        assert sample(service, "evidence_uploads_total", outcome="uploaded") == len(uris)
        assert sample(service, "evidence_store_away") == 0
        store = store_at(endpoint)
        for uri in uris:
            key = store.key_of(uri)
            assert key is not None
            stored = b"".join(store.read(key, 0, store.version(key)[0]))
            assert stored == (tmp_path / "state" / "evidence" / "gate" / Path(key).name).read_bytes()


def test_a_store_that_hangs_holds_up_neither_alerts_nor_the_stop(tmp_path: Path, triton: Server, broker: str) -> None:
    video = write_video(tmp_path / "gate.mp4", [(2.0, DARK), (2.0, BRIGHT), (3.0, DARK)])
    with object_stores.silent_s3() as endpoint:
        service, events = run(site_of(tmp_path, triton, broker, video, endpoint))
    assert [event.data.state for event in events][-1] == "end"
    assert sample(service, "evidence_waiting") == len(named_in(events))
