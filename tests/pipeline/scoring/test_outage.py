"""Outages, transition by transition: states, backoff, repair, and what is reported. No server, no clock."""

from __future__ import annotations

import pytest

from pipeline.scoring.outage import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    REPAIR_AFTER_DEATHS,
    Outage,
    Outages,
    Repair,
    State,
)
from pipeline.scoring.served_model import Trouble

SHORT = FIRST_RETRY_SECONDS


def test_without_a_failure_it_is_up() -> None:
    outage = Outage()
    assert outage.state(0.0) is State.UP
    assert outage.pause_left(0.0) == 0.0
    assert not outage.is_open


def test_a_failure_pauses_it_and_then_it_is_probed() -> None:
    outage = Outage()
    assert outage.fail(Trouble.NOT_READY, "missing", sent_at=9.0, now=10.0)
    assert outage.state(10.0) is State.PAUSED
    assert outage.pause_left(10.0) == pytest.approx(SHORT)
    assert outage.state(10.0 + SHORT) is State.PROBING
    assert outage.pause_left(11.0) == 0.0
    assert (outage.trouble, outage.line) == (Trouble.NOT_READY, "missing")


def test_each_failed_retry_doubles_the_pause_up_to_the_longest() -> None:
    outage = Outage()
    pauses, now = [], 0.0
    for _ in range(7):
        outage.fail(Trouble.NOT_READY, sent_at=now, now=now)
        pauses.append(round(outage.pause_left(now), 6))
        now += 10.0
    assert pauses == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    assert pauses[-1] == LONGEST_RETRY_SECONDS


def test_a_call_that_was_sent_before_the_outage_is_not_a_retry() -> None:
    outage = Outage()
    outage.fail(Trouble.UNREACHABLE, sent_at=1.0, now=2.0)
    assert not outage.fail(Trouble.UNREACHABLE, sent_at=1.5, now=2.1)
    assert outage.state(2.0 + SHORT) is State.PROBING


def test_only_another_kind_of_trouble_is_news() -> None:
    outage = Outage()
    troubles = [Trouble.UNREACHABLE, Trouble.UNREACHABLE, Trouble.NOT_READY, Trouble.NOT_READY, Trouble.UNREACHABLE]
    news = [outage.fail(trouble, sent_at=now, now=now) for now, trouble in enumerate(troubles)]
    assert news == [True, False, True, False, True]


def test_after_its_end_the_next_failure_is_news_with_the_first_pause() -> None:
    outage = Outage()
    for now in range(5):
        outage.fail(Trouble.SILENT, sent_at=now, now=now)
    outage.end()
    assert outage.state(5.0) is State.UP
    assert outage.fail(Trouble.SILENT, sent_at=6.0, now=7.0)
    assert outage.pause_left(7.0) == pytest.approx(SHORT)


def test_one_outage_takes_over_the_backoff_of_another() -> None:
    server, model = Outage(), Outage()
    for now in range(3):
        server.fail(Trouble.UNREACHABLE, "away", sent_at=now, now=now)
    model.take_over(server)
    assert not server.is_open
    assert model.fail(Trouble.NOT_READY, "missing", sent_at=4.0, now=5.0)
    assert model.pause_left(5.0) == pytest.approx(8 * SHORT)


# Repair.


def dead(*, allowed: bool, deaths: int = REPAIR_AFTER_DEATHS) -> Repair:
    repair = Repair(allowed=allowed)
    for _ in range(deaths):
        repair.count_death()
    return repair


@pytest.mark.parametrize(
    ("allowed", "deaths", "due"),
    [(True, REPAIR_AFTER_DEATHS - 1, False), (True, REPAIR_AFTER_DEATHS, True), (False, REPAIR_AFTER_DEATHS, False)],
)
def test_a_repair_is_due_after_so_many_deaths_where_it_is_allowed(allowed: bool, deaths: int, due: bool) -> None:
    assert dead(allowed=allowed, deaths=deaths).is_due == due


@pytest.mark.parametrize(
    ("unloaded", "loaded", "away", "due"),
    [
        pytest.param(True, True, False, False, id="repaired"),
        pytest.param(True, False, True, True, id="unloaded, not loaded: only a load brings it back"),
        pytest.param(False, False, False, False, id="not even unloaded: probed as before"),
    ],
)
def test_the_end_of_a_repair(unloaded: bool, loaded: bool, away: bool, due: bool) -> None:
    repair = dead(allowed=True)
    repair.begin()
    assert repair.is_running
    assert repair.end(unloaded=unloaded, loaded=loaded) == away
    assert not repair.is_running
    assert repair.is_due == due


def test_a_second_repair_that_cannot_unload_does_not_forget_that_the_first_one_has() -> None:
    repair = dead(allowed=True)
    assert repair.end(unloaded=True, loaded=False)
    assert repair.end(unloaded=False, loaded=False)
    assert repair.is_due
    repair.reset()  # an operator has loaded it
    assert not repair.is_due


# The server and its models together.


class Site:
    """Two models, a clock that runs 10 s between two calls, and the lines that were reported."""

    def __init__(self, *, repair: bool = False) -> None:
        self.outages = Outages(["a", "b"], repair=repair)
        self.now = 0.0
        self.said: list[str] = []

    def fail(self, model: str, trouble: Trouble, line: str) -> None:
        self.now += 10.0
        if self.outages.failed(model, trouble, line, sent_at=self.now, now=self.now):
            self.said.append(line)

    def score(self, model: str) -> None:
        if self.outages.scored(model):
            self.said.append("recovered")

    @property
    def states(self) -> list[State]:
        return [self.outages.state(model, self.now) for model in ("a", "b")]


MODEL_TROUBLES = [
    Trouble.NOT_READY,
    Trouble.STUB_DIED,
    Trouble.SILENT,
    Trouble.MISMATCH,
]


@pytest.mark.parametrize("trouble", MODEL_TROUBLES)
def test_a_models_trouble_leaves_the_other_alone(trouble: Trouble) -> None:
    site = Site()
    site.fail("a", trouble, "a is away")
    assert site.states == [State.PAUSED, State.UP]
    assert (site.outages.away("a"), site.outages.away("b")) == (True, False)
    assert site.outages.pause_left("b", site.now) == 0.0
    site.score("b")
    assert site.said == ["a is away"]
    site.score("a")
    assert site.said == ["a is away", "recovered"]
    assert site.states == [State.UP, State.UP]


def test_an_unreachable_server_holds_up_both_and_is_reported_once() -> None:
    site = Site()
    site.fail("a", Trouble.UNREACHABLE, "no server")
    site.fail("b", Trouble.UNREACHABLE, "no server")
    assert site.outages.server_away
    assert site.states == [State.PAUSED, State.PAUSED]
    site.score("b")
    assert site.said == ["no server", "recovered"]
    assert site.states == [State.UP, State.UP]


def test_a_server_that_answers_for_one_model_leaves_that_ones_trouble_alone() -> None:
    """A server that starts listens before it has loaded its models."""
    site = Site()
    site.fail("a", Trouble.UNREACHABLE, "no server")
    site.fail("a", Trouble.NOT_READY, "no a")
    assert not site.outages.server_away
    assert site.states == [State.PAUSED, State.UP]
    assert site.outages.pause_left("a", site.now) == pytest.approx(2 * SHORT), "the backoff does not start again"
    site.score("b")
    site.score("a")
    assert site.said == ["no server", "no a", "recovered"]


def test_a_server_that_goes_away_ends_what_was_known_of_its_models() -> None:
    site = Site()
    site.fail("a", Trouble.NOT_READY, "no a")
    site.fail("b", Trouble.NOT_READY, "no b")
    site.fail("b", Trouble.UNREACHABLE, "no server")
    site.fail("a", Trouble.NOT_READY, "no a")
    assert site.states == [State.PAUSED, State.UP]
    site.score("a")
    assert site.said == ["no a", "no b", "no server", "no a", "recovered"]


def test_the_same_line_is_not_reported_for_two_models_at_once() -> None:
    """A frozen server is silent to the clips of each model."""
    site = Site()
    site.fail("a", Trouble.SILENT, "no answer in time")
    site.fail("b", Trouble.SILENT, "no answer in time")
    site.score("a")
    site.score("b")
    assert site.said == ["no answer in time", "recovered"]


def test_recovery_is_reported_when_the_last_outage_ends() -> None:
    site = Site()
    site.fail("a", Trouble.NOT_READY, "no a")
    site.fail("b", Trouble.NOT_READY, "no b")
    site.score("a")
    assert site.said == ["no a", "no b"]
    site.score("b")
    site.score("b")
    assert site.said == ["no a", "no b", "recovered"]


def test_deaths_are_counted_for_each_model_and_forgotten_with_a_score() -> None:
    site = Site(repair=True)
    for _ in range(REPAIR_AFTER_DEATHS):
        site.fail("a", Trouble.STUB_DIED, "a has died")
    assert site.outages.repair_of("a").is_due
    assert not site.outages.repair_of("b").is_due
    site.outages.repair_of("a").begin()
    assert site.states == [State.REPAIRING, State.UP]
    site.outages.repair_of("a").end(unloaded=False, loaded=False)
    site.fail("a", Trouble.STUB_DIED, "a has died")
    site.score("a")
    site.fail("a", Trouble.STUB_DIED, "a has died")
    assert not site.outages.repair_of("a").is_due


def test_a_model_is_silent_when_it_has_answered_nothing_since() -> None:
    outages = Outages(["a", "b"])
    assert outages.silent_since("a", 0.0)
    outages.answered("a", 5.0)
    assert not outages.silent_since("a", 4.0)
    assert outages.silent_since("a", 6.0)
    assert outages.silent_since("b", 4.0), "the other model's answer says nothing of this one"
