"""The standing scene against brute force, and against scenes whose standing part is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.background import Background, BackgroundSettings, HeldScene, SceneKind, standing_scene

Picture = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 36, 60  #: neither is a multiple of the blocks
CLIP_SECONDS = 2.0
#: A place with edges and colours, none of them near black or white.
PLACE = np.random.default_rng(7).integers(40, 180, (HEIGHT, WIDTH, 3), dtype=np.uint8)
KNOWN_SECONDS = 70.0  #: eight samples, one each 10 s
PERSON = (slice(10, 24), slice(20, 44))


def clip_of(picture: Picture, frames: int = 5) -> Picture:
    return np.repeat(picture[np.newaxis], frames, axis=0)


def lit(gain: float) -> Picture:
    return np.rint(PLACE * gain).astype(np.uint8)


def with_person(picture: Picture, level: int = 0) -> Picture:
    """The picture with a person in it, darker or brighter than everything else."""
    picture = picture.copy()
    picture[PERSON] = level
    return picture


def watch(
    scene: Background, shown: Callable[[float], Picture], until: float, since: float = 0.0, segment: str = "s"
) -> Iterator[tuple[float, Picture | None]]:
    """Push a clip every two seconds; give each clip's start and the background it is scored against."""
    for start in np.arange(since, until, CLIP_SECONDS):
        yield start, scene.push(segment, start, clip_of(shown(start)))


def learned(seconds: float = 300.0) -> Background:
    """A background that has seen the empty place for so long."""
    scene = Background()
    *_, (_, given_last) = watch(scene, lambda _start: PLACE, seconds)
    np.testing.assert_array_equal(given_last, PLACE)
    return scene


def worst_block(one: Picture, other: Picture) -> float:
    difference = np.abs(one.astype(float) - other)
    return max(
        difference[top : top + 8, left : left + 8].mean()
        for top in range(0, one.shape[0], 8)
        for left in range(0, one.shape[1], 8)
    )


class TestHeldScene:
    @given(
        st.lists(st.tuples(st.integers(0, 6), st.integers(0, 60)), min_size=1, max_size=8), st.integers(0, 2**32 - 1)
    )
    def test_it_is_held_while_every_block_is_near(self, changes: list[tuple[int, int]], seed: int) -> None:
        """Each clip differs by noise and by one small spot; brute force says which of them are near enough."""
        rng = np.random.default_rng(seed)
        scene = HeldScene(tolerance=2.0)
        held: Picture | None = None
        for number, (noise, spot) in enumerate(changes):
            frames = clip_of(PLACE, 3) + rng.integers(0, noise + 1, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
            frames[:, 16:20, 16:20] += np.uint8(spot)
            median = np.sort(frames, axis=0)[1]
            found = scene.push("s", float(number), frames)
            if held is not None and worst_block(median, held) <= 2.0:
                assert found is held
            else:
                np.testing.assert_array_equal(found, median)
            held = found

    def test_small_changes_add_up(self) -> None:
        scene = HeldScene(tolerance=2.0)
        given_pictures = [scene.push("s", float(n), clip_of(PLACE + np.uint8(n))) for n in range(12)]
        assert [int(picture[0, 0, 0]) - int(PLACE[0, 0, 0]) for picture in given_pictures] == [
            0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9
        ]  # fmt: skip

    def test_a_segment_starts_with_its_own_scene(self) -> None:
        scene = HeldScene(tolerance=2.0)
        first = scene.push("a", 0.0, clip_of(PLACE))
        np.testing.assert_array_equal(scene.push("b", 0.0, clip_of(PLACE + np.uint8(1))), PLACE + np.uint8(1))
        np.testing.assert_array_equal(first, PLACE)

    def test_a_cut_has_the_scene_of_the_new_place_at_once(self) -> None:
        scene = HeldScene()
        scene.push("s", 0.0, clip_of(PLACE))
        np.testing.assert_array_equal(scene.push("s", 1.0, clip_of(PLACE[::-1])), PLACE[::-1])

    def test_what_passes_is_not_in_it(self) -> None:
        frames = clip_of(PLACE, 25)
        for at in range(25):
            frames[at, :, 2 * at : 2 * at + 8] = 250  # over any pixel for four frames
        np.testing.assert_array_equal(HeldScene().push("s", 0.0, frames), PLACE)

    def test_pictures_cannot_be_changed_by_their_readers(self) -> None:
        with pytest.raises(ValueError, match="read-only"):
            HeldScene().push("s", 0.0, clip_of(PLACE))[0, 0] = 0

    def test_a_negative_tolerance_is_refused(self) -> None:
        with pytest.raises(ValueError, match="tolerance must be at least 0"):
            HeldScene(-1.0)


class TestKnown:
    @settings(max_examples=30)
    @given(
        st.lists(st.floats(0.5, 9.0), min_size=1, max_size=30),
        st.integers(1, 9),
        st.integers(1, 9),
        st.integers(0, 2**32 - 1),
    )
    def test_it_is_the_median_of_the_last_samples(
        self, steps: list[float], samples: int, known: int, seed: int
    ) -> None:
        """Brute force: the medians of clips at least the spacing apart, the last few of them, sorted."""
        known = min(known, samples)
        rng = np.random.default_rng(seed)
        scene = Background(BackgroundSettings(seconds=4.0 * samples, samples=samples, known_after=known))
        taken: list[Picture] = []
        last, start = -np.inf, 0.0
        for step in steps:
            start += min(step, 3.9 * samples)  # a pause longer than the span starts anew
            frames = clip_of(PLACE, 3) + rng.integers(0, 5, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
            found = scene.push("s", start, frames)
            if start - last >= 4.0:
                taken.append(np.sort(frames, axis=0)[1])
                last = start
            if len(taken) < known:
                assert found is None
            else:
                of = np.sort(np.stack(taken[-samples:]), axis=0)
                np.testing.assert_array_equal(found, of[(len(of) - 1) // 2])

    def test_by_default_it_is_known_after_seventy_seconds(self) -> None:
        known = [start for start, found in watch(Background(), lambda _start: PLACE, 100.0) if found is not None]
        assert known == list(np.arange(KNOWN_SECONDS, 100.0, CLIP_SECONDS))

    def test_a_standing_picture_is_given_again_as_the_same_object(self) -> None:
        pictures = [found for _, found in watch(learned(), lambda _start: PLACE, 400.0, since=300.0)]
        assert all(picture is pictures[0] for picture in pictures)

    def test_segments_that_are_shorter_than_two_seconds_have_none(self) -> None:
        scene = Background()
        for ordinal in range(100):
            assert scene.push(f"s{ordinal}", 1.5 * ordinal, clip_of(PLACE)) is None

    def test_a_segment_starts_anew(self) -> None:
        scene = learned()
        later = [found for _, found in watch(scene, lambda _start: PLACE, 100.0, segment="t")]
        assert [found is not None for found in later] == [start >= KNOWN_SECONDS for start in np.arange(0, 100, 2)]

    @pytest.mark.parametrize(("pause", "survives"), [(200.0, True), (260.0, False)])
    def test_a_pause_that_is_shorter_than_its_span_changes_nothing(self, pause: float, survives: bool) -> None:
        given_after = learned().push("s", 298.0 + pause, clip_of(PLACE))
        assert (given_after is not None) == survives

    def test_another_size_starts_anew(self) -> None:
        assert learned().push("s", 310.0, clip_of(PLACE[:-8])) is None


class TestWhatComesToRest:
    @settings(max_examples=20)
    @given(st.floats(KNOWN_SECONDS, 400.0, exclude_min=True), st.sampled_from([0, 255]))
    def test_who_lies_still_for_a_minute_stays_visible(self, lies_down: float, level: int) -> None:
        """From whenever the background is known, it stays the empty place for the next 68 s."""
        for start, found in watch(
            Background(), lambda at: with_person(PLACE, level) if at >= lies_down else PLACE, lies_down + 68.0
        ):
            if start >= KNOWN_SECONDS:
                np.testing.assert_array_equal(found, PLACE)

    @settings(max_examples=20)
    @given(st.floats(300.0, 320.0), st.sampled_from([0, 255]))
    def test_after_about_two_minutes_it_is_part_of_the_background(self, lies_down: float, level: int) -> None:
        became = [
            start
            for start, found in watch(
                learned(), lambda at: with_person(PLACE, level) if at >= lies_down else PLACE, 500.0, since=300.0
            )
            if found is not None and (found[PERSON] == level).all()
        ]
        assert 108.0 <= became[0] - lies_down <= 132.0

    @given(st.integers(0, 2**32 - 1))
    @settings(max_examples=15)
    def test_what_passes_through_is_never_in_it(self, seed: int) -> None:
        rng = np.random.default_rng(seed)

        def shown(_start: float) -> Picture:
            picture = PLACE.copy()
            top, left = rng.integers(0, HEIGHT - 12), rng.integers(0, WIDTH - 12)
            picture[top : top + 12, left : left + 12] = rng.integers(0, 256)
            return picture

        for _, found in watch(Background(BackgroundSettings(samples=24, known_after=24)), shown, 300.0):
            if found is not None:
                assert (found != PLACE).any(axis=2).mean() < 0.01  # a spot has covered half of the samples by chance

    def test_a_lorry_before_the_camera_is_forgotten(self) -> None:
        scene = learned()
        lorry = PLACE.copy()
        lorry[:, :50] = np.random.default_rng(3).integers(0, 256, (HEIGHT, 50, 3))
        for start, found in watch(scene, lambda at: lorry if at < 318.0 else PLACE, 330.0, since=300.0):
            if start < 318.0:
                assert found is None
            else:
                np.testing.assert_array_equal(found, PLACE)


class TestLight:
    @pytest.mark.parametrize("gain", [0.5, 0.7, 1.3])
    def test_a_sudden_change_of_the_whole_light_is_followed_at_once(self, gain: float) -> None:
        found = learned().push("s", 302.0, clip_of(with_person(lit(gain))))
        assert found is not None
        assert np.abs(found.astype(float) - lit(gain)).mean() < 2.5, "nor may the person be in it, who came with it"

    def test_a_slow_change_is_followed_and_hides_no_person(self) -> None:
        """To half of the light in five minutes, with a person who lies there for the second of them."""

        def light(start: float) -> Picture:
            return lit(1.0 - 0.5 * min(max(start - 300.0, 0.0) / 300.0, 1.0))

        def shown(start: float) -> Picture:
            return with_person(light(start), 255) if 360.0 <= start < 420.0 else light(start)

        for start, found in watch(learned(), shown, 640.0, since=300.0):
            assert found is not None
            assert np.abs(found.astype(float) - light(start)).mean() < 4.0
            if 360.0 <= start < 420.0:
                assert found[PERSON].max() < 200

    def test_lamps_that_light_parts_of_the_picture_start_it_again(self) -> None:
        lamps = np.where(np.arange(WIDTH) % 20 < 10, 1.4, 0.4)[np.newaxis, :, np.newaxis]
        after = np.rint(PLACE * lamps).astype(np.uint8)
        found = dict(watch(learned(), lambda _start: after, 500.0, since=300.0))
        assert all(found[start] is None for start in np.arange(300.0, 370.0, CLIP_SECONDS)), "never the old one"
        for start in np.arange(372.0, 500.0, CLIP_SECONDS):
            np.testing.assert_array_equal(found[start], after)

    def test_a_camera_that_was_turned_starts_it_again(self) -> None:
        turned = np.roll(PLACE[::-1], 17, axis=1)
        turned[:, : WIDTH // 2] //= 3
        found = dict(watch(learned(), lambda _start: turned, 400.0, since=300.0))
        assert found[300.0] is None
        np.testing.assert_array_equal(found[398.0], turned)

    def test_a_camera_that_pans_has_no_background(self) -> None:
        """Three pixels a second, over walls and doors of 24 pixels; at times they are where others were, by chance."""
        rng = np.random.default_rng(5)
        wall = np.kron(rng.integers(20, 230, (2, 60, 1)), np.ones((HEIGHT // 2, 24, 3), int)).astype(np.uint8)
        panned = watch(Background(), lambda at: wall[:, int(3 * at) : int(3 * at) + WIDTH], 400.0)
        assert sum(found is not None for _, found in panned) <= 4  # of 200 clips

    def test_it_is_learned_anew_from_samples_that_are_far_apart(self) -> None:
        scene = Background(BackgroundSettings(seconds=600.0, samples=3, known_after=1))
        scene.push("s", 0.0, clip_of(PLACE))
        other = np.where(np.arange(WIDTH)[:, np.newaxis] % 20 < 10, 255, 0).astype(np.uint8) * np.ones_like(PLACE)
        found = dict(watch(scene, lambda _start: other, 40.0, since=10.0))
        assert found[10.0] is None
        np.testing.assert_array_equal(found[30.0], other)


@pytest.mark.parametrize(("kind", "keeper"), [(SceneKind.CLIP, HeldScene), (SceneKind.BACKGROUND, Background)])
def test_every_kind_has_its_keeper(kind: SceneKind, keeper: type) -> None:
    assert type(standing_scene(kind)) is keeper


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 0.0}, "seconds must be a number of seconds above 0"),
        ({"samples": 0}, "samples must be a whole number of at least 1"),
        ({"known_after": 0}, "known_after must be a whole number of at least 1"),
        ({"samples": 4, "known_after": 5}, r"known_after must be at most samples \(4\), got 5"),
    ],
)
def test_other_settings_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BackgroundSettings(**changes)
