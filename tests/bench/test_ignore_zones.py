"""The bench of ignore zones: its zones, drawn around what the renderer says, and its page."""

from __future__ import annotations

import itertools

import pytest

from pipeline.courtyard.scene import Courtyard


@pytest.fixture(scope="module")
def bench(load):
    pytest.importorskip("openvino")
    return load("ignore_zones")


def test_a_zone_holds_its_incident_and_most_of_the_other_one_is_outside(bench):
    days = list(itertools.islice(bench.suitable(bench.FIRST_SEED), 2))
    for day in days:
        scene = Courtyard(day.settings)
        (left, top), _, (right, bottom), _ = day.zone.points
        inside = scene.incidents[day.inside]
        for frame in range(inside.first_frame, inside.last_frame + 1, bench.EVERY):
            boxes = [*(seen.box for seen in scene.truth(frame)), *bench.hurrying_in(scene, frame)]
            for x, y, to_x, to_y in boxes:
                assert left <= x / 640 < to_x / 640 <= right
                assert top <= y / 360 < to_y / 360 <= bottom
        assert day.share <= bench.OUTSIDE
        assert len(day.incidents) == 2
    assert days[0].settings.seed < days[1].settings.seed
