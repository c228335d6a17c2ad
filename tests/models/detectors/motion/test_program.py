"""The program of a motion detector: what it scores, and that nothing else decides the bytes of a score."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from walking_films import HEIGHT, WIDTH, pictures

from models.data.flow import DenseFlow
from models.detectors.motion.program import MotionScorer, open_program
from operators.motion import CELL

ROWS = HEIGHT // CELL


@pytest.fixture
def scorer() -> MotionScorer:
    """Walkers of 1 and 1.5 pixels a frame are normal; a picture of deviation 2 is one in ten, the tail's scale 1."""
    return open_program(
        {
            "centre": np.tile(np.repeat([1, 1.5], ROWS // 2), (2, 1)).astype(np.float32),
            "spread": np.full((2, ROWS), 0.25, np.float32),
            "levels": np.array([0.0, 2.0]),
            "shares": np.array([0.0, 0.9]),
            "scale": np.array(1.0),
        }
    )


def clips(*, running: bool) -> np.ndarray:
    """Four clips of two frames, uint8 (4, 2, H, W, 3), in the middle of the picture."""
    shown = pictures(8, running=[(0, 8)] if running else [])
    at = (14, 16, 20, 24) if running else (30, 36, 42, 48)
    stacked = np.stack([np.stack([shown[one], shown[one + 1]]) for one in at])
    return np.repeat(stacked[..., None], 3, axis=-1)


def test_a_runner_is_rarer_than_walkers(scorer: MotionScorer) -> None:
    usual, rare = scorer.run(clips(running=False))["SCORE"], scorer.run(clips(running=True))["SCORE"]
    assert usual.shape == (4, 1)
    assert usual.max() < 0.2 < 0.4 < rare.min()


def test_heat_is_at_the_runner_and_on_the_scale_of_the_score(scorer: MotionScorer) -> None:
    found = scorer.run(clips(running=True))
    heat = found["HEAT"]
    assert heat.shape == (4, ROWS, WIDTH // CELL)
    assert ((heat >= 0) & (heat < 1)).all()
    for one, score in zip(heat, found["SCORE"][:, 0], strict=True):
        row = np.unravel_index(one.argmax(), one.shape)[0]
        assert 52 - 2 * CELL <= row * CELL < 84 + CELL  # the runner's rows, and the windows that reach them
        assert one.max() >= score
    assert found["FEATURES"].shape == (4, ROWS)


def test_the_bytes_of_a_score_do_not_depend_on_the_batch(scorer: MotionScorer) -> None:
    given = np.concatenate([clips(running=False), clips(running=True)])
    together = scorer.run(given)
    for name, values in together.items():
        alone = np.concatenate([scorer.run(given[at : at + 1])[name] for at in reversed(range(8))])[::-1]
        assert alone.tobytes() == values.tobytes()


def test_a_request_by_name_is_the_same(scorer: MotionScorer) -> None:
    given = clips(running=True)
    np.testing.assert_array_equal(scorer.run({"CLIP": given})["SCORE"], scorer.run(given)["SCORE"])


def test_the_number_of_threads_does_not_decide_a_flow() -> None:
    """On a picture of real size, and for things that move at their own speeds."""
    before, after = (cv2.resize(picture, (360, 240)) for picture in clips(running=True)[0])
    threads = cv2.getNumThreads()
    flow = DenseFlow()
    flows = []
    for number in (1, 2, 3, 8):
        cv2.setNumThreads(number)  # as other parts of the process may
        flows.append(flow.between(before, after).tobytes())
    cv2.setNumThreads(threads)
    assert len(set(flows)) == 1


def test_a_flow_is_the_way_that_things_moved() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (HEIGHT // 4, WIDTH // 4), dtype=np.uint8)
    smooth = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    moved = np.roll(smooth, (2, 3), (0, 1))
    flow = DenseFlow().between(*(np.repeat(one[..., None], 3, axis=-1) for one in (smooth, moved)))
    np.testing.assert_allclose(np.median(flow[16:-16, 16:-16], axis=(0, 1)), [3, 2], atol=0.1)


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 64, 3), (64, 8, 3)])
def test_pictures_on_which_opencv_dies_are_refused(shape: tuple[int, int, int]) -> None:
    picture = np.zeros(shape, np.uint8)
    with pytest.raises(ValueError, match="at least 16 pixels a side, got shape"):
        DenseFlow().between(picture, picture)


def test_black_clips_score_nothing(scorer: MotionScorer) -> None:
    """A server warms up with them."""
    found = scorer.run(np.zeros((2, 2, HEIGHT, WIDTH, 3), np.uint8))
    np.testing.assert_allclose(found["SCORE"], 0, atol=1e-12)
    np.testing.assert_allclose(found["HEAT"], 0, atol=1e-12)


def test_missing_arrays_are_named() -> None:
    with pytest.raises(KeyError, match="centre"):
        open_program({})
