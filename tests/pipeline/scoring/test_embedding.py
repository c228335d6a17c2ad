"""The client of a served embedding model, beside a real Triton that comes late, dies, and exchanges its model."""

from __future__ import annotations

import importlib.util
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import tritonclient.grpc as triton
from forgetful_proxy import ForgetfulProxy
from structlog.testing import capture_logs
from tiny_embedder import FEATURES, embedded_by_torch, make_arrays, write_embedder
from triton_of_brightness import Server, until

from models.alike.served.card import read_embedding_card
from models.alike.served.export import export_embedding
from models.serving import versions
from pipeline.scoring.embedding import Embedded, EmbeddingClient, EmbeddingModel, describe_embedding
from pipeline.scoring.served_model import ClipMismatch, ScorerUnavailable, ServedModel, load_version
from pipeline.windows import ClipSpec

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

#: A call that does not wait returns within this many seconds, on a busy machine too.
AT_ONCE = 0.5


def some_features(seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, FEATURES).astype(np.float32)


class Site:
    """A Triton whose repository holds the tiny detector `clip_scorer` and, where exported, the embedding model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Server(folder)
        self.address = self.server.address

    def export(self, *, seed: int = 0, replace: bool = True) -> str:
        """Export the embedding model with these weights; return the version of its embeddings."""
        model = self.folder / f"model-{seed}"
        if not model.exists():
            write_embedder(model, seed=seed)
        self.target = export_embedding(model, self.server.repository, replace=replace)
        return read_embedding_card(model).version

    def load(self) -> None:
        load_version(self.address, "alike", versions.served(self.target))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]) -> Iterator[Site]:
    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")
    site = Site(tmp_path_factory.mktemp("embedding"))
    yield site
    site.server.stop()


@pytest.fixture
def site(shared: Site) -> Site:
    """A running server that has the embedding model of seed 0 loaded."""
    shared.export()
    if not shared.server.running:
        shared.server.start()
    shared.load()
    return shared


class Answers:
    """Records the answers to calls, each of which must come once."""

    def __init__(self) -> None:
        self.all: list[list[Embedded | None]] = []

    def ask(self, client: EmbeddingClient, features: np.ndarray) -> list[Embedded | None]:
        """Ask without waiting; return the list that the answer is put into."""
        mine: list[Embedded | None] = []
        self.all.append(mine)
        began = time.monotonic()
        client.embed(features, mine.append)
        assert time.monotonic() - began < AT_ONCE
        return mine

    def wait(self, client: EmbeddingClient, features: np.ndarray) -> Embedded | None:
        """Ask, and wait for the answer."""
        mine = self.ask(client, features)
        until(lambda: mine)
        return mine[0]

    def wait_until_embedded(self, client: EmbeddingClient, features: np.ndarray) -> Embedded:
        """Ask again and again, until there is an embedding."""
        limit = time.monotonic() + 60
        while (found := self.wait(client, features)) is None:
            assert time.monotonic() < limit, "waited in vain"
            time.sleep(0.02)
        return found


@pytest.fixture
def answers() -> Iterator[Answers]:
    answers = Answers()
    yield answers
    assert all(len(one) == 1 for one in answers.all), "each call is answered exactly once"


@contextmanager
def running(address: str, model: str = "alike", **options: Any) -> Iterator[tuple[EmbeddingClient, list[str]]]:
    """A started client, and the versions of the embeddings that it was notified of."""
    described: list[str] = []
    client = EmbeddingClient(address, model, lambda found: described.append(found.version), look_seconds=0.2, **options)
    client.start()
    try:
        yield client, described
    finally:
        client.close()


def check_embedding(found: Embedded, features: np.ndarray, *, seed: int = 0) -> None:
    expected = embedded_by_torch(make_arrays(seed=seed), features[None])[0]
    np.testing.assert_allclose(found.values, expected, atol=2e-5)
    assert found.values.flags.owndata, "a view keeps all of the answer"


class TestDescription:
    def test_the_model_describes_itself(self, site: Site) -> None:
        client = EmbeddingClient(site.address, "alike")
        version = read_embedding_card(site.folder / "model-0").version
        number = str(versions.served(site.target))
        digest = read_embedding_card(site.folder / "model-0").features.digest
        expected = EmbeddingModel("alike", version, number, FEATURES, "i3d-kinetics400", 0.75, 0.85, digest)
        assert client.model is None
        assert client.describe() == expected
        assert client.model == expected
        client.close()

    def test_a_detector_is_not_an_embedding_model(self, site: Site) -> None:
        with triton.InferenceServerClient(site.address) as client, pytest.raises(ClipMismatch) as refused:
            describe_embedding(client, site.address, "clip_scorer")
        assert str(refused.value) == (
            f"the model clip_scorer at {site.address} is not an embedding model (FEATURES is missing; expected a "
            "vector): serve one written by `mistwatch export`"
        )

    @pytest.mark.parametrize(
        ("written", "instead", "why"),
        [
            ('key: "similarity"', 'key: "other"', "parameter similarity is missing"),
            ('"0.75"', '"1.5"', "similarity 1.5 is not in (0, 1]"),
            ('"0.75"', '"nan"', "similarity nan is not in (0, 1]"),
            ('"0.75"', '"high"', "could not convert string to float: 'high'"),
            ('key: "embedding"', 'key: "other"', "parameter embedding is missing"),
        ],
    )
    def test_a_configuration_that_says_too_little_is_one_line(
        self, site: Site, written: str, instead: str, why: str
    ) -> None:
        config = site.target / "config.pbtxt"
        text = config.read_text()
        assert written in text
        config.write_text(text.replace(written, instead))
        site.server.load("alike")
        with triton.InferenceServerClient(site.address) as client, pytest.raises(ClipMismatch) as refused:
            describe_embedding(client, site.address, "alike")
        assert f"is not an embedding model ({why}): serve one written" in str(refused.value)

    def test_a_model_that_is_not_there_is_one_line(self, site: Site) -> None:
        client = EmbeddingClient(site.address, "elsewhere")
        with pytest.raises(ScorerUnavailable, match=f"^Triton at {site.address} does not serve the model elsewhere"):
            client.describe()
        client.close()

    @pytest.mark.parametrize(
        ("features", "backbone", "has"),
        [
            (FEATURES, "i3d-kinetics400", None),
            (5, "i3d-kinetics400", "5 features of i3d-kinetics400"),
            (FEATURES, "vgg16", "4 features of vgg16"),
            (FEATURES, None, "4 features of no published network"),
            (None, "i3d-kinetics400", "no output FEATURES"),
        ],
    )
    def test_a_detector_whose_features_it_does_not_take_is_refused(
        self, features: int | None, backbone: str | None, has: str | None
    ) -> None:
        model = EmbeddingModel("alike", "tiny/0", "1", FEATURES, "i3d-kinetics400", 0.75, 0.85)
        detector = ServedModel("yard", "1", ClipSpec(4, 2, 16, 16), features=features, backbone=backbone)
        if has is None:
            model.require(detector)
            return
        with pytest.raises(ClipMismatch) as refused:
            model.require(detector)
        assert str(refused.value) == (
            f"the embedding model alike takes 4 features of i3d-kinetics400, and the detector yard has {has}: name "
            "another detector under likeness, or train an embedding model for this one"
        )

    @pytest.mark.parametrize(
        ("takes", "has", "fits"), [("aa", "aa", True), ("aa", "bb", False), (None, "bb", True), ("aa", None, True)]
    )
    def test_features_of_other_layers_are_refused_where_both_say_which_they_are(
        self, takes: str | None, has: str | None, fits: bool
    ) -> None:
        model = EmbeddingModel("alike", "tiny/0", "1", FEATURES, "i3d", 0.75, 0.85, takes)
        detector = ServedModel(
            "yard", "1", ClipSpec(4, 2, 16, 16), features=FEATURES, backbone="i3d", features_digest=has
        )
        if fits:
            model.require(detector)
            return
        with pytest.raises(ClipMismatch, match="takes features of other layers, other clips or another contrast than"):
            model.require(detector)


class TestAnswers:
    def test_embeddings_are_those_of_torch(self, site: Site, answers: Answers) -> None:
        with running(site.address) as (client, described):
            answers.wait_until_embedded(client, some_features())
            for seed in range(20):
                found = answers.wait(client, some_features(seed))
                assert found is not None
                assert found.version == read_embedding_card(site.folder / "model-0").version
                check_embedding(found, some_features(seed))
        assert described == [found.version]

    def test_many_threads_ask_at_once(self, site: Site, answers: Answers) -> None:
        with running(site.address) as (client, _):
            answers.wait_until_embedded(client, some_features())
            found: dict[int, list[Embedded | None]] = {}

            def ask(seed: int) -> None:
                found[seed] = answers.ask(client, some_features(seed))

            threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(30)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            until(lambda: all(found[seed] for seed in range(30)))
            for seed, (one,) in found.items():
                assert one is not None
                check_embedding(one, some_features(seed))

    def test_features_that_have_no_embedding_are_no_outage(self, site: Site, answers: Answers) -> None:
        bad = np.array([0.1, np.nan, 0.2, 0.3], np.float32)
        with running(site.address) as (client, _):
            answers.wait_until_embedded(client, some_features())
            with capture_logs() as logged:
                for features in (bad, bad, np.ones(5, np.float32), np.ones((1, FEATURES), np.float32)):
                    assert answers.wait(client, features) is None
                assert answers.wait(client, some_features()) is not None, "the client goes on at once"
        lines = [line["reason"] for line in logged]
        assert len(lines) == 3, "two in a row for the same reason are one line"
        assert "no embedding: features must be finite" in lines[0]
        assert lines[1] == "the embedding model alike takes 4 features, got (5,)"

    def test_a_callback_that_raises_harms_nothing(self, site: Site, answers: Answers) -> None:
        calls = []

        def raises(found: Embedded | None) -> None:
            calls.append(found)
            raise ValueError("a consumer's own")

        with running(site.address) as (client, _):
            answers.wait_until_embedded(client, some_features())
            client.embed(some_features(), raises)
            until(lambda: calls)
            assert answers.wait(client, some_features()) is not None
            client.close()
            client.embed(some_features(), raises)
        assert [found is None for found in calls] == [False, True]

    def test_a_frozen_server_does_not_block_the_caller(self, site: Site, answers: Answers) -> None:
        with running(site.address) as (client, _):
            answers.wait_until_embedded(client, some_features())
            with site.server.frozen():
                asked = [answers.ask(client, some_features()) for _ in range(5)]
                assert not any(asked)
            until(lambda: all(asked))
            answers.wait_until_embedded(client, some_features())

    def test_a_closed_client_answers_that_there_is_none(self, site: Site, answers: Answers) -> None:
        with running(site.address) as (client, _):
            answers.wait_until_embedded(client, some_features())
            with site.server.frozen():
                in_flight = answers.ask(client, some_features())
                with capture_logs() as logged:
                    client.close()
                    until(lambda: in_flight)
                    assert answers.wait(client, some_features()) is None
                    client.close()  # a second time
        assert in_flight == [None]
        assert logged == [], "the end is not an outage"

    def test_a_client_that_was_never_started_is_closed(self, site: Site, answers: Answers) -> None:
        client = EmbeddingClient(site.address, "alike")
        assert answers.wait(client, some_features()) is None
        client.close()


class TestOutages:
    def test_a_model_that_comes_later_is_found(self, site: Site, answers: Answers) -> None:
        site.server.unload("alike")
        with capture_logs() as logged, running(site.address) as (client, described):
            until(lambda: logged)
            assert answers.wait(client, some_features()) is None
            time.sleep(0.7)  # some more looks
            site.load()
            check_embedding(answers.wait_until_embedded(client, some_features()), some_features())
            assert len(described) == 1
        assert [line["event"] for line in logged] == [
            "waiting for the embedding model; alerts go without likeness",
            "the embedding model is there",
        ]

    def test_a_model_of_another_kind_is_waited_for_with_one_line(self, site: Site, answers: Answers) -> None:
        with capture_logs() as logged, running(site.address, "clip_scorer") as (client, described):
            until(lambda: logged)
            time.sleep(0.7)
            assert answers.wait(client, some_features()) is None
        assert described == []
        (line,) = logged
        assert "clip_scorer" in line["reason"]
        assert "is not an embedding model" in line["reason"]

    def test_a_server_that_is_killed_and_comes_back(self, site: Site, answers: Answers) -> None:
        with capture_logs() as logged, running(site.address) as (client, described):
            answers.wait_until_embedded(client, some_features())
            site.server.kill()
            until(lambda: answers.wait(client, some_features()) is None)
            for _ in range(20):
                assert answers.wait(client, some_features()) is None
            until(lambda: any("waiting" in line["event"] for line in logged))
            site.server.start()
            check_embedding(answers.wait_until_embedded(client, some_features()), some_features())
        assert len(described) == 1, "it is the same model"
        assert [line["event"] for line in logged if line["event"].startswith("no embeddings")] == [
            "no embeddings; alerts go without likeness"
        ]

    def test_a_model_whose_process_has_died_is_loaded_anew_by_its_only_user(self, site: Site, answers: Answers) -> None:
        with running(site.address, repair=True) as (client, described):
            answers.wait_until_embedded(client, some_features())
            site.server.kill_stub()
            until(lambda: answers.wait(client, some_features()) is None)
            check_embedding(answers.wait_until_embedded(client, some_features()), some_features())
        assert len(described) == 1, "it is the same model"
        site.server.unload()  # the detector's process has died, too
        site.server.load()

    def test_another_version_is_followed_and_each_embedding_names_its_own(self, site: Site, answers: Answers) -> None:
        first = read_embedding_card(site.folder / "model-0").version
        features = some_features()
        with ExitStack() as stack:
            logged = stack.enter_context(capture_logs())
            client, described = stack.enter_context(running(site.address))
            answers.wait_until_embedded(client, features)
            stop = threading.Event()
            found: list[Embedded | None] = []

            def go_on() -> None:
                while not stop.wait(0.01):
                    client.embed(features, found.append)

            thread = threading.Thread(target=go_on)
            thread.start()
            stack.callback(thread.join)
            stack.callback(stop.set)
            second = site.export(seed=1, replace=False)
            site.load()
            until(lambda: described[-1:] == [second] and found[-1] is not None and found[-1].version == second)
            versions.roll_back(site.target)
            site.load()
            until(lambda: described[-1:] == [first] and found[-1] is not None and found[-1].version == first)
        assert described == [first, second, first]
        seeds = {first: 0, second: 1}
        for one in found:
            if one is not None:
                check_embedding(one, features, seed=seeds[one.version])
        assert not [line for line in logged if line["log_level"] == "warning"], "an exchange is not an outage"

    def test_a_connection_that_dies_without_a_sign_is_replaced(self, site: Site, answers: Answers) -> None:
        with ForgetfulProxy(site.address) as path, running(path.address, answer_seconds=1.0) as (client, described):
            answers.wait_until_embedded(client, some_features())
            path.forget()
            assert answers.wait(client, some_features()) is None
            answers.wait_until_embedded(client, some_features())
            assert path.connections == 2
        assert len(described) == 1

    def test_a_listener_that_raises_does_not_end_the_client(self, site: Site, answers: Answers) -> None:
        def raises(_model: EmbeddingModel) -> None:
            raise RuntimeError("a listener's own")

        client = EmbeddingClient(site.address, "alike", raises, look_seconds=0.2)
        client.start()
        assert answers.wait_until_embedded(client, some_features()) is not None
        client.close()


def test_a_server_that_never_comes_is_named(answers: Answers, free: int) -> None:
    address = f"127.0.0.1:{free}"
    with capture_logs() as logged, running(address) as (client, _):
        until(lambda: logged)
        assert answers.wait(client, some_features()) is None
    assert re.fullmatch(rf"Triton at {address} cannot be reached \(.*\)", logged[0]["reason"])


@pytest.fixture
def free() -> int:
    from ports import free_port

    return free_port()
