"""A camera's state: every transition, and stalls by a clock of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.live.supervision import ENDED, Condition, Happening, SilenceLimits, State, Supervision, follow
from pipeline.sources.base import SourceError
from pipeline.sources.reconnect import Outage

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS = SilenceLimits(streaming=5.0, connecting=60.0)
A, F, S, L, X, E = Happening  # attempt, frame, silence, loss, failure, end


def after(*happenings: Happening) -> State:
    condition = Condition(State.CONNECTING, BEGAN)
    for happening in happenings:
        condition = follow(condition, happening, BEGAN)
    return condition.state


@pytest.mark.parametrize(
    ("happenings", "state"),
    [
        ((), "connecting"),
        ((S,), "stalled"),  # a camera that accepts the connection and sends nothing
        ((L,), "backing_off"),
        ((L, S), "backing_off"),  # nothing is expected while it is waited out
        ((L, A), "connecting"),
        ((L, A, F), "streaming"),
        ((F, S), "stalled"),
        ((F, S, S), "stalled"),
        ((F, S, F), "streaming"),  # a pause that ended by itself
        ((F, S, L), "backing_off"),  # the source's own limit
        ((F, S, A), "connecting"),
        ((F, A), "connecting"),
        ((X,), "failed"),
        ((F, X, F, L, S, E), "failed"),  # for good
        ((F, X, A), "connecting"),  # opened anew
        ((F, E), "stopped"),
        ((F, E, F, L, S, X), "stopped"),  # what comes late changes nothing
        ((F, E, A, F), "streaming"),
    ],
)
def test_the_states_of_a_camera(happenings: tuple[Happening, ...], state: str) -> None:
    assert after(*happenings) == state


steps = st.lists(st.tuples(st.sampled_from(Happening), st.sampled_from(["", "refused", "timeout"])), max_size=30)


@given(steps)
def test_after_any_history_a_camera_that_is_back_streams(history: list[tuple[Happening, str]]) -> None:
    condition = Condition(State.CONNECTING, BEGAN)
    for happening, reason in history:
        condition = follow(condition, happening, BEGAN, reason)
    for happening in (A, F):
        condition = follow(condition, happening, BEGAN)
    assert condition == Condition(State.STREAMING, condition.since)


@given(steps)
def test_a_state_has_the_time_at_which_it_began(history: list[tuple[Happening, str]]) -> None:
    condition = Condition(State.CONNECTING, BEGAN)
    for number, (happening, reason) in enumerate(history):
        at = BEGAN + timedelta(seconds=number)
        following = follow(condition, happening, at, reason)
        if following.state is condition.state:
            assert following.since == condition.since
        else:
            assert following.since == at
        if condition.state in ENDED and happening is not Happening.ATTEMPT:
            assert following is condition
        condition = following


class Clock:
    """Both clocks, and the conditions of a camera that follows them."""

    def __init__(self, limits: SilenceLimits | None = LIMITS) -> None:
        self.seconds = 0.0
        self.seen: list[Condition] = []
        self.camera = Supervision("gate", limits, self.seen.append, monotonic=lambda: self.seconds, now=self.now)

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.seconds)

    @property
    def states(self) -> list[str]:
        return [condition.state for condition in self.seen]

    def wait(self, seconds: float) -> None:
        """Look four times a second, as the worker does."""
        for _ in range(round(seconds * 4)):
            self.seconds += 0.25
            self.camera.look()

    def take_frame(self) -> None:
        self.camera.frame()
        self.camera.await_frame()


class TestStalls:
    def test_a_camera_that_goes_silent_is_stalled_and_then_streams_again(self) -> None:
        clock = Clock()
        clock.camera.attempt()
        for _ in range(10):
            clock.wait(4.5)
            clock.take_frame()
        assert clock.states == ["streaming"]
        clock.wait(4.75)
        assert clock.states == ["streaming"]
        clock.wait(0.5)
        assert clock.states == ["streaming", "stalled"]
        stalled = clock.seen[-1]
        assert (stalled.reason, stalled.message) == ("stall", "camera gate: no frame for 5 s")
        assert stalled.since == BEGAN + timedelta(seconds=50)
        clock.wait(100)
        assert clock.states == ["streaming", "stalled"], "a stall is reported once"
        clock.take_frame()
        assert clock.seen[-1] == Condition(State.STREAMING, clock.now())

    def test_an_attempt_that_takes_too_long_is_a_stall(self) -> None:
        clock = Clock()
        clock.camera.attempt()
        clock.wait(59)
        assert clock.states == []
        clock.wait(1.25)
        assert clock.states == ["stalled"]

    def test_each_attempt_has_its_own_time(self) -> None:
        clock = Clock()
        for _ in range(20):
            clock.camera.attempt()
            clock.wait(40)
            clock.camera.outage(Outage("gate", "timeout", "camera gate: no answer", 30.0))
            clock.wait(30)
        assert "stalled" not in clock.states

    def test_a_worker_that_is_busy_is_not_a_stalled_camera(self) -> None:
        clock = Clock()
        clock.camera.attempt()
        clock.camera.frame()
        clock.wait(1000)  # its disk is full
        clock.camera.await_frame()
        clock.wait(4)
        assert clock.states == ["streaming"]

    def test_a_recording_is_never_stalled(self) -> None:
        clock = Clock(limits=None)
        clock.camera.attempt()
        clock.wait(500)
        clock.take_frame()
        clock.wait(500)
        clock.camera.end("end")
        assert clock.states == ["streaming", "stopped"]


def test_an_outage_keeps_its_reason_until_the_next_frame() -> None:
    clock = Clock()
    clock.camera.attempt()
    clock.camera.outage(Outage("gate", "refused", "camera gate: connection refused", 1.0))
    clock.camera.attempt()
    clock.camera.outage(Outage("gate", "unauthorized", "camera gate: wrong password", 30.0))
    clock.camera.attempt()
    clock.take_frame()
    clock.camera.fail(SourceError("camera gate: gone", code="usage"))
    clock.camera.end("shutdown")
    assert [(each.state, each.reason) for each in clock.seen] == [
        ("backing_off", "refused"),
        ("connecting", "refused"),
        ("backing_off", "unauthorized"),
        ("connecting", "unauthorized"),
        ("streaming", ""),
        ("failed", "usage"),
    ]


@pytest.mark.parametrize("limits", [(0.0, 1.0), (1.0, -1.0)])
def test_limits_are_above_zero(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        SilenceLimits(*limits)
