"""Other settings for a running chain: nothing ends by them, and the next clip is judged by them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from operators.alerting import AlertSettings, AlertState, AlertTransition
from operators.chain import ChainSettings, ScoreChain
from operators.scores import ClipScore

SETTINGS = ChainSettings(
    alert=AlertSettings(open_threshold=0.5, close_threshold=0.4, min_clips=2, cooldown_seconds=0.0),
    kernel=1,
)


def clip(index: int, score: float) -> ClipScore:
    return ClipScore("gate", "s", index, float(index), index + 1.0, score, "m", "1")


def run(chain: ScoreChain, scores: list[float], first: int = 0) -> list[AlertTransition]:
    return [each for number, score in enumerate(scores, first) for each in chain.score(clip(number, score))]


def alert(**changes: float) -> ChainSettings:
    return replace(SETTINGS, alert=replace(SETTINGS.alert, **changes))


def test_an_open_alert_continues_and_ends_by_the_new_close_threshold() -> None:
    chain = ScoreChain("gate", SETTINGS)
    (begin,) = run(chain, [0.6, 0.6])
    chain.change(alert(open_threshold=0.9, close_threshold=0.3))
    assert run(chain, [0.35], 2) == []
    (end,) = run(chain, [0.2], 3)
    assert (end.state, end.end_reason, end.first) == (AlertState.END, "below_threshold", begin.first)
    assert end.threshold == 0.5, "an alert keeps the threshold at which it began"


def test_an_open_alert_below_the_new_close_threshold_ends_with_its_next_clip() -> None:
    chain = ScoreChain("gate", SETTINGS)
    run(chain, [0.6, 0.6])
    chain.change(alert(open_threshold=0.9, close_threshold=0.8))
    (end,) = run(chain, [0.7], 2)
    assert end.end_reason == "below_threshold"
    (begin,) = run(chain, [0.95, 0.95], 3)
    assert begin.threshold == 0.9


def test_a_row_that_has_not_become_an_alert_starts_afresh() -> None:
    chain = ScoreChain("gate", SETTINGS)
    assert run(chain, [0.6]) == []
    chain.change(alert(min_clips=2, open_threshold=0.45))
    assert run(chain, [0.6], 1) == []
    (begin,) = run(chain, [0.6], 2)
    assert begin.first.index == 1


def test_another_kernel_keeps_the_scores_that_it_still_covers() -> None:
    chain = ScoreChain("gate", replace(SETTINGS, kernel=4))
    run(chain, [0.1, 0.1, 0.3, 0.3])
    chain.change(replace(SETTINGS, kernel=2))
    run(chain, [0.1], 4)
    assert chain.latest is not None
    assert chain.latest.value == 0.2  # of 0.3 and 0.1


SCORES = st.lists(st.floats(0, 1), max_size=12)
OTHERS = st.builds(
    lambda low, gap, clips: alert(open_threshold=min(low + gap, 1.0), close_threshold=low, min_clips=clips),
    st.floats(0.1, 0.9),
    st.floats(0, 0.5),
    st.integers(1, 3),
)


@given(SCORES, OTHERS, SCORES)
def test_a_change_while_all_is_quiet_is_as_if_the_settings_had_always_been_those(
    before: list[float], other: ChainSettings, after: list[float]
) -> None:
    quiet = [score * 0.09 for score in before]
    chain, always = ScoreChain("gate", SETTINGS), ScoreChain("gate", other)
    assert run(chain, quiet) == run(always, quiet) == []
    chain.change(other)
    assert run(chain, after, len(quiet)) == run(always, after, len(quiet))


@given(SCORES, OTHERS, SCORES)
def test_a_change_ends_no_alert_by_itself_and_every_begin_has_one_end(
    before: list[float], other: ChainSettings, after: list[float]
) -> None:
    chain = ScoreChain("gate", SETTINGS)
    found = run(chain, before)
    is_open = bool(found) and found[-1].state is not AlertState.END
    chain.change(other)
    state = chain.snapshot()
    assert is_open == bool(state is not None and state.row is not None and state.row.sequence)
    found += run(chain, after, len(before)) + chain.close()
    begun = [each.first for each in found if each.state is AlertState.BEGIN]
    ended = [each.first for each in found if each.state is AlertState.END]
    assert begun == ended
