"""Each kind of tampering on pictures whose truth is known, and what must not be taken for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tampered_pictures import HEIGHT, WIDTH, Luma, alternates, as_luma, kinds, noisy, run, scene

from operators.tamper.kinds import Moment, TamperKind
from operators.tamper.look import COLUMNS, ROWS, look_at, structure, without_shade
from operators.tamper.machine import TamperMachine
from operators.tamper.moved import is_shifted

LEARN = 90


def blurred(picture: np.ndarray, pixels: int) -> np.ndarray:
    """Return the picture out of focus: the mean of a square."""
    kernel = np.ones(pixels) / pixels
    for axis in (0, 1):
        padded = np.pad(picture, [(pixels, pixels) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        out = np.apply_along_axis(np.convolve, axis, padded, kernel, "same")
        picture = out[pixels:-pixels] if axis == 0 else out[:, pixels:-pixels]
    return picture


def crowd(count: int, *, seed: int, light: float = 1.0) -> Iterator[Luma]:
    """Yield a scene that other people fill in every picture: no picture is much like the usual one."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        picture = scene()
        for _ in range(40):
            top, left = rng.integers(0, HEIGHT - 40), rng.integers(0, WIDTH - 14)
            picture[top : top + 40, left : left + 14] = rng.uniform(20, 230)
        yield as_luma(16 + (picture - 16) * light + rng.normal(0, 1.0, (HEIGHT, WIDTH)))


def after_learning(*parts: object, seed: int = 0) -> list[str]:
    """Return what is reported of pictures that follow a time of the usual scene."""
    return kinds(run(chain(noisy(scene(seed), LEARN), *parts)))  # type: ignore[arg-type]


class TestLook:
    def test_the_cells_are_the_means_of_a_picture(self) -> None:
        steps = np.repeat(np.arange(COLUMNS, dtype=np.uint8) * 3, WIDTH // COLUMNS)
        look = look_at(np.tile(steps, (HEIGHT, 1)))
        assert look.grey.shape == look.detail.shape == (ROWS, COLUMNS)
        np.testing.assert_allclose(look.grey[7], np.arange(COLUMNS) * 3, atol=1e-3)

    @pytest.mark.parametrize("size", [(72, 128), (240, 352), (480, 704), (1080, 1920), (2160, 3840)])
    def test_every_size_gives_the_same_cells(self, size: tuple[int, int]) -> None:
        down, across = np.mgrid[0 : 1 : ROWS * 1j, 0 : 1 : COLUMNS * 1j]
        height, width = size
        y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
        look = look_at((60 + 80 * x + 60 * y).astype(np.uint8))
        np.testing.assert_allclose(look.grey, 60 + 80 * across + 60 * down, atol=6)

    def test_a_picture_that_is_too_small_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 128x72 pixels, got 100x72"):
            look_at(np.zeros((72, 100), np.uint8))

    def test_one_other_pixel_of_a_sampled_row_is_another_digest(self) -> None:
        picture = as_luma(scene())
        other = picture.copy()
        other[::2] ^= 1
        assert look_at(picture).digest == look_at(picture.copy()).digest != look_at(other).digest

    def test_green_is_damage(self) -> None:
        picture = next(noisy(scene(), 1))
        u = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
        v = u.copy()
        assert look_at(picture, (u, v)).damaged == 0
        u[45:], v[45:] = 0, 0
        assert look_at(picture, (u, v)).damaged == pytest.approx(0.5, abs=0.02)

    def test_structure_is_what_exceeds_noise(self) -> None:
        detail = np.full((ROWS, COLUMNS), 2.0, np.float32)
        detail[10] = 7.0
        assert structure(detail).sum() == pytest.approx(5 * COLUMNS)

    def test_shade_is_the_mean_of_five_by_five_cells(self) -> None:
        rng = np.random.default_rng(0)
        grey = rng.uniform(0, 255, (ROWS, COLUMNS)).astype(np.float32)
        assert without_shade(grey)[10, 20] == pytest.approx(grey[10, 20] - grey[8:13, 18:23].mean(), abs=0.01)


class TestFrozen:
    def test_a_picture_that_repeats(self) -> None:
        still = next(noisy(scene(), 1, seed=5))
        assert after_learning([still] * 30) == ["frozen begin"]

    def test_it_ends_with_new_pictures(self) -> None:
        still = next(noisy(scene(), 1, seed=5))
        assert after_learning([still] * 30, noisy(scene(), 10, seed=6)) == ["frozen begin", "frozen cleared"]

    def test_an_encoder_that_codes_one_picture_again_and_again(self) -> None:
        turns = list(noisy(scene(), 4, seed=5))
        assert after_learning(turns * 8) == ["frozen begin"]

    def test_a_quiet_scene_has_noise(self) -> None:
        assert kinds(run(noisy(scene(), 300))) == []

    def test_a_scene_without_noise_is_not_frozen(self) -> None:
        assert kinds(run([as_luma(scene())] * 400)) == []

    def test_a_scene_without_noise_in_which_movement_ends_is_not_frozen(self) -> None:
        empty = scene()

        def walk() -> list[Luma]:
            pictures = []
            for second in range(650):
                picture = empty.copy()
                left = second * 4 % (WIDTH - 20)
                picture[75:125, left : left + 20] = 200
                pictures.append(as_luma(picture))
            return pictures

        assert kinds(run(chain(walk(), [as_luma(empty)] * 200))) == []

    def test_a_second_standstill_as_long_as_an_ordinary_one_is_not_reported(self) -> None:
        still = next(noisy(scene(), 1, seed=5))
        parts = [noisy(scene(), 5, seed=n) if n % 2 else [still] * 15 for n in range(8)]
        assert after_learning(*parts, [still] * 30) == []


class TestCorrupt:
    def test_frames_that_the_decoder_marks(self) -> None:
        machine = TamperMachine("gate")
        assert run(noisy(scene(), LEARN), machine) == []
        assert kinds(run(noisy(scene(), 30), machine, start=LEARN, marked_share=0.5)) == ["corrupt begin"]
        assert kinds(run(noisy(scene(), 90), machine, start=LEARN + 30)) == ["corrupt cleared"]

    def test_a_lost_packet_now_and_then_is_not_reported(self) -> None:
        machine = TamperMachine("gate")
        for minute in range(20):
            assert run(noisy(scene(), 1), machine, start=minute * 60, marked_share=0.8) == []
            assert run(noisy(scene(), 59), machine, start=minute * 60 + 1) == []

    @pytest.mark.parametrize("damage", ["smear", "grey"])
    def test_areas_that_were_not_decoded(self, damage: str) -> None:
        def spoiled(picture: Luma) -> Luma:
            picture = picture.copy()
            picture[110:] = picture[109] if damage == "smear" else 128
            return picture

        assert after_learning(map(spoiled, noisy(scene(), 30, seed=3))) == ["corrupt begin"]


class TestObscured:
    def test_a_cloth(self) -> None:
        assert after_learning(noisy(np.full((HEIGHT, WIDTH), 70.0), 30)) == ["covered begin"]

    def test_a_lamp(self) -> None:
        assert after_learning(noisy(np.full((HEIGHT, WIDTH), 232.0), 30)) == ["blinded begin"]

    def test_out_of_focus(self) -> None:
        assert after_learning(noisy(blurred(scene(), 12), 30)) == ["defocused begin"]

    def test_it_ends_with_the_usual_picture(self) -> None:
        cloth = noisy(np.full((HEIGHT, WIDTH), 70.0), 30)
        assert after_learning(cloth, noisy(scene(), 30)) == ["covered begin", "covered cleared"]

    def test_a_new_connection_does_not_clear_a_covered_lens(self) -> None:
        machine = TamperMachine("gate")
        cloth = np.full((HEIGHT, WIDTH), 70.0)
        run(noisy(scene(), LEARN), machine)
        assert kinds(run(noisy(cloth, 30), machine, start=LEARN)) == ["covered begin"]
        assert run(noisy(cloth, 60), machine, segment="next") == []
        assert kinds(run(noisy(scene(), 20), machine, segment="after")) == ["covered cleared"]

    def test_a_hand_for_five_seconds_is_not_reported(self) -> None:
        assert after_learning(noisy(np.full((HEIGHT, WIDTH), 70.0), 5), noisy(scene(), 30)) == []

    def test_a_lorry_in_front_of_half_the_picture_is_not_reported(self) -> None:
        lorry = scene()
        lorry[30:, 100:280] = 90
        assert after_learning(noisy(lorry, 120)) == []

    def test_light_that_is_switched_off_is_not_reported(self) -> None:
        dim = 16 + (scene() - 16) * 0.12
        assert after_learning(noisy(dim, 200, sigma=1.0)) == []

    def test_light_that_is_switched_off_over_a_crowd_is_not_reported(self) -> None:
        assert kinds(run(chain(crowd(LEARN, seed=1), crowd(100, seed=2, light=0.1)))) == []

    def test_a_crowd_out_of_focus(self) -> None:
        noise = np.random.default_rng(3)
        unfocused = (
            as_luma(blurred(picture.astype(float), 20) + noise.normal(0, 1.5, (HEIGHT, WIDTH)))
            for picture in crowd(40, seed=2)
        )
        assert kinds(run(chain(crowd(LEARN, seed=1), unfocused))) == ["defocused begin"]

    def test_paint_is_no_darkness(self) -> None:
        """A little of the view shows through it, but it is as bright as before."""
        assert after_learning(noisy(70 + (scene() - 70) * 0.1, 40, sigma=0.3)) == ["covered begin"]

    def test_dusk_is_learned(self) -> None:
        rng = np.random.default_rng(2)
        levels = np.linspace(1.0, 0.05, 900)
        dusk = (as_luma(16 + (scene() - 16) * level + rng.normal(0, 1.5, (HEIGHT, WIDTH))) for level in levels)
        assert after_learning(dusk) == []

    def test_a_black_picture_must_last_five_minutes(self) -> None:
        black = np.full((HEIGHT, WIDTH), 17.0)
        assert after_learning(noisy(black, 290, sigma=0.5)) == []
        assert after_learning(noisy(black, 320, sigma=0.5)) == ["covered begin"]

    def test_a_blank_wall_says_nothing(self) -> None:
        wall = np.full((HEIGHT, WIDTH), 120.0)
        assert kinds(run(chain(noisy(wall, LEARN), noisy(wall - 60, 60)))) == []


class TestMoved:
    @pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3])
    def test_a_turn(self, share: float) -> None:
        wide = scene(width=WIDTH * 2)
        left = round(share * WIDTH)
        found = run(chain(noisy(wide[:, :WIDTH], LEARN), noisy(wide[:, left : left + WIDTH], 120)))
        assert kinds(found) == ["moved begin"]
        assert found[0].last.pts_seconds - LEARN <= 80

    def test_another_view(self) -> None:
        assert after_learning(noisy(scene(7), 120)) == ["moved begin"]

    def test_a_knock_that_swings_back_is_not_reported(self) -> None:
        wide = scene(width=WIDTH * 2)
        parts = (noisy(wide[:, :WIDTH], LEARN), noisy(wide[:, 30 : 30 + WIDTH], 6), noisy(wide[:, :WIDTH], 120))
        assert kinds(run(chain(*parts))) == []

    def test_turned_back(self) -> None:
        assert after_learning(noisy(scene(7), 120), noisy(scene(), 60)) == ["moved begin", "moved cleared"]

    @pytest.mark.slow
    def test_a_new_view_is_usual_after_an_hour_and_its_covering_is_noticed(self) -> None:
        cloth = noisy(np.full((HEIGHT, WIDTH), 70.0), 30)
        machine = TamperMachine("gate")
        run(noisy(scene(), LEARN), machine)
        run(noisy(scene(7), 120), machine, start=LEARN)
        still = [look_at(picture) for picture in noisy(scene(7), 40)]
        found = []
        for second in range(3700):
            digest = look_at(next(noisy(scene(7), 1, seed=second))).digest if second % 50 == 0 else second
            look = still[second % 40]
            fresh = type(look)(look.grey, look.detail, digest, look.damaged)
            found += machine.push(fresh, Moment("s", 300.0 + second))
        assert kinds(found) == ["moved adopted"]
        assert kinds(run(cloth, machine, start=4000)) == ["covered begin"]

    def test_the_shift_of_a_picture_is_found(self) -> None:
        cells = without_shade(look_at(as_luma(scene(width=WIDTH * 2))[:, :WIDTH]).grey)
        shifted = without_shade(look_at(as_luma(scene(width=WIDTH * 2))[:, 26 : 26 + WIDTH]).grey)
        assert is_shifted(shifted, cells)
        assert not is_shifted(cells, cells)
        assert not is_shifted(without_shade(look_at(as_luma(scene(9))).grey), cells)


PICTURES = {
    "usual": scene(),
    "other": scene(7),
    "cloth": np.full((HEIGHT, WIDTH), 70.0),
    "lamp": np.full((HEIGHT, WIDTH), 232.0),
    "black": np.full((HEIGHT, WIDTH), 17.0),
}
LOOKS = {name: [look_at(picture) for picture in noisy(one, 5)] for name, one in PICTURES.items()}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(LOOKS)),
            st.integers(1, 80),
            st.booleans(),
            st.sampled_from([0.0, 0.4]),
            st.sampled_from([0.2, 1.0, 30.0]),
        ),
        max_size=12,
    )
)
def test_whatever_comes_begins_and_ends_alternate_and_close_ends_all(
    parts: list[tuple[str, int, bool, float, float]],
) -> None:
    machine, found, number, pts = TamperMachine("gate"), [], 0, 0.0
    for name, looks, repeats, marked, step in parts:
        for _ in range(looks):
            look = LOOKS[name][0 if repeats else number % 5]
            number += 1
            pts += step
            digest = look.digest if repeats else number
            look = type(look)(look.grey, look.detail, digest, look.damaged)
            found += machine.push(look, Moment(str(len(parts)), pts), marked)
            obscured = machine.open & {TamperKind.COVERED, TamperKind.BLINDED, TamperKind.DEFOCUSED}
            assert len(obscured) <= 1
    found += machine.close("closed")
    assert not machine.open
    assert not found or alternates(found)
    for one in found:
        assert one.first.pts_seconds <= one.last.pts_seconds
    begun = sum(one.end_reason is None for one in found)
    assert begun * 2 == len(found)


def test_kinds_that_are_not_asked_for_are_not_reported() -> None:
    machine = TamperMachine("gate", [TamperKind.MOVED])
    cloth = noisy(np.full((HEIGHT, WIDTH), 70.0), 30)
    assert run(chain(noisy(scene(), LEARN), cloth), machine) == []
    assert machine.close("closed") == []
