"""Place and thing of an alert: heat on a picture of known classes, through the enricher's calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import av
import numpy as np
import pytest

from operators.heat_kind import HeatKind
from pipeline.alerts.added_place import AddedPlace, Located
from pipeline.alerts.describe import describe
from pipeline.alerts.place import Place
from pipeline.alerts.place_map import PlaceMap
from pipeline.alerts.reading import read_event
from pipeline.alerts.recent_features import Moment
from pipeline.alerts.recent_heat import RecentHeat
from pipeline.heat import Heat
from pipeline.scoring.places import Classified, PlacesModel
from pipeline.sources.base import FrameSpec
from pipeline.sources.scale import Part
from tests.support.alike_alerts import begin

NODES = (("ground",), ("ground", "lawn"), ("ground", "walkway"), ("vehicle",), ("vehicle", "cart"), ("person",))
LAWN, WALKWAY, CART, PERSON = 1, 2, 4, 5
MODEL = PlacesModel("places", "yard/1", "1", 40, 80, NODES, frozenset({3, 4, 5}))
WHOLE = Part(0, 0, 800, 400)  #: of the picture
MOMENT = Moment("s", 0.0, 1.0)


def lawn_above_walkway() -> np.ndarray:
    """The upper half lawn, the lower half walkway, (40, 80)."""
    classes = np.full((40, 80), LAWN, np.uint8)
    classes[20:] = WALKWAY
    return classes


class Rig:
    """The addition over a model whose answer the test gives."""

    def __init__(self, *, with_map: bool = True, version: str = MODEL.version) -> None:
        self.asked: list[tuple[np.ndarray, Callable[[Classified | None], None]]] = []
        self.answers: list[Located | None] = []
        self.recent = RecentHeat()
        classes = lawn_above_walkway()
        empty = np.zeros((40, 80, 3), np.uint8)
        found = PlaceMap("gate", version, NODES, MODEL.things, classes, empty, datetime.now(UTC), 21)
        self.place = AddedPlace(
            lambda _picture: empty,
            lambda picture, on_answer: self.asked.append((picture, on_answer)),
            self.recent.at,
            lambda wanted: found if with_map and wanted == version else None,
        )

    def located(self, heat: Heat | None, classes: np.ndarray) -> Place:
        self.place.saw_peak(MOMENT, av.VideoFrame(800, 400, "yuv420p"), heat)
        assert self.place.ask(MOMENT, self.answers.append, final=False)
        self.asked[-1][1](Classified(classes, MODEL))
        (answer,) = self.answers
        assert answer is not None
        return self.place.value(begin(0), answer)


def heat_at(row: int, column: int, part: Part = WHOLE, kind: HeatKind = HeatKind.ANOMALY) -> Heat:
    """A map of 4 × 8 cells with one hot cell."""
    values = np.zeros((4, 8), np.float32)
    values[row, column] = 0.9
    return Heat(values, part, kind)


def with_cart() -> np.ndarray:
    classes = lawn_above_walkway()
    classes[22:28, 62:70] = CART  # within cell (2, 6) of the map: rows 20 to 29, columns 60 to 69
    classes[0:10, 0:10] = PERSON  # far from it
    return classes


@pytest.mark.parametrize("kind", list(HeatKind))
def test_the_place_is_that_of_the_map_and_the_thing_that_of_the_peaks_picture(kind: HeatKind) -> None:
    assert Rig().located(heat_at(2, 6, kind=kind), with_cart()) == Place(
        version="yard/1", place=("ground", "walkway"), object=("vehicle", "cart")
    )


def test_a_thing_is_where_it_stands_and_not_where_its_middle_is() -> None:
    classes = lawn_above_walkway()
    classes[8:22, 62:68] = CART  # its middle is before the lawn, its lowest pixels are on the walkway
    assert Rig().located(heat_at(1, 6), classes).place == ("ground", "walkway")
    assert Rig().located(heat_at(1, 6), lawn_above_walkway()).place == ("ground", "lawn")


def test_heat_of_a_crop_lies_where_the_crop_does() -> None:
    """The map covers the right half of the picture: its first column is the picture's fifth of eight."""
    right_half = Part(400, 0, 800, 400)
    place = Rig().located(heat_at(2, 4, right_half), with_cart())  # columns 60 to 64 of 80
    assert place.object == ("vehicle", "cart")
    assert Rig().located(heat_at(0, 0, right_half), with_cart()).object is None
    assert Rig().located(heat_at(0, 0), with_cart()) == Place(
        version="yard/1", place=("ground", "lawn"), object=("person",)
    )


def test_a_detector_without_heat_borrows_that_of_another_one_at_the_same_moment() -> None:
    rig = Rig()
    for start, row, column in ((-3.0, 0, 0), (0.3, 2, 6), (5.0, 0, 0)):
        values = heat_at(row, column).values
        rig.recent.add(Moment("s", start, start + 1.0), values, HeatKind.ANOMALY, FrameSpec(20, 40))
    assert rig.located(None, with_cart()).object == ("vehicle", "cart"), "of the clip that shares 0.7 s"
    assert rig.recent.at(Moment("s", 1.5, 2.5), 800, 400) is None, "no clip shares this moment"
    assert rig.recent.at(Moment("other", 0.0, 1.0), 800, 400) is None


def test_without_a_map_of_the_models_version_the_place_is_unknown_and_the_thing_known() -> None:
    for rig in (Rig(with_map=False), Rig(version="yard/0")):
        assert rig.located(heat_at(2, 6), with_cart()) == Place(
            version="yard/1", place=None, object=("vehicle", "cart")
        )


def test_a_peak_without_heat_or_with_flat_attention_is_never_asked_about() -> None:
    rig = Rig()
    flat = Heat(np.full((4, 8), 0.5, np.float32), Part(0, 0, 800, 400), HeatKind.ATTENTION)
    for heat in (None, flat):
        rig.place.saw_peak(MOMENT, av.VideoFrame(800, 400, "yuv420p"), heat)
        with pytest.raises(LookupError):
            rig.place.ask(MOMENT, rig.answers.append, final=True)


def test_a_model_that_is_away_gives_no_answer_and_can_be_asked_again_until_the_alert_is_over() -> None:
    rig = Rig()
    rig.place.saw_peak(MOMENT, av.VideoFrame(800, 400, "yuv420p"), heat_at(2, 6))
    rig.place.ask(MOMENT, rig.answers.append, final=False)
    rig.asked[0][1](None)
    assert rig.answers == [None]
    assert rig.place.ask(MOMENT, rig.answers.append, final=False)
    rig.place.forget([MOMENT])
    with pytest.raises(LookupError):
        rig.place.ask(MOMENT, rig.answers.append, final=False)


@pytest.mark.parametrize(
    ("place", "thing", "words"),
    [
        (("ground", "walkway"), ("vehicle", "cart"), "cart on walkway"),
        (("ground", "walkway"), None, "walkway"),
        (None, ("person",), "person"),
    ],
)
def test_an_alert_with_a_place_is_read_back_and_described(
    place: tuple[str, ...] | None, thing: tuple[str, ...] | None, words: str
) -> None:
    plain = begin(5)
    placed = plain.placed(Place(version="yard/1", place=place, object=thing))
    assert read_event(placed.to_json()) == placed
    assert describe(placed) == f"{describe(plain)}  {words}"
    assert b"place" not in plain.to_json()
