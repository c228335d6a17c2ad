"""Standing scenes: computed one by one, once for each, in a bounded room."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from models.serving.kept import Results
from models.serving.standing import StandingScenes

SIZE = (4, 6, 3)
NBYTES = 4 * (3 + 1)  #: of one scene's results


class Counting:
    """Gives the mean of each colour and the sum of all of a scene, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def run(self, pictures: npt.NDArray[np.uint8]) -> Results:
        assert len(pictures) == 1, "a scene must not depend on its batch"
        self.asked.append(int(pictures[0, 0, 0, 0]))
        return {
            "COLOURS": pictures.mean(axis=(1, 2), dtype=np.float32),
            "SUM": pictures.sum(axis=(1, 2, 3), dtype=np.float32)[:, None],
        }


def scene(level: int) -> npt.NDArray[np.uint8]:
    return np.full(SIZE, level, np.uint8)


def clip(*levels: int) -> npt.NDArray[np.uint8]:
    return np.stack([scene(level) for level in levels])


def test_each_clip_has_its_own_scene_or_its_median() -> None:
    network = Counting()
    found = StandingScenes(network).of_clips(np.stack([clip(1, 9, 9), clip(5, 7, 6)]), [scene(40), None])
    np.testing.assert_array_equal(found["COLOURS"], [[40, 40, 40], [6, 6, 6]])
    np.testing.assert_array_equal(found["SUM"], [[40 * 72], [6 * 72]])
    assert network.asked == [40, 6]


def test_a_scene_that_comes_again_is_computed_once() -> None:
    network = Counting()
    scenes = StandingScenes(network)
    clips = np.stack([clip(1), clip(2), clip(3)])
    first = scenes.of_clips(clips, [scene(40), scene(41), scene(40)])
    again = scenes.of_clips(clips, [np.asfortranarray(scene(40)), scene(41), scene(40)])
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)
    assert network.asked == [40, 41]


def test_the_scene_that_was_used_least_recently_makes_room() -> None:
    network = Counting()
    scenes = StandingScenes(network, room=2 * NBYTES)
    for level in (1, 2, 1, 3, 1, 2):
        scenes.of_clips(np.stack([clip(0)]), [scene(level)])
    assert network.asked == [1, 2, 3, 2], "3 has taken the place of 2, and not that of 1"


def test_the_last_scene_is_kept_however_large() -> None:
    network = Counting()
    scenes = StandingScenes(network, room=1)
    for level in (1, 1, 2, 2, 1):
        scenes.of_clips(np.stack([clip(0)]), [scene(level)])
    assert network.asked == [1, 2, 1]


def test_medians_of_clips_take_no_room() -> None:
    network = Counting()
    scenes = StandingScenes(network, room=NBYTES)
    scenes.of_clips(np.stack([clip(0)]), [scene(40)])
    scenes.of_clips(np.stack([clip(7), clip(8)]), [None, None])
    scenes.of_clips(np.stack([clip(0)]), [scene(40)])
    assert network.asked == [40, 7, 8]


@pytest.mark.parametrize(
    ("scenes", "message"),
    [
        (
            [np.zeros((4, 8, 3), np.uint8)],
            r"a scene must be uint8 \(4, 6, 3\), the size of the clips, got uint8 \(4, 8",
        ),
        ([np.zeros(SIZE, np.float32)], r"a scene must be uint8 \(4, 6, 3\), the size of the clips, got float32"),
        ([], "expected a scene or None for each of 1 clips, got 0"),
    ],
    ids=["size", "type", "number"],
)
def test_other_scenes_are_refused(scenes: list[npt.NDArray[np.uint8]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StandingScenes(Counting()).of_clips(np.stack([clip(0)]), scenes)
