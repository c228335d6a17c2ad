"""The figures of alerts against cases worked out by hand, direct counts second by second, and exhaustive matching."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.figures import events
from operators.figures.events import Interval, Match, Outcome, ScoreSheet, Span, bootstrap, match, score, total

LENGTH = 40  # seconds of the drawn watches; small, so that spans meet, touch and coincide often


def spans(longest: int, most: int) -> st.SearchStrategy[list[Span]]:
    """Spans at whole seconds, some of them across the ends of the watch, in any order."""
    starts = st.integers(-5, LENGTH + 5)
    return st.lists(st.builds(lambda at, long: Span(at, at + long), starts, st.integers(0, longest)), max_size=most)


def may_pair(incident: Span, alert: Span, tolerance: float) -> bool:
    return incident.start <= alert.start <= incident.end + tolerance


def most_pairs(incidents: Sequence[Span], alerts: Sequence[Span], tolerance: float) -> int:
    """By trying everything: each alert takes any incident that is left, or none."""

    @cache
    def best(alert: int, left: frozenset[int]) -> int:
        if alert == len(alerts):
            return 0
        taken = [1 + best(alert + 1, left - {i}) for i in left if may_pair(incidents[i], alerts[alert], tolerance)]
        return max([best(alert + 1, left), *taken])

    return best(0, frozenset(range(len(incidents))))


class TestMatch:
    @pytest.mark.parametrize(
        ("opened", "finds"),
        [(9.99, False), (10, True), (12, True), (15, True), (17, True), (17.01, False)],
        ids=["before it began", "at its first frame", "during it", "at its end", "at the tolerance", "too late"],
    )
    def test_when_an_alert_finds_an_incident(self, opened: float, finds: bool) -> None:
        assert match([Span(10, 15)], [Span(opened, 60)]) == ((Match(0, 0),) if finds else ())

    def test_an_alert_over_three_incidents_finds_one(self) -> None:
        assert match([Span(10, 15), Span(20, 25), Span(30, 35)], [Span(11, 40)]) == (Match(0, 0),)

    def test_an_alert_that_was_open_before_finds_none_of_them(self) -> None:
        assert match([Span(10, 15), Span(20, 25), Span(30, 35)], [Span(9, 40)]) == ()

    def test_the_first_of_several_alerts_found_the_incident(self) -> None:
        assert match([Span(10, 20)], [Span(16, 17), Span(11, 12), Span(18, 19)]) == (Match(0, 1),)

    def test_of_two_incidents_the_one_that_ends_first_is_found(self) -> None:
        assert match([Span(16, 20), Span(10, 15)], [Span(16.5, 18)]) == (Match(1, 0),)

    def test_that_one_alert_is_claimed_twice_costs_no_pair(self) -> None:
        # The alert at 12 could be of either; only it can be of the short one.
        assert match([Span(10, 20), Span(11, 12)], [Span(12, 13), Span(15, 16)], 0) == (Match(1, 0), Match(0, 1))

    @given(incidents=spans(12, 6), alerts=spans(5, 6), tolerance=st.integers(0, 3))
    def test_as_many_pairs_as_trying_everything_finds(
        self, incidents: list[Span], alerts: list[Span], tolerance: int
    ) -> None:
        pairs = match(incidents, alerts, tolerance)
        assert len({pair.incident for pair in pairs}) == len({pair.alert for pair in pairs}) == len(pairs)
        assert all(may_pair(incidents[i], alerts[a], tolerance) for i, a in pairs)
        assert len(pairs) == most_pairs(incidents, alerts, tolerance)

    @given(incidents=spans(12, 6), alerts=spans(5, 6), data=st.data())
    def test_the_order_of_the_arguments_changes_nothing(
        self, incidents: list[Span], alerts: list[Span], data: st.DataObject
    ) -> None:
        def paired(incidents: list[Span], alerts: list[Span]) -> list[tuple[Span, Span]]:
            return [(incidents[i], alerts[a]) for i, a in match(incidents, alerts)]

        # alerts that open together differ in nothing that a match looks at
        alerts = list({alert.start: alert for alert in alerts}.values())
        shuffled = data.draw(st.permutations(incidents)), data.draw(st.permutations(alerts))
        assert paired(*shuffled) == paired(incidents, alerts)

    @pytest.mark.parametrize("tolerance", [-1, math.inf, math.nan])
    def test_an_impossible_tolerance_is_refused(self, tolerance: float) -> None:
        with pytest.raises(ValueError, match="tolerance must be a number of seconds of at least 0, got"):
            match([], [], tolerance)


class TestScore:
    def test_a_minute_worked_out_by_hand(self) -> None:
        sheet = score(
            incidents=[Span(10, 15), Span(30, 35), Span(50, 52)],
            alerts=[
                Span(12, 20),  # finds the first; 17 to 20 is outside
                Span(24, 27),  # about nothing, all outside
                Span(28.5, 40),  # too early for the second; 37 to 40 is outside
                Span(51, 53),  # finds the third
            ],
            watched=Span(0, 60),
            kinds=["fall", "runner", "fall"],
        )
        assert sheet.outcomes == (Outcome("fall", 2), Outcome("runner", None), Outcome("fall", 1))
        assert (sheet.incidents, sheet.found, sheet.alerts, sheet.false_alarms) == (3, 2, 4, 2)
        assert sheet.recall == pytest.approx(2 / 3)
        assert sheet.precision == 0.5
        assert sheet.false_alarms_per_camera_hour == 120  # two in a minute
        assert sheet.time_outside == 60 - 9 - 9 - 6
        assert sheet.time_in_alert_outside == 3 + 3 + 3
        assert sheet.share_in_alert_outside == 9 / 36
        assert sheet.delays == (2, 1)

    @given(
        incidents=spans(8, 6),
        alerts=spans(15, 6),
        begin=st.integers(0, 15),
        end=st.integers(20, LENGTH),
        margin=st.integers(0, 3),
        tolerance=st.integers(0, 3),
    )
    def test_counts_and_times_are_those_of_counting(
        self, incidents: list[Span], alerts: list[Span], begin: int, end: int, margin: int, tolerance: int
    ) -> None:
        sheet = score(incidents, alerts, Span(begin, end), margin=margin, tolerance=tolerance)
        shown = [span for span in incidents if span.start < end and span.end > begin]
        opened = [span for span in alerts if begin <= span.start <= end]
        found = most_pairs(shown, opened, tolerance)
        assert (sheet.incidents, sheet.found) == (len(shown), found)
        assert (sheet.alerts, sheet.false_alarms) == (len(opened), len(opened) - found)

        def within(second: int, some: Sequence[Span], wider: int = 0) -> bool:
            return any(span.start - wider <= second and second + 1 <= span.end + wider for span in some)

        # All ends are whole seconds, so each second lies in a span as a whole or not at all.
        outside = [second for second in range(begin, end) if not within(second, incidents, margin)]
        assert sheet.camera_seconds == end - begin
        assert sheet.time_outside == len(outside)
        assert sheet.time_in_alert_outside == sum(within(second, alerts) for second in outside)

    @given(incidents=spans(8, 6), alerts=spans(15, 6), tolerance=st.integers(0, 3))
    def test_every_delay_is_one_of_a_possible_pair(
        self, incidents: list[Span], alerts: list[Span], tolerance: int
    ) -> None:
        kinds = [str(place) for place in range(len(incidents))]
        sheet = score(incidents, alerts, Span(-10, LENGTH + 30), kinds=kinds, tolerance=tolerance)
        for outcome in sheet.outcomes:
            if outcome.delay is not None:
                incident = incidents[int(outcome.kind)]
                assert incident.start + outcome.delay in {alert.start for alert in alerts}
                assert 0 <= outcome.delay <= incident.seconds + tolerance

    @given(incidents=spans(8, 6), began=st.integers(-20, 0))
    def test_an_alert_that_is_always_on_scores_nothing(self, incidents: list[Span], began: int) -> None:
        incidents = [Span(span.start + 6, span.end + 6) for span in incidents]  # from second 1 on
        sheet = score(incidents, [Span(began, math.inf)], Span(0, 100))
        assert sheet.found == 0
        assert sheet.precision in (0, None)  # None: not even the alert's beginning was watched
        assert sheet.share_in_alert_outside == 1

    @given(incidents=spans(8, 6))
    def test_perfect_alerts_have_perfect_figures(self, incidents: list[Span]) -> None:
        watched = Span(-10, LENGTH + 30)
        sheet = score(incidents, incidents, watched)
        assert (sheet.found, sheet.false_alarms, sheet.time_in_alert_outside) == (len(incidents), 0, 0)

    @given(incidents=spans(8, 6), alerts=spans(15, 6), cut=st.integers(1, LENGTH - 1))
    def test_the_times_of_two_halves_are_those_of_the_whole(
        self, incidents: list[Span], alerts: list[Span], cut: int
    ) -> None:
        whole = score(incidents, alerts, Span(0, LENGTH))
        halves = score(incidents, alerts, Span(0, cut)) + score(incidents, alerts, Span(cut, LENGTH))
        assert halves.camera_seconds == whole.camera_seconds
        assert halves.time_outside == whole.time_outside
        assert halves.time_in_alert_outside == whole.time_in_alert_outside

    def test_an_incident_across_the_watchs_beginning_is_first_seen_there(self) -> None:
        sheet = score([Span(-5, 4)], [Span(1, 3)], Span(0, 60))
        assert sheet.delays == (1,)

    def test_what_was_not_watched_does_not_count(self) -> None:
        sheet = score([Span(-9, 0), Span(60, 70)], [Span(-8, -1), Span(61, 65)], Span(0, 60))
        assert (sheet.incidents, sheet.alerts, sheet.time_in_alert_outside) == (0, 0, 0)
        assert sheet.time_outside == 56  # the margins of both reach in

    def test_an_alert_that_was_open_before_the_watch_is_time_but_no_alert(self) -> None:
        sheet = score([Span(10, 15)], [Span(-1, 4)], Span(0, 60))
        assert (sheet.alerts, sheet.false_alarms, sheet.time_in_alert_outside) == (0, 0, 4)

    def test_the_caller_may_count_the_delay(self) -> None:
        incidents = [Span(-20, -10), Span(10, 15), Span(30, 35)]
        alerts = [Span(-19, -12), Span(31, 32), Span(40, 41), Span(11, 12)]
        asked = []

        def delay(pair: Match) -> float:
            asked.append(pair)
            return 100.0 * pair.incident + pair.alert

        sheet = score(incidents, alerts, Span(0, 60), kinds=["cart", "fall", "runner"], delay=delay)
        assert sorted(asked) == [Match(1, 3), Match(2, 1)]  # places in what was given, not in what was watched
        assert sheet.outcomes == (Outcome("fall", 103), Outcome("runner", 201))

    def test_nothing_at_all_has_no_figures(self) -> None:
        for sheet in (ScoreSheet(), score([], [], Span(5, 5))):
            assert {name: figure(sheet) for name, figure in events.FIGURES.items()} == dict.fromkeys(events.FIGURES)
            assert sheet.by_kind() == {}

    def test_a_quiet_watch_without_incidents(self) -> None:
        sheet = score([], [], Span(0, 60))
        assert (sheet.recall, sheet.precision, sheet.median_delay, sheet.p95_delay) == (None, None, None, None)
        assert (sheet.false_alarms_per_camera_hour, sheet.share_in_alert_outside) == (0, 0)

    def test_incidents_all_the_time_leave_no_time_without(self) -> None:
        sheet = score([Span(2, 30), Span(33, 58)], [Span(3, 50)], Span(0, 60))
        assert (sheet.time_outside, sheet.share_in_alert_outside) == (0, None)

    def test_a_watch_without_end_is_refused(self) -> None:
        with pytest.raises(ValueError, match="watched must end"):
            score([], [], Span(0, math.inf))

    def test_kinds_are_one_for_each_incident(self) -> None:
        with pytest.raises(ValueError, match="expected one kind for each of 2 incidents, got 1"):
            score([Span(1, 2), Span(3, 4)], [], Span(0, 60), kinds=["fall"])

    def test_a_negative_margin_is_refused(self) -> None:
        with pytest.raises(ValueError, match="margin must be a number of seconds of at least 0, got -1"):
            score([], [], Span(0, 60), margin=-1)

    @pytest.mark.parametrize(("start", "end"), [(2, 1), (math.nan, 1), (1, math.nan), (-math.inf, 1)])
    def test_a_span_that_is_none_is_refused(self, start: float, end: float) -> None:
        with pytest.raises(ValueError, match="a span must start at a finite time and not after its end"):
            Span(start, end)


class TestScoreSheet:
    def test_a_sum_pools_and_does_not_average(self) -> None:
        busy = score([Span(s, s + 1) for s in range(0, 900, 100)], [Span(0, 1)], Span(0, 1000))  # 1 of 9
        calm = score([Span(10, 11)], [Span(10, 11), Span(50, 51), Span(80, 81)], Span(0, 100))  # 1 of 1
        both = busy + calm
        assert both.recall == 2 / 10
        assert both.precision == 2 / 4
        assert both.false_alarms_per_camera_hour == pytest.approx(2 / 1100 * 3600)
        assert both.delays == (0, 0)

    @given(incidents=spans(8, 4), alerts=spans(15, 4), more=spans(8, 4))
    def test_every_count_and_time_adds_up(self, incidents: list[Span], alerts: list[Span], more: list[Span]) -> None:
        one, other = score(incidents, alerts, Span(0, LENGTH)), score(more, alerts, Span(0, LENGTH))
        names = [field.name for field in fields(ScoreSheet)]
        assert {name: getattr(one + other, name) for name in names} == {
            name: getattr(one, name) + getattr(other, name) for name in names
        }
        assert sum([one, other], ScoreSheet()) == total([one, other]) == one + other
        assert total([]) == ScoreSheet()

    def test_by_kind(self) -> None:
        incidents = [Span(10, 15), Span(30, 35), Span(50, 55), Span(70, 75)]
        sheet = score(incidents, [Span(11, 12), Span(53, 54)], Span(0, 80), kinds=["fall", "cart", "fall", "fall"])
        kinds = sheet.by_kind()
        assert list(kinds) == ["cart", "fall"]
        assert (kinds["cart"].incidents, kinds["cart"].found, kinds["cart"].recall) == (1, 0, 0)
        assert (kinds["fall"].incidents, kinds["fall"].found, kinds["fall"].median_delay) == (3, 2, 2)

    def test_median_and_95th_percentile(self) -> None:
        # 21 delays of 0 to 20 s: the 10th of 20 steps is the median, 95 % of 20 steps is the 19th
        sheet = ScoreSheet(outcomes=tuple(Outcome("", float(second)) for second in reversed(range(21))))
        assert (sheet.median_delay, sheet.p95_delay) == (10, 19)


def unit(found: int, missed: int, false: int = 0) -> ScoreSheet:
    """An hour of one camera."""
    outcomes = (Outcome("fall", 1.0),) * found + (Outcome("fall", None),) * missed
    return ScoreSheet(outcomes=outcomes, alerts=found + false, false_alarms=false, camera_seconds=3600.0)


class TestBootstrap:
    def test_units_that_are_all_alike_leave_no_doubt(self) -> None:
        intervals = bootstrap([unit(3, 1, false=2)] * 5, np.random.default_rng(0), draws=50)
        assert intervals["recall"] == Interval(0.75, 0.75)
        assert intervals["false_alarms_per_camera_hour"] == Interval(2, 2)

    def test_an_interval_is_that_of_the_binomial(self) -> None:
        # 100 units of one incident each, half of them found: the found of a draw are binomial, n = 100 and p = 1/2,
        # whose 2.5 % and 97.5 % quantiles are 40 and 60.
        units = [unit(1, 0)] * 50 + [unit(0, 1)] * 50
        interval = bootstrap(units, np.random.default_rng(1), draws=4000)["recall"]
        assert interval == (pytest.approx(0.40, abs=0.0101), pytest.approx(0.60, abs=0.0101))

    def test_a_wider_level_is_wider(self) -> None:
        units = [unit(1, 0)] * 20 + [unit(0, 1)] * 20
        narrow, wide = (
            bootstrap(units, np.random.default_rng(1), draws=500, level=level)["recall"] for level in (0.5, 0.99)
        )
        assert narrow is not None
        assert wide is not None
        assert wide.low < narrow.low < narrow.high < wide.high

    def test_whole_units_are_drawn(self) -> None:
        # Two scenes, each alike within itself: a draw holds both, or one of them twice.
        seen = set()

        def note(sheet: ScoreSheet) -> float | None:
            seen.add(sheet.found)
            return None

        bootstrap([unit(10, 0), unit(0, 10)], np.random.default_rng(0), figures={"": note}, draws=100)
        assert seen == {0, 10, 20}

    def test_draws_without_the_figure_are_left_out(self) -> None:
        intervals = bootstrap([unit(1, 0), unit(0, 1)], np.random.default_rng(0), draws=100)
        assert intervals["precision"] == Interval(1, 1)  # None where both draws were the unit without alerts
        assert intervals["share_in_alert_outside"] is None

    def test_the_same_chance_gives_the_same_intervals(self) -> None:
        units = [unit(1, 3), unit(2, 0, 4), unit(4, 4)]
        first, again = (bootstrap(units, np.random.default_rng(7), draws=100) for _ in range(2))
        assert first == again

    def test_other_figures_may_be_asked_for(self) -> None:
        falls = bootstrap(
            [unit(1, 1)] * 3, np.random.default_rng(0), figures={"falls": lambda s: s.by_kind()["fall"].recall}, draws=9
        )
        assert falls == {"falls": Interval(0.5, 0.5)}

    def test_impossible_arguments_are_refused(self) -> None:
        rng = np.random.default_rng(0)
        with pytest.raises(ValueError, match="at least one unit"):
            bootstrap([], rng)
        with pytest.raises(ValueError, match="draws must be a whole number of at least 1, got 0"):
            bootstrap([ScoreSheet()], rng, draws=0)
        with pytest.raises(ValueError, match="level must be a number above 0 and at most 1, got 95"):
            bootstrap([ScoreSheet()], rng, level=95)
