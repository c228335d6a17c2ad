"""Lost clips are logged once for each cause and camera, and then counted."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pipeline import logs
from pipeline.scoring.loss_log import CAUSES, COUNT_SECONDS, LossLog

Lines = Callable[[], list[tuple[object, ...]]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """Returns the lines since the last call: event, camera, clip or number of clips, cause."""
    logs.configure("json", "warning")

    def read() -> list[tuple[object, ...]]:
        said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        return [(one["event"], one["camera"], one.get("clip", one.get("clips")), one["why"]) for one in said]

    return read


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_clip_of_a_cause_is_logged_and_the_others_are_counted_once_a_minute(lines: Lines) -> None:
    clock = Clock()
    log = LossLog(clock)
    for clip in range(100):
        log.add("gate", clip, "no memory")
    assert lines() == [("clip dropped", "gate", 0, "no memory")]
    clock.now += COUNT_SECONDS
    log.add("gate", 100, "no memory")
    log.add("gate", 101, "no memory")
    assert lines() == [("more clips dropped", "gate", 100, "no memory")]
    log.end("gate")
    assert lines() == [("more clips dropped", "gate", 1, "no memory")]


def test_each_camera_and_each_cause_has_a_line_of_its_own(lines: Lines) -> None:
    log = LossLog()
    log.add("gate", 3, "no memory")
    log.add("gate", 4, "a bad shape")
    log.add("yard", 4, "no memory")
    log.add("gate", 5, "no memory")
    assert lines() == [
        ("clip dropped", "gate", 3, "no memory"),
        ("clip dropped", "gate", 4, "a bad shape"),
        ("clip dropped", "yard", 4, "no memory"),
    ]


def test_causes_that_name_a_number_do_not_fill_the_log(lines: Lines) -> None:
    log = LossLog()
    for clip in range(1000):
        log.add("gate", clip, f"SCORE must lie in [0, 1], got {clip + 2}")
    assert len(lines()) == CAUSES
    log.end("gate")
    assert lines() == [("more clips dropped", "gate", 1000 - CAUSES, "SCORE must lie in [0, 1], got 1001")]


def test_a_lane_without_losses_ends_without_a_line(lines: Lines) -> None:
    log = LossLog()
    log.end("gate")
    log.add("gate", 0, "no memory")
    log.end("gate")
    assert len(lines()) == 1
