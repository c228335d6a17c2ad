"""Likeness on real servers: a Triton with a detector and an embedding model, and a broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ports import free_port
from site_runs import BRIGHT, DARK, site, write_video
from tiny_embedder import write_embedder
from triton_of_brightness import Server, write_repository

from models.alike.served.export import export_embedding
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.judgement import judgement_event
from pipeline.alerts.likeness import embedding_from
from pipeline.alerts.reading import Event
from pipeline.live.service import Service
from pipeline.scoring.served_model import ClipMismatch, ScorerUnavailable
from pipeline.settings import Site
from pipeline.sinks.kafka import KafkaSink

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

BACKBONE = "i3d-kinetics400"  #: of the tiny embedding model
Until = Callable[..., None]


@pytest.fixture(scope="module")
def served(triton: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Triton with the detector ``described`` and the embedding models ``alike`` and ``other``."""
    folder = tmp_path_factory.mktemp("embedders")
    write_repository(triton.repository, "described", backbone=BACKBONE)
    export_embedding(write_embedder(folder / "alike"), triton.repository, name="alike")
    export_embedding(write_embedder(folder / "other", inputs=5), triton.repository, name="other")
    for model in ("described", "alike", "other"):
        triton.load(model)
    yield triton
    for model in ("described", "alike", "other"):
        triton.unload(model)


def a_site(folder: Path, triton: str, broker: str, video: Path, *, model: str = "alike", hour: int = 12) -> Site:
    settings: Site = site(
        folder,
        triton,
        broker,
        {"cam": {"source": str(video), "start_time": f"2026-03-01T{hour}:00:00Z"}},
        alerts={"min_clips": 1, "cooldown_seconds": 0.5},
        likeness={"model": model},
    )
    described = settings.triton.model_copy(update={"model": "described"})
    return settings.model_copy(update={"triton": described})


def run(
    settings: Site, *, name: str = "r", ready: Callable[[Service], object] = lambda _service: True
) -> list[AlertEvent]:
    """Run a site to its end; its cameras start once ``ready``."""
    events: list[Event] = []
    service = Service(settings, run=name, published=events.append)
    waited = threading.Event()
    try:
        assert service.prepare(threading.Event(), patient=False)
        for _ in range(600):
            if ready(service):
                break
            waited.wait(0.05)
        else:
            raise AssertionError("the memory did not become ready")
        service.start()
        assert service.wait(120)
    finally:
        left = service.close(relay_seconds=60)
    assert left == 0
    return [event for event in events if isinstance(event, AlertEvent)]


def begins(events: list[AlertEvent]) -> list[AlertEvent]:
    return [event for event in events if event.data.sequence == 0]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_video(tmp_path / "film.mp4", [(2.0, DARK), (2.0, BRIGHT), (3.0, DARK), (2.0, BRIGHT), (2.0, DARK)])


def test_a_second_alert_of_the_kind_names_the_first(tmp_path: Path, served: Server, broker: str, film: Path) -> None:
    events = run(a_site(tmp_path, served.address, broker, film))
    assert all(event.data.likeness is not None for event in events)
    first, second = begins(events)
    assert first.data.likeness is not None
    assert second.data.likeness is not None
    assert first.data.likeness.similar == ()
    assert first.data.likeness.group.id == first.data.alert_id
    assert second.data.likeness.group.id == first.data.alert_id
    assert (second.data.likeness.group.size, second.data.likeness.group.last_day) == (2, 1)
    (nearest,) = second.data.likeness.similar
    assert (nearest.alert_id, nearest.camera) == (first.data.alert_id, "cam")
    assert nearest.similarity >= 0.75, "the least of a group"
    assert [event.data.muted for event in events] == [False] * len(events)


def test_a_judgement_on_the_topic_mutes_and_the_memory_is_rebuilt_from_it(
    tmp_path: Path, served: Server, broker: str, film: Path
) -> None:
    settings = a_site(tmp_path, served.address, broker, film)
    first, second = begins(run(settings))
    assert first.data.likeness is not None
    likeness = first.data.likeness
    judgement = judgement_event(
        site="test",
        target=first.data.alert_id,
        camera="cam",
        verdict="normal",
        note="the lamp",
        judged_at=first.data.started_at,  # type: ignore[arg-type]
        expires_at=None,
        similarity=0.9,
        embedding_version=likeness.embedding_version,
        exemplars=[embedding_from(likeness.embedding)],
    )
    sink = KafkaSink.from_settings(settings.kafka)
    with sink.connect():
        assert [one.verdict for one in sink.send([judgement], lambda _why: True)] == ["acknowledged"]
    later = a_site(tmp_path, served.address, broker, film, hour=13)
    (settings.state_dir / "alerts.sqlite").unlink()  # the memory is lost; the topic is not

    def has_read_the_topic(service: Service) -> bool:
        history = service.likeness.history if service.likeness is not None else None
        return history is not None and len(history) == 2 and len(history.judgements()) == 1

    third, fourth = begins(run(later, name="again", ready=has_read_the_topic))
    assert third.data.likeness is not None
    assert third.data.likeness.group.size == 3
    assert third.data.likeness.group.id == first.data.alert_id
    assert {one.alert_id for one in third.data.likeness.similar} == {first.data.alert_id, second.data.alert_id}
    assert [one.judgement for one in third.data.likeness.similar if one.alert_id == first.data.alert_id] == ["normal"]
    for muted in (third, fourth):
        assert muted.data.muted is True
        assert muted.data.muted_because is not None
        assert muted.data.muted_because.note == "the lamp"


def test_two_runs_give_the_same_likeness(tmp_path: Path, served: Server, broker: str, film: Path) -> None:
    def documents(name: str) -> list[object]:
        folder = tmp_path / name
        folder.mkdir()
        events = run(a_site(folder, served.address, broker, film))
        return [(event.data.sequence, event.data.state, event.data.likeness, event.data.muted) for event in events]

    assert documents("one") == documents("two")


def test_an_embedding_model_of_other_features_ends_the_start_in_one_line(
    tmp_path: Path, served: Server, broker: str, film: Path
) -> None:
    service = Service(a_site(tmp_path, served.address, broker, film, model="other"))
    try:
        with pytest.raises(ClipMismatch, match=r"takes 5 features of .*, and .* has 4 features of"):
            service.prepare(threading.Event(), patient=False)
    finally:
        service.close()


def test_a_missing_embedding_model_is_an_error_where_nothing_waits(
    tmp_path: Path, served: Server, broker: str, film: Path
) -> None:
    service = Service(a_site(tmp_path, served.address, broker, film, model="nobody"))
    try:
        with pytest.raises(ScorerUnavailable, match="does not serve the model nobody"):
            service.prepare(threading.Event(), patient=False)
    finally:
        service.close()


def test_where_the_run_waits_alerts_go_without_likeness_meanwhile(
    tmp_path: Path, served: Server, broker: str, film: Path
) -> None:
    events: list[Event] = []
    service = Service(a_site(tmp_path, served.address, broker, film, model="nobody"), run="r", published=events.append)
    try:
        assert service.prepare(threading.Event(), patient=True)
        service.start()
        assert service.wait(120)
    finally:
        service.close(relay_seconds=60)
    alerts = [event for event in events if isinstance(event, AlertEvent)]
    assert len(begins(alerts)) == 2
    assert all(event.data.likeness is None and event.data.muted is None for event in alerts)
    missing = service.metrics.registry.get_sample_value(
        "mistwatch_alerts_likeness_total", {"camera": "cam", "outcome": "missing"}
    )
    assert missing == 2


def test_without_a_broker_alerts_are_still_compared(tmp_path: Path, served: Server, film: Path) -> None:
    """The memory needs no topic for the alerts of its own worker."""
    settings = a_site(tmp_path, served.address, f"127.0.0.1:{free_port()}", film)
    service = Service(settings, run="r")
    try:
        assert service.prepare(threading.Event(), patient=True)
        service.start()
        assert service.wait(120)
        assert service.likeness is not None
        assert service.likeness.history is not None
        assert [group.size for group in service.likeness.history.groups()] == [2]
    finally:
        service.close(relay_seconds=0.1)
