"""Drift: the sums by hand, the stated rate of false reports on correlated scores, and what ends or hides a drift."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.special import ndtri
from scipy.stats import norm

from operators.alerting import AlertSettings
from operators.chain import ChainSettings, ScoreChain
from operators.drift import DriftMachine, DriftSeen, DriftState, DriftTransition
from operators.rarity import fit_rarity
from operators.scores import ClipScore, GatedClip

Clip = Callable[..., ClipScore]
RARE, USUAL = 0.3, 0.1  # 0.25 is reached by a tenth of the learned clips


def follow(machine: DriftMachine, clips: Iterable[ClipScore]) -> list[tuple[ClipScore, DriftTransition]]:
    """Every transition, with the clip that caused it."""
    return [(clip, step) for clip in clips if (step := machine.push(clip)) is not None]


def minutes(scores: Iterable[Iterable[float]], *, segment: str = "s", version: str = "1") -> Iterator[ClipScore]:
    """Clips of 10 s, one after the other, 6 a minute."""
    for index, score in enumerate(one for minute in scores for one in minute):
        yield ClipScore("cam", segment, index, 10.0 * index, 10.0 * (index + 1), score, "m", version)


def rare(count: int) -> list[float]:
    """A minute of six clips, so many of them rare."""
    return [RARE] * count + [USUAL] * (6 - count)


def correlated(days: float, seconds: float, rng: np.random.Generator, *, above: float = 0.1) -> np.ndarray:
    """Scores of clips of 10 s with the learned distribution, an AR(1) process of this correlation time behind them.

    ``above``: the share above the level of the learned 90 % quantile.
    """
    keep = math.exp(-10 / seconds)
    hidden = lfilter([math.sqrt(1 - keep**2)], [1, -keep], rng.standard_normal(int(days * 8640)))
    reached = norm.sf(hidden + ndtri(above) - ndtri(0.1))  # the share of learned clips that reach it
    decades = -np.log10(reached)
    return np.asarray(decades / (decades + 3))


def in_minutes(scores: np.ndarray) -> Iterator[ClipScore]:
    return minutes(scores[: len(scores) // 6 * 6].reshape(-1, 6).tolist())


def test_an_incident_of_fourteen_minutes_is_no_drift_and_fifteen_are() -> None:
    """ln 525 600 = 13.17; a minute of rare clips alone adds ln 2.5 = 0.916, and 13.17 / 0.916 = 14.4."""
    machine = DriftMachine("cam")
    found = follow(machine, minutes([rare(0)] * 100 + [rare(6)] * 14 + [rare(0)] * 100))
    assert found == []
    assert machine.seen == DriftSeen(DriftState.AS_LEARNED, 0.0), "the last hour is as learned"
    ((at, begin),) = follow(DriftMachine("cam"), minutes([rare(0)] * 100 + [rare(6)] * 20))
    assert at.end == 115 * 60
    assert (begin.first.start, begin.last, begin.clips, begin.share) == (6000.0, at, 90, 1.0)
    assert begin.end_reason is None


def test_half_of_the_clips_are_noticed_within_an_hour_and_reported_once() -> None:
    """Half a minute's clips add (0.916 − 0.470) / 2 = 0.223, and 13.17 / 0.223 = 59.04 minutes."""
    machine = DriftMachine("cam")
    ((at, begin),) = follow(machine, minutes([rare(1)] * 60 + [rare(3)] * 600))
    assert at.end == (60 + 60) * 60
    assert begin.share == 0.5
    assert machine.seen == DriftSeen(DriftState.DRIFTED, 0.5)


def test_a_third_of_the_clips_is_never_drift() -> None:
    """2 of 6 add (0.916 − 2 · 0.470) / 3 = −0.008."""
    assert follow(DriftMachine("cam"), minutes([rare(2)] * 5000)) == []


def test_the_end_is_reported_by_the_same_sum_the_other_way_round() -> None:
    """A minute with one rare clip of six takes (5 · 0.470 − 0.916) / 6 = 0.239: 13.17 / 0.239 = 55.1 minutes."""
    machine = DriftMachine("cam")
    (_, begin), (at, end) = follow(machine, minutes([rare(6)] * 15 + [rare(1)] * 300))
    assert at.end == (15 + 56) * 60
    assert (end.first, end.end_reason) == (begin.first, "as_learned_again")
    assert (end.clips, end.share) == (71 * 6, (15 * 6 + 56) / (71 * 6))
    assert machine.seen == DriftSeen(DriftState.AS_LEARNED, 1 / 6)


@pytest.mark.parametrize("seconds", [10, 60])
def test_days_of_footage_like_the_learned_one_are_silent(seconds: float) -> None:
    """Twenty days of scores that hang together for up to a minute; one false report is stated for a year."""
    scores = correlated(20, seconds, np.random.default_rng(7))
    assert (scores > 0.25).mean() == pytest.approx(0.1, abs=0.01)
    assert follow(DriftMachine("cam"), in_minutes(scores)) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_shift_of_correlated_scores_is_noticed_and_its_end_too(seed: int) -> None:
    """The former 90 % quantile is now the median, for three hours."""
    rng = np.random.default_rng(seed)
    before, drifted = correlated(0.5, 20, rng), correlated(0.125, 20, rng, above=0.5)
    found = follow(DriftMachine("cam"), in_minutes(np.concatenate([before, drifted, before])))
    (begun, begin), (ended, end) = found
    assert 12 * 3600 < begun.end < 12 * 3600 + 2 * 3600
    assert abs(begin.first.start - 12 * 3600) < 1800, "Page's estimate of the beginning"
    assert 15 * 3600 < ended.end < 15 * 3600 + 2 * 3600
    assert end.end_reason == "as_learned_again"


def test_a_minute_counts_as_one_however_its_clips_hang_together() -> None:
    """Minutes of rare clips alone, a fifth of all, at random: the worst that the stated rate allows, for 60 days."""
    rng = np.random.default_rng(11)
    machine = DriftMachine("cam")
    clips = (
        ClipScore("cam", "s", minute, 60.0 * minute, 60.0 * (minute + 1), RARE if is_rare else USUAL, "m", "1")
        for minute, is_rare in enumerate(rng.random(60 * 1440) < 0.2)
    )
    assert len(follow(machine, clips)) <= 2, "0.16 on average, at most; 3 or more have a chance below 0.001"


@pytest.mark.parametrize("still", [0.0, 0.5, 0.89, 0.95, 1.0])
def test_ties_of_a_camera_where_little_moves_are_not_rare(still: float) -> None:
    """Scores of the very values that were learned, many of them equal and the least."""
    rng = np.random.default_rng(3)
    values = np.where(rng.random(6 * 2000) < still, 0.0, 1 + rng.exponential(size=6 * 2000))
    scores = fit_rarity(values, least_scale=0.1).scores(values).astype(np.float32)
    machine = DriftMachine("cam")
    assert follow(machine, in_minutes(scores)) == []
    assert machine.seen.share is not None
    assert machine.seen.share < 0.2


def test_a_quiet_night_is_no_drift() -> None:
    assert follow(DriftMachine("cam"), minutes([[0.0] * 6] * 600)) == []


def test_too_little_footage_is_unknown() -> None:
    machine = DriftMachine("cam")
    assert machine.seen == DriftSeen(DriftState.UNKNOWN, None)
    for clip in minutes([rare(1)] * 14):
        machine.push(clip)
    assert machine.seen == DriftSeen(DriftState.UNKNOWN, None)
    machine.push(ClipScore("cam", "t", 0, 0.0, 60.0, USUAL, "m", "1"))
    assert machine.seen == DriftSeen(DriftState.AS_LEARNED, 14 / 85)


def test_the_time_of_gaps_does_not_count() -> None:
    """Fourteen minutes of rare clips, every one with a night before it, or in a segment of its own."""
    apart = [ClipScore("cam", "s", i, 36_000.0 * i, 36_000.0 * i + 60, RARE, "m", "1") for i in range(14)]
    segments = [ClipScore("cam", f"s{i}", 0, 0.0, 60.0, RARE, "m", "1") for i in range(14)]
    for clips in (apart, segments):
        machine = DriftMachine("cam")
        assert follow(machine, clips) == []
        assert machine.blocks == 14
        assert machine.push(ClipScore("cam", "new", 0, 0.0, 60.0, RARE, "m", "1")) is not None


def test_the_time_of_overlapping_clips_counts_once(clip: Clip) -> None:
    """A clip of 2 s every second."""
    machine = DriftMachine("cam")
    for second in range(600):
        machine.push(ClipScore("cam", "s", second, second, second + 2.0, USUAL, "m", "1"))
    assert machine.blocks == 10  # 601 s


def test_another_version_ends_a_drift_and_starts_anew() -> None:
    machine = DriftMachine("cam")
    follow(machine, minutes([rare(6)] * 20))
    ((at, end),) = follow(machine, minutes([rare(6)] * 14, segment="t", version="2"))
    assert (at.index, end.end_reason, end.last.model_version) == (0, "model_changed", "1")
    assert machine.seen == DriftSeen(DriftState.UNKNOWN, None), "14 minutes of the new one"


def test_closing_ends_an_open_drift_alone() -> None:
    machine = DriftMachine("cam")
    assert machine.close("closed") is None
    follow(machine, minutes([rare(6)] * 20))
    ended = machine.close("closed")
    assert ended is not None
    assert (ended.end_reason, ended.clips) == ("closed", 120)
    assert machine.close("closed") is None


def test_a_clip_of_another_camera_is_refused(clip: Clip) -> None:
    with pytest.raises(ValueError, match="camera other: got a clip of camera cam"):
        DriftMachine("other").push(clip(0))


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=200))
def test_transitions_alternate_and_begin_no_sooner_than_they_can(counts: list[int]) -> None:
    found = follow(DriftMachine("cam"), minutes(rare(count) for count in counts))
    for place, (at, transition) in enumerate(found):
        assert (transition.end_reason is None) == (place % 2 == 0)
        assert at.end - transition.first.start >= 15 * 60


@pytest.mark.parametrize("gated", [False, True])
def test_a_quiet_camera_whose_movement_is_rare_has_not_drifted(gated: bool) -> None:
    """Of 100 clips ten move and are rare; with the gate, nine more are sent, and the rest hold the last one's score."""
    clips: list[ClipScore] = []
    settings = ChainSettings(alert=AlertSettings(open_threshold=1.0, close_threshold=1.0), kernel=1)
    chain = ScoreChain("cam", settings, smoothed=lambda score: clips.append(score.clip))
    for index in range(20_000):
        start, end, phase = 0.64 * index, 0.64 * (index + 1), index % 100
        if gated and phase >= 19:
            chain.gate(GatedClip("cam", "s", index, start, end))
        else:
            chain.score(ClipScore("cam", "s", index, start, end, RARE if phase < 10 else USUAL, "m", "1"))
    assert len(clips) == 20_000
    machine = DriftMachine("cam")
    assert follow(machine, clips) == []
    assert machine.seen.state is DriftState.AS_LEARNED
    assert machine.seen.share == pytest.approx(0.1, abs=0.01)
