"""The limits of an outbox: updates merge, new alerts are refused, and what is delivered stays a legal alert."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.alerting import AlertState, AlertTransition
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.event import MOST_MERGED_SCORES, AlertEvent, event_from
from pipeline.alerts.outbox import Outbox
from pipeline.alerts.outbox_capacity import Fill, OutboxLimits, OutboxListener


class Alert:
    """One alert of a camera; each event has one clip, numbered like the event."""

    def __init__(self, camera: str, ordinal: int) -> None:
        self.camera, self._ordinal, self._sequence = camera, ordinal, 0

    def begin(self) -> AlertEvent:
        return self._event(AlertState.BEGIN)

    def update(self, clips: int = 1) -> AlertEvent:
        return self._event(AlertState.UPDATE, clips)

    def end(self) -> AlertEvent:
        return self._event(AlertState.END)

    def _event(self, state: AlertState, clips: int = 1) -> AlertEvent:
        sequence, self._sequence = self._sequence, self._sequence + 1

        def clip(index: int) -> ClipScore:
            start = 1000.0 * self._ordinal + index
            return ClipScore(self.camera, "segment", index, start, start + 1, 0.75, "m", "1", ClipTimes())

        newest = SmoothedScore(clip(sequence), 0.7)
        transition = AlertTransition(
            state,
            self.camera,
            "segment",
            sequence,
            clip(0),
            newest.clip,
            newest,
            0.6,
            (newest,) * clips,
            "closed" if state is AlertState.END else None,
        )
        return event_from(transition, site="yard", run="", evidence=[])


class Recorder(OutboxListener):
    def __init__(self) -> None:
        self.merged_updates: dict[str, int] = defaultdict(int)
        self.refused_alerts: list[tuple[str, str]] = []
        self.lines: list[tuple[str, str]] = []

    def merged(self, sink: str, count: int) -> None:
        self.merged_updates[sink] += count

    def refused(self, sink: str, event: Any) -> None:
        self.refused_alerts.append((sink, event.subject))

    def full(self, sink: str, fill: Fill) -> None:
        self.lines.append((sink, "full"))

    def has_room(self, sink: str) -> None:
        self.lines.append((sink, "room"))


LARGE = 10**9


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def limited(tmp_path: Path, recorder: Recorder) -> Callable[..., Outbox]:
    def make(*sinks: str, events: int = LARGE, size: int = LARGE) -> Outbox:
        return Outbox(tmp_path / "o", sinks, limits=OutboxLimits(events, size), listener=recorder)

    return make


def waiting(outbox: Outbox, sink: str) -> list[AlertEvent]:
    return outbox.deliveries(sink).pending(10**6)  # type: ignore[return-value]


class TestMerging:
    def test_updates_of_one_alert_become_one_when_the_outbox_is_full(
        self, limited: Callable[..., Outbox], recorder: Recorder
    ) -> None:
        alert = Alert("gate", 0)
        with closing(limited("kafka", events=10)) as outbox:
            for event in (alert.begin(), *(alert.update() for _ in range(8)), alert.end()):
                assert outbox.accept(event)
            assert len(waiting(outbox, "kafka")) == 10, "not full: nothing is merged"
            other = Alert("gate", 1)
            assert outbox.accept(other.begin())
            begin, update, end, _ = waiting(outbox, "kafka")
            assert [one.data.sequence for one in (begin, update, end)] == [0, 8, 9]
            assert update.id == f"{alert_id(begin)}/8"
            assert update.data.merged == 7
            assert [score.index for score in update.data.scores] == list(range(1, 9))
            assert update.data.peak.index == 8
            assert begin.data.merged is None
            assert b"merged" not in begin.to_json()
            assert outbox.fill("kafka") == Fill(4, sum(len(one.to_json()) for one in waiting(outbox, "kafka")))
        assert recorder.merged_updates == {"kafka": 7}
        assert recorder.refused_alerts == []

    def test_the_update_that_is_next_to_be_sent_stays_as_it_is(self, limited: Callable[..., Outbox]) -> None:
        """It may be on its way, or there already: the death of a process leaves no trace of that."""
        alert = Alert("gate", 0)
        begin = alert.begin()
        with closing(limited("kafka", events=5)) as outbox:
            outbox.accept(begin)
            outbox.deliveries("kafka").delivered([begin.id])
            first = alert.update()
            for event in (first, *(alert.update() for _ in range(6))):
                outbox.accept(event)
            kept, merged, *rest = waiting(outbox, "kafka")
            assert kept == first
            assert (merged.data.sequence, merged.data.merged) == (5, 3)
            assert [event.data.sequence for event in rest] == [6, 7]

    def test_a_dead_sink_changes_nothing_for_the_others(
        self, limited: Callable[..., Outbox], recorder: Recorder
    ) -> None:
        alert, seen = Alert("gate", 0), []
        with closing(limited("kafka", "webhook", events=6)) as outbox:
            for event in (alert.begin(), *(alert.update() for _ in range(30))):
                assert outbox.accept(event)
                seen += waiting(outbox, "kafka")
                outbox.deliveries("kafka").delivered([event.id])
            assert [event.data.sequence for event in seen] == list(range(31))
            assert all(event.data.merged is None for event in seen)
            late = waiting(outbox, "webhook")
            assert len(late) <= 8
            assert [score.index for event in late for score in event.data.scores] == list(range(31))
        assert set(recorder.merged_updates) == {"webhook"}

    def test_a_merged_update_stays_below_the_size_of_a_message(self, limited: Callable[..., Outbox]) -> None:
        alert = Alert("gate", 0)
        with closing(limited("kafka", events=3)) as outbox:
            outbox.accept(alert.begin())
            for _ in range(12):
                outbox.accept(alert.update(clips=200))
            merged = waiting(outbox, "kafka")[-1]
            assert len(merged.data.scores) == MOST_MERGED_SCORES
            assert merged.data.scores[-1].index == 12
            known = sum(
                len(event.data.scores) + (event.data.scores_left_out or 0) for event in waiting(outbox, "kafka")
            )
            assert known == 1 + 12 * 200
            assert len(merged.to_json()) < 500_000

    def test_many_alerts_are_merged_bit_by_bit(
        self, limited: Callable[..., Outbox], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Accepting an event never merges everything at once, and nothing is refused while there is more to merge."""
        monkeypatch.setattr("pipeline.alerts.outbox_merging.MOST_GROUPS", 2)
        monkeypatch.setattr("pipeline.alerts.outbox_capacity.MOST_GROUPS", 2)
        with closing(limited("kafka", events=50)) as outbox:
            for number in range(10):
                alert = Alert(f"camera{number}", number)
                for event in (alert.begin(), alert.update(), alert.update(), alert.update(), alert.end()):
                    outbox.accept(event)
            merged = []
            for number in range(10, 26):
                assert outbox.accept(Alert(f"camera{number}", number).begin())
                merged.append(recorder.merged_updates["kafka"])
            steps = [after - before for before, after in zip([0, *merged], merged, strict=False)]
            assert max(steps) == 4, "two alerts at once, two updates of each"
            assert outbox.fill("kafka").events == 10 * 5 + 16 - merged[-1] <= 50
            assert recorder.refused_alerts == []

    def test_events_read_before_a_merge_are_known_to_be_stale(self, limited: Callable[..., Outbox]) -> None:
        alert = Alert("gate", 0)
        with closing(limited("kafka", events=3)) as outbox:
            outbox.accept(alert.begin())
            outbox.accept(alert.update())
            before = outbox.deliveries("kafka").merges
            outbox.accept(alert.update())
            assert outbox.deliveries("kafka").merges == before + 1


class TestRefusing:
    def test_new_alerts_are_refused_with_all_their_events_and_ends_are_taken(
        self, limited: Callable[..., Outbox], recorder: Recorder
    ) -> None:
        alerts = [Alert(f"camera{number}", number) for number in range(14)]
        with closing(limited("kafka", events=10)) as outbox:
            taken = [outbox.accept(alert.begin()) for alert in alerts]
            assert taken == [True] * 10 + [None] * 4
            assert recorder.refused_alerts == [("kafka", f"camera{number}") for number in range(10, 14)]
            assert recorder.lines == [("kafka", "full")], "once, not for each alert"
            assert all(outbox.accept(alert.end()) for alert in alerts[:10])
            assert not any(outbox.accept(alert.update()) for alert in alerts[10:])
            outbox.deliveries("kafka").delivered([event.id for event in waiting(outbox, "kafka")])
            assert not any(outbox.accept(alert.end()) for alert in alerts[10:]), "there is room, and no begin"
            assert outbox.accept(Alert("camera10", 99).begin())
            assert recorder.lines == [("kafka", "full"), ("kafka", "room")]

    def test_a_refusal_holds_in_the_next_process(self, limited: Callable[..., Outbox]) -> None:
        first, second = Alert("gate", 0), Alert("hall", 1)
        with closing(limited("kafka", events=1)) as outbox:
            assert outbox.accept(first.begin())
            assert not outbox.accept(second.begin())
        with closing(limited("kafka")) as outbox:
            assert outbox.accept(first.update())
            assert not outbox.accept(second.update())
            assert not outbox.accept(second.end())

    def test_only_the_full_sink_goes_without(self, limited: Callable[..., Outbox], recorder: Recorder) -> None:
        with closing(limited("kafka", "webhook", events=2)) as outbox:
            for number in range(5):
                event = Alert("gate", number).begin()
                assert outbox.accept(event)
                outbox.deliveries("kafka").delivered([event.id])
            assert len(waiting(outbox, "webhook")) == 2
            assert recorder.refused_alerts == [("webhook", "gate")] * 3

    def test_the_bytes_count_too(self, limited: Callable[..., Outbox], recorder: Recorder) -> None:
        size = len(Alert("gate", 0).begin().to_json())
        with closing(limited("kafka", size=5 * size)) as outbox:
            for number in range(10):
                outbox.accept(Alert("gate", number).begin())
            assert outbox.fill("kafka").bytes <= 6 * size
        assert recorder.refused_alerts


def test_the_file_stays_within_twice_its_limit(limited: Callable[..., Outbox]) -> None:
    limit = 400_000
    with closing(limited("kafka", size=limit)) as outbox:
        largest = 0
        for number in range(60):
            alert = Alert(f"camera{number % 8}", number)
            for event in (alert.begin(), *(alert.update(clips=5) for _ in range(10)), alert.end()):
                outbox.accept(event)
                largest = max(largest, outbox.size_bytes())
        assert outbox.fill("kafka").bytes < 1.5 * limit
        assert largest < 2 * limit + 5_000_000, "and the log, which is cut down to 4 MiB"


def test_set_aside_events_are_bounded(
    limited: Callable[..., Outbox], monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    monkeypatch.setattr("pipeline.alerts.deliveries._MOST_SET_ASIDE", 3)
    dropped: list[int] = []
    recorder.dropped = lambda _sink, count: dropped.append(count)  # type: ignore[method-assign]
    with closing(limited("kafka")) as outbox:
        events = [Alert("gate", number).begin() for number in range(5)]
        for event in events:
            outbox.accept(event)
            outbox.deliveries("kafka").set_aside(event.id, "too large")
        assert [each.id for each in outbox.set_aside()] == [event.id for event in events[2:]]
        assert outbox.fill("kafka") == Fill(0, 0)
    assert dropped == [1, 1]


STEP = st.one_of(
    st.tuples(st.sampled_from(["begin", "update", "update", "end"]), st.integers(0, 2)),
    st.tuples(st.sampled_from(["near", "far"]), st.integers(1, 4)),
    st.tuples(st.just("reopen"), st.just(0)),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, max_size=60), st.integers(1, 8))
def test_any_sequence_delivers_legal_alerts_in_order_and_loses_no_clip(
    steps: list[tuple[str, int]], most_events: int
) -> None:
    limits, sinks = OutboxLimits(most_events, LARGE), ("near", "far")
    got: dict[str, list[AlertEvent]] = {sink: [] for sink in sinks}
    accepted: list[AlertEvent] = []
    refused: dict[str, set[str]] = {sink: set() for sink in sinks}
    open_alerts: dict[int, Alert] = {}
    recorder = Recorder()
    recorder.refused = lambda sink, event: refused[sink].add(alert_id(event))  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder) / "o", sinks, limits=limits, listener=recorder)
        for number, (step, value) in enumerate([*steps, ("near", 10**6), ("far", 10**6)]):
            if step in sinks:  # the oldest ones of each camera, as a relay sends them
                for event in waiting(outbox, step)[:value]:
                    got[step].append(event)
                    outbox.deliveries(step).delivered([event.id])
            elif step == "reopen":
                outbox.close()
                outbox = Outbox(Path(folder) / "o", sinks, limits=limits, listener=recorder)
            elif (step == "begin") == (value not in open_alerts):
                alert = open_alerts.setdefault(value, Alert(f"camera{value}", number))
                event = getattr(alert, step)()
                outbox.accept(event)
                accepted.append(event)
                if step == "end":
                    del open_alerts[value]
            assert all(outbox.fill(sink).events == len(waiting(outbox, sink)) for sink in sinks)
        outbox.close()
    for sink in sinks:
        for camera in {event.subject for event in accepted}:
            expected = [e for e in accepted if e.subject == camera and alert_id(e) not in refused[sink]]
            arrived = [e for e in got[sink] if e.subject == camera]
            order = {event.id: place for place, event in enumerate(expected)}
            places = [order[event.id] for event in arrived]
            assert places == sorted(set(places)), "in the order of acceptance, each once"
            gone = [e for e in expected if e.id not in {one.id for one in arrived}]
            assert all(event.data.state is AlertState.UPDATE for event in gone), "begins and ends never merge"
            assert sum(event.data.merged or 0 for event in arrived) == len(gone)
            clips = [(alert_id(e), score.index) for e in arrived for score in e.data.scores]
            assert clips == [(alert_id(e), score.index) for e in expected for score in e.data.scores]


def alert_id(event: AlertEvent) -> str:
    return str(event.data.alert_id)
