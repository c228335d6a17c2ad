"""Likeness for alerts: in time, late or missing; order and numbers of the events; features of another detector."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.alerting import AlertState, AlertTransition
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.added_likeness import AddedLikeness
from pipeline.alerts.enrich import Enricher, Outcome
from pipeline.alerts.event import AlertEvent, event_from
from pipeline.alerts.history import AlertHistory
from pipeline.alerts.likeness import MutedBecause, embedding_from
from pipeline.alerts.place import Place
from pipeline.alerts.recent_features import Floats, Moment, RecentFeatures
from pipeline.scoring.embedding import Embedded
from tests.support.alike_alerts import VERSION, alike, at, begin, judged

HOLD = 0.125  # exact in binary, as the clock of these tests
OTHER_VERSION = "alike-courtyard/other"


class Rig:
    """An enricher over a real memory, with a clock and an embedding model that answers when the test says so."""

    def __init__(self, *, recent: RecentFeatures | None = None) -> None:
        self.now = 100.0
        self.history: AlertHistory | None = AlertHistory(None, site="yard", embedding_version=VERSION, similarity=0.9)
        self.recent = recent or RecentFeatures()
        self.asked: list[tuple[Floats, Callable[[Embedded | None], None]]] = []
        self.outcomes: list[Outcome] = []
        likeness = AddedLikeness(
            lambda: self.history,
            lambda features, answer: self.asked.append((features, answer)),
            self.recent,
            on_outcome=self.outcomes.append,
        )
        self.enricher = Enricher([likeness], hold_seconds=HOLD, clock=lambda: self.now)

    def saw(self, start: float, degrees: float, *, segment: str = "segment") -> None:
        """The clip from ``start`` on is scored; its features are its embedding."""
        self.recent.add(Moment(segment, start, start + 1.0), at(degrees))

    def answer(self, *, version: str = VERSION, fails: bool = False) -> None:
        """Answer the oldest question."""
        features, callback = self.asked.pop(0)
        callback(None if fails else Embedded(features, version))

    def later(self, seconds: float) -> list[AlertEvent]:
        self.now += seconds
        return self.enricher.ready()


def event(state: AlertState, sequence: int, *, first: float = 0.0, peak: float | None = None) -> AlertEvent:
    """An event of the alert that began with the clip at ``first``, with the clip at ``peak`` as its peak."""
    nothing = ClipTimes(None, None, None, None)

    def clip(start: float) -> ClipScore:
        return ClipScore("gate", "segment", int(start), start, start + 1.0, 0.75, "m", "1", nothing)

    smoothed = SmoothedScore(clip(first if peak is None else peak), 0.75)
    reason = "below_threshold" if state is AlertState.END else None
    step = AlertTransition(
        state, "gate", "segment", sequence, clip(first), smoothed.clip, smoothed, 0.6, (smoothed,), reason
    )
    return event_from(step, site="yard", run="", evidence=[])


BEGIN, UPDATE, END = AlertState.BEGIN, AlertState.UPDATE, AlertState.END


def test_an_alert_waits_for_its_likeness_and_goes_out_with_it() -> None:
    rig = Rig()
    rig.saw(0.0, 30.0)
    assert rig.enricher.take([event(BEGIN, 0)]) == []
    assert rig.enricher.is_holding
    rig.answer()
    (went,) = rig.enricher.ready()
    assert went.data.likeness is not None
    assert embedding_from(went.data.likeness.embedding) == pytest.approx(at(30.0), abs=1e-3)
    assert (went.data.sequence, went.data.muted) == (0, False)
    assert rig.outcomes == [Outcome.IN_TIME]
    assert not rig.enricher.is_holding
    assert not rig.enricher.is_late


def test_after_the_hold_it_goes_without_and_an_update_follows() -> None:
    rig = Rig()
    rig.saw(0.0, 30.0)
    rig.enricher.take([event(BEGIN, 0)])
    assert rig.later(HOLD - 0.0625) == []
    (went,) = rig.later(0.0625)
    assert went == event(BEGIN, 0), "an event without likeness is the one that went in"
    assert rig.enricher.is_late
    assert rig.later(60.0) == []
    rig.answer()
    (update,) = rig.enricher.ready()
    assert (update.data.state, update.data.sequence, update.type) == (UPDATE, 1, "mistwatch.alert.update")
    assert update.id == f"{went.data.alert_id}/1"
    assert update.data.scores == ()
    assert update.data.likeness is not None
    assert rig.outcomes == [Outcome.LATE]
    # Later events of the alert are numbered on; the same peak needs no further answer.
    assert [one.data.sequence for one in rig.enricher.take([event(UPDATE, 1), event(END, 2)])] == [2, 3]
    assert rig.outcomes == [Outcome.LATE]


def test_an_answer_after_the_end_adds_nothing() -> None:
    rig = Rig()
    rig.saw(0.0, 30.0)
    rig.enricher.take([event(BEGIN, 0), event(END, 1)])
    assert [one.data.likeness for one in rig.later(HOLD)] == [None, None]
    assert rig.outcomes == [Outcome.MISSING]
    rig.answer()
    assert rig.enricher.ready() == []
    assert not rig.enricher.is_late


def test_an_end_without_a_begin_in_time_carries_what_is_known_by_then() -> None:
    rig = Rig()
    rig.saw(0.0, 30.0)
    rig.enricher.take([event(BEGIN, 0)])
    rig.later(HOLD)
    rig.answer()
    went = rig.enricher.take([event(END, 1)])
    assert [(one.data.state, one.data.likeness is None) for one in went] == [(END, False)]
    assert rig.outcomes == [Outcome.LATE]


@pytest.mark.parametrize("trouble", ["no embedding", "another version", "no memory"])
def test_an_alert_without_an_embedding_goes_out_at_once(trouble: str) -> None:
    rig = Rig()
    rig.saw(0.0, 30.0)
    rig.enricher.take([event(BEGIN, 0)])
    if trouble == "no memory":
        rig.history = None
    rig.answer(version=OTHER_VERSION if trouble == "another version" else VERSION, fails=trouble == "no embedding")
    assert rig.enricher.ready() == [event(BEGIN, 0)]
    assert rig.enricher.take([event(END, 1)]) == [event(END, 1)]
    assert rig.outcomes == [Outcome.MISSING]


def test_a_model_that_was_away_is_asked_again_while_the_alert_is_open() -> None:
    rig = Rig()
    rig.saw(0.0, 30.0)
    rig.enricher.take([event(BEGIN, 0)])
    rig.answer(fails=True)
    assert rig.enricher.ready() == [event(BEGIN, 0)]
    assert rig.later(1.0) == []
    assert rig.asked == [], "not at once"
    rig.later(1.5)
    rig.answer(fails=True)
    rig.enricher.ready()
    rig.later(2.5)
    rig.answer()
    (update,) = rig.enricher.ready()
    assert update.data.likeness is not None
    assert rig.outcomes == [Outcome.LATE]
    assert not rig.enricher.is_late


def test_an_embedding_that_came_for_an_earlier_peak_serves_where_the_later_has_none() -> None:
    rig = Rig()
    rig.saw(0.0, 30.0)
    rig.saw(4.0, 80.0)
    rig.enricher.take([event(BEGIN, 0)])
    rig.later(HOLD)  # the begin goes without
    rig.enricher.take([event(UPDATE, 1, peak=4.0)])
    rig.answer()  # of the first peak
    rig.answer(fails=True)  # of the second
    (went,) = rig.enricher.ready()
    assert went.data.likeness is not None
    assert embedding_from(went.data.likeness.embedding) == pytest.approx(at(30.0), abs=1e-3)
    assert rig.outcomes == [Outcome.LATE]


def test_a_memory_that_fails_costs_the_likeness_and_not_the_alert() -> None:
    rig = Rig()
    assert rig.history is not None
    rig.history.take(alike(begin(0.0), at(0.0, dimensions=3)))  # embeddings of this version have three values
    rig.saw(0.0, 30.0)
    rig.enricher.take([event(BEGIN, 0), event(END, 1)])
    rig.answer()
    assert rig.enricher.ready() == [event(BEGIN, 0), event(END, 1)]


def test_a_moment_that_no_clip_will_describe_is_not_waited_for() -> None:
    rig = Rig()
    rig.saw(5.0, 30.0)  # the clip of the peak was dropped, and the detector is past it
    assert rig.enricher.take([event(BEGIN, 0), event(END, 1)]) == [event(BEGIN, 0), event(END, 1)]
    assert rig.outcomes == [Outcome.MISSING]
    kept = RecentFeatures(kept=2)
    late = Rig(recent=kept)
    for start in (0.0, 5.0, 6.0, 7.0):
        late.saw(start, 30.0)
    assert late.enricher.take([event(BEGIN, 0)]) == [event(BEGIN, 0)], "its clip is not kept any more"


def test_after_the_last_clip_what_is_there_serves() -> None:
    rig = Rig()
    rig.saw(-0.4, 10.0)
    assert rig.enricher.take([event(BEGIN, 0)]) == []
    rig.enricher.finish([event(END, 1)], at_once=False)
    rig.answer()
    assert [one.data.likeness is None for one in rig.enricher.ready()] == [False, False]


def test_features_of_two_versions_are_not_mixed() -> None:
    recent = RecentFeatures()
    recent.add(Moment("s", 0.0, 1.0), np.ones(3, np.float32), "courtyard/1")
    recent.add(Moment("s", 0.5, 1.5), np.ones(4, np.float32), "courtyard/2")
    assert recent.at(Moment("s", 0.5, 1.5)) == pytest.approx(np.ones(4))


def test_a_new_peak_has_an_embedding_of_its_own_and_until_then_the_earlier_one() -> None:
    rig = Rig()
    rig.saw(0.0, 30.0)
    rig.saw(4.0, 80.0)
    rig.enricher.take([event(BEGIN, 0)])
    rig.answer()
    rig.enricher.ready()
    assert rig.enricher.take([event(UPDATE, 1, peak=4.0)]) == []
    (went,) = rig.later(HOLD)
    assert went.data.likeness is not None
    assert embedding_from(went.data.likeness.embedding) == pytest.approx(at(30.0), abs=1e-3)
    rig.answer()
    (update,) = rig.enricher.ready()
    assert update.data.likeness is not None
    assert embedding_from(update.data.likeness.embedding) == pytest.approx(at(80.0), abs=1e-3)
    assert rig.outcomes == [Outcome.IN_TIME]


def test_a_judgement_mutes_later_alerts_that_are_alike() -> None:
    rig = Rig()
    assert rig.history is not None
    rig.history.take(judged(begin(0.0).data.alert_id, "normal", at(30.0), similarity=0.9, note="the gardener"))
    for first, degrees in ((0.0, 35.0), (10.0, 120.0)):
        rig.saw(first, degrees)
    rig.enricher.take([event(BEGIN, 0), event(END, 1), event(BEGIN, 0, first=10.0)])
    rig.answer()
    rig.answer()
    went = rig.enricher.ready()
    assert [one.data.muted for one in went] == [True, True, False]
    assert went[0].data.muted_because is not None
    assert went[0].data.muted_because.note == "the gardener"


def test_features_of_another_detector_describe_the_moment_of_the_peak() -> None:
    rig = Rig()
    rig.saw(-0.4, 10.0)
    assert rig.enricher.take([event(BEGIN, 0)]) == []
    assert rig.asked == [], "the other detector has not seen the whole moment yet"
    rig.saw(0.2, 50.0)
    rig.enricher.ready()
    ((features, _),) = rig.asked
    assert np.array_equal(features, at(50.0)), "it shares .8 s with the peak, the other clip .6 s"


def test_the_clip_before_counts_where_it_shares_half() -> None:
    recent = RecentFeatures()
    for start, value in ((0.0, 1.0), (0.5, 3.0), (1.0, 7.0), (1.75, 20.0)):
        recent.add(Moment("s", start, start + 1.0), np.array([value], np.float32))
    assert recent.at(Moment("s", 1.0, 2.0)) == np.float32(5.0)
    assert recent.at(Moment("s", 0.0, 1.0)) == np.float32(1.0), "there is none before"
    assert recent.at(Moment("s", 1.75, 2.75)) == np.float32(20.0), "the one before shares a quarter"
    assert recent.at(Moment("s", 1.1, 1.6)) == np.float32(5.0), "a shorter moment within the third clip"
    assert recent.at(Moment("s", 2.0, 3.0)) is None, "no clip ends there yet"


def test_features_of_another_segment_are_never_taken() -> None:
    rig = Rig()
    rig.saw(0.0, 10.0, segment="before")
    rig.enricher.take([event(BEGIN, 0)])
    assert rig.asked == []


def test_the_last_events_of_a_recording_wait_and_those_of_a_stop_do_not() -> None:
    rig = Rig()
    rig.saw(0.0, 30.0)
    assert [one.data.state for one in rig.enricher.finish([event(BEGIN, 0), event(END, 1)], at_once=True)] == [
        BEGIN,
        END,
    ]
    answered = Rig()
    answered.saw(0.0, 30.0)
    answered.enricher.take([event(BEGIN, 0)])
    answered.answer()
    last = answered.enricher.finish([event(END, 1)], at_once=False)
    assert [one.data.likeness is None for one in last] == [False, False]
    waiting = Rig()
    waiting.saw(0.0, 30.0)
    assert waiting.enricher.finish([event(BEGIN, 0), event(END, 1)], at_once=False) == []
    assert waiting.enricher.is_holding, "the caller looks again, and goes on with other cameras meanwhile"
    waiting.answer()
    assert len(waiting.enricher.ready()) == 2


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
    st.lists(st.sampled_from(["answer", "fail", "wait", "nothing"]), min_size=20, max_size=20),
)
def test_whatever_the_answers_do_every_event_goes_out_once_and_numbers_count_on(
    updates: list[int], steps: list[str]
) -> None:
    rig = Rig()
    given: list[AlertEvent] = []
    for number, count in enumerate(updates):
        first = 100.0 * number
        given.append(event(BEGIN, 0, first=first))
        given += [event(UPDATE, k, first=first, peak=first + k) for k in range(1, count)]
        given.append(event(END, count, first=first, peak=first + count - 1))
        for k in range(count):
            rig.saw(first + k, 30.0 * number + k)
    went: list[AlertEvent] = []
    waiting = iter(steps)
    for one in given:
        went += rig.enricher.take([one])
        match next(waiting, "nothing"):
            case "answer" if rig.asked:
                rig.answer()
            case "fail" if rig.asked:
                rig.answer(fails=True)
            case "wait":
                rig.now += HOLD
        went += rig.enricher.ready()
    went += rig.enricher.finish([], at_once=True)
    added = [one for one in went if not one.data.scores]
    rest = [one for one in went if one.data.scores]
    assert [(one.data.alert_id, one.data.state, one.data.scores) for one in rest] == [
        (one.data.alert_id, one.data.state, one.data.scores) for one in given
    ]
    assert all(one.data.state is UPDATE and one.data.likeness is not None for one in added)
    for alert in {one.data.alert_id for one in given}:
        numbers = [one.data.sequence for one in went if one.data.alert_id == alert]
        assert numbers == list(range(len(numbers)))
        first, *_, last = (one for one in went if one.data.alert_id == alert)
        assert (first.data.state, last.data.state) == (BEGIN, END)
    for one in went:
        assert AlertEvent.model_validate_json(one.to_json()) == one, "ids, types and numbers agree"
    assert len(rig.outcomes) == len(updates)
    assert all(a.data.alert_id == b.data.alert_id or b.data.sequence == 0 for a, b in pairwise(went))


class Placed:
    """A second addition: where the alert is, in an answer that the test gives."""

    what = "place"

    def __init__(self) -> None:
        self.asked: dict[Moment, Callable[[str | None], None]] = {}
        self.gone: set[Moment] = set()
        self.outcomes: list[Outcome] = []

    def ask(self, moment: Moment, answer: Callable[[str | None], None], *, final: bool) -> bool:
        self.asked[moment] = answer
        return True

    def value(self, event: AlertEvent, answer: str) -> Place:
        return Place(version="places/1", place=(answer,), object=None)

    def added(self, event: AlertEvent, value: Place) -> AlertEvent:
        return event.placed(value)

    def stated(self, value: Place) -> Any:
        return value.model_dump(mode="json")

    def restored(self, found: Any) -> Place:
        return Place.model_validate(found)

    def forget(self, moments: Iterable[Moment]) -> None:
        self.gone |= set(moments)

    def on_outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def both(rig: Rig) -> Placed:
    """Give the rig's enricher a second addition."""
    placed = Placed()
    likeness = rig.enricher._additions[0]
    rig.enricher = Enricher([likeness, placed], hold_seconds=HOLD, clock=lambda: rig.now)
    return placed


def test_an_event_waits_for_each_of_its_additions_and_an_update_brings_what_came_late() -> None:
    rig = Rig()
    placed = both(rig)
    rig.saw(0.0, 30.0)
    assert rig.enricher.take([event(BEGIN, 0)]) == []
    rig.answer()
    assert rig.enricher.ready() == [], "its place is not known yet"
    (went,) = rig.later(HOLD)
    assert (went.data.likeness is None, went.data.place) == (False, None)
    assert (rig.outcomes, placed.outcomes) == ([Outcome.IN_TIME], [])
    assert rig.enricher.is_late
    placed.asked[Moment("segment", 0.0, 1.0)]("walkway")
    (update,) = rig.enricher.ready()
    assert update.data.place is not None
    assert (update.data.place.place, update.data.likeness, update.data.sequence) == (
        ("walkway",),
        went.data.likeness,
        1,
    )
    assert placed.outcomes == [Outcome.LATE]
    assert not rig.enricher.is_late
    (ended,) = rig.enricher.take([event(END, 1)])
    assert (ended.data.sequence, ended.data.place, ended.data.likeness) == (
        2,
        update.data.place,
        update.data.likeness,
    )
    assert placed.gone == {Moment("segment", 0.0, 1.0)}


def test_two_answers_that_come_late_one_after_the_other_bring_an_update_each() -> None:
    rig = Rig()
    placed = both(rig)
    rig.saw(0.0, 30.0)
    rig.enricher.take([event(BEGIN, 0)])
    went = rig.later(HOLD)
    placed.asked[Moment("segment", 0.0, 1.0)]("walkway")
    went += rig.enricher.ready()
    rig.answer()
    went += rig.enricher.ready()
    went += rig.enricher.take([event(END, 1)])
    assert [one.data.sequence for one in went] == [0, 1, 2, 3]
    assert [(one.data.place is not None, one.data.likeness is not None) for one in went] == [
        (False, False),
        (True, False),
        (True, True),
        (True, True),
    ]
    assert (rig.outcomes, placed.outcomes) == ([Outcome.LATE], [Outcome.LATE])


def test_without_an_answer_about_one_addition_the_other_goes_out() -> None:
    rig = Rig()
    placed = both(rig)  # and no features: the likeness waits for a clip that never comes
    rig.enricher.take([event(BEGIN, 0)])
    placed.asked[Moment("segment", 0.0, 1.0)]("walkway")
    (went,) = rig.later(HOLD)
    assert (went.data.likeness, went.data.place is not None) == (None, True)
    assert [one.data.state for one in rig.enricher.finish([event(END, 1)], at_once=True)] == [END]
    assert (rig.outcomes, placed.outcomes) == ([Outcome.MISSING], [Outcome.IN_TIME])


def test_another_worker_continues_an_alert_with_its_additions_until_there_are_newer_ones() -> None:
    rig = Rig()
    placed = both(rig)
    rig.saw(0.0, 30.0)
    rig.enricher.take([event(BEGIN, 0)])
    placed.asked[Moment("segment", 0.0, 1.0)]("walkway")
    rig.answer()
    (went,) = rig.enricher.ready()
    assert went.data.likeness is not None
    assert went.data.place is not None
    stated = json.loads(json.dumps(rig.enricher.stated))

    next_rig = Rig()
    next_placed = Placed()
    next_rig.enricher = Enricher(
        [next_rig.enricher._additions[0], next_placed], hold_seconds=HOLD, stated=stated, clock=lambda: next_rig.now
    )
    next_rig.enricher.take([event(UPDATE, 1)])
    (update,) = next_rig.later(HOLD)
    assert (update.data.likeness, update.data.place) == (went.data.likeness, went.data.place)
    assert next_placed.outcomes == [], "the begin was another worker's"
    next_rig.enricher.take([event(UPDATE, 2, peak=4.0)])
    next_placed.asked[Moment("segment", 4.0, 5.0)]("grass")
    (newer,) = next_rig.later(HOLD)
    assert newer.data.place is not None
    assert (newer.data.place.place, newer.data.likeness) == (("grass",), went.data.likeness)
    next_rig.enricher.take([event(END, 3, peak=4.0)])
    next_rig.later(HOLD)
    assert next_rig.enricher.stated == {}
    next_rig.enricher.take([event(BEGIN, 0, first=20.0)])
    (begin,) = next_rig.later(HOLD)
    assert (begin.data.likeness, begin.data.place) == (None, None), "another alert"


def test_additions_of_another_version_are_left_out() -> None:
    rig = Rig()
    likeness = rig.enricher._additions[0]
    stated = {"likeness": [{"embedding": 7}, None], "place": "walkway", "colour": "red"}
    rig.enricher = Enricher([likeness, Placed()], hold_seconds=HOLD, stated=stated, clock=lambda: rig.now)
    assert rig.enricher.stated == {}
    rig.enricher.take([event(UPDATE, 1)])
    (update,) = rig.later(HOLD)
    assert (update.data.likeness, update.data.place) == (None, None)


def test_a_muted_alert_stays_muted_with_the_next_worker() -> None:
    nothing: Any = None
    added = AddedLikeness(nothing, nothing, nothing)
    rig = Rig()
    rig.saw(0.0, 30.0)
    rig.enricher.take([event(BEGIN, 0)])
    rig.answer()
    (went,) = rig.enricher.ready()
    because = MutedBecause(judgement=uuid4(), similarity=0.9, note="the postman")
    assert went.data.likeness is not None
    muted = (went.data.likeness, because)
    restored = added.restored(json.loads(json.dumps(added.stated(muted))))
    assert restored == muted
    assert added.added(event(UPDATE, 1), restored).data.muted
