"""Teachers and students as one network: errors and variances by hand, the same numbers on the engine that serves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.detectors.program import ProgramNetwork
from models.detectors.student_teacher.ensemble import Ensemble
from models.detectors.student_teacher.inputs import EVERY, normalised

HEIGHT, WIDTH = 64, 72


def pictures(number: int = 1) -> torch.Tensor:
    return torch.randint(
        0, 256, (number, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(5)
    )


def ensemble(*, patches: tuple[int, ...] = (33,), students: int = 3, speed: bool = False) -> Ensemble:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Ensemble(patches, shrink=16, values=8, students=students, speed=speed).eval()


def in_cells(values: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 descriptors: (h, w) → (h / 2, w / 2)."""
    return values.reshape(values.shape[0] // 2, 2, values.shape[1] // 2, 2).mean(axis=(1, 3))


def test_errors_and_variances_are_those_of_the_equations() -> None:
    """The oracle is numpy's: the squared distance of the students' mean, and the sum of variances over values."""
    made = ensemble(patches=(17, 33))
    with torch.inference_mode():
        errors, variances, described = made(pictures())
        for ordinal, scale in enumerate(made.scales):
            teacher = scale.teacher(normalised(pictures()), every=EVERY)[0].numpy()
            students = np.stack([one(normalised(pictures()), every=EVERY)[0].numpy() for one in scale.students])
            error = np.square(students.mean(axis=0) - teacher).sum(axis=0)
            np.testing.assert_allclose(errors[0, ordinal], in_cells(error), rtol=1e-4)
            np.testing.assert_allclose(variances[0, ordinal], in_cells(students.var(axis=0).sum(axis=0)), rtol=1e-4)
            np.testing.assert_allclose(described[0, 8 * ordinal : 8 * ordinal + 8], teacher.mean((1, 2)), rtol=1e-4)
    assert errors.shape == variances.shape == (1, 2, HEIGHT // 8, WIDTH // 8)


def test_teachers_are_normalised_value_by_value() -> None:
    made = ensemble()
    (scale,) = made.scales
    seen = normalised(pictures())
    with torch.inference_mode():
        plain = scale.teacher(seen, every=EVERY)
        scale.centre.copy_(plain.mean((0, 2, 3), keepdim=True))
        scale.spread.copy_(plain.std((0, 2, 3), keepdim=True))
        found = scale.described(seen)
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std((0, 2, 3)), torch.ones(8), atol=1e-4, rtol=0)


def test_a_student_alone_has_no_variance() -> None:
    with torch.inference_mode():
        _, variances, _ = ensemble(students=1)(pictures())
    assert variances.abs().max() == 0


def test_speeds_are_the_students_last_value() -> None:
    made = ensemble(patches=(17, 33), students=2, speed=True)
    assert made.outputs == ("ERRORS", "VARIANCES", "DESCRIBED", "SPEEDS")
    with torch.inference_mode():
        *_, speeds = made(pictures())
        last = [
            one(normalised(pictures()), every=EVERY)[0, -1].numpy() for scale in made.scales for one in scale.students
        ]
    np.testing.assert_allclose(speeds[0], in_cells(np.mean(last, axis=0)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("speed", [False, True])
def test_the_engine_that_serves_gives_the_same_numbers(speed: bool) -> None:
    made = ensemble(patches=(17, 33, 65) if speed else (33,), speed=speed)
    network = ProgramNetwork(made, {"PICTURE": ((HEIGHT + 8, WIDTH, 3), "uint8")}, made.outputs).open()
    given = torch.cat([pictures(2), pictures(2)[:, :8].flip(1)], 1)
    found = network.run({"PICTURE": given.numpy()})
    with torch.inference_mode():
        for name, wanted in zip(made.outputs, made(given), strict=True):
            np.testing.assert_allclose(found[name], wanted, atol=1e-3, rtol=1e-3)
