"""One test class over a scripted server and over a real Triton: what scoring promises holds for any Transport."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from scripted_server import ScriptedServer

from operators.background import SceneKind
from operators.heat_kind import HeatKind
from pipeline.scoring.outcomes import DropReason, Scored
from pipeline.scoring.scorer import CameraPort, ScoredModel, Scorer
from pipeline.scoring.served_model import HeatMap

pytestmark = pytest.mark.waits

TALL = 32  #: height of the second model's clips


@pytest.fixture(scope="module", params=["scripted", pytest.param("triton", marks=pytest.mark.realparts)])
def shared(request: pytest.FixtureRequest) -> Any:
    if request.param == "scripted":
        return ScriptedServer()
    new_server: Callable[[], Any] = request.getfixturevalue("new_server")
    return new_server()


@pytest.fixture
def server(shared: Any) -> Iterator[Any]:
    """A healthy server of the models `clip_scorer` and `tall`, each at version 1."""
    if not shared.running:
        shared.start()
    shared.serve()
    shared.serve("tall", name="tall", height=TALL)
    yield shared
    shared.unload("tall")


class Site:
    """A scorer of both models, with ports that hand in clips until the end."""

    def __init__(self, kit: Any, server: Any, **options: Any) -> None:
        self.kit, self.server = kit, server
        self.listener = kit.Listener()
        heat, features = options.pop("heat", False), options.pop("features", False)
        models = [
            ScoredModel("clip_scorer", kit.clip, heat=heat, features=features),
            ScoredModel("tall", replace(kit.clip, height=TALL), heat=heat),
        ]
        connect = options.pop("connect", server.transport)
        self.scorer = Scorer(server.address, models, listener=self.listener, connect=connect, **options)
        self.consumers: dict[str, Any] = {}
        self.submitted: dict[str, int] = {}
        self._ports: list[CameraPort] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Site:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        self._stop.set()
        if kind is not None:
            self.scorer.close(0.1)
            return
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        assert all(port.drain(60) for port in self._ports)
        self.scorer.close()
        for name, consumer in self.consumers.items():
            consumer.check(self.submitted[name])

    def port(self, camera: str, model: str = "clip_scorer", *, live: bool = False, capacity: int = 3) -> CameraPort:
        consumer = self.consumers[f"{camera} {model}"] = self.kit.Consumer()
        port = self.scorer.add_camera(
            camera, model=model, detector=model, live=live, capacity=capacity, deliver=consumer
        )
        self._ports.append(port)
        return port

    def submit(self, port: CameraPort, index: int, **pixels: Any) -> None:
        self.submitted[f"{port.camera} {port.detector}"] = index + 1
        height = TALL if port.detector == "tall" else self.kit.clip.height
        port.submit(self.kit.window(port.camera, index, height=height, **pixels))

    def flow(self, camera: str, model: str = "clip_scorer", *, live: bool = False, **pixels: Any) -> Any:
        """Hand in a clip every 20 ms from now on; return the consumer of their outcomes."""
        port = self.port(camera, model, live=live)

        def run() -> None:
            for index in count():
                if self._stop.wait(0.02):
                    return
                self.submit(port, index, live=live, **pixels)

        self.submitted[f"{camera} {model}"] = 0
        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()
        return self.consumers[f"{camera} {model}"]

    def scored(self, *consumers: Any, clips: int = 5) -> None:
        """Wait until each has so many more clips scored."""
        seen = [len(consumer.scored) for consumer in consumers]
        self.kit.until(
            lambda: all(len(each.scored) >= before + clips for each, before in zip(consumers, seen, strict=True))
        )


class TestEitherServer:
    def test_every_clip_is_scored_once(self, kit: Any, server: Any) -> None:
        with Site(kit, server, max_in_flight=3) as site:
            port, tall = site.port("film"), site.port("film", "tall")
            for index in range(20):
                site.submit(port, index, live=False)
                site.submit(tall, index, live=False)
        for consumer, model in zip(site.consumers.values(), ("mean", "tall"), strict=True):
            assert len(consumer.scored) == 20
            assert {(outcome.model, outcome.model_version) for outcome in consumer.outcomes} == {(model, "1")}
        assert site.listener.said == []
        assert 1 <= site.listener.most_in_flight <= 3

    def test_clips_that_the_model_fails_on_are_dropped_alone(self, kit: Any, server: Any) -> None:
        with Site(kit, server, max_in_flight=8) as site:
            port = site.port("film", capacity=12)
            for index in range(12):
                site.submit(port, index, live=False, raises=index == 3, nan=index == 7)
        consumer = site.consumers["film clip_scorer"]
        assert sorted(consumer.dropped(DropReason.ERROR)) == [3, 7]
        assert len(consumer.scored) == 10

    def test_a_live_camera_keeps_its_newest_clips_and_a_recording_waits(self, kit: Any, server: Any) -> None:
        with Site(kit, server, max_in_flight=1, deadline_seconds=60) as site:
            gate, film = site.port("gate", live=True), site.port("film", capacity=9)
            site.submit(gate, 0)
            assert gate.drain(60)
            with server.frozen():
                site.submit(gate, 1)
                kit.until(lambda: site.listener.now_in_flight)
                for index in range(2, 8):
                    site.submit(gate, index)
                    site.submit(film, index - 2, live=False)
        # A server that is frozen for long, on a machine that is busy, counts as away.
        assert site.consumers["gate clip_scorer"].dropped(DropReason.OVERLOAD, DropReason.UNAVAILABLE) == [2, 3, 4]
        assert len(site.consumers["film clip_scorer"].scored) == 6

    def test_turns_go_round_between_cameras_whatever_their_number_of_detectors(self, kit: Any, server: Any) -> None:
        with Site(kit, server, max_in_flight=1, deadline_seconds=60) as site:
            ports = [
                site.port("yard", capacity=9),
                site.port("yard", "tall", capacity=9),
                site.port("gate", capacity=9),
            ]
            for port in ports:  # each model has described itself
                site.submit(port, 0)
                assert port.drain(60)
            with server.frozen():
                site.submit(ports[2], 1)  # keeps the only slot busy
                kit.until(lambda: site.listener.now_in_flight)
                for index in range(2, 8):
                    for port in ports[:2]:
                        site.submit(port, index - 1)
                    site.submit(ports[2], index)
        # By the time of the score: one at a time is in flight, while each port delivers on a thread of its own.
        times = [
            (outcome.scored_at, name)
            for name, consumer in site.consumers.items()
            for outcome in consumer.outcomes
            if isinstance(outcome, Scored) and outcome.window.index > 0
        ]
        order = [name for _, name in sorted(times)]
        turns = [name.split()[0] for name in order[:13]]
        assert turns == ["gate", *["yard", "gate"] * 6]
        of_the_yard = [name for name in order if name.startswith("yard")]
        assert of_the_yard[:6] == ["yard clip_scorer", "yard tall"] * 3

    def test_a_model_that_is_unloaded_does_not_hold_up_the_other(self, kit: Any, server: Any) -> None:
        with Site(kit, server) as site:
            film, gate = site.flow("film"), site.flow("gate", live=True)
            tall, live = site.flow("film", "tall"), site.flow("gate", "tall", live=True)
            site.scored(film, gate, tall, live)
            server.unload("tall")
            kit.until(lambda: site.listener.said)
            waited = len(tall.scored)
            site.scored(film, gate, clips=40)
            kit.until(lambda: len(live.dropped(DropReason.UNAVAILABLE)) > 5)
            assert len(tall.scored) <= waited + site.scorer.max_in_flight
            server.load("tall")
            site.scored(film, gate, tall, live)
            server.unload()
            kit.until(lambda: len(site.listener.said) > 2)
            site.scored(tall, live, clips=40)
            server.load()
            site.scored(film, gate, tall, live)
        away = f"Triton at {server.address}"
        said = site.listener.said
        assert len(said) == 4
        assert said[0].startswith(away)
        assert "tall" in said[0]
        assert said[2].startswith(away)
        assert "clip_scorer" in said[2]
        assert said[1] == said[3] == "recovered"
        assert film.dropped() == tall.dropped() == [], "a recording lost clips"
        assert gate.dropped(DropReason.DEADLINE, DropReason.ERROR) == []

    def test_a_server_that_dies_holds_up_both_models_and_both_come_back(self, kit: Any, server: Any) -> None:
        with Site(kit, server, deadline_seconds=60) as site:
            film, tall = site.flow("film"), site.flow("film", "tall")
            site.scored(film, tall)
            server.kill()
            kit.until(lambda: site.listener.said)
            assert site.listener.said[0].startswith(f"Triton at {server.address} cannot be reached (")
            seen = len(film.scored), len(tall.scored)
            time.sleep(0.5)
            assert len(film.scored) + len(tall.scored) <= sum(seen) + site.scorer.max_in_flight
            server.start()
            server.load("tall")
            site.scored(film, tall)
        said = site.listener.said
        assert sum("cannot be reached" in line for line in said) == 1, "reported once for both models"
        assert said[-1] == "recovered"
        assert film.dropped() == tall.dropped() == []

    @pytest.mark.parametrize("answers_only", [False, True], ids=["nothing arrives", "answers get lost"])
    def test_a_connection_that_dies_without_a_sign_is_replaced(self, kit: Any, server: Any, answers_only: bool) -> None:
        with server.forgetful_path() as path, Site(kit, server, connect=path.transport) as site:
            film, tall, gate = site.flow("film"), site.flow("film", "tall"), site.flow("gate", live=True)
            site.scored(film, tall, gate)
            path.forget(answers_only=answers_only)
            died_at = time.monotonic()
            site.scored(film, tall, gate, clips=2 * site.scorer.max_in_flight)  # more than were answered before
            assert time.monotonic() - died_at < 20
            assert path.connections == 2
        assert site.listener.reconnects == [
            f"the connection to Triton at {server.address} had died without a sign (it is not answered, and a new one "
            "is): replaced; clips that were under way are sent again"
        ]
        assert film.dropped() == tall.dropped() == [], "a recording lost clips"
        assert gate.dropped() == gate.dropped(DropReason.OVERLOAD, DropReason.UNAVAILABLE), "lost in flight"
        assert gate.dropped(DropReason.UNAVAILABLE), "named as an overload to the end"
        assert site.listener.said == [], "replaced before a clip missed its deadline"

    def test_a_model_that_takes_other_clips_by_now_is_waited_for_alone(self, kit: Any, server: Any) -> None:
        with Site(kit, server) as site:
            film, tall = site.flow("film"), site.flow("film", "tall")
            site.scored(film, tall)
            server.serve("tall", name="tall", height=16)
            kit.until(lambda: site.listener.said)
            site.scored(film, clips=20)
            server.serve("tall", name="tall", height=TALL)
            site.scored(film, tall)
        assert "was trained with height 16, the site asks for height 32" in site.listener.said[0]
        assert site.listener.said[1:] == ["recovered"]
        assert tall.dropped() == film.dropped() == []

    def test_a_model_whose_process_dies_is_repaired(self, kit: Any, server: Any) -> None:
        server.load()  # twice: see test_stub_killed_and_repaired
        server.load("tall")
        with Site(kit, server, repair=True) as site:
            film, tall = site.flow("film"), site.flow("film", "tall")
            site.scored(film, tall)
            server.kill_stub()
            site.kit.until(lambda: "recovered" in site.listener.said)
            site.scored(film, tall)
        died = [line for line in site.listener.said if "has died" in line]
        assert len(died) == len(set(died)), "reported more than once for a model"
        assert film.dropped() == tall.dropped() == []

    def test_versions_change_places_and_each_score_names_its_own(self, kit: Any, server: Any) -> None:
        with Site(kit, server, heat=True) as site:
            film, tall = site.flow("film"), site.flow("film", "tall")
            site.scored(film, tall)
            server.serve(version=2, name="better", heat="anomaly")
            kit.until(lambda: film.outcomes[-1].heat is not None)
            server.serve(version=3)
            kit.until(lambda: film.outcomes[-1].model_version == "3")
            site.scored(film, tall)
        assert [(served.name, served.version) for served in site.listener.exchanges] == [("better", "2"), ("mean", "3")]
        assert site.listener.said == []
        assert film.dropped() == tall.dropped() == []
        for outcome in film.outcomes:
            assert (outcome.heat is None) or outcome.served.heat == HeatMap(2, 2, HeatKind.ANOMALY)
        hot = next(outcome for outcome in film.outcomes if outcome.heat is not None)
        pixels = hot.window.pixels.astype(float)
        expected = [[pixels[:, y : y + 8, x : x + 8].mean() / 255 for x in (0, 8)] for y in (0, 8)]
        np.testing.assert_allclose(hot.heat, expected, atol=1e-6)
        assert {outcome.model_version for outcome in tall.outcomes} == {"1"}

    def test_features_come_from_the_models_that_are_asked_and_have_them(self, kit: Any, server: Any) -> None:
        """A version without FEATURES refuses clips that ask for them; none is lost in the exchange."""
        with Site(kit, server, features=True) as site:
            film, tall = site.flow("film"), site.flow("film", "tall")
            site.scored(film, tall)
            server.serve(version=2, features=False)
            kit.until(lambda: film.outcomes[-1].model_version == "2")
            site.scored(film, clips=10)
            server.serve(version=3)
            kit.until(lambda: film.outcomes[-1].features is not None)
            site.scored(film, tall)
        assert [served.features for served in site.listener.exchanges] == [None, 4]
        assert site.listener.said == []
        assert film.dropped() == tall.dropped() == []
        described = [outcome for outcome in film.outcomes if outcome.features is not None]
        assert {outcome.model_version for outcome in described} == {"1", "3"}
        for outcome in described:
            expected = outcome.window.pixels.astype(float).mean(axis=(1, 2, 3)) / 255
            np.testing.assert_allclose(outcome.features, expected, atol=1e-6)
            assert outcome.features.flags.owndata, "a view keeps all of the answer"
        assert all(outcome.features is None for outcome in tall.outcomes), "no caller has asked"

    def test_heat_and_features_come_in_one_answer(self, kit: Any, server: Any) -> None:
        server.serve(version=2, heat="anomaly")
        with Site(kit, server, heat=True, features=True) as site:
            site.submit(site.port("film"), 0, live=False)
        (outcome,) = site.consumers["film clip_scorer"].outcomes
        assert (outcome.heat.shape, outcome.features.shape) == ((2, 2), (4,))

    def test_scenes_are_sent_to_the_versions_that_read_one(self, kit: Any, server: Any) -> None:
        """A version without the input refuses clips that are sent with a scene; none is lost in the exchange.

        A version that reads another kind of scene than the clips have scores no clip against that one.
        """

        def against_scene(outcome: Any) -> bool:
            return outcome.score == pytest.approx(kit.expected_score(outcome.window, with_scene=True), abs=1e-6)

        with Site(kit, server) as site:
            film, tall = (site.flow("film", model, scene=SceneKind.BACKGROUND) for model in ("clip_scorer", "tall"))
            site.scored(film, tall)
            server.serve(version=2, name="contrast", scene="background")
            kit.until(lambda: against_scene(film.outcomes[-1]))
            site.scored(film, clips=10)
            server.serve(version=3, scene="clip")
            kit.until(lambda: film.outcomes[-1].model_version == "3")
            site.scored(film, clips=10)
            server.serve(version=4)
            kit.until(lambda: film.outcomes[-1].model_version == "4")
            site.scored(film, tall)
        assert [(served.version, served.scene) for served in site.listener.exchanges] == [
            ("2", SceneKind.BACKGROUND),
            ("3", SceneKind.CLIP),
            ("4", None),
        ]
        assert site.listener.said == []
        assert film.dropped() == tall.dropped() == []
        assert {outcome.model_version for outcome in film.outcomes if against_scene(outcome)} == {"2"}

    def test_clips_with_and_without_a_scene_are_each_scored_as_sent(self, kit: Any, server: Any) -> None:
        server.serve(scene="clip")
        with Site(kit, server, max_in_flight=8) as site:
            port = site.port("film", capacity=20)
            for index in range(20):
                site.submit(port, index, live=False, scene=SceneKind.CLIP if index % 3 == 0 else None)
        for outcome in site.consumers["film clip_scorer"].outcomes:
            expected = kit.expected_score(outcome.window, with_scene=outcome.window.index % 3 == 0)
            assert outcome.score == pytest.approx(expected, abs=1e-6)

    def test_close_drops_waiting_clips(self, kit: Any, server: Any) -> None:
        site = Site(kit, server, max_in_flight=1, deadline_seconds=60)
        port = site.port("film", capacity=9)
        site.submit(port, 0)
        assert port.drain(60)
        with server.frozen():
            for index in range(1, 6):
                site.submit(port, index)
            kit.until(lambda: site.listener.now_in_flight)
            site.scorer.close(timeout=0.1)
        consumer = site.consumers["film clip_scorer"]
        consumer.check(6)
        assert sorted(consumer.dropped(DropReason.SHUTDOWN)) == [1, 2, 3, 4, 5]


def test_a_repair_that_takes_long_does_not_hold_up_the_other_model(kit: Any) -> None:
    """Loading a large model takes minutes; the scripted server's load takes as long as this test wants."""
    server = ScriptedServer()
    server.serve()
    server.serve("tall", name="tall", height=TALL)
    server.hold_loads.set()
    with Site(kit, server, repair=True) as site:
        film, tall = site.flow("film"), site.flow("film", "tall")
        site.scored(film, tall)
        server.kill_stub("tall")
        kit.until(lambda: not server.has_loaded("tall"))  # the repair has unloaded it
        site.scored(film, clips=40)
        server.hold_loads.clear()
        site.scored(film, tall)
    assert tall.dropped() == []
    assert site.listener.said[-1] == "recovered"
