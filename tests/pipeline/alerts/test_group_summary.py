"""The figures of a group, counted by hand."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta

import pytest
from alike_alerts import NOON, VERSION, alike, at, begin, judged

from pipeline.alerts.group_summary import GroupSummary, summaries
from pipeline.alerts.history import AlertHistory
from pipeline.alerts.likeness import MutedBecause

NOW = NOON + timedelta(hours=30)  # 2026-03-02 18:00


@pytest.fixture(scope="module")
def found() -> list[GroupSummary]:
    """A group of four alerts, the last one muted, and a younger group of one of unknown time."""
    history = AlertHistory(None, site="yard", embedding_version=VERSION, similarity=0.9, clock=lambda: NOW)
    with closing(history):
        founder = begin(0).data.alert_id
        because = MutedBecause(judgement=founder, similarity=0.99, note="the flag")
        history.take_all(
            [
                alike(begin(0), at(0), size=7),  # three of its alerts are gone from the topic
                alike(begin(59), at(1), group=founder),
                alike(begin(11 * 60, camera="yard"), at(2), group=founder),
                alike(begin(29 * 60), at(3), group=founder, muted_because=because),
                alike(begin(None), at(90)),
                judged(founder, "normal", at(1), camera=None, note="the flag", expires_at=NOW + timedelta(days=1)),
                judged(begin(59).data.alert_id, "real", at(1)),
                judged(begin(0).data.alert_id, "real", at(0), expires_at=NOW - timedelta(hours=1)),
            ]
        )
        return summaries(history, NOW)


def test_the_figures_of_the_largest_group(found: list[GroupSummary]) -> None:
    group = found[0]
    assert (group.id, group.size, len(group.alerts)) == (begin(0).data.alert_id, 7 + 3, 4)
    assert group.cameras == (("gate", 3), ("yard", 1))
    assert (group.first_at, group.last_at) == (NOON, NOON + timedelta(hours=29))
    assert {hour: count for hour, count in enumerate(group.hours) if count} == {12: 2, 23: 1, 17: 1}
    assert group.last_day == 2  # since 18:00 of the first day
    assert group.muted == 1
    assert group.judgement is not None
    assert group.judgement.note == "the flag"
    assert group.judged_alerts == {"normal": 0, "real": 1}  # the other one has expired


def test_a_group_of_unknown_times(found: list[GroupSummary]) -> None:
    group = found[1]
    assert (group.first_at, group.last_at, sum(group.hours), group.last_day) == (None, None, 0, 0)


def test_as_json(found: list[GroupSummary]) -> None:
    document = json.loads(json.dumps(found[0].as_json()))
    assert document["group"] == str(begin(0).data.alert_id)
    assert (document["size"], document["muted"], document["last_day"]) == (10, 1, 2)
    assert document["last_at"] == "2026-03-02T17:00:00Z"
    assert document["judgement"]["verdict"] == "normal"
    assert document["judgement"]["expires_at"] == "2026-03-03T18:00:00Z"
    assert len(document["hours_utc"]) == 24
    assert found[1].as_json()["judgement"] is None


def test_groups_of_cameras_and_their_order() -> None:
    history = AlertHistory(None, site="yard", embedding_version=VERSION, similarity=0.9, clock=lambda: NOW)
    with closing(history):
        history.take_all([alike(begin(number, camera=name), at(0)) for number, name in enumerate("abc")])
        history.take(alike(begin(9, camera="a"), at(0), group=begin(0, camera="a").data.alert_id))
        assert [group.cameras[0][0] for group in summaries(history, NOW)] == ["a", "c", "b"]
        assert [group.cameras[0][0] for group in summaries(history, NOW, cameras=["b", "x"])] == ["b"]
