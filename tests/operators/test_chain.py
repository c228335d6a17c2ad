"""The whole chain: whatever arrives, in whatever order, the alerts are well-formed and what an offline scan finds.

The properties run on random cameras: several segments of clips that are scored, dropped or never heard of again, by
changing model versions, arriving out of order within or beyond ``max_hole``, some of them twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from operators.alerting import AlertSettings, AlertState, AlertTransition
from operators.chain import ChainSettings, ScoreChain
from operators.reorder import Reorderer
from operators.scores import ClipKey, ClipScore, SegmentEnd, SmoothedScore
from operators.smoothing import CausalMovingAverage

TOLERANCE = 1e-6  # seconds; what the machine allows for the rounding of frame times


@dataclass(frozen=True)
class Told:
    """A clip and what becomes of it: its score, None for a drop; ``heard`` False when neither ever comes."""

    key: ClipKey
    score: ClipScore | None
    heard: bool


@dataclass(frozen=True)
class Camera:
    """A scenario: the segments' clips and how they end, and the calls in the order in which they are made."""

    settings: ChainSettings
    segments: list[list[Told]]
    ends: list[SegmentEnd]
    calls: list[Told | SegmentEnd]


def in_order(camera: Camera) -> list[Told | SegmentEnd]:
    """The same camera's calls with nothing out of order and nothing twice."""
    calls: list[Told | SegmentEnd] = []
    for told, over in zip(camera.segments, camera.ends, strict=True):
        calls += [t for t in told if t.heard]
        calls.append(over)
    return calls


# Scores and thresholds are multiples of 1/1024, so that sums are exact and no check hangs on a rounding.
SCORES = {
    "low": st.sampled_from([0.0, 0.125, 0.25]),
    "high": st.sampled_from([0.625, 0.75, 0.875, 1.0]),
    "any": st.integers(0, 1024).map(lambda score: score / 1024),
}
# So many clips in a row of one kind: runs, because single random scores would hardly ever open an alert.
RUNS = st.tuples(st.sampled_from(["low", "high", "high", "high", "any", "dropped", "lost"]), st.integers(1, 8))
REASONS = ["stream_end", "disconnected", "clock_jump", "size_changed", "shutdown", "error"]


@st.composite
def chain_settings(draw: st.DrawFn) -> ChainSettings:
    opens = draw(st.sampled_from([0.25, 0.5, 0.625, 0.75]))
    return ChainSettings(
        alert=AlertSettings(
            open_threshold=opens,
            close_threshold=opens * draw(st.sampled_from([0.5, 0.75, 1.0])),
            min_clips=draw(st.integers(1, 4)),
            update_every_seconds=draw(st.sampled_from([0.5, 1.28, 2.0, 100.0])),
            cooldown_seconds=draw(st.sampled_from([0.0, 0.64, 2.0, 5.0])),
            max_duration_seconds=draw(st.sampled_from([0.5, 3.2, 4.0, 100.0])),
        ),
        kernel=draw(st.integers(1, 6)),
        max_hole=draw(st.integers(0, 4)),
    )


@st.composite
def cameras(draw: st.DrawFn, *, beyond: int = 0, duplicates: bool = False) -> Camera:
    """``beyond``: by how many places more than max_hole a clip may be overtaken."""
    config = draw(chain_settings())
    length = draw(st.sampled_from([0.64, 1.28]))  # seconds; a clip every 0.64 s, so the longer ones overlap
    segments, ends, timed = [], [], []
    place = 0
    for number in range(draw(st.integers(1, 3))):
        flips = draw(st.lists(st.integers(0, 39), max_size=2))
        fates = [what for what, count in draw(st.lists(RUNS, max_size=8)) for _ in range(count)]
        told = []
        for index, what in enumerate(fates):
            version = str(sum(flip <= index for flip in flips) % 2)
            start = 7.0 * number + 0.64 * index
            value = draw(SCORES[what]) if what in SCORES else 0.0
            clip = ClipScore("cam", f"s{number}", index, start, start + length, value, "m", version)
            told.append(Told(clip.key, clip if what in SCORES else None, what != "lost"))
        segments.append(told)
        ends.append(SegmentEnd("cam", f"s{number}", len(told), draw(st.sampled_from(REASONS))))
        for t in told:
            times = 1 + (duplicates and draw(st.integers(0, 9)) == 0)
            if t.heard:
                overtaken = [draw(st.integers(0, config.max_hole + beyond)) for _ in range(times)]
                timed += [(place + by + 3 * again, number, t) for again, by in enumerate(overtaken)]
            place += 1
    calls: list[Told | SegmentEnd] = []
    ended = 0
    for _, number, t in sorted(timed, key=lambda arrival: arrival[0]):
        calls += ends[ended:number]
        ended = max(ended, number)
        calls.append(t)
    return Camera(config, segments, ends, calls + ends[ended:])


def make(chain: ScoreChain, call: Told | SegmentEnd) -> list[AlertTransition]:
    if isinstance(call, SegmentEnd):
        return chain.end(call)
    return chain.drop(*call.key) if call.score is None else chain.score(call.score)


def run(config: ChainSettings, calls: list[Told | SegmentEnd]) -> tuple[list[AlertTransition], ScoreChain]:
    chain = ScoreChain("cam", config)
    transitions = [transition for call in calls for transition in make(chain, call)]
    return transitions + chain.close(), chain


def alerts(transitions: list[AlertTransition]) -> list[list[AlertTransition]]:
    """The transitions of each alert; fails where two alerts are interleaved or one identity comes back."""
    grouped = [list(group) for _, group in groupby(transitions, key=lambda t: t.first.key)]
    identities = [group[0].first.key for group in grouped]
    assert len(identities) == len(set(identities))
    return grouped


def smoothed_in_order(config: ChainSettings, calls: list[Told | SegmentEnd]) -> list[SmoothedScore]:
    """All smoothed scores, by the two operators before the machine (each tested against brute force on its own)."""
    reorderer, average = Reorderer("cam", config.max_hole), CausalMovingAverage(config.kernel, config.max_hole)
    items = []
    for call in calls:
        if isinstance(call, SegmentEnd):
            items += reorderer.end(call)
        else:
            items += reorderer.drop(*call.key) if call.score is None else reorderer.push(call.score)
    return [smoothed for item in items + reorderer.flush() if (smoothed := average.push(item)) is not None]


def check_well_formed(camera: Camera, transitions: list[AlertTransition]) -> None:
    alert_settings = camera.settings.alert
    all_scores = smoothed_in_order(camera.settings, camera.calls)
    position = {smoothed.clip.key: i for i, smoothed in enumerate(all_scores)}
    previous: AlertTransition | None = None
    for alert in alerts(transitions):
        begin, *updates, end = alert
        # begin, update*, end; numbered without a gap; every alert closed, with a reason
        assert begin.state is AlertState.BEGIN
        assert all(update.state is AlertState.UPDATE for update in updates)
        assert end.state is AlertState.END
        assert [t.sequence for t in alert] == list(range(len(alert)))
        assert all((t.end_reason is None) == (t is not end) for t in alert)
        assert end.end_reason in {"below_threshold", "max_duration", "gap", "model_changed", *REASONS}

        # the scores of the transitions together are all smoothed scores from the first clip to the last
        told = [score for t in alert for score in t.scores]
        assert told == all_scores[position[begin.first.key] : position[end.last.key] + 1]
        assert len(begin.scores) == alert_settings.min_clips
        assert all(score.value >= alert_settings.open_threshold for score in begin.scores)

        # one segment, one model version, one identity
        assert {score.clip.segment for score in told} == {t.segment for t in alert} == {begin.first.segment}
        assert {score.clip.model_version for score in told} == {begin.first.model_version}
        so_far: list[SmoothedScore] = []
        for t in alert:
            so_far += t.scores
            assert t.first == so_far[0].clip
            assert t.last == so_far[-1].clip
            # the peak is the highest so far, the earliest of equals
            assert t.peak == next(s for s in so_far if s.value == max(s.value for s in so_far))
            assert t.threshold == alert_settings.open_threshold
        for one, other in pairwise(told):
            assert other.clip.index - one.clip.index - 1 <= camera.settings.max_hole

        # it is open until the first score below the close threshold, and not beyond
        below = [score.value < alert_settings.close_threshold for score in told]
        assert not any(below[:-1])
        assert below[-1] == (end.end_reason == "below_threshold")

        # the longest duration: no clip is taken in once it is reached, unless the alert is its opening row alone
        for score in told[alert_settings.min_clips - 1 : -1]:
            assert score.clip.end - begin.first.start < alert_settings.max_duration_seconds
        if end.end_reason == "max_duration":
            assert end.last.end - begin.first.start >= alert_settings.max_duration_seconds - TOLERANCE

        # updates: as soon as the interval is over, never before
        for one, other in pairwise([begin, *updates]):
            assert other.last.end - one.last.end >= alert_settings.update_every_seconds - TOLERANCE
            for score in other.scores[:-1]:
                assert score.clip.end - one.last.end < alert_settings.update_every_seconds

        # the cooldown, within a segment
        if previous is not None and previous.segment == begin.segment and alert_settings.cooldown_seconds > 0:
            assert begin.first.start >= previous.last.end + alert_settings.cooldown_seconds - TOLERANCE
        previous = end


@given(camera=cameras(beyond=4, duplicates=True))
@settings(max_examples=300)
def test_whatever_arrives_the_alerts_are_well_formed_and_closed(camera: Camera) -> None:
    transitions, chain = run(camera.settings, camera.calls)
    for alert in alerts(transitions):
        event(f"ended: {alert[-1].end_reason}")
    event(f"late: {min(chain.late, 3)}, duplicates: {min(chain.duplicates, 3)}")
    check_well_formed(camera, transitions)
    assert chain.retained == frozenset()
    scored = smoothed_in_order(camera.settings, camera.calls)
    assert len(scored) + chain.holes == sum(len(told) for told in camera.segments)
    assert chain.latest == (scored[-1] if scored else None)


@given(camera=cameras(duplicates=True))
@settings(max_examples=300)
def test_the_order_of_arrival_makes_no_difference_within_max_hole(camera: Camera) -> None:
    transitions, chain = run(camera.settings, camera.calls)
    expected, undisturbed = run(camera.settings, in_order(camera))
    event("in order" if camera.calls == in_order(camera) else "out of order")
    assert transitions == expected
    assert chain.late == 0
    assert chain.holes == undisturbed.holes
    assert chain.holes == sum(t.score is None or not t.heard for told in camera.segments for t in told)
    heard_calls = sum(not isinstance(call, SegmentEnd) for call in camera.calls)
    assert chain.duplicates == heard_calls - sum(t.heard for told in camera.segments for t in told)


@given(camera=cameras(beyond=4, duplicates=True))
def test_every_peak_was_retained_from_its_score_to_its_transition(camera: Camera) -> None:
    chain = ScoreChain("cam", camera.settings)
    pictures: set[ClipKey] = set()
    steps: list[Told | SegmentEnd | None] = [*camera.calls, None]
    for call in steps:
        if isinstance(call, Told) and call.score is not None:
            pictures.add(call.key)  # a picture is there when its clip's score comes
        transitions = chain.close() if call is None else make(chain, call)
        assert {t.peak.clip.key for t in transitions} <= pictures
        pictures &= chain.retained
        assert pictures == chain.retained  # nothing is retained that had been let go before
        assert len(pictures) <= camera.settings.max_hole + 1
    assert not pictures


def stretches(camera: Camera) -> Iterator[list[ClipScore]]:
    """The scored clips of each stretch that averages and alerts may span: one segment, one version, no long hole."""
    for told in camera.segments:
        stretch: list[ClipScore] = []
        for clip in [t.score for t in told if t.score is not None and t.heard]:
            if stretch and (
                clip.model_version != stretch[-1].model_version
                or clip.index - stretch[-1].index - 1 > camera.settings.max_hole
            ):
                yield stretch
                stretch = []
            stretch.append(clip)
        if stretch:
            yield stretch


def scan(camera: Camera) -> list[tuple[str, int, int, bool]]:
    """Every alert as (segment, first clip, last clip, still high at its last clip), found by searching backwards and
    forwards in the finished record instead of stepping through it."""
    config, alert = camera.settings, camera.settings.alert
    found: list[tuple[str, int, int, bool]] = []
    free_from: dict[str, float] = {}
    for stretch in stretches(camera):
        segment = stretch[0].segment
        value = []
        for i, clip in enumerate(stretch):
            window = [c.score for c in stretch[: i + 1] if clip.index - c.index < config.kernel]
            value.append(sum(window) / len(window))
        at = 0
        while at + alert.min_clips <= len(stretch):
            row = range(at, at + alert.min_clips)
            low = min(value[i] for i in row)
            if low < alert.open_threshold or stretch[at].start < free_from.get(segment, -1e9) - TOLERANCE:
                at += 1
                continue
            last = row[-1]
            while (
                value[last] >= alert.close_threshold
                and stretch[last].end - stretch[at].start < alert.max_duration_seconds - TOLERANCE
                and last + 1 < len(stretch)
            ):
                last += 1
            found.append((segment, stretch[at].index, stretch[last].index, value[last] >= alert.close_threshold))
            if alert.cooldown_seconds:
                free_from[segment] = stretch[last].end + alert.cooldown_seconds
            at = last + 1
    return found


@given(camera=cameras(duplicates=True))
@settings(max_examples=300)
def test_the_alerts_are_those_that_an_offline_scan_finds(camera: Camera) -> None:
    transitions, _ = run(camera.settings, camera.calls)
    raised = [
        (alert[-1].segment, alert[-1].first.index, alert[-1].last.index, alert[-1].end_reason != "below_threshold")
        for alert in alerts(transitions)
    ]
    event(f"alerts: {len(raised)}")
    assert raised == scan(camera)


# ---- by hand ----

SETTINGS = ChainSettings(
    alert=AlertSettings(open_threshold=0.6, close_threshold=0.4, min_clips=2, cooldown_seconds=0),
    kernel=2,
    max_hole=2,
)


def score(index: int, value: float, segment: str = "a") -> ClipScore:
    return ClipScore("cam", segment, index, float(index), index + 1.0, value, "m", "1")


def brief(transitions: list[AlertTransition]) -> list[tuple[str, str, int, int, str | None]]:
    return [(t.state.value, t.segment, t.first.index, t.last.index, t.end_reason) for t in transitions]


def test_from_scores_out_of_order_to_an_alert() -> None:
    chain = ScoreChain("cam", SETTINGS)
    assert chain.score(score(0, 0.25)) == []
    assert chain.score(score(2, 0.75)) == []
    assert chain.retained == {ClipKey("a", 2)}  # it waits for clip 1
    assert chain.score(score(3, 0.5)) == []
    # smoothed: 0.25, (0.25 + 1)/2, (1 + 0.75)/2, (0.75 + 0.5)/2
    [begin] = chain.score(score(1, 1.0))
    assert brief([begin]) == [("begin", "a", 1, 2, None)]
    assert [s.value for s in begin.scores] == [0.625, 0.875]
    assert begin.peak.clip.index == 2
    assert chain.latest == SmoothedScore(score(3, 0.5), 0.625)
    assert chain.retained == {ClipKey("a", 2)}
    [end] = chain.score(score(4, 0.0))  # (0.5 + 0)/2 = 0.25
    assert brief([end]) == [("end", "a", 1, 4, "below_threshold")]
    assert [s.value for s in end.scores] == [0.625, 0.25]
    assert chain.retained == frozenset()


def test_the_alert_ends_with_its_segment_once_the_last_score_is_in() -> None:
    chain = ScoreChain("cam", SETTINGS)
    chain.score(score(0, 0.9))
    assert brief(chain.score(score(1, 0.9))) == [("begin", "a", 0, 1, None)]
    assert chain.end(SegmentEnd("cam", "a", 3, "disconnected")) == []
    assert chain.score(score(0, 0.9, "b")) == []
    assert brief(chain.score(score(2, 0.9))) == [("end", "a", 0, 2, "disconnected")]
    assert brief(chain.score(score(1, 0.9, "b"))) == [("begin", "b", 0, 1, None)]


def test_dropped_clips_in_a_row_end_an_alert_when_the_hole_is_long() -> None:
    chain = ScoreChain("cam", SETTINGS)
    chain.score(score(0, 0.9))
    chain.score(score(1, 0.9))
    assert chain.drop("a", 2) == []
    assert chain.drop("a", 3) == []
    assert brief(chain.drop("a", 4)) == [("end", "a", 0, 1, "gap")]
    assert chain.holes == 3


def test_every_second_clip_dropped_still_raises_and_holds_an_alert() -> None:
    chain = ScoreChain("cam", SETTINGS)
    transitions = []
    for index in range(10):
        transitions += chain.drop("a", index) if index % 2 else chain.score(score(index, 0.9))
    assert brief(transitions + chain.close()) == [("begin", "a", 0, 2, None), ("end", "a", 0, 8, "shutdown")]


def test_close_ends_an_open_segment_and_what_comes_later_is_counted() -> None:
    chain = ScoreChain("cam", SETTINGS)
    chain.score(score(0, 0.9))
    chain.score(score(1, 0.9))
    chain.score(score(3, 0.9))  # clip 2 is outstanding
    assert brief(chain.close("error")) == [("end", "a", 0, 3, "error")]
    assert chain.close() == []
    assert chain.score(score(2, 0.9)) == []
    assert (chain.holes, chain.late, chain.duplicates) == (1, 1, 0)


def of_version(clip: ClipScore, version: str) -> ClipScore:
    return replace(clip, model_version=version)


def test_each_model_versions_scores_are_judged_by_its_own_settings() -> None:
    """Version 2 has a kernel of 1 and opens at 0.95, which no score of 0.9 reaches, wherever it arrives."""
    chain = ScoreChain("cam", SETTINGS)
    strict = AlertSettings(open_threshold=0.95, close_threshold=0.95, cooldown_seconds=0)
    chain.adopt("m", "2", ChainSettings(alert=strict, kernel=1, max_hole=0))
    transitions = chain.score(score(0, 0.9)) + chain.score(score(1, 0.9))
    transitions += chain.score(of_version(score(3, 0.9), "2"))  # overtakes clip 2, which was scored before it
    assert brief(transitions) == [("begin", "a", 0, 1, None)]
    assert brief(chain.score(score(2, 0.9))) == [("end", "a", 0, 2, "model_changed")]
    assert chain.latest == SmoothedScore(of_version(score(3, 0.9), "2"), 0.9)
    [begin] = chain.score(of_version(score(4, 1.0), "2"))  # not averaged with the clip before
    assert (begin.first.index, begin.threshold) == (4, 0.95)
    assert brief(chain.score(of_version(score(5, 0.9), "2"))) == [("end", "a", 4, 5, "below_threshold")]
    # Back to the first version: its settings are those of the beginning.
    chain.score(score(6, 0.9))
    [again] = chain.score(score(7, 0.9))
    assert (again.first.index, again.threshold) == (6, 0.6)


def test_a_cooldown_outlasts_the_model_that_began_it() -> None:
    chain = ScoreChain("cam", replace(SETTINGS, alert=replace(SETTINGS.alert, cooldown_seconds=3.0)))
    eager = AlertSettings(open_threshold=0.1, close_threshold=0.1, cooldown_seconds=0)
    chain.adopt("m", "2", ChainSettings(alert=eager, kernel=1))
    chain.score(score(0, 0.9))
    chain.score(score(1, 0.9))
    transitions = [t for index in range(2, 7) for t in chain.score(of_version(score(index, 0.9), "2"))]
    # The alert ends at second 2 with clip 1; the next may start at second 5.
    assert brief(transitions) == [("end", "a", 0, 1, "model_changed"), ("begin", "a", 5, 5, None)]


def test_a_clip_that_is_awaited_however_late_is_no_hole_and_all_is_told_in_order() -> None:
    """A recording: 40 clips overtake the first, twenty times as many as ``max_hole`` lets."""
    told: list[SmoothedScore] = []
    chain = ScoreChain("cam", SETTINGS, awaits_all=True, smoothed=told.append)
    for index in range(1, 41):
        assert chain.score(score(index, 0.9)) == []
    assert told == []
    transitions = chain.score(score(0, 0.25)) + chain.end(SegmentEnd("cam", "a", 41, "stream_end"))
    # smoothed: 0.25, (0.25 + 0.9)/2 = 0.575, then 0.9
    ends = [transitions[0], transitions[-1]]  # between them there are updates
    assert brief(ends) == [("begin", "a", 2, 3, None), ("end", "a", 2, 40, "stream_end")]
    assert [item.clip.index for item in told] == list(range(41))
    assert [item.value for item in told[:3]] == pytest.approx([0.25, 0.575, 0.9])
    assert (chain.holes, chain.late) == (0, 0)
    impatient = ScoreChain("cam", SETTINGS)
    for index in range(1, 41):
        impatient.score(score(index, 0.9))
    impatient.score(score(0, 0.25))
    assert (impatient.holes, impatient.late) == (1, 1)


def test_long_holes_are_as_long_where_all_clips_are_awaited() -> None:
    chain = ScoreChain("cam", SETTINGS, awaits_all=True)
    chain.score(score(0, 0.9))
    assert brief(chain.score(score(1, 0.9))) == [("begin", "a", 0, 1, None)]
    assert chain.drop("a", 2) == []
    assert chain.drop("a", 3) == []
    assert brief(chain.drop("a", 4)) == [("end", "a", 0, 1, "gap")]


def test_close_before_anything_came_is_nothing() -> None:
    assert ScoreChain("cam", SETTINGS).close() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": 0}, "kernel must be a whole number of at least 1, got 0"),
        ({"max_hole": -1}, "max_hole must be a whole number of at least 0, got -1"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChainSettings(alert=SETTINGS.alert, **changes)
