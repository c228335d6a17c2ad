"""The client of a served model of places, beside a real Triton that comes late, dies, and exchanges its model."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import tritonclient.grpc as triton
from structlog.testing import capture_logs
from tiny_places import HEIGHT, PATHS, WIDTH, classes_by_torch, noise, write_places
from triton_of_brightness import Server, until

from models.places.served.card import read_served_card, version_of
from models.places.served.export import export_places
from models.serving import versions
from pipeline.scoring.places import Classified, PlacesClient, PlacesModel, describe_places, read_paths, read_things
from pipeline.scoring.served_model import ClipMismatch, ScorerUnavailable, load_version

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

#: A call that does not wait returns within this many seconds, on a busy machine too.
AT_ONCE = 0.5


class Site:
    """A Triton whose repository holds the tiny detector `clip_scorer` and two versions of a model of places."""

    def __init__(self, folder: Path) -> None:
        self.models = [write_places(folder / f"model-{seed}", seed=seed) for seed in (0, 1)]
        self.server = Server(folder)
        self.address = self.server.address
        for model in self.models:
            self.target = export_places(model, self.server.repository)
        self.names = [version_of(read_served_card(self.target / number)) for number in ("1", "2")]

    def serve(self, number: int) -> None:
        versions.serve(self.target, number)
        load_version(self.address, "places", number)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]) -> Iterator[Site]:
    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")
    site = Site(tmp_path_factory.mktemp("places"))
    yield site
    site.server.stop()


@pytest.fixture
def site(shared: Site) -> Site:
    """A running server that has version 1 loaded."""
    if not shared.server.running:
        shared.server.start()
    shared.serve(1)
    return shared


@contextmanager
def running(address: str, **options: Any) -> Iterator[tuple[PlacesClient, list[str]]]:
    """A started client, and the versions of the model that it was notified of."""
    described: list[str] = []
    client = PlacesClient(address, "places", lambda found: described.append(found.version), look_seconds=0.2, **options)
    client.start()
    try:
        yield client, described
    finally:
        client.close()


def ask(client: PlacesClient, picture: np.ndarray) -> list[Classified | None]:
    """Ask without waiting; return the list that the answer is put into."""
    answers: list[Classified | None] = []
    began = time.monotonic()
    client.classify(picture, answers.append)
    assert time.monotonic() - began < AT_ONCE
    return answers


def wait(client: PlacesClient, picture: np.ndarray) -> Classified | None:
    answers = ask(client, picture)
    until(lambda: answers)
    (answer,) = answers
    return answer


def wait_until_classified(client: PlacesClient, picture: np.ndarray) -> Classified:
    limit = time.monotonic() + 60
    while (found := wait(client, picture)) is None:
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)
    return found


def test_the_model_describes_itself(site: Site) -> None:
    client = PlacesClient(site.address, "places")
    expected = PlacesModel("places", site.names[0], "1", HEIGHT, WIDTH, PATHS, frozenset({3, 4, 5}))
    assert client.describe() == expected
    assert client.model == expected
    client.close()


def test_a_detector_is_not_a_model_of_places(site: Site) -> None:
    with triton.InferenceServerClient(site.address) as client, pytest.raises(ClipMismatch) as refused:
        describe_places(client, site.address, "clip_scorer")
    assert str(refused.value) == (
        f"the model clip_scorer at {site.address} is not a model of places (PICTURE is missing; expected a picture): "
        "serve one written by `mistwatch export`"
    )


@pytest.mark.parametrize(
    ("written", "instead", "why"),
    [
        ('key: "places"', 'key: "other"', "parameter places is missing"),
        ('key: "nodes"', 'key: "other"', "parameter nodes is missing"),
        ('"[3, 4, 5]"', '"[3, 4, 6]"', "parameter things does not list classes below 6"),
    ],
)
def test_a_configuration_that_says_too_little_is_one_line(site: Site, written: str, instead: str, why: str) -> None:
    config = site.target / "config.pbtxt"
    text = config.read_text()
    assert written in text
    try:
        config.write_text(text.replace(written, instead))
        site.server.load("places")
        with triton.InferenceServerClient(site.address) as client, pytest.raises(ClipMismatch) as refused:
            describe_places(client, site.address, "places")
    finally:
        config.write_text(text)
        site.server.load("places")
    assert f"is not a model of places ({why}): serve one written" in str(refused.value)


def test_classes_are_those_of_torch(site: Site) -> None:
    with running(site.address) as (client, described):
        wait_until_classified(client, noise())
        seen: set[int] = set()
        for seed in range(5):
            found = wait(client, noise(seed))
            assert found is not None
            assert found.classes.dtype == np.uint8
            assert found.classes.flags.owndata, "a view keeps all of the answer"
            assert (found.classes == classes_by_torch(site.models[0], noise(seed))).mean() >= 0.99
            assert found.model.version == site.names[0]
            seen |= {*np.unique(found.classes)}
        assert len(seen) >= 3
        now = client.ask_now(noise(4))
        assert np.array_equal(now.classes, found.classes)
    assert described == [site.names[0]]


def test_a_picture_of_another_size_is_not_an_outage(site: Site) -> None:
    with running(site.address) as (client, _):
        wait_until_classified(client, noise())
        with capture_logs() as logged:
            assert wait(client, noise()[:40]) is None
            assert wait(client, noise().astype(np.float32)) is None
            assert wait(client, noise()) is not None, "the client goes on at once"
    assert [line["reason"] for line in logged] == [
        "the model of places places takes pictures of uint8 (48, 64, 3), got uint8 (40, 64, 3)",
        "the model of places places takes pictures of uint8 (48, 64, 3), got float32 (48, 64, 3)",
    ]


def test_a_frozen_server_does_not_block_the_caller_and_requests_are_bounded(site: Site) -> None:
    with running(site.address) as (client, _):
        wait_until_classified(client, noise())
        with site.server.frozen(), capture_logs() as logged:
            asked = [ask(client, noise()) for _ in range(12)]
            assert [len(answers) for answers in asked] == [0] * 8 + [1] * 4, "those beyond eight have no answer"
            assert asked[-1] == [None]
        until(lambda: all(asked))
        assert [line["reason"] for line in logged] == [
            f"places at {site.address} is slower than its requests; one is left out"
        ]
        wait_until_classified(client, noise())
        assert all(answers[0] is not None for answers in asked[:8])


def test_a_server_that_is_killed_and_comes_back(site: Site) -> None:
    with capture_logs() as logged, running(site.address) as (client, described):
        wait_until_classified(client, noise())
        site.server.kill()
        until(lambda: wait(client, noise()) is None)
        until(lambda: any("waiting" in line["event"] for line in logged))
        with pytest.raises(ScorerUnavailable, match="cannot be reached"):
            client.ask_now(noise())
        site.server.start()
        found = wait_until_classified(client, noise())
        assert (found.classes == classes_by_torch(site.models[0], noise())).mean() >= 0.99
    assert described == [site.names[0]], "it is the same model"
    assert [line["event"] for line in logged if line["log_level"] == "warning"] == [
        "no places; alerts go without place",
        "waiting for the model of places; alerts go without place",
    ]


def test_a_model_whose_process_has_died_is_loaded_anew_by_its_only_user(site: Site) -> None:
    with running(site.address, repair=True) as (client, described):
        wait_until_classified(client, noise())
        site.server.kill_stub()
        until(lambda: wait(client, noise()) is None)
        wait_until_classified(client, noise())
    assert described == [site.names[0]], "it is the same model"
    site.server.unload()  # the detector's process has died, too
    site.server.load()


def test_another_version_is_followed_and_each_answer_names_its_own(site: Site) -> None:
    picture = noise()
    expected = {name: classes_by_torch(model, picture) for name, model in zip(site.names, site.models, strict=True)}
    assert (expected[site.names[0]] != expected[site.names[1]]).mean() > 0.1
    found: list[Classified | None] = []
    with running(site.address) as (client, described):
        wait_until_classified(client, picture)
        stop = threading.Event()

        def go_on() -> None:
            while not stop.wait(0.02):
                client.classify(picture, found.append)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            site.serve(2)
            until(lambda: found[-1:] != [None] and found[-1].model.version == site.names[1])
        finally:
            stop.set()
            thread.join()
    assert described == site.names
    for one in found:
        if one is not None:
            assert (one.classes == expected[one.model.version]).mean() >= 0.99


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("not JSON", "parameter nodes is not JSON"),
        ("[" * 20_000, "parameter nodes is not JSON"),
        ("{}", "does not name 1 to 255 paths"),
        ("[]", "does not name 1 to 255 paths"),
        ('["road"]', "does not name 1 to 255 paths"),
        ('[["road"], []]', "does not name 1 to 255 paths"),
        ('[["road", 3]]', "does not name 1 to 255 paths"),
        (json.dumps([[str(number)] for number in range(256)]), "does not name 1 to 255 paths"),
        ('[["road"], ["road"]]', "names a class twice"),
    ],
)
def test_paths_that_cannot_be_read(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        read_paths(text)


@pytest.mark.parametrize("text", ["", "3", "[3]", "[-1]", "[true]", '["0"]', "[" * 20_000])
def test_things_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"^parameter things "):
        read_things(text, 3)


def test_paths_and_things_are_read() -> None:
    assert read_paths('[["ground"], ["ground", "walkway"]]') == (("ground",), ("ground", "walkway"))
    assert read_things("[0, 2, 2]", 3) == {0, 2}
