"""The scoring client against a real Triton that does its work: scores, bounds, fairness, deadlines, refusals."""

from __future__ import annotations

import threading
import time
from itertools import count
from typing import Any

import pytest

from pipeline.scoring.outcomes import Dropped, DropReason, Scored
from pipeline.scoring.scorer import ScoredModel, Scorer
from pipeline.windows import ClipSpec

pytestmark = [pytest.mark.realparts, pytest.mark.waits]


def test_scores_every_clip_of_a_recording_once(kit: Any, server: Any) -> None:
    consumer, listener = kit.Consumer(), kit.Listener()
    with Scorer(server.address, kit.models, max_in_flight=3, listener=listener) as scorer:
        port = scorer.add_camera("film", live=False, capacity=2, deliver=consumer)
        for index in range(60):
            port.submit(kit.window("film", index, live=False))
        assert port.drain(60)
    consumer.check(60)
    assert len(consumer.scored) == 60
    assert {(outcome.model, outcome.model_version) for outcome in consumer.outcomes} == {("mean", "1")}
    assert all(outcome.scored_at >= outcome.window.captured_at for outcome in consumer.outcomes)
    for outcome in consumer.outcomes:
        assert outcome.window.captured_monotonic <= outcome.sent_monotonic <= outcome.scored_monotonic
    assert listener.said == []
    assert 1 < listener.most_in_flight <= 3


def test_a_recording_waits_for_a_slow_server(kit: Any, server: Any) -> None:
    """20 clips of 30 ms with room for 2: handing them in takes about as long as scoring them."""
    consumer = kit.Consumer()
    with Scorer(server.address, kit.models, max_in_flight=2) as scorer:
        port = scorer.add_camera("film", live=False, capacity=2, deliver=consumer)
        began = time.monotonic()
        for index in range(20):
            port.submit(kit.window("film", index, live=False, slow=3))
        assert time.monotonic() - began > 0.030 * (20 - 2 - 2 - 1)
        assert port.drain(60)
    consumer.check(20)
    assert len(consumer.scored) == 20


@pytest.mark.parametrize(
    "starts",
    [
        pytest.param([0.0, 0.0, 0.0, 0.0], id="together"),
        pytest.param([0.0, 0.007, 0.015, 0.029, 0.033], id="in different phases"),
        pytest.param([0.0, 0.0, 0.4, 0.8], id="late comers"),
    ],
)
def test_equal_cameras_get_equal_shares_of_an_overloaded_server(kit: Any, server: Any, starts: list[float]) -> None:
    """Clips of 20 ms, offered at twice the rate that the server manages."""
    period = 0.010 * len(starts)
    listener = kit.Listener()
    stop, counting, enough = threading.Event(), threading.Event(), threading.Event()
    consumers = [kit.Consumer() for _ in starts]
    submitted = [0] * len(starts)
    counted = [0] * len(starts)

    def camera(number: int, port: Any) -> None:
        began = time.monotonic() + starts[number]
        for index in count():
            if stop.wait(max(0.0, began + index * period - time.monotonic())):
                return
            port.submit(kit.window(port.camera, index, slow=2))
            submitted[number] += 1

    def count_scored(number: int, outcome: Scored | Dropped) -> None:
        counted[number] += isinstance(outcome, Scored) and counting.is_set()
        if sum(counted) >= 150:  # 3 s at 20 ms each, on a machine that has nothing else to do
            enough.set()

    with Scorer(server.address, kit.models, max_in_flight=4, listener=listener) as scorer:
        threads = []
        for number, consumer in enumerate(consumers):
            consumer.before = lambda outcome, number=number: count_scored(number, outcome)
            port = scorer.add_camera(f"camera-{number}", live=True, capacity=4, deliver=consumer)
            threads.append(threading.Thread(target=camera, args=(number, port)))
        for thread in threads:
            thread.start()
        time.sleep(max(starts) + 0.2)
        busy_before, began = listener.clip_seconds(), time.monotonic()
        counting.set()
        finished = enough.wait(60)
        counting.clear()
        busy, took = listener.clip_seconds() - busy_before, time.monotonic() - began
        stop.set()
        for thread in threads:
            thread.join()
    for number, consumer in enumerate(consumers):
        consumer.check(submitted[number])
        assert len(consumer.dropped(DropReason.OVERLOAD)) > 0.3 * submitted[number], "this was no two-fold overload"
    assert finished, counted
    assert busy / took > 0.5 * scorer.max_in_flight, "there was room at the server while clips waited"
    assert max(counted) - min(counted) <= 0.2 * min(counted), counted


def test_a_live_camera_keeps_its_newest_clips(kit: Any, server: Any) -> None:
    consumer, listener = kit.Consumer(), kit.Listener()
    with Scorer(server.address, kit.models, max_in_flight=1, deadline_seconds=60, listener=listener) as scorer:
        port = scorer.add_camera("gate", live=True, capacity=3, deliver=consumer)
        port.submit(kit.window("gate", 0))  # the first one waits until the model has described itself
        assert port.drain(60)
        with server.frozen():
            port.submit(kit.window("gate", 1))
            kit.until(lambda: listener.now_in_flight)
            for index in range(2, 12):
                port.submit(kit.window("gate", index))
        assert port.drain(60)
    consumer.check(12)
    assert consumer.scored == [0, 1, 9, 10, 11]
    # A server that is frozen for long, on a machine that is busy, counts as away.
    assert consumer.dropped(DropReason.OVERLOAD, DropReason.UNAVAILABLE) == [2, 3, 4, 5, 6, 7, 8]


def test_a_live_clip_that_is_not_answered_in_time_is_dropped(kit: Any, server: Any) -> None:
    consumer = kit.Consumer()
    with Scorer(server.address, kit.models, max_in_flight=1, deadline_seconds=1.2) as scorer:
        port = scorer.add_camera("gate", live=True, capacity=4, deliver=consumer)
        port.submit(kit.window("gate", 0))
        assert port.drain(60)
        began = time.monotonic()
        port.submit(kit.window("gate", 1, slow=200))
        kit.until(lambda: consumer.dropped())
        assert 1.1 < time.monotonic() - began < 10
        time.sleep(1.5)  # Triton works on it still, for 2 s in all
        port.submit(kit.window("gate", 2))
        assert port.drain(60)
    consumer.check(3)
    assert consumer.dropped(DropReason.DEADLINE) == [1]
    assert consumer.scored == [0, 2]


def test_a_clip_on_which_the_model_fails_takes_no_other_with_it(kit: Any, server: Any) -> None:
    """Triton fails the whole batch: its other clips are scored all the same."""
    consumers = {name: kit.Consumer() for name in ("film", "gate")}
    listener = kit.Listener()
    with Scorer(server.address, kit.models, max_in_flight=8, listener=listener) as scorer:
        film = scorer.add_camera("film", live=False, capacity=8, deliver=consumers["film"])
        gate = scorer.add_camera("gate", live=True, capacity=20, deliver=consumers["gate"])
        for index in range(20):
            film.submit(kit.window("film", index, live=False, slow=1, raises=index in (3, 11)))
            gate.submit(kit.window("gate", index, slow=1))
        assert film.drain(60)
        assert gate.drain(60)
    for consumer in consumers.values():
        consumer.check(20)
    assert sorted(consumers["film"].dropped(DropReason.ERROR)) == [3, 11]
    assert all(
        "a green pixel" in outcome.detail for outcome in consumers["film"].outcomes if outcome.window.index in (3, 11)
    )
    assert len(consumers["gate"].scored) == 20
    assert listener.said == []


def test_a_score_that_is_none_is_dropped_with_the_reason(kit: Any, server: Any) -> None:
    consumer = kit.Consumer()
    with Scorer(server.address, kit.models) as scorer:
        port = scorer.add_camera("film", live=False, capacity=4, deliver=consumer)
        for index in range(3):
            port.submit(kit.window("film", index, nan=index == 1))
        assert port.drain(60)
    consumer.check(3)
    assert [outcome.detail for outcome in consumer.outcomes if isinstance(outcome, Dropped)] == [
        "Triton's SCORE must lie in [0, 1], got nan"
    ]


def test_a_clip_of_another_shape_is_dropped_with_the_reason(kit: Any, server: Any) -> None:
    consumer = kit.Consumer()
    with Scorer(
        server.address, [ScoredModel("clip_scorer", ClipSpec(frames=4, height=8, width=16))], max_in_flight=1
    ) as scorer:
        port = scorer.add_camera("gate", live=False, capacity=4, deliver=consumer)
        port.submit(kit.window("gate", 0))
        assert port.drain(60)
    consumer.check(1)
    assert consumer.outcomes[0].reason is DropReason.ERROR
    assert consumer.outcomes[0].detail == "expected a clip of uint8 (4, 8, 16, 3), got uint8 (4, 16, 16, 3)"


def test_a_consumer_that_raises_harms_no_other(kit: Any, server: Any) -> None:
    bad, good = kit.Consumer(), kit.Consumer()

    def fail(outcome: object) -> None:
        raise RuntimeError("disk full")

    bad.before = fail  # each time with a traceback in the log
    with Scorer(server.address, kit.models) as scorer:
        ports = [
            scorer.add_camera(name, live=False, capacity=2, deliver=consumer)
            for name, consumer in (("bad", bad), ("good", good))
        ]
        for index in range(3):
            for port in ports:
                port.submit(kit.window(port.camera, index, live=False))
        assert all(port.drain(60) for port in ports)
    bad.check(3)
    good.check(3)


def test_a_consumer_that_hangs_holds_up_its_own_camera_alone(kit: Any, server: Any) -> None:
    stuck, good = kit.Consumer(), kit.Consumer()
    release = threading.Event()
    stuck.before = lambda outcome: release.wait(120)
    submitted = 0

    def submit(port: Any) -> None:
        nonlocal submitted
        for index in range(30):
            port.submit(kit.window("stuck", index))
            submitted += 1

    with Scorer(server.address, kit.models) as scorer:
        port = scorer.add_camera("stuck", live=True, capacity=2, deliver=stuck)
        other = scorer.add_camera("good", live=False, capacity=2, deliver=good)
        thread = threading.Thread(target=submit, args=(port,))
        thread.start()
        for index in range(30):
            other.submit(kit.window("good", index, live=False, slow=1))
        assert other.drain(60)
        assert thread.is_alive(), "what the consumer does not take piles up without a bound"
        assert submitted <= 2 * 2 + scorer.max_in_flight
        release.set()
        thread.join(60)
        assert port.drain(60)
    good.check(30)
    stuck.check(30)


def test_close_drops_what_waits_and_awaits_what_is_in_flight(kit: Any, server: Any) -> None:
    film, gate, listener = kit.Consumer(), kit.Consumer(), kit.Listener()
    scorer = Scorer(server.address, kit.models, max_in_flight=1, deadline_seconds=60, listener=listener)
    port = scorer.add_camera("film", live=False, capacity=3, deliver=film)
    live = scorer.add_camera("gate", live=True, capacity=3, deliver=gate)

    def submit() -> None:
        for index in range(2, 7):  # the fourth waits for room
            port.submit(kit.window("film", index, live=False))

    thread = threading.Thread(target=submit)
    port.submit(kit.window("film", 0, live=False))
    assert port.drain(60)
    with server.frozen():
        port.submit(kit.window("film", 1, live=False))
        kit.until(lambda: listener.now_in_flight)
        thread.start()
        live.submit(kit.window("gate", 0))
        time.sleep(0.2)
        threading.Timer(0.5, server.thaw).start()
        began = time.monotonic()
        scorer.close(timeout=50)
        assert time.monotonic() - began < 20
    thread.join(20)
    assert not thread.is_alive(), "close() does not end a wait in submit()"
    live.submit(kit.window("gate", 1))
    film.check(7)
    gate.check(2)
    assert film.scored == [0, 1]
    assert sorted(film.dropped(DropReason.SHUTDOWN)) == [2, 3, 4, 5, 6]
    assert gate.dropped(DropReason.SHUTDOWN) == [0, 1]
    scorer.close()  # once more is harmless
    with pytest.raises(RuntimeError, match="closed"):
        scorer.add_camera("late", live=True, capacity=1, deliver=gate)


def test_close_does_not_wait_longer_than_it_may(kit: Any, server: Any) -> None:
    consumer, listener = kit.Consumer(), kit.Listener()
    scorer = Scorer(server.address, kit.models, max_in_flight=1, deadline_seconds=60, listener=listener)
    port = scorer.add_camera("film", live=False, capacity=3, deliver=consumer)
    port.submit(kit.window("film", 0, live=False))
    assert port.drain(60)
    with server.frozen():
        port.submit(kit.window("film", 1, live=False))
        kit.until(lambda: listener.now_in_flight)
        began = time.monotonic()
        scorer.close(timeout=0.2)
        assert time.monotonic() - began < 20
    consumer.check(2)
    assert consumer.dropped(DropReason.SHUTDOWN) == [1]


def test_close_at_any_moment_loses_no_clip(kit: Any, server: Any) -> None:
    for round_ in range(12):
        consumers = {f"camera-{number}": kit.Consumer() for number in range(4)}
        submitted = dict.fromkeys(consumers, 0)
        scorer = Scorer(server.address, kit.models, max_in_flight=3)
        closed = threading.Event()

        def camera(port: Any, submitted: dict[str, int] = submitted, closed: threading.Event = closed) -> None:
            while not closed.is_set():
                port.submit(kit.window(port.camera, submitted[port.camera], slow=submitted[port.camera] % 2))
                submitted[port.camera] += 1

        threads = []
        for number, (name, consumer) in enumerate(consumers.items()):
            port = scorer.add_camera(name, live=number % 2 == 0, capacity=2, deliver=consumer)
            threads.append(threading.Thread(target=camera, args=(port,)))
            threads[-1].start()
        time.sleep(0.01 * round_)
        scorer.close(timeout=0.02 * (round_ % 3))
        closed.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        for name, consumer in consumers.items():
            consumer.check(submitted[name])


def test_a_camera_can_be_taken_out_and_put_in_again(kit: Any, server: Any) -> None:
    first, second, other = kit.Consumer(), kit.Consumer(), kit.Consumer()
    with Scorer(server.address, kit.models, max_in_flight=1) as scorer:
        stays = scorer.add_camera("stays", live=False, capacity=9, deliver=other)
        port = scorer.add_camera("goes", live=True, capacity=4, deliver=first)
        with pytest.raises(ValueError, match="goes: added twice"):
            scorer.add_camera("goes", live=True, capacity=4, deliver=second)
        for index in range(4):
            port.submit(kit.window("goes", index, slow=60))
            stays.submit(kit.window("stays", index))
        port.close()
        again = scorer.add_camera("goes", live=True, capacity=4, deliver=second)
        again.submit(kit.window("goes", 0))
        assert again.drain(60)
        assert stays.drain(60)
    first.check(4)
    assert first.dropped(DropReason.SHUTDOWN)
    second.check(1)
    other.check(4)
    assert other.scored == [0, 1, 2, 3]


def test_no_thread_stays_behind(kit: Any, server: Any) -> None:
    before = threading.active_count()
    with Scorer(server.address, kit.models) as scorer:
        port = scorer.add_camera("film", live=False, capacity=2, deliver=kit.Consumer())
        port.submit(kit.window("film", 0))
        assert port.drain(60)
        assert threading.active_count() > before
    kit.until(lambda: threading.active_count() <= before)  # gRPC's own end a moment later


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_in_flight": 0}, "max_in_flight must be at least 1, got 0"),
        ({"deadline_seconds": 0}, "deadline_seconds must be above 0, got 0"),
    ],
)
def test_refuses_impossible_bounds(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scorer("127.0.0.1:1", [ScoredModel("clip_scorer", ClipSpec())], **arguments)


@pytest.mark.parametrize("names", [["a", "a"], ["a", "b", "a"]])
def test_refuses_a_model_named_twice(names: list[str]) -> None:
    with pytest.raises(ValueError, match="models must be named once each, got "):
        Scorer("127.0.0.1:1", [ScoredModel(name, ClipSpec()) for name in names])


def test_a_port_for_a_model_that_the_scorer_does_not_know_is_refused(kit: Any) -> None:
    with Scorer("127.0.0.1:1", [ScoredModel(name, ClipSpec()) for name in ("fights", "courtyard")]) as scorer:
        for model in (None, "fires"):
            with pytest.raises(ValueError, match=f"model must be one of fights, courtyard, got {model}"):
                scorer.add_camera("gate", model=model, live=True, capacity=1, deliver=kit.Consumer())
