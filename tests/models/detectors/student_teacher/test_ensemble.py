"""Students as one network: errors and variances by hand, the same numbers on the engine that serves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.detectors.program import ProgramNetwork
from models.detectors.student_teacher.ensemble import Ensemble
from models.detectors.student_teacher.inputs import EVERY, Grid, normalised

HEIGHT, WIDTH = 64, 72
FINE, PLACES = Grid(EVERY), (HEIGHT // EVERY, WIDTH // EVERY)


def pictures(number: int = 1) -> torch.Tensor:
    return torch.randint(
        0, 256, (number, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(5)
    )


def descriptors(values: int = 8, number: int = 1, places: tuple[int, int] = PLACES) -> torch.Tensor:
    return 3 + 2 * torch.randn(number, values, *places, generator=torch.Generator().manual_seed(6))


def ensemble(
    *,
    patches: tuple[int, ...] = (33,),
    students: int = 3,
    speed: bool = False,
    teachers: int | None = None,
    grid: Grid = FINE,
) -> Ensemble:
    many = len(patches) if teachers is None else teachers
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Ensemble(patches, shrink=16, values=8, students=students, teachers=many, grid=grid, speed=speed).eval()


def in_cells(values: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 descriptors: (h, w) → (h / 2, w / 2)."""
    return values.reshape(values.shape[0] // 2, 2, values.shape[1] // 2, 2).mean(axis=(1, 3))


def test_errors_and_variances_are_those_of_the_equations() -> None:
    """The oracle is numpy's: the squared distance of the students' mean, and the sum of variances over values."""
    made, given = ensemble(patches=(17, 33)), descriptors(16)
    with torch.inference_mode():
        errors, variances, described = made(pictures(), given)
        for ordinal, scale in enumerate(made.scales):
            teacher = given[0, 8 * ordinal : 8 * ordinal + 8].numpy()
            students = np.stack([one(normalised(pictures()), every=EVERY)[0].numpy() for one in scale])
            error = np.square(students.mean(axis=0) - teacher).sum(axis=0)
            np.testing.assert_allclose(errors[0, ordinal], in_cells(error), rtol=1e-4)
            np.testing.assert_allclose(variances[0, ordinal], in_cells(students.var(axis=0).sum(axis=0)), rtol=1e-4)
            np.testing.assert_allclose(described[0, 8 * ordinal : 8 * ordinal + 8], teacher.mean((1, 2)), rtol=1e-4)
    assert errors.shape == variances.shape == (1, 2, HEIGHT // 8, WIDTH // 8)


def test_one_teacher_is_that_of_all_receptive_fields() -> None:
    """With a place in the middle of each cell: the cell's error is that of the patch around its pixel 4."""
    made = ensemble(patches=(17, 33), teachers=1, grid=Grid(8, 4))
    given = descriptors(places=(HEIGHT // 8, WIDTH // 8))
    picture = normalised(pictures())
    with torch.inference_mode():
        errors, _, described = made(pictures(), given)
        for ordinal, (patch, scale) in enumerate(zip((17, 33), made.scales, strict=True)):
            first = 8 * 4 + 4 - patch // 2
            seen = picture[..., first : first + patch, first : first + patch]
            students = np.stack([one.of_patches(seen)[0].numpy() for one in scale])
            error = np.square(students.mean(axis=0) - given[0, :, 4, 4].numpy()).sum()
            assert errors[0, ordinal, 4, 4] == pytest.approx(error, rel=1e-4)
    assert described.shape == (1, 8)


def test_teachers_are_normalised_value_by_value() -> None:
    made, given = ensemble(), descriptors()
    with torch.inference_mode():
        made.centre.copy_(given.mean((0, 2, 3), keepdim=True))
        made.spread.copy_(given.std((0, 2, 3), keepdim=True))
        found = made.normalised(given)
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std((0, 2, 3)), torch.ones(8), atol=1e-4, rtol=0)


def test_a_student_alone_has_no_variance() -> None:
    with torch.inference_mode():
        _, variances, _ = ensemble(students=1)(pictures(), descriptors())
    assert variances.abs().max() == 0


def test_speeds_are_the_students_last_value() -> None:
    made = ensemble(patches=(17, 33), students=2, speed=True)
    assert made.outputs == ("ERRORS", "VARIANCES", "DESCRIBED", "SPEEDS")
    with torch.inference_mode():
        *_, speeds = made(pictures(), descriptors(16))
        last = [one(normalised(pictures()), every=EVERY)[0, -1].numpy() for scale in made.scales for one in scale]
    np.testing.assert_allclose(speeds[0], in_cells(np.mean(last, axis=0)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("speed", [False, True])
def test_the_engine_that_serves_gives_the_same_numbers(speed: bool) -> None:
    made = ensemble(patches=(17, 33, 65) if speed else (33,), speed=speed)
    many, places = (24 if speed else 8), ((HEIGHT + 8) // EVERY, WIDTH // EVERY)
    inputs = {"PICTURE": ((HEIGHT + 8, WIDTH, 3), "uint8"), "DESCRIPTORS": ((many, *places), "float32")}
    network = ProgramNetwork(made, inputs, made.outputs).open()
    given = torch.cat([pictures(2), pictures(2)[:, :8].flip(1)], 1), descriptors(many, 2, places)
    found = network.run({"PICTURE": given[0].numpy(), "DESCRIPTORS": given[1].numpy()})
    with torch.inference_mode():
        for name, wanted in zip(made.outputs, made(*given), strict=True):
            np.testing.assert_allclose(found[name], wanted, atol=1e-3, rtol=1e-3)
