"""One version of the model takes another's place under way, forth and back, on a real Triton: no clip is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from operators.heat_kind import HeatKind
from pipeline.scoring.outcomes import Scored
from pipeline.scoring.scorer import ScoredModel, Scorer
from pipeline.scoring.served_model import ClipMismatch, HeatMap, ServedModel, served_model

pytestmark = [pytest.mark.realparts, pytest.mark.waits]


@pytest.fixture
def film(kit: Any, server: Any) -> Iterator[Any]:
    """A scorer in traffic: 4 clips in flight, each of 10 ms, until it is asked to end."""
    with Traffic(kit, server) as traffic:
        yield traffic
    kit.repository(server.repository)
    server.load()


class Traffic:
    def __init__(self, kit: Any, server: Any) -> None:
        self.kit, self.server = kit, server
        self.consumer, self.listener = kit.Consumer(), kit.Listener()
        self.submitted = 0
        self._stop = threading.Event()

    def __enter__(self) -> Traffic:
        model = ScoredModel("clip_scorer", self.kit.clip, fits=self.fits, heat=True)
        self._scorer = Scorer(self.server.address, [model], listener=self.listener)
        self.port = self._scorer.add_camera("film", live=False, capacity=4, deliver=self.consumer)
        self._thread = threading.Thread(target=self._submit)
        self._thread.start()
        self.until_version("1")
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()
        self._scorer.close()

    @staticmethod
    def fits(served: ServedModel) -> None:
        if served.threshold is None:
            raise ClipMismatch("no threshold")

    def _submit(self) -> None:
        while not self._stop.is_set():
            self.port.submit(self.kit.window("film", self.submitted, live=False, slow=1))
            self.submitted += 1

    def end(self) -> None:
        """No more clips; all are answered."""
        self._stop.set()
        self._thread.join(60)
        assert self.port.drain(60)

    def exchange(self, version: int, **changes: Any) -> None:
        self.kit.repository(self.server.repository, version=version, **changes)
        self.server.load()

    def until_version(self, version: str, clips: int = 10) -> None:
        """So many clips more have been scored by it."""
        seen = len(self.consumer.outcomes)

        def scored() -> bool:
            new = self.consumer.outcomes[seen:]
            return sum(isinstance(o, Scored) and o.model_version == version for o in new) >= clips

        self.kit.until(scored)

    @property
    def versions(self) -> list[str]:
        """Return the versions in the order of the clips, each run once; a clip sent beside an exchange may lag."""
        outcomes = sorted(self.consumer.outcomes, key=lambda outcome: outcome.window.index)
        return [version for version, _ in groupby(outcome.model_version for outcome in outcomes)]


def test_versions_change_places_forth_and_back_and_every_clip_is_scored_once(film: Any) -> None:
    film.exchange(2, name="better", threshold="0.75", kernel="1")
    film.until_version("2")
    film.exchange(1)  # the way back is the same
    film.until_version("1")
    film.end()
    film.consumer.check(film.submitted)
    assert film.consumer.dropped() == []
    assert film.listener.said == []  # no outage was reported
    assert film.versions[0] == film.versions[-1] == "1"
    assert "2" in film.versions
    assert [(e.name, e.version, e.threshold, e.kernel) for e in film.listener.exchanges] == [
        ("better", "2", 0.75, 1),
        ("mean", "1", 0.5, 3),
    ]
    for outcome in film.consumer.outcomes:
        judged = (outcome.served.name, outcome.served.threshold)
        assert judged == {"1": ("mean", 0.5), "2": ("better", 0.75)}[outcome.model_version]


@pytest.mark.parametrize("kind", list(HeatKind))
def test_heat_comes_while_the_model_has_it(film: Any, kind: HeatKind) -> None:
    assert film.consumer.outcomes[0].heat is None
    film.exchange(2, heat=kind.value)
    film.kit.until(lambda: film.consumer.outcomes[-1].heat is not None)
    scored = film.consumer.outcomes[-1]
    assert scored.served.heat == HeatMap(2, 2, kind)
    pixels = scored.window.pixels.astype(float)
    expected = [[pixels[:, y : y + 8, x : x + 8].mean() / 255 for x in (0, 8)] for y in (0, 8)]
    assert scored.heat.dtype == np.float32
    np.testing.assert_allclose(scored.heat, expected, atol=1e-6)
    film.exchange(3)  # it refuses clips that are sent with a request for heat, which must not be lost
    film.until_version("3")
    film.end()
    film.consumer.check(film.submitted)
    assert film.consumer.dropped() == []
    assert film.consumer.outcomes[-1].heat is None


def test_a_version_that_cannot_be_loaded_leaves_the_other_at_work(film: Any) -> None:
    film.kit.repository(film.server.repository, version=2)
    (film.server.repository / "clip_scorer" / "2" / "model.py").write_text("raise RuntimeError('out of luck')")
    with pytest.raises(InferenceServerException, match="out of luck"):
        film.server.load()
    film.until_version("1")
    assert served_model(film.server.address).version == "1"
    film.end()
    film.consumer.check(film.submitted)
    assert film.consumer.dropped() == []
    assert film.listener.said == []


def test_the_clips_of_a_version_that_does_not_fit_wait_until_it_is_taken_back(film: Any) -> None:
    """A version without a threshold is taken back by its operator; meanwhile nothing is judged by it."""
    film.exchange(2, threshold="")
    film.kit.until(lambda: film.listener.said)
    film.exchange(1)
    film.until_version("1")
    film.end()
    film.consumer.check(film.submitted)
    assert film.consumer.dropped() == []
    assert set(film.versions) == {"1"}
    assert film.listener.said[0] == "no threshold"
    assert film.listener.said[-1] == "recovered"


def test_the_clips_in_flight_to_a_version_of_another_size_wait_until_it_is_taken_back(film: Any) -> None:
    """Triton itself refuses them: they are of the size that the version before took."""
    film.exchange(2, clip_height="32")
    film.kit.until(lambda: film.listener.said)
    film.exchange(1)
    film.until_version("1")
    film.end()
    film.consumer.check(film.submitted)
    assert film.consumer.dropped() == []
    assert "was trained with height 32, the site asks for height 16" in film.listener.said[0]
    assert film.listener.said[-1] == "recovered"


def test_a_number_that_comes_back_as_another_model_is_judged_by_what_that_one_says(film: Any) -> None:
    film.exchange(2)
    film.until_version("2")
    film.exchange(1, name="other", threshold="0.25")
    film.until_version("1")
    film.end()
    film.consumer.check(film.submitted)
    assert film.consumer.dropped() == []
    assert film.listener.said == []
    assert [(e.name, e.version, e.threshold) for e in film.listener.exchanges] == [
        ("mean", "2", 0.5),
        ("other", "1", 0.25),
    ]
    last = film.consumer.outcomes[-1].served
    assert (last.name, last.version, last.threshold) == ("other", "1", 0.25)
