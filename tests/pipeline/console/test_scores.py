"""The history of scores, and what another threshold would have raised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import console_scene as made
import pytest
from hypothesis import given
from hypothesis import settings as limited
from hypothesis import strategies as st

from operators.alerting import AlertMachine, AlertSettings, AlertState
from operators.chain import ChainSettings, ScoreChain
from operators.scores import ClipScore, GatedClip, SegmentEnd, SmoothedScore
from pipeline.console.scores import ScoreHistory, decimated
from pipeline.console.what_if import settings_with, what_if
from pipeline.errors import UsageError
from pipeline.live.recent_scores import MOST_RECENT, JudgedBy, RecentScores
from pipeline.live.score_states import ScoreRecord

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def history_of(records: list[ScoreRecord], most: int = 30_000) -> ScoreHistory:
    history = ScoreHistory(most)
    for record in records:
        history.take(record, record.ended_at or NOON)
    return history


def test_every_score_of_every_record_is_there_once_and_in_order():
    values = [0.1 + 0.001 * number for number in range(500)]
    records = made.score_records("gate", values, until=NOON)
    history = history_of([*records[:6], records[5], records[4], *records[6:]])
    rows = history.rows()
    assert rows["smoothed"].tolist() == [round(value, 6) for value in values]
    assert rows["at"][-1] == NOON.timestamp()
    assert not rows["gap"].any()


def test_a_record_that_never_came_is_a_gap_and_not_a_quiet_time():
    records = made.score_records("gate", [0.2] * 200, until=NOON)
    history = history_of([*records[:2], *records[3:]])
    assert len(history) == 160
    assert int(history.rows()["gap"].sum()) == 1


def test_its_memory_is_bounded_and_the_newest_scores_stay():
    records = made.score_records("gate", [number / 4_500 for number in range(4_500)], until=NOON)
    history = history_of(records, most=2_000)
    assert 1_000 <= len(history) <= 2_000
    assert history.rows()["smoothed"][-1] == round(4_499 / 4_500, 6)


def test_a_camera_that_comes_and_goes_leaves_no_names_behind_and_its_segments_stay_apart():
    records = [
        record
        for number in range(500)
        for record in made.score_records("gate", [0.2, 0.3], until=NOON, segment=f"gate/{number}")
    ]
    history = history_of(records)
    segments = history.rows()["segment"].tolist()
    assert segments == [number for number in range(500) for _ in range(2)]
    assert len(history._segments._known) <= 100


def test_a_curve_of_few_points_keeps_every_peak():
    history = history_of(made.score_records("gate", [0.1] * 700 + [0.93] + [0.1] * 700, until=NOON))
    times, most, least = decimated(history.rows(), 50)
    assert len(times) == len(most) == len(least) == 50
    assert max(most) == 0.93
    assert max(least) == 0.1


settings = st.builds(
    lambda opens, share, clips, cooldown, longest: JudgedBy(
        open_threshold=opens,
        close_threshold=opens * share,
        min_clips=clips,
        update_every_seconds=10.0,
        cooldown_seconds=cooldown,
        max_duration_seconds=longest,
        max_hole=2,
        kernel=3,
    ),
    st.floats(0.3, 0.9),
    st.floats(0.5, 1.0),
    st.integers(1, 3),
    st.sampled_from([0.0, 2.0]),
    st.sampled_from([3.0, 600.0]),
)
clips = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["scored", "scored", "scored", "gated", "dropped"]), st.booleans()),
    min_size=1,
    max_size=60,
)


@limited(max_examples=60)
@given(settings, clips, st.floats(0.2, 0.95))
def test_it_counts_the_alerts_that_the_operators_raise_from_the_raw_scores(judged_by, given_clips, threshold):
    """The whole chain runs over raw scores with the other threshold; the console has its smoothed ones alone."""
    threshold = round(threshold, 3)
    other = settings_with(judged_by, threshold)
    kept = RecentScores()
    smoothed: list[SmoothedScore] = []

    def take(score: SmoothedScore) -> None:
        kept.take(score)
        smoothed.append(score)

    chain = ScoreChain("gate", ChainSettings(alert=other, kernel=3, max_hole=2), smoothed=take)
    found, history, index, segment = [], ScoreHistory(), 0, 0

    def publish() -> None:
        before, recent = kept.drain()
        record = ScoreRecord(site="yard", camera="gate", recent=recent, scores_before=before, judged_by=judged_by)
        history.take(record, NOON)

    for score, kind, ends in given_clips:
        start = index * 0.64
        if kind == "dropped":
            found += chain.drop(str(segment), index)
        elif kind == "gated":
            found += chain.gate(GatedClip("gate", str(segment), index, start, start + 0.64))
        else:
            score = round(score, 2)
            found += chain.score(ClipScore("gate", str(segment), index, start, start + 0.64, score, "m", "1"))
        index += 1
        if index % 7 == 0:
            publish()
        if ends:
            found += chain.end(SegmentEnd("gate", str(segment), index, "disconnected"))
            segment, index = segment + 1, 0
    found += chain.let_go()
    publish()
    begins = sum(step.state is AlertState.BEGIN for step in found)
    # The document has six decimals: a value that rounding carries over the threshold may count.
    is_near = any(abs(one.value - limit) < 1e-6 for one in smoothed for limit in (threshold, other.close_threshold))
    counted = what_if(history.rows(), other, max_hole=2)
    assert len(counted.alerts) == begins or is_near
    assert counted.clips == len(smoothed)


def test_alerts_have_their_times_and_the_rate_counts_watched_time_alone():
    values = [0.2] * 100 + [0.8] * 10 + [0.2] * 100
    history = history_of(made.score_records("gate", values, until=NOON))
    found = what_if(history.rows(), settings_with(made.JUDGED, 0.6), max_hole=8)
    (one,) = found.alerts
    begin = NOON.timestamp() - 110 * made.STEP
    assert one.started_at == pytest.approx(begin + made.STEP)
    assert one.ended_at == pytest.approx(begin + 11 * made.STEP)
    assert one.peak == 0.8
    assert found.hours == pytest.approx(210 * made.STEP / 3600)
    assert found.per_hour == pytest.approx(1 / found.hours)


def test_an_alert_that_goes_on_is_counted_as_open():
    history = history_of(made.score_records("gate", [0.2] * 10 + [0.9] * 5, until=NOON))
    (one,) = what_if(history.rows(), settings_with(made.JUDGED, 0.6), max_hole=8).alerts
    assert one.is_open
    assert one.ended_at == pytest.approx(NOON.timestamp())


def test_a_dragged_threshold_moves_the_closing_one_with_it():
    assert settings_with(made.JUDGED, 0.6).close_threshold == 0.48
    assert settings_with(made.JUDGED, 0.3).close_threshold == pytest.approx(0.24)
    with pytest.raises(UsageError, match="threshold: must be above 0"):
        settings_with(made.JUDGED, 1.2)


def test_the_scores_between_two_records_are_bounded_and_counted():
    recent = RecentScores()
    for index in range(MOST_RECENT + 10):
        clip = ClipScore("gate", "one", index, index * 0.1, index * 0.1 + 0.1, 0.5, "m", "1")
        recent.take(SmoothedScore(clip, 0.5))
    before, documents = recent.drain()
    assert (before, len(documents), documents[0].index) == (10, MOST_RECENT, 10)
    assert recent.drain() == (MOST_RECENT + 10, ())


def test_the_machine_itself_agrees_over_plain_rows():
    """Without the chain: the same smoothed scores pushed by hand."""
    values = [0.1, 0.7, 0.7, 0.2, 0.65, 0.1, 0.1, 0.9]
    machine = AlertMachine(
        "gate", AlertSettings(open_threshold=0.6, close_threshold=0.48, cooldown_seconds=0), max_hole=8
    )
    begins = 0
    for index, value in enumerate(values):
        clip = ClipScore("gate", "one", index, index * 0.64, (index + 1) * 0.64, value, "m", "1")
        begins += sum(step.state is AlertState.BEGIN for step in machine.push(SmoothedScore(clip, value)))
    judged = made.JUDGED.model_copy(update={"cooldown_seconds": 0.0})
    rows = history_of(made.score_records("gate", values, until=NOON + timedelta(hours=1))).rows()
    assert len(what_if(rows, settings_with(judged, 0.6), max_hole=8).alerts) == begins == 3
