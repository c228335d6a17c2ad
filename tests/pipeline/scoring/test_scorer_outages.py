"""The scoring client when its real Triton is late, frozen, killed, half dead, or suddenly another one.

Recordings lose nothing; live cameras lose their oldest clips; no wait is longer than needed; outages are reported once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from pipeline.scoring.outcomes import DropReason
from pipeline.scoring.scorer import Scorer, wait_for_model
from pipeline.scoring.served_model import ServedModel

pytestmark = [pytest.mark.realparts, pytest.mark.waits]


@pytest.fixture(scope="module")
def server(new_server: Callable[[], Any]) -> Any:
    """A server for this module alone: every test leaves it running and healthy."""
    server = new_server()
    server.start()
    return server


class Traffic:
    """A live camera and a recording that hand in a clip every 20 ms until stopped."""

    def __init__(self, scorer: Scorer, kit: Any) -> None:
        self.kit = kit
        self.consumers = {"gate": kit.Consumer(), "film": kit.Consumer()}
        self.submitted = {"gate": 0, "film": 0}
        self.ports = {
            name: scorer.add_camera(name, live=name == "gate", capacity=3, deliver=consumer)
            for name, consumer in self.consumers.items()
        }
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(name,)) for name in self.ports]
        for thread in self.threads:
            thread.start()

    def _run(self, name: str) -> None:
        for index in count():
            if self.stop.wait(0.02):
                return
            self.submitted[name] += 1
            self.ports[name].submit(self.kit.window(name, index, live=name == "gate"))

    @property
    def gate(self) -> Any:
        return self.consumers["gate"]

    @property
    def film(self) -> Any:
        return self.consumers["film"]

    def flows(self) -> None:
        """Wait until both are scored from now on."""
        seen = {name: len(consumer.scored) for name, consumer in self.consumers.items()}
        self.kit.until(lambda: all(len(self.consumers[name].scored) >= seen[name] + 5 for name in seen))

    def check(self) -> None:
        for name, consumer in self.consumers.items():
            consumer.check(self.submitted[name])
        assert self.film.dropped() == [], "a recording lost clips"


@contextmanager
def traffic(scorer: Scorer, kit: Any) -> Iterator[Traffic]:
    """Traffic that in the end is drained and checked: every clip came out exactly once."""
    running = Traffic(scorer, kit)
    try:
        yield running
    except BaseException:
        running.stop.set()
        scorer.close(0.1)
        raise
    running.stop.set()
    for thread in running.threads:
        thread.join(60)
        assert not thread.is_alive()
    assert all(port.drain(60) for port in running.ports.values())
    running.check()


def test_frozen_and_thawed(kit: Any, server: Any) -> None:
    listener = kit.Listener()
    with (
        Scorer(server.address, kit.models, deadline_seconds=2, listener=listener) as scorer,
        traffic(scorer, kit) as running,
    ):
        running.flows()
        with server.frozen():
            kit.until(lambda: listener.said)
            kit.until(lambda: len(running.gate.dropped(DropReason.UNAVAILABLE)) > 20)
        thawed = time.monotonic()
        kit.until(lambda: len(listener.said) > 1)
        assert listener.said_at[-1] - thawed < 15  # it tries every 2 s
        running.flows()
    assert listener.said == [
        f"Triton at {server.address} did not answer in time: it is frozen, overloaded or cut off",
        "recovered",
    ]
    assert 1 <= len(running.gate.dropped(DropReason.DEADLINE)) <= scorer.max_in_flight


def test_killed_and_started_again_on_the_same_port(kit: Any, server: Any) -> None:
    listener = kit.Listener()
    with (
        Scorer(server.address, kit.models, deadline_seconds=60, listener=listener) as scorer,
        traffic(scorer, kit) as running,
    ):
        running.flows()
        server.kill()
        killed = time.monotonic()
        kit.until(lambda: listener.said)
        assert listener.said_at[0] - killed < 20  # long before the deadline
        waited = len(running.film.scored)
        kit.until(lambda: len(running.gate.dropped(DropReason.UNAVAILABLE)) > 20)
        assert len(running.film.scored) <= waited + scorer.max_in_flight  # answered before, delivered now
        server.start()
        ready = time.monotonic()
        kit.until(lambda: listener.said[-1] == "recovered")
        assert listener.said_at[-1] - ready < 15  # it tries every 2 s
        running.flows()
    away = f"Triton at {server.address}"
    assert listener.said[0].startswith(f"{away} cannot be reached (")
    # A starting server listens before it has loaded its model, which is another kind of away.
    assert all(said.startswith(f"{away} does not serve the model clip_scorer") for said in listener.said[1:-1])
    assert len(listener.said) <= 3
    assert running.gate.dropped() == running.gate.dropped(DropReason.UNAVAILABLE, DropReason.OVERLOAD)


def test_not_there_yet(kit: Any, server: Any) -> None:
    """Cameras come first, Triton later."""
    address = server.address
    server.kill()
    listener, waited_for = kit.Listener(), kit.Listener()
    found: list[ServedModel | None] = []
    waiter = threading.Thread(
        target=lambda: found.append(wait_for_model(address, "clip_scorer", threading.Event(), waited_for))
    )
    waiter.start()
    with Scorer(address, kit.models, listener=listener) as scorer, traffic(scorer, kit) as running:
        kit.until(lambda: listener.said and waited_for.said)
        server.start()
        running.flows()
    waiter.join(60)
    assert found[0] is not None
    assert found[0].clip == kit.clip
    for heard in (listener, waited_for):
        assert heard.said[0] == f"Triton at {address} cannot be reached (connection refused)"
        assert heard.said.count(heard.said[0]) == 1
        assert heard.said[-1] == "recovered"


def test_waiting_for_a_server_can_be_stopped(kit: Any) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    listener = kit.Listener()
    began = time.monotonic()
    assert wait_for_model("127.0.0.1:1", "clip_scorer", stop, listener) is None
    assert time.monotonic() - began < 20
    assert listener.said == ["Triton at 127.0.0.1:1 cannot be reached (connection refused)"]


def test_stub_killed_and_repaired(kit: Any, server: Any) -> None:
    # A load reloads a model whose folder has changed, and the first import of a model changes it (__pycache__). Loaded
    # once more, it is as unchanged as it would be later: now a load alone would do nothing.
    server.load()
    server.load()
    listener = kit.Listener()
    with (
        Scorer(server.address, kit.models, listener=listener, repair=True) as scorer,
        traffic(scorer, kit) as running,
    ):
        running.flows()
        server.kill_stub()
        kit.until(lambda: "recovered" in listener.said)
        running.flows()
    assert listener.said[0] == (
        f"Triton at {server.address}: the process of the model clip_scorer has died; "
        "unload and load the model, or restart the server"
    )
    assert listener.said[-1] == "recovered"
    assert len(listener.said) == 2


def test_stub_killed_and_not_ours_to_repair(kit: Any, server: Any) -> None:
    listener = kit.Listener()
    with Scorer(server.address, kit.models, listener=listener) as scorer, traffic(scorer, kit) as running:
        running.flows()
        server.kill_stub()
        kit.until(lambda: listener.said)
        time.sleep(4)
        kit.until(lambda: len(running.gate.dropped(DropReason.UNAVAILABLE)) > 20)
        assert len(listener.said) == 1
        server.unload()
        server.load()
        kit.until(lambda: "recovered" in listener.said)
        running.flows()


def test_another_model_is_put_in_its_place(kit: Any, server: Any) -> None:
    """One with other clips is waited out; nothing of a recording is lost when the right one is back."""
    listener = kit.Listener()
    with Scorer(server.address, kit.models, listener=listener) as scorer:
        film = kit.Consumer()
        port = scorer.add_camera("film", live=False, capacity=3, deliver=film)
        port.submit(kit.window("film", 0))
        assert port.drain(60)
        kit.repository(server.repository, clip_height="32")
        server.load()
        port.submit(kit.window("film", 1))  # Triton itself refuses this one, and it waits
        port.submit(kit.window("film", 2))
        kit.until(lambda: listener.said)
        time.sleep(0.5)
        assert not port.drain(0)
        kit.repository(server.repository, name="median")
        server.load()
        assert port.drain(60)
    film.check(3)
    assert sorted(film.scored) == [0, 1, 2]
    assert listener.said == [
        "the served model mean (version 1) was trained with height 32, the site asks for height 16: "
        "leave out clip.height, or serve a model trained that way",
        "recovered",
    ]
    assert [outcome.model for outcome in film.outcomes] == ["mean", "median", "median"]
    kit.repository(server.repository)
    server.load()


def test_a_clip_that_a_fitting_model_refuses_again_is_dropped(kit: Any, server: Any) -> None:
    """It says that it takes such clips, and takes no batches of them: no clip would ever pass."""
    film, listener = kit.Consumer(), kit.Listener()
    config = kit.repository(server.repository) / "clip_scorer" / "config.pbtxt"
    batches = config.read_text()
    config.write_text(batches.replace("max_batch_size: 8", "max_batch_size: 0"))
    assert config.read_text() != batches
    server.load()
    try:
        with Scorer(server.address, kit.models, listener=listener) as scorer:
            port = scorer.add_camera("film", live=False, capacity=3, deliver=film)
            for index in range(3):
                port.submit(kit.window("film", index))
            assert port.drain(60)
        film.check(3)
        assert sorted(film.dropped(DropReason.ERROR)) == [0, 1, 2]
        assert all("unexpected shape for input 'CLIP'" in outcome.detail for outcome in film.outcomes)
        assert listener.said == []
    finally:
        kit.repository(server.repository)
        server.load()


def test_close_while_the_server_is_away_is_quick(kit: Any, server: Any) -> None:
    film = kit.Consumer()
    listener = kit.Listener()
    scorer = Scorer(server.address, kit.models, deadline_seconds=0.5, listener=listener)
    port = scorer.add_camera("film", live=False, capacity=3, deliver=film)
    with server.frozen():
        for index in range(3):
            port.submit(kit.window("film", index))
        kit.until(lambda: listener.said)
        began = time.monotonic()
        scorer.close(timeout=60)
        assert time.monotonic() - began < 20
    film.check(3)
    assert sorted(film.dropped(DropReason.SHUTDOWN)) == [0, 1, 2]
