"""The versions that may score, by tables: exchanges forth and back, late answers, inspections. No server, no clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from operators.background import SceneKind
from operators.heat_kind import HeatKind
from pipeline.scoring.served_model import ClipMismatch, HeatMap, ServedModel
from pipeline.scoring.versions import Versions
from pipeline.windows import ClipSpec

CLIP = ClipSpec(frames=4, stride=4, height=16, width=16)
ONE, TWO = ServedModel("mean", "1", CLIP), ServedModel("mean", "2", CLIP)
OTHER_ONE = ServedModel("median", "1", CLIP)
WITH_SCENE = ServedModel("mean", "4", CLIP, scene=SceneKind.CLIP)
WITH_FEATURES = ServedModel("mean", "5", CLIP, features=4)
WITH_HEAT = ServedModel("mean", "3", CLIP, heat=HeatMap(2, 2, HeatKind.ANOMALY))


def fits(served: ServedModel) -> None:
    if served.name == "unfit":
        raise ClipMismatch("no threshold")


def inspected(
    served: ServedModel = ONE, *, heat: bool = False, features: bool = False, asked_at: float = 0.0
) -> Versions:
    versions = Versions(CLIP, fits, heat=heat, features=features)
    assert not versions.inspected
    assert not versions.inspect(served, asked_at=asked_at), "the first one replaces no other"
    return versions


def answer(versions: Versions, served: ServedModel, sent_at: float) -> bool:
    """An answer of ``served`` to a clip of ``sent_at``, described where that is needed; True for an exchange."""
    known = versions.find(served.version, sent_at=sent_at)
    if known is None:
        versions.describe(served)
        known = served
    assert known == served
    return versions.scored_by(known, sent_at=sent_at)


def test_the_inspected_version_scores() -> None:
    versions = inspected()
    assert versions.inspected
    assert versions.find("1", sent_at=1.0) == ONE
    assert versions.find("2", sent_at=1.0) is None
    assert versions.current == ONE


@pytest.mark.parametrize(
    ("answers", "exchanged", "current"),
    [
        pytest.param([(ONE, 1), (ONE, 2)], [False, False], ONE, id="the same"),
        pytest.param([(ONE, 1), (TWO, 2), (TWO, 3)], [False, True, False], TWO, id="exchanged"),
        pytest.param([(TWO, 3), (ONE, 2), (TWO, 4)], [True, False, False], TWO, id="a late answer of the former"),
        pytest.param([(TWO, 2), (ONE, 3), (ONE, 4)], [True, True, False], ONE, id="forth and back"),
        pytest.param([(TWO, 2), (OTHER_ONE, 3)], [True, True], OTHER_ONE, id="back as another model"),
    ],
)
def test_exchanges(answers: list[tuple[ServedModel, float]], exchanged: list[bool], current: ServedModel) -> None:
    versions = inspected()
    assert [answer(versions, served, sent_at) for served, sent_at in answers] == exchanged
    assert versions.current == current


def test_a_late_answer_is_the_formers_only_if_its_clip_was_sent_before_the_exchange() -> None:
    versions = inspected()
    answer(versions, TWO, 5.0)
    assert versions.find("1", sent_at=4.0) == ONE
    assert versions.find("1", sent_at=5.0) is None, "another model may have that number by now"


def test_a_former_number_that_has_described_itself_anew_is_known_by_that() -> None:
    versions = inspected()
    answer(versions, TWO, 5.0)
    versions.describe(OTHER_ONE)
    assert versions.find("1", sent_at=6.0) == OTHER_ONE


def test_an_inspection_forgets_earlier_descriptions() -> None:
    versions = inspected()
    versions.describe(TWO)
    versions.inspected = False
    assert versions.inspect(OTHER_ONE, asked_at=9.0)
    assert versions.inspected
    assert versions.find("1", sent_at=10.0) == OTHER_ONE
    assert versions.find("2", sent_at=10.0) is None


def test_an_inspection_that_finds_the_same_model_is_not_an_exchange() -> None:
    versions = inspected()
    assert not versions.inspect(ONE, asked_at=9.0)
    assert versions.current == ONE


@pytest.mark.parametrize(
    ("heat", "served", "asks"),
    [(True, WITH_HEAT, True), (True, ONE, False), (False, WITH_HEAT, False)],
)
def test_heat_is_asked_of_a_model_that_has_it(heat: bool, served: ServedModel, asks: bool) -> None:
    assert inspected(served, heat=heat).asks_heat == asks
    assert not Versions(CLIP, fits, heat=heat).asks_heat, "before the first inspection no model is known"


@pytest.mark.parametrize(
    ("features", "served", "asks"),
    [(True, WITH_FEATURES, True), (True, ONE, False), (False, WITH_FEATURES, False)],
)
def test_features_are_asked_of_a_model_that_has_them(features: bool, served: ServedModel, asks: bool) -> None:
    versions = inspected(served, features=features)
    assert (versions.asks_features, versions.asks_heat) == (asks, False)
    assert not Versions(CLIP, fits, heat=False, features=features).asks_features, "no model is known yet"


def test_a_scene_is_sent_to_a_version_that_reads_that_kind(kit: Any) -> None:
    plain, short, long = (kit.window("gate", 0, scene=kind) for kind in (None, SceneKind.CLIP, SceneKind.BACKGROUND))
    unknown_yet = replace(short, scene=None)
    versions = inspected()
    assert versions.scene_of(short) is None
    answer(versions, WITH_SCENE, 2.0)
    assert versions.scene_of(short) is short.scene is not None
    assert [versions.scene_of(window) for window in (plain, long, unknown_yet)] == [None, None, None]
    answer(versions, TWO, 3.0)
    assert versions.scene_of(short) is None
    assert Versions(CLIP, fits, heat=False).scene_of(short) is None, "before the first inspection no model is known"


def test_a_mask_is_sent_to_a_version_that_takes_that_size_and_else_its_places_are_replaced(kit: Any) -> None:
    hidden = np.zeros((16, 16), np.bool_)
    hidden[:, 8:] = True
    window = replace(kit.window("gate", 0), mask=np.array([[0, 1], [0, 1]], np.uint8), hidden=hidden)
    with_mask = replace(WITH_HEAT, takes_mask=True)
    finer = replace(with_mask, version="6", heat=HeatMap(4, 4, HeatKind.ANOMALY))
    versions = inspected(with_mask)
    assert versions.mask_of(window) is window.mask
    assert versions.pixels_of(window) is window.pixels
    for sent_at, other in enumerate((finer, TWO), 2):
        answer(versions, other, float(sent_at))
        assert versions.mask_of(window) is None
        sent = versions.pixels_of(window)
        assert (sent[:, :, 8:] == np.sort(window.pixels[:, :, 8:], axis=0)[1]).all()
        np.testing.assert_array_equal(sent[:, :, :8], window.pixels[:, :, :8])
    plain = kit.window("gate", 1)
    assert versions.pixels_of(plain) is plain.pixels


@pytest.mark.parametrize(
    ("served", "message"),
    [
        (ServedModel("unfit", "1", CLIP), "no threshold"),
        (ServedModel("mean", "1", ClipSpec(4, 4, 32, 16)), "was trained with height 32, the site asks for height 16"),
    ],
)
def test_an_unfit_version_is_refused(served: ServedModel, message: str) -> None:
    versions = Versions(CLIP, fits, heat=False)
    with pytest.raises(ClipMismatch, match=message):
        versions.require(served)
    versions.require(ONE)


def test_a_window_of_another_shape_or_type_does_not_fit(kit: Any) -> None:
    window = kit.window("gate", 0)
    assert Versions(CLIP, fits, heat=False).misfit(window) == ""
    line = Versions(ClipSpec(4, 4, 8, 16), fits, heat=False).misfit(window)
    assert line == "expected a clip of uint8 (4, 8, 16, 3), got uint8 (4, 16, 16, 3)"


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (np.zeros((16, 16, 3), np.uint8), ""),
        (np.zeros((8, 16, 3), np.uint8), "expected a scene of uint8 (16, 16, 3), got uint8 (8, 16, 3)"),
        (np.zeros((16, 16, 3), np.float32), "expected a scene of uint8 (16, 16, 3), got float32 (16, 16, 3)"),
    ],
)
def test_a_scene_of_another_shape_or_type_does_not_fit(kit: Any, scene: np.ndarray, message: str) -> None:
    window = replace(kit.window("gate", 0), scene=scene)
    assert Versions(CLIP, fits, heat=False).misfit(window) == message
