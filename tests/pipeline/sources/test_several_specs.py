"""Several consumers of one source: decoded once, resampled apart, scaled once for each distinct size."""

from __future__ import annotations

import threading
from collections import Counter

import av
import numpy as np
import pytest

from pipeline.sources.base import Fit, Frame, FrameSpec
from pipeline.sources.decode import FramePump, received
from pipeline.sources.synthetic import SyntheticSource

SMALL, LARGE = FrameSpec(16, 16), FrameSpec(48, 64)


def pump_of(specs: list[FrameSpec]) -> FramePump:
    return FramePump("gate", live=True, specs=specs, segment_id=str, wall_clock=received)


def picture(grey: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.full((96, 128, 3), grey, np.uint8), format="rgb24")


def pushed(specs: list[FrameSpec], count: int, fps: float = 20.0) -> tuple[FramePump, list[Frame]]:
    pump = pump_of(specs)
    frames = [item for n in range(count) for item in pump.push(picture(n), n / fps) if isinstance(item, Frame)]
    return pump, frames


@pytest.mark.parametrize(
    ("specs", "scaled_a_frame"),
    [
        pytest.param([SMALL], 1, id="one"),
        pytest.param([SMALL, LARGE], 2, id="two sizes"),
        pytest.param([SMALL, SMALL, LARGE, LARGE], 2, id="two sizes, asked for twice"),
        pytest.param([SMALL, FrameSpec(16, 16, Fit.CROP)], 2, id="one size, fitted in two ways"),
    ],
)
def test_a_picture_is_scaled_once_for_each_distinct_size(specs: list[FrameSpec], scaled_a_frame: int) -> None:
    pump, frames = pushed(specs, 10)
    assert (pump.pictures, len(frames), pump.scaled) == (10, 10, 10 * scaled_a_frame)
    for frame in frames:
        assert set(frame.images) == set(specs)
        assert frame.scaled == scaled_a_frame
        for spec, image in frame.images.items():
            assert image.shape == (spec.height, spec.width, 3)


def test_different_rates_are_resampled_apart_and_share_the_scaled_picture() -> None:
    """A stream of 20 a second, 36 pictures: 10 a second and 4 a second, of two sizes."""
    specs = [FrameSpec(16, 16, fps=10.0), FrameSpec(16, 16, fps=4.0), FrameSpec(48, 64, fps=10.0)]
    pump, frames = pushed(specs, 36)
    kept = Counter(spec for frame in frames for spec in frame.images)
    assert kept == {specs[0]: 18, specs[1]: 8, specs[2]: 18}
    assert pump.scaled == sum(frame.scaled for frame in frames)
    both = [frame for frame in frames if specs[0] in frame.images and specs[1] in frame.images]
    assert both
    assert all(frame.images[specs[0]] is frame.images[specs[1]] for frame in both)
    # Each is what it would be alone.
    for spec in specs:
        _, alone = pushed([spec], 36)
        assert [f.pts_seconds for f in alone] == [f.pts_seconds for f in frames if spec in f.images]
        assert all(
            np.array_equal(one.image, other.images[spec])
            for one, other in zip(alone, (f for f in frames if spec in f.images), strict=True)
        )


def test_the_only_picture_is_asked_for_where_there_are_two() -> None:
    _, (frame,) = pushed([SMALL, LARGE], 1)
    with pytest.raises(ValueError, match="too many values"):
        _ = frame.image


def test_a_synthetic_scene_serves_two_sizes_at_once() -> None:
    source = SyntheticSource("yard", "synthetic://courtyard?fps=20&minutes=0.05")
    specs = [FrameSpec(72, 128), FrameSpec(36, 64, fps=5.0)]
    frames = [item for item in source.frames(specs, threading.Event()) if isinstance(item, Frame)]
    kept = Counter(spec for frame in frames for spec in frame.images)
    assert kept[specs[0]] == len(frames)
    assert 0 < kept[specs[1]] < len(frames)
