"""Outages, transition by transition: states, backoff, repair, and what is reported. No server, no clock."""

from __future__ import annotations

import pytest

from pipeline.scoring.outage import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    REPAIR_AFTER_DEATHS,
    News,
    Outage,
    Outages,
    Repair,
    State,
)
from pipeline.scoring.served_model import OF_A_PART, Trouble
from pipeline.scoring.target import Target

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
    repair = Repair("a", allowed=allowed)
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


A, B = Target("a"), Target("b")


class Site:
    """Two models (or parts), a clock that runs 10 s between two calls, and the lines that were reported."""

    def __init__(self, *, repair: bool = False, targets: tuple[Target, ...] = (A, B)) -> None:
        self.targets = targets
        self.outages = Outages(targets, repair=repair)
        self.now = 0.0
        self.said: list[str] = []

    def fail(self, target: Target, trouble: Trouble, line: str) -> None:
        self.now += 10.0
        self.hear(self.outages.failed(target, trouble, line, sent_at=self.now, now=self.now), target, line)

    def score(self, target: Target) -> None:
        self.now += 10.0
        self.hear(self.outages.scored(target, sent_at=self.now), target)

    def hear(self, news: News, target: Target, line: str = "") -> None:
        if news.recovered:
            self.said.append("recovered")
        if news.waiting:
            self.said.append(line)
        if news.part_waiting:
            self.said.append(f"{target.part}: {line}")
        if news.part_there:
            self.said.append(f"{target.part} is there")

    @property
    def states(self) -> list[State]:
        return [self.outages.state(target, self.now) for target in self.targets]


MODEL_TROUBLES = [
    Trouble.NOT_READY,
    Trouble.STUB_DIED,
    Trouble.SILENT,
    Trouble.MISMATCH,
]


@pytest.mark.parametrize("trouble", [*MODEL_TROUBLES, Trouble.UNREACHABLE])
def test_an_answer_to_a_clip_that_was_sent_before_an_outage_does_not_end_it(trouble: Trouble) -> None:
    """The failure of a later clip overtakes it, as where a model is unloaded while it works."""
    site = Site()
    before = site.now
    site.fail(A, trouble, "a is away")
    pause = site.outages.pause_left(A, site.now)
    for sent_at in (before, site.now):
        site.hear(site.outages.scored(A, sent_at=sent_at), A)
    assert site.outages.state(A, site.now) is State.PAUSED
    assert site.outages.pause_left(A, site.now) == pause
    assert site.said == ["a is away"]
    site.score(A)
    assert site.said == ["a is away", "recovered"]
    site.hear(site.outages.scored(A, sent_at=before), A)
    assert site.said == ["a is away", "recovered"]


@pytest.mark.parametrize("trouble", MODEL_TROUBLES)
def test_a_models_trouble_leaves_the_other_alone(trouble: Trouble) -> None:
    site = Site()
    site.fail(A, trouble, "a is away")
    assert site.states == [State.PAUSED, State.UP]
    assert (site.outages.away(A), site.outages.away(B)) == (True, False)
    assert site.outages.pause_left(B, site.now) == 0.0
    site.score(B)
    assert site.said == ["a is away"]
    site.score(A)
    assert site.said == ["a is away", "recovered"]
    assert site.states == [State.UP, State.UP]


def test_an_unreachable_server_holds_up_both_and_is_reported_once() -> None:
    site = Site()
    site.fail(A, Trouble.UNREACHABLE, "no server")
    site.fail(B, Trouble.UNREACHABLE, "no server")
    assert site.outages.server_away
    assert site.states == [State.PAUSED, State.PAUSED]
    site.score(B)
    assert site.said == ["no server", "recovered"]
    assert site.states == [State.UP, State.UP]


def test_a_server_that_answers_for_one_model_leaves_that_ones_trouble_alone() -> None:
    """A server that starts listens before it has loaded its models."""
    site = Site()
    site.fail(A, Trouble.UNREACHABLE, "no server")
    site.fail(A, Trouble.NOT_READY, "no a")
    assert not site.outages.server_away
    assert site.states == [State.PAUSED, State.UP]
    assert site.outages.pause_left(A, site.now) == pytest.approx(2 * SHORT), "the backoff does not start again"
    site.score(B)
    site.score(A)
    assert site.said == ["no server", "no a", "recovered"]


def test_a_server_that_goes_away_ends_what_was_known_of_its_models() -> None:
    site = Site()
    site.fail(A, Trouble.NOT_READY, "no a")
    site.fail(B, Trouble.NOT_READY, "no b")
    site.fail(B, Trouble.UNREACHABLE, "no server")
    site.fail(A, Trouble.NOT_READY, "no a")
    assert site.states == [State.PAUSED, State.UP]
    site.score(A)
    assert site.said == ["no a", "no b", "no server", "no a", "recovered"]


def test_the_same_line_is_not_reported_for_two_models_at_once() -> None:
    """A frozen server is silent to the clips of each model."""
    site = Site()
    site.fail(A, Trouble.SILENT, "no answer in time")
    site.fail(B, Trouble.SILENT, "no answer in time")
    site.score(A)
    site.score(B)
    assert site.said == ["no answer in time", "recovered"]


def test_recovery_is_reported_when_the_last_outage_ends() -> None:
    site = Site()
    site.fail(A, Trouble.NOT_READY, "no a")
    site.fail(B, Trouble.NOT_READY, "no b")
    site.score(A)
    assert site.said == ["no a", "no b"]
    site.score(B)
    site.score(B)
    assert site.said == ["no a", "no b", "recovered"]


def test_deaths_are_counted_for_each_model_and_forgotten_with_a_score() -> None:
    site = Site(repair=True)
    for _ in range(REPAIR_AFTER_DEATHS):
        site.fail(A, Trouble.STUB_DIED, "a has died")
    assert site.outages.repair_of(A).is_due
    assert not site.outages.repair_of(B).is_due
    site.outages.repair_of(A).begin()
    assert site.states == [State.REPAIRING, State.UP]
    site.outages.repair_of(A).end(unloaded=False, loaded=False)
    site.fail(A, Trouble.STUB_DIED, "a has died")
    site.score(A)
    site.fail(A, Trouble.STUB_DIED, "a has died")
    assert not site.outages.repair_of(A).is_due


def test_models_on_a_dead_backbone_have_one_repair_and_then_their_own_again() -> None:
    site = Site(repair=True)
    for target in (A, B, A):
        site.outages.failed(target, Trouble.STUB_DIED, "c has died", backbone="c", sent_at=site.now, now=site.now)
    repair = site.outages.repair_of(A)
    assert (repair.model, repair.is_due) == ("c", True)
    assert site.outages.repair_of(B) is repair
    repair.begin()
    assert site.states == [State.REPAIRING, State.REPAIRING]
    repair.end(unloaded=True, loaded=True)
    assert not site.outages.repair_of(B).is_due
    site.fail(B, Trouble.STUB_DIED, "b has died")
    assert [site.outages.repair_of(target).model for target in (A, B)] == ["c", "b"]


def test_a_model_is_silent_when_it_has_answered_nothing_since() -> None:
    outages = Outages([A, B])
    assert outages.silent_since(A, 0.0)
    outages.answered(A, 5.0)
    assert not outages.silent_since(A, 4.0)
    assert outages.silent_since(A, 6.0)
    assert outages.silent_since(B, 4.0), "the other model's answer says nothing of this one"


class TestParts:
    """Two cameras whose parts one model hosts."""

    GATE, YARD = Target("motion", "gate"), Target("motion", "yard")

    @pytest.fixture
    def parts(self) -> Site:
        return Site(targets=(self.GATE, self.YARD), repair=True)

    @pytest.mark.parametrize("trouble", sorted(OF_A_PART))
    def test_a_parts_trouble_leaves_the_other_part_alone(self, parts: Site, trouble: Trouble) -> None:
        parts.fail(self.GATE, trouble, "no gate")
        assert parts.states == [State.PAUSED, State.UP]
        assert parts.outages.state(self.GATE.whole, parts.now) is State.UP
        parts.score(self.YARD)
        assert parts.said == ["gate: no gate"]
        parts.score(self.GATE)
        assert parts.said == ["gate: no gate", "gate is there"]

    @pytest.mark.parametrize("trouble", [Trouble.NOT_READY, Trouble.STUB_DIED, Trouble.SILENT])
    def test_the_models_trouble_holds_up_both_and_ends_for_both(self, parts: Site, trouble: Trouble) -> None:
        parts.fail(self.GATE, trouble, "no model")
        assert parts.states == [State.PAUSED, State.PAUSED]
        parts.fail(self.YARD, trouble, "no model")
        parts.score(self.YARD)
        assert parts.states == [State.UP, State.UP]
        assert parts.said == ["no model", "recovered"]

    def test_a_model_that_answers_that_a_part_is_missing_is_there_for_the_others(self, parts: Site) -> None:
        parts.fail(self.YARD, Trouble.STUB_DIED, "no model")
        parts.fail(self.GATE, Trouble.PART, "no gate")
        assert parts.states == [State.PAUSED, State.UP]
        assert parts.said == ["no model", "recovered", "gate: no gate"], "the scorer is there, with or without the part"

    def test_a_part_that_is_missing_may_miss_its_model_and_the_server_too(self, parts: Site) -> None:
        parts.fail(self.GATE, Trouble.PART, "no gate")
        parts.fail(self.YARD, Trouble.NOT_READY, "no model")
        parts.fail(self.YARD, Trouble.UNREACHABLE, "no server")
        assert parts.states == [State.PAUSED, State.PAUSED]
        parts.score(self.YARD)
        assert parts.states == [State.UP, State.UP], "the part is asked for again"
        parts.score(self.GATE)
        assert parts.said == ["gate: no gate", "no model", "no server", "recovered", "gate is there"]

    def test_deaths_are_those_of_the_model(self, parts: Site) -> None:
        for target in (self.GATE, self.YARD, self.GATE):
            parts.fail(target, Trouble.STUB_DIED, "it has died")
        assert parts.outages.repair_of(self.YARD).is_due
        parts.outages.repair_of(self.GATE).begin()
        assert parts.states == [State.REPAIRING, State.REPAIRING]
