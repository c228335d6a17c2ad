"""The alerts that a judgement would mute, and the refusals: directions in a plane."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from uuid import UUID

import pytest
from alike_alerts import NOON, VERSION, alike, at, begin, cosine, judged

from pipeline.alerts.history import AlertHistory
from pipeline.alerts.judgement import JudgementData
from pipeline.alerts.reach import Reach, reach

LATER = NOON + timedelta(hours=3)


@pytest.fixture
def history() -> Iterator[AlertHistory]:
    """Twelve alerts at 0°, 1°, … of one group, and twelve around 90° of groups of their own."""
    made = AlertHistory(None, site="yard", embedding_version=VERSION, similarity=cosine(20), clock=lambda: LATER)
    with closing(made):
        founder = begin(0).data.alert_id
        made.take_all(alike(begin(number), at(number), group=founder) for number in range(12))
        made.take_all(alike(begin(100 + number), at(80 + number)) for number in range(12))
        yield made


def alert(minutes: float) -> UUID:
    return begin(minutes).data.alert_id


def normal(target: UUID, degrees: float, least: float, camera: str | None = "gate") -> JudgementData:
    return judged(target, "normal", at(degrees), similarity=cosine(least), camera=camera).data


def test_a_mute_of_its_own_kind(history: AlertHistory) -> None:
    found = reach(history, normal(alert(0), 0, 5.5), LATER)
    assert found == Reach(alerts=24, muted=6, others=12, others_muted=0, real=())  # 0° to 5°
    assert found.refusal() is None


def test_a_mute_of_most_other_alerts_is_refused_with_the_figures(history: AlertHistory) -> None:
    assert reach(history, normal(alert(0), 0, 85.5), LATER).refusal() is None  # 80° to 85°: 6 of 12, not more
    found = reach(history, normal(alert(0), 0, 86.5), LATER)
    assert (found.others, found.others_muted) == (12, 7)
    assert found.refusal() == "it would mute 7 of 12 alerts outside its own group"


def test_a_judged_group_is_not_counted_against_itself(history: AlertHistory) -> None:
    found = reach(history, normal(alert(0), 5, 60, camera=None), LATER)
    assert (found.muted, found.others, found.others_muted, found.refusal()) == (12, 12, 0, None)


def test_a_mute_of_everything_is_refused_also_within_one_group() -> None:
    made = AlertHistory(None, site="yard", embedding_version=VERSION, similarity=0.9, clock=lambda: LATER)
    with closing(made):
        founder = begin(0).data.alert_id
        made.take_all(alike(begin(number), at(number), group=founder) for number in range(9))
        mute = normal(founder, 4, 30, camera=None)
        assert reach(made, mute, LATER).refusal() is None  # nine alerts say nothing yet
        made.take(alike(begin(9), at(9), group=founder))
        assert reach(made, mute, LATER).refusal() == "it would mute all 10 alerts"


def test_alerts_that_are_judged_real_are_not_covered(history: AlertHistory) -> None:
    history.take(judged(alert(3), "real", at(3)))
    found = reach(history, normal(alert(0), 0, 5.5), LATER)
    assert found.real == (alert(3),)
    assert found.muted == 2  # 0° and 1°; the others are as near to 3°, or nearer
    assert found.refusal() == f"it covers alerts that are judged real (1: {str(alert(3))[:8]})"
    assert reach(history, normal(alert(0), 0, 2.5), LATER).refusal() is None


def test_the_alerts_of_a_group_that_is_judged_real(history: AlertHistory) -> None:
    history.take(judged(alert(0), "real", at(5), camera=None))
    assert len(reach(history, normal(alert(100), 80, 70.5), LATER).real) == 2  # 10° and 11°
    assert reach(history, normal(alert(0), 5, 20, camera=None), LATER).real == ()  # it replaces that judgement


@pytest.mark.parametrize("verdict", ["withdrawn", "expired"])
def test_judgements_that_do_nothing_do_not_protect(history: AlertHistory, verdict: str) -> None:
    if verdict == "withdrawn":
        history.take(judged(alert(3), "withdrawn"))
    else:
        history.take(judged(alert(3), "real", at(3), expires_at=NOON + timedelta(hours=1)))
    found = reach(history, normal(alert(0), 0, 5.5), LATER)
    assert (found.muted, found.real) == (6, ())
