"""A chain cut at any clip and continued elsewhere finds the alerts of the uncut chain with a hole of that length."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from operators.alerting import AlertSettings, AlertState, AlertTransition
from operators.chain import ChainSettings, ScoreChain
from operators.chain_state import ChainState, HandOver
from operators.scores import NO_TIMES, ClipScore, ClipTimes, GatedClip, SegmentEnd, SmoothedScore

STRIDE = 0.5  # seconds, exact in binary
T0 = datetime(2026, 1, 1, tzinfo=UTC)
JSON = TypeAdapter(ChainState)
#: A hole of any length continues the uncut chain: its hole stands for a hand-over, which has a limit of its own.
ANY_HOLE = 10_000


def times_at(place: int) -> ClipTimes:
    """Times of the clip at a place along the camera's life."""
    start = T0 + timedelta(seconds=place * STRIDE)
    return ClipTimes(started_at=start, ended_at=start + timedelta(seconds=STRIDE), captured_at=start)


def push(chain: ScoreChain, what: float | str, segment: str, index: int, place: int, clock: float) -> list:
    """Hand a clip to a chain: a score, ``gated`` or ``dropped``.

    Args:
        place: of the clip along the camera's life, which gives its wall-clock times.
        clock: PTS of the segment's first clip.
    """
    start = clock + index * STRIDE
    if what == "dropped":
        return chain.drop(segment, index)
    if what == "gated":
        return chain.gate(GatedClip("cam", segment, index, start, start + STRIDE, times_at(place)))
    assert isinstance(what, float)
    return chain.score(ClipScore("cam", segment, index, start, start + STRIDE, what, "m", "1", times_at(place)))


def through_json(state: ChainState | None) -> ChainState | None:
    return None if state is None else JSON.validate_json(JSON.dump_json(state))


@dataclass(frozen=True)
class Life:
    """A camera's clips in pieces, each watched by another process, and the clips lost before each of them."""

    settings: ChainSettings
    pieces: list[list[float | str]]
    lost: list[int]
    clocks: list[float]

    def cut(self) -> list[AlertTransition]:
        """Run each piece in a chain of its own that continues from the one before."""
        out: list[AlertTransition] = []
        state, place = None, 0
        for number, piece in enumerate(self.pieces):
            place += self.lost[number]
            chain = ScoreChain.restored("cam", self.settings, through_json(state))
            for index, what in enumerate(piece):
                out += push(chain, what, f"s{number}", index, place, self.clocks[number])
                place += 1
            out += chain.let_go()
            state = chain.snapshot()
        return out

    def uncut(self) -> list[AlertTransition]:
        """Run all of it in one chain, which has holes for the lost clips."""
        chain = ScoreChain("cam", replace(self.settings, max_hole=ANY_HOLE))
        out: list[AlertTransition] = []
        place = 0
        for number, piece in enumerate(self.pieces):
            for what in ["dropped"] * self.lost[number] + piece:
                out += push(chain, what, "s0", place, place, self.clocks[0])
                place += 1
        return out


RUNS = st.tuples(st.sampled_from(["low", "high", "high", "any", "gated", "dropped"]), st.integers(1, 6))
SCORES = {
    "low": st.sampled_from([0.0, 0.125, 0.25]),
    "high": st.sampled_from([0.625, 0.75, 1.0]),
    "any": st.integers(0, 1024).map(lambda score: score / 1024),
    "gated": st.just("gated"),
    "dropped": st.just("dropped"),
}


@st.composite
def lives(draw: st.DrawFn) -> Life:
    opens = draw(st.sampled_from([0.25, 0.5, 0.75]))
    with_drops = draw(st.booleans())  # their holes would count in the one chain and not in the other
    chain = ChainSettings(
        alert=AlertSettings(
            open_threshold=opens,
            close_threshold=opens * draw(st.sampled_from([0.5, 1.0])),
            min_clips=draw(st.integers(1, 4)),
            update_every_seconds=draw(st.sampled_from([0.5, 1.5, 4.0, 100.0])),
            cooldown_seconds=draw(st.sampled_from([0.0, 1.0, 5.0, 20.0])),
            max_duration_seconds=draw(st.sampled_from([2.0, 8.0, 100.0])),
        ),
        kernel=draw(st.integers(1, 6)),
        max_hole=ANY_HOLE if with_drops else draw(st.integers(0, 3)),
        max_handover_seconds=600.0,
    )
    pieces: list[list[float | str]] = []
    for _ in range(draw(st.integers(2, 3))):
        piece: list[float | str] = []
        for kind, length in draw(st.lists(RUNS, max_size=5)):
            if kind != "dropped" or with_drops:
                piece += [draw(SCORES[kind]) for _ in range(length)]
        pieces.append(piece)
    lost = [0] + [draw(st.integers(0, 40)) for _ in pieces[1:]]
    clocks = [draw(st.sampled_from([0.0, 3.5, 86_400.0, 12.25])) for _ in pieces]
    return Life(chain, pieces, lost, clocks)


def seen(transition: AlertTransition) -> tuple[object, ...]:
    """Everything of a transition but its place on the stream's clock and the scores that it carries."""
    return (
        transition.state,
        transition.sequence,
        transition.first.times,
        transition.last.times,
        (transition.peak.clip.times, transition.peak.value),
        transition.threshold,
        transition.end_reason,
    )


@settings(max_examples=200)
@given(lives())
def test_a_cut_chain_finds_the_alerts_of_the_uncut_one(life: Life) -> None:
    cut, uncut = life.cut(), life.uncut()
    assert [seen(each) for each in cut] == [seen(each) for each in uncut]
    starts: dict[datetime | None, set[tuple[str, float]]] = {}
    for each in cut:
        starts.setdefault(each.first.times.started_at, set()).add((each.segment, each.first.start))
    assert all(len(ids) == 1 for ids in starts.values()), "an alert keeps the segment and start that give its id"
    for ours, theirs in zip(cut, uncut, strict=True):
        own = [(score.clip.times, score.value) for score in ours.scores]
        everything = [(score.clip.times, score.value) for score in theirs.scores]
        assert own == everything[len(everything) - len(own) :], "only scores of an earlier owner may be missing"


CHAIN = ChainSettings(
    alert=AlertSettings(open_threshold=0.5, close_threshold=0.5, update_every_seconds=100.0, cooldown_seconds=5.0),
    kernel=1,
    max_handover_seconds=10.0,
)


def open_alert() -> ChainState:
    """A chain with an alert that opened 2 clips ago."""
    chain = ScoreChain("cam", CHAIN)
    for index in range(3):
        push(chain, 0.9, "s0", index, index, 0.0)
    state = through_json(chain.snapshot())
    assert state is not None
    assert state.row is not None
    return state


@pytest.mark.parametrize(("lost", "reason"), [(18, None), (19, None), (20, "gap"), (1000, "gap")])
def test_a_hand_over_longer_than_the_limit_ends_the_alert(lost: int, reason: str | None) -> None:
    chain = ScoreChain.restored("cam", CHAIN, open_alert())  # 19 lost clips: 20 strides, 10 s
    transitions = push(chain, 0.1 if reason is None else 0.0, "s1", 0, 3 + lost, 50.0)
    assert [(each.state, each.end_reason, each.sequence) for each in transitions] == [
        (AlertState.END, reason or "below_threshold", 1)
    ]
    assert transitions[0].segment == "s0"


def test_the_average_starts_afresh_after_too_long_a_hand_over() -> None:
    chain = ScoreChain("cam", replace(CHAIN, kernel=4))
    values: list[SmoothedScore] = []
    for index in range(4):
        push(chain, 0.0, "s0", index, index, 0.0)
    for lost, expected in [(0, 0.25), (1, 1 / 3), (3, 1.0), (40, 1.0)]:
        values.clear()
        continued = ScoreChain.restored("cam", replace(CHAIN, kernel=4), chain.snapshot(), smoothed=values.append)
        push(continued, 1.0, "s1", 0, 4 + lost, 9.0)
        assert values[0].value == pytest.approx(expected), lost


def test_an_alert_that_just_ended_leaves_its_cooldown() -> None:
    chain = ScoreChain("cam", CHAIN)
    for index, score in enumerate([0.9, 0.9, 0.1]):
        push(chain, score, "s0", index, index, 100.0)  # ends at 101.5 s; the cooldown lasts until place 13
    for place, begins in [(3, False), (12, False), (13, True), (20, True)]:
        continued = ScoreChain.restored("cam", CHAIN, through_json(chain.snapshot()))
        assert bool(push(continued, 0.9, "s1", 0, place, 0.0)) is begins, place


def test_another_model_version_ends_the_alert() -> None:
    chain = ScoreChain.restored("cam", CHAIN, open_alert())
    score = ClipScore("cam", "s1", 0, 7.0, 7.5, 0.9, "m", "2", times_at(4))
    transitions = chain.score(score)
    assert [(each.state, each.end_reason) for each in transitions] == [(AlertState.END, "model_changed")]


def test_without_wall_clock_times_the_gap_is_too_long() -> None:
    chain = ScoreChain.restored("cam", CHAIN, open_alert())
    transitions = chain.score(ClipScore("cam", "s1", 0, 1.5, 2.0, 0.9, "m", "1", NO_TIMES))
    assert [each.end_reason for each in transitions] == ["gap"]


def test_a_clock_behind_the_former_workers_makes_no_gap_negative() -> None:
    state = open_alert()
    gap = HandOver.between(state, 50.0, times_at(-100))
    assert (gap.lost, gap.seconds) == (0, STRIDE)
    assert state.newest.start + gap.shift == pytest.approx(50.0 - STRIDE)


def test_a_chain_without_a_clip_leaves_what_it_was_left() -> None:
    state = open_alert()
    chain = ScoreChain.restored("cam", CHAIN, state)
    assert chain.is_continuing
    assert chain.end(SegmentEnd("cam", "s1", 0, "disconnected")) == []
    assert chain.snapshot() == state


@pytest.mark.parametrize("way", ["close", "abandon"])
def test_an_alert_that_never_continues_can_be_ended(way: str) -> None:
    chain = ScoreChain.restored("cam", CHAIN, open_alert())
    transitions = chain.close() if way == "close" else chain.abandon()
    assert [each.end_reason for each in transitions] == ["shutdown" if way == "close" else "gap"]
    assert transitions[0].sequence == 1
    assert not chain.is_continuing


@pytest.mark.parametrize("scores", [[0.9, 0.9, 0.9], [0.9, 0.9, 0.1]], ids=["open", "cooling down"])
def test_an_abandoned_state_leaves_no_cooldown_on_the_clock_of_the_former_connection(scores: list[float]) -> None:
    chain = ScoreChain("cam", CHAIN)
    for index, score in enumerate(scores):
        push(chain, score, "s0", index, index, 259_200.0)  # a camera that has been connected for three days
    continued = ScoreChain.restored("cam", CHAIN, through_json(chain.snapshot()))
    continued.abandon()
    begun = push(continued, 0.9, "s1", 0, 200, 0.0)
    assert [(each.state, each.segment) for each in begun] == [(AlertState.BEGIN, "s1")]


def test_a_cooldown_is_left_until_it_is_past() -> None:
    chain = ScoreChain("cam", CHAIN)
    for index, score in enumerate([0.9, 0.9, 0.1]):
        push(chain, score, "s0", index, index, 100.0)  # ends at 101.5 s; the cooldown lasts 5 s
    left = []
    for index in range(3, 16):
        push(chain, 0.1, "s0", index, index, 100.0)
        state = chain.snapshot()
        assert state is not None
        left.append((state.newest.start, state.cool_until))
    assert left == [(start, 106.5 if start < 106.5 else None) for start, _ in left]
    assert left[-1] == (107.5, None)


def test_scores_that_wait_are_let_go_without_an_end() -> None:
    chain = ScoreChain("cam", CHAIN)
    push(chain, 0.9, "s0", 0, 0, 0.0)
    assert push(chain, 0.9, "s0", 2, 2, 0.0) == []  # waits for clip 1
    chain.let_go()
    state = chain.snapshot()
    assert state is not None
    assert state.newest.index == 2
    assert state.row is not None
    assert state.row.sequence == 1


def test_a_state_is_small_however_long_the_alert_lasts() -> None:
    chain = ScoreChain("cam", replace(CHAIN, kernel=5))
    for index in range(1000):
        push(chain, 0.9, "a-segment-id-of-some-length", index, index, 0.0)
    state = chain.snapshot()
    assert state is not None
    assert len(JSON.dump_json(state)) < 2000


@pytest.mark.parametrize(
    "change",
    [
        {"smoothed": 1.5},
        {"held": -0.1},
        {"window": [[0, 0.5], [1, 0.5]]},
        {"window": [[-1, 0.5]]},
        {"stride_seconds": 0.0},
        {"cool_until": math.inf},
    ],
)
def test_a_state_that_no_chain_has_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JSON.validate_python(JSON.dump_python(open_alert(), mode="json") | change)
