"""The film of each alert as its events come: begun with the alert, ended with it or by a handover, named by the end."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from operators.alerting import AlertState, AlertTransition
from operators.heat_kind import HeatKind
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.alert_film import FilmLengths
from pipeline.alerts.event import AlertEvent, event_from
from pipeline.alerts.evidence_folder import EvidenceFolder
from pipeline.alerts.film import ClipHeat
from pipeline.alerts.filming import AlertFilming
from pipeline.alerts.films import CameraFilms, FilmKeeper
from pipeline.sources.filming.orders import FilmEnd, FilmOrder, FilmProblem, FilmReport, FilmState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LENGTHS = FilmLengths(2.0, 5.0, 60.0)


class Source:
    """Notes what it is asked for."""

    live = True

    def __init__(self) -> None:
        self.orders: list[FilmOrder] = []
        self.ends: list[FilmEnd] = []

    def begin_film(self, order: FilmOrder, descriptor: int) -> None:
        assert os.fstat(descriptor).st_size == 0
        self.orders.append(order)

    def end_film(self, end: FilmEnd) -> None:
        self.ends.append(end)


def clip(start: float) -> ClipScore:
    times = ClipTimes(started_at=NOW, ended_at=NOW, captured_at=NOW)
    return ClipScore("gate", "s", int(start), start, start + 1.0, 0.9, "m", "1", times)


def transition(state: AlertState, sequence: int, first: float, last: float) -> AlertTransition:
    smoothed = SmoothedScore(clip(first), 0.9)
    reason = "below_threshold" if state is AlertState.END else None
    return AlertTransition(state, "gate", "s", sequence, clip(first), clip(last), smoothed, 0.5, (smoothed,), reason)


def heat(start: float) -> ClipHeat:
    return ClipHeat("s", start, start + 1.0, np.zeros((2, 2), np.uint8), (0, 0, 1, 1), HeatKind.ATTENTION)


@pytest.fixture
def films(tmp_path: Path) -> CameraFilms:
    folder = EvidenceFolder(tmp_path, quota_bytes=10**6, max_age_seconds=1e6)
    films = FilmKeeper(folder, LENGTHS).camera("gate")
    films.source = Source()
    return films


def source_of(films: CameraFilms) -> Source:
    assert isinstance(films.source, Source)
    return films.source


def pass_on(filming: AlertFilming, one: AlertTransition) -> AlertEvent:
    return filming.filmed(event_from(one, site="yard", run="", evidence=[]), one)


def test_the_end_names_the_film_that_the_begin_has_ordered(films: CameraFilms, tmp_path: Path) -> None:
    filming = AlertFilming(films)
    begin = pass_on(filming, transition(AlertState.BEGIN, 0, 10.0, 12.0))
    update = pass_on(filming, transition(AlertState.UPDATE, 1, 10.0, 14.0))
    assert (begin.data.film, update.data.film) == (None, None)
    films.report(FilmReport("gate", 1, FilmState.BEGUN, lead_seconds=3.0))
    end = pass_on(filming, transition(AlertState.END, 2, 10.0, 15.0))
    assert source_of(films).orders == [FilmOrder(1, "s", 10.0, 2.0, 5.0, 60.0, 250_000)]
    assert source_of(films).ends == [FilmEnd(1, "s", 16.0)]
    film = end.data.film
    assert film is not None
    assert film.uri == (tmp_path / "gate" / f"20260301T120000Z-{str(end.data.alert_id)[:8]}.mp4").as_uri()
    assert film.alert_starts_at_seconds == 3.0
    assert film.seconds == 3.0 + 6.0 + 5.0
    assert AlertEvent.model_validate_json(end.to_json()) == end


def test_an_end_before_the_film_has_begun_names_it_without_times(films: CameraFilms) -> None:
    filming = AlertFilming(films)
    pass_on(filming, transition(AlertState.BEGIN, 0, 10.0, 12.0))
    film = pass_on(filming, transition(AlertState.END, 1, 10.0, 12.0)).data.film
    assert film is not None
    assert (film.started_at, film.seconds, film.alert_starts_at_seconds) == (None, None, None)


def test_a_film_that_has_failed_is_not_named(films: CameraFilms) -> None:
    filming = AlertFilming(films)
    pass_on(filming, transition(AlertState.BEGIN, 0, 10.0, 12.0))
    films.report(FilmReport("gate", 1, FilmState.FAILED, problem=FilmProblem.CODEC))
    assert pass_on(filming, transition(AlertState.END, 1, 10.0, 12.0)).data.film is None


def test_a_handover_ends_the_film_and_leaves_its_name_to_the_next_worker(films: CameraFilms) -> None:
    filming = AlertFilming(films)
    pass_on(filming, transition(AlertState.BEGIN, 0, 10.0, 12.0))
    filming.let_go("s", 13.0)
    assert source_of(films).ends == [FilmEnd(1, "s", 13.0)]
    left = filming.film
    assert left is not None
    following = AlertFilming(films)
    following.resume(left)
    assert pass_on(following, transition(AlertState.END, 4, 10.0, 20.0)).data.film == left
    assert len(source_of(films).orders) == 1


def test_each_alert_has_a_film_of_its_own_with_the_heat_of_its_pre_roll(films: CameraFilms) -> None:
    filming = AlertFilming(films)
    for start in range(5, 12):
        filming.saw(heat(float(start)))
    pass_on(filming, transition(AlertState.BEGIN, 0, 10.0, 12.0))
    film = filming._film
    assert film is not None
    filming.saw(heat(12.0))
    assert [one.start for one in film.heat] == [8.0, 9.0, 10.0, 11.0, 12.0]
    pass_on(filming, transition(AlertState.END, 1, 10.0, 12.0))
    filming.saw(heat(13.0))
    assert len(film.heat) == 5
    pass_on(filming, transition(AlertState.BEGIN, 0, 30.0, 32.0))
    assert [order.number for order in source_of(films).orders] == [1, 2]
