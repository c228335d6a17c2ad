"""A connection that dies without a sign is replaced, and none else: over a scripted server, with short limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest
from scripted_server import ForgetfulPath, ScriptedServer

from pipeline.scoring.outcomes import DropReason
from pipeline.scoring.renewing import RenewingTransport
from pipeline.scoring.scorer import ScoredModel, Scorer
from pipeline.scoring.served_model import ScorerUnavailable, Trouble
from pipeline.scoring.target import Target
from pipeline.scoring.transport import Answer, Failure

#: After this much silence a connection is tested, and a test takes the other four times at most.
QUIET, SIGN_OF_LIFE = 0.1, 0.2
TESTED_SECONDS = QUIET + 4 * SIGN_OF_LIFE


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scorers with short limits."""
    short = partial(RenewingTransport, quiet_seconds=QUIET, sign_of_life_seconds=SIGN_OF_LIFE)
    monkeypatch.setattr("pipeline.scoring.scorer.RenewingTransport", short)


class Calls:
    """A renewing transport over a path that forgets, and the outcomes of its clips."""

    def __init__(self, kit: Any, server: ScriptedServer) -> None:
        self.path = ForgetfulPath(server)
        self.renewed = threading.Semaphore(0)
        self.transport = RenewingTransport(
            self.path.transport,
            on_renewed=self.renewed.release,
            quiet_seconds=QUIET,
            sign_of_life_seconds=SIGN_OF_LIFE,
        )
        self.outcomes: list[Answer | Failure] = []
        self._kit = kit

    def send(self, *, slow: int = 0, timeout_seconds: float = 60.0) -> None:
        window = self._kit.window("gate", 0, slow=slow)
        self.transport.infer(
            Target("clip_scorer"),
            window.pixels,
            scene=None,
            mask=None,
            heat=False,
            features=False,
            timeout_seconds=timeout_seconds,
            on_answer=self.outcomes.append,
        )

    def troubles(self, count: int) -> list[Trouble | None]:
        """Wait for so many outcomes."""
        self._kit.until(lambda: len(self.outcomes) >= count)
        return [one.trouble if isinstance(one, Failure) else None for one in self.outcomes]


@pytest.fixture
def server() -> ScriptedServer:
    server = ScriptedServer()
    server.serve()
    return server


@pytest.fixture
def calls(kit: Any, server: ScriptedServer) -> Iterator[Calls]:
    calls = Calls(kit, server)
    yield calls
    calls.transport.close()


@pytest.mark.parametrize("answers_only", [False, True])
def test_clips_under_way_are_cut_off_once_and_the_next_is_scored(calls: Calls, answers_only: bool) -> None:
    calls.send()
    assert calls.troubles(1) == [None]
    calls.path.forget(answers_only=answers_only)
    calls.send()
    calls.send()
    assert calls.renewed.acquire(timeout=60)
    assert calls.troubles(3) == [None, Trouble.CUT_OFF, Trouble.CUT_OFF]
    calls.send()
    assert calls.troubles(4)[3:] == [None]
    time.sleep(SIGN_OF_LIFE)  # the former connection is closed, and its calls end once more
    assert len(calls.outcomes) == 4
    assert calls.path.connections == 2


def test_a_question_under_way_is_asked_again(calls: Calls) -> None:
    calls.path.forget()
    assert calls.transport.describe(Target("clip_scorer"), timeout_seconds=60).name == "mean"
    assert calls.renewed.acquire(timeout=60)


def test_missed_deadlines_do_not_count_as_signs_of_life(calls: Calls) -> None:
    """Deadlines that are shorter than the silence that is waited for: no call is ever under way for long."""
    calls.path.forget()
    limit = time.monotonic() + 60
    troubles: set[Trouble] = set()
    while not calls.renewed.acquire(blocking=False):
        assert time.monotonic() < limit
        try:
            calls.transport.describe(Target("clip_scorer"), timeout_seconds=QUIET / 4)
        except ScorerUnavailable as error:
            troubles.add(error.trouble)
    assert troubles == {Trouble.SILENT}
    assert calls.transport.describe(Target("clip_scorer"), timeout_seconds=60).name == "mean"
    assert calls.path.connections == 2


def test_a_slow_model_keeps_its_connection(calls: Calls) -> None:
    calls.send(slow=round(2 * TESTED_SECONDS * 100))  # in units of 10 ms
    assert calls.troubles(1) == [None]
    assert calls.path.connections == 1


def test_a_link_that_is_slower_than_the_test_of_its_connection_carries_a_clip_at_last(calls: Calls) -> None:
    """Questions wait behind a clip's pixels, so that a connection at work looks like a dead one."""
    calls.path.seconds_per_clip = 1.3 * TESTED_SECONDS
    calls.path.forget()
    limit = time.monotonic() + 60
    for sent in count(1):
        calls.send()
        if (trouble := calls.troubles(sent)[-1]) is None:
            break
        assert trouble is Trouble.CUT_OFF
        assert time.monotonic() < limit, "cut off again and again"


def test_a_frozen_server_keeps_its_connection(calls: Calls, server: ScriptedServer) -> None:
    with server.frozen():
        calls.send()
        calls._kit.until(lambda: calls.path.connections == 3)  # two others were tried, without an answer
    assert calls.troubles(1) == [None]
    assert not calls.renewed.acquire(blocking=False)


def test_a_path_that_is_blocked_for_new_connections_too_is_tried_until_it_is_open(calls: Calls) -> None:
    calls.path.forget()
    calls.path.blocked = True
    calls.send()
    calls._kit.until(lambda: calls.path.connections == 3)
    assert not calls.renewed.acquire(blocking=False)
    calls.path.blocked = False
    assert calls.renewed.acquire(timeout=60)
    assert calls.troubles(1) == [Trouble.CUT_OFF]


def test_a_new_connection_that_cannot_be_made_is_tried_again(calls: Calls) -> None:
    """As while a file of its TLS is being replaced."""
    failures: list[int] = []
    make = calls.transport._connect

    def connect() -> Any:
        if len(failures) < 2:
            failures.append(1)
            raise ScorerUnavailable(Trouble.UNREACHABLE, "a file is gone")
        return make()

    calls.transport._connect = connect
    calls.path.forget()
    calls.send()
    assert calls.renewed.acquire(timeout=60)
    assert len(failures) == 2


def test_closing_does_not_wait_for_a_dead_connection(calls: Calls) -> None:
    calls.path.forget()
    calls.path.blocked = True
    calls.send()
    began = time.monotonic()
    calls.transport.close()
    assert calls.troubles(1) == [Trouble.UNREACHABLE]
    assert time.monotonic() - began < 20
    with pytest.raises(ScorerUnavailable):
        calls.transport.describe(Target("clip_scorer"), timeout_seconds=60)


@pytest.mark.usefixtures("quick")
def test_a_live_clip_that_was_cut_off_and_has_no_room_is_lost_to_the_dead_connection(
    kit: Any, server: ScriptedServer
) -> None:
    """It is the oldest, and a live camera keeps its newest clips; the server was not overloaded."""
    path = ForgetfulPath(server)
    listener, consumer = kit.Listener(), kit.Consumer()
    models = [ScoredModel("clip_scorer", kit.clip)]
    with Scorer(server.address, models, max_in_flight=1, connect=path.transport, listener=listener) as scorer:
        port = scorer.add_camera("gate", live=True, capacity=2, deliver=consumer)
        port.submit(kit.window("gate", 0))
        assert port.drain(60)
        path.forget()
        port.submit(kit.window("gate", 1))
        kit.until(lambda: listener.now_in_flight)
        port.submit(kit.window("gate", 2))
        port.submit(kit.window("gate", 3))
        assert port.drain(60)
    consumer.check(4)
    assert consumer.scored == [0, 2, 3]
    assert consumer.dropped(DropReason.UNAVAILABLE) == [1]
    assert len(listener.reconnects) == 1


@pytest.mark.usefixtures("quick")
def test_a_scorer_that_is_closed_while_its_connection_is_tested_leaves_no_thread(
    kit: Any, server: ScriptedServer
) -> None:
    path = ForgetfulPath(server)
    consumer = kit.Consumer()
    before = set(threading.enumerate())
    scorer = Scorer(server.address, [ScoredModel("clip_scorer", kit.clip)], connect=path.transport)
    port = scorer.add_camera("gate", live=True, capacity=2, deliver=consumer)
    path.blocked = True
    path.forget()
    port.submit(kit.window("gate", 0))
    kit.until(lambda: path.connections == 2)  # a new one is being tried
    scorer.close(timeout=0.1)
    scorer.close()
    assert consumer.dropped(DropReason.SHUTDOWN) == [0]
    left = set(threading.enumerate()) - before
    assert not [thread.name for thread in left if thread.name in ("connection-watch", "scorer", "deliver-gate")]
