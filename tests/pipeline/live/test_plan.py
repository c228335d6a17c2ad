"""What the served model suggests and what the site says become one camera's clips and operators."""

from __future__ import annotations

import pytest

from pipeline.live.judging import JudgingError, chain_settings, clip_spec
from pipeline.scoring.served_model import ServedModel
from pipeline.settings import AlertTuning, ClipSettings
from pipeline.windows import ClipSpec

MODEL = ServedModel("m", "1", ClipSpec(stride=8, fps=12.5), threshold=0.7, close_threshold=0.65, kernel=3)


def test_a_site_that_says_nothing_gets_the_models_clips_and_suggestions() -> None:
    assert clip_spec(ClipSettings(), MODEL) == MODEL.clip
    chain = chain_settings(AlertTuning(), MODEL, max_in_flight=4)
    assert (chain.alert.open_threshold, chain.alert.close_threshold, chain.kernel) == (0.7, 0.65, 3)


def test_what_the_site_says_wins() -> None:
    assert clip_spec(ClipSettings(stride=16, fps="native"), MODEL) == ClipSpec(stride=16, fps=None)
    tuning = AlertTuning(open_threshold=0.5, kernel=1, min_clips=3)
    chain = chain_settings(tuning, MODEL, max_in_flight=4)
    assert (chain.alert.open_threshold, chain.kernel, chain.alert.min_clips) == (0.5, 1, 3)


def test_the_models_close_threshold_belongs_to_its_own_open_threshold() -> None:
    chain = chain_settings(AlertTuning(open_threshold=0.5), MODEL, max_in_flight=4)
    assert chain.alert.close_threshold == pytest.approx(0.4)
    chain = chain_settings(AlertTuning(open_threshold=0.5, close_threshold=0.1), MODEL, max_in_flight=4)
    assert chain.alert.close_threshold == 0.1


def test_what_is_in_flight_is_never_a_long_hole() -> None:
    assert chain_settings(AlertTuning(max_hole=2), MODEL, max_in_flight=16).max_hole == 16
    assert chain_settings(AlertTuning(max_hole=20), MODEL, max_in_flight=16).max_hole == 20


def test_a_model_without_a_threshold_needs_one_from_the_site() -> None:
    with pytest.raises(JudgingError, match=r"suggests no threshold: set alerts\.open_threshold"):
        chain_settings(AlertTuning(), ServedModel("m", "1", ClipSpec()), max_in_flight=4)


def test_thresholds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(JudgingError, match="close_threshold"):
        chain_settings(AlertTuning(close_threshold=0.9), MODEL, max_in_flight=4)
