"""The standing scenes of a recipe: the short one, and the long one with settings for short videos."""

from __future__ import annotations

import numpy as np
import pytest

from models.data.contrast import Contrast
from models.data.extraction import Place

EMPTY = np.full((4, 16, 16, 3), 50, np.uint8)
PARKED = EMPTY.copy()
PARKED[:, 4:8, 4:8] = 200  # something that stands still throughout the clip


def scene_after_two_empty_clips(contrast: Contrast):
    scene_of = contrast.scenes()
    for start in (0.0, 2.0):
        scene_of(Place(0, start, start + 1), EMPTY)
    return scene_of(Place(0, 4.0, 5.0), PARKED)


def test_a_short_span_knows_the_background_of_a_short_video():
    """What came to rest is in the clip's own median, which serves while the defaults know no background yet."""
    short = Contrast.model_validate(
        {"scene": "background", "background": {"seconds": 10, "samples": 5, "known_after": 2}}
    )
    assert (scene_after_two_empty_clips(short) == EMPTY[0]).all()
    for unknowing in (Contrast.model_validate({"scene": "background"}), Contrast()):
        assert (scene_after_two_empty_clips(unknowing) == PARKED[0]).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scene": "clip", "background": {}}, "need scene: background, got clip"),
        ({"scene": "background", "background": {"samples": 1, "known_after": 2}}, "known_after must be at most"),
        ({"scene": "background", "background": {"span": 1}}, "Extra inputs"),
    ],
)
def test_unusable_settings_of_the_background_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Contrast.model_validate(values)
