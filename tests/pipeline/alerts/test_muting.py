"""Which alerts judgements mute: directions in a plane, whose similarity is the cosine of the angle between them."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
import pytest
from alike_alerts import NOON, at, cosine, judged
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alerts.judgement import JudgementEvent
from pipeline.alerts.likeness import embedding_from
from pipeline.alerts.muting import Judgements

VERSION = "alike-courtyard/3f2a"
ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))
LATER = NOON + timedelta(hours=1)


def judgements(*events: JudgementEvent, now: datetime = LATER, most: int = 2000) -> Judgements:
    found = Judgements(VERSION, most=most)
    for event in events:
        found.add(event.data, now)
    return found


def normal(degrees: float, target: UUID = ONE, *, least: float = 20, **more: object) -> JudgementEvent:
    """Judge a direction normal, with the alerts up to ``least`` degrees away."""
    return judged(target, "normal", at(degrees), similarity=cosine(least), **more)  # type: ignore[arg-type]


def real(degrees: float, target: UUID = TWO) -> JudgementEvent:
    return judged(target, "real", at(degrees))


@pytest.mark.parametrize(
    ("events", "alert", "muted_by"),
    [
        ([], 0, None),
        ([normal(0)], 15, 0),
        ([normal(0)], 20, 0),  # just the threshold
        ([normal(0)], 25, None),
        ([real(0)], 0, None),
        ([normal(0), real(30)], 14, 0),  # 16° from the real one
        ([normal(0), real(30)], 16, None),  # 14° from it
        ([normal(0), real(30)], 15, None),  # as near to either: not muted
        ([normal(0), real(0)], 0, None),
        ([normal(0), real(30)], -10, 0),  # the real one is far
        ([normal(0), normal(30, THREE)], 16, 1),  # the nearer one is the reason
        ([normal(0, least=5), normal(30, THREE, least=40)], 10, 1),  # the nearer one has a narrower threshold
        ([judged(ONE, "normal", at(0), at(90), similarity=0.99)], 90, 0),  # any of the exemplars
    ],
)
def test_the_nearest_judged_exemplar_decides(events: list[JudgementEvent], alert: float, muted_by: int | None) -> None:
    found = judgements(*events).mute(at(alert), LATER)
    if muted_by is None:
        assert found is None
    else:
        decisive = events[muted_by].data
        angle = min(np.arccos(np.clip(embedding_from(one) @ at(alert), -1, 1)) for one in decisive.exemplars)
        assert found is not None
        assert (found.judgement, found.note) == (decisive.judgement_id, decisive.note)
        assert found.similarity == pytest.approx(np.cos(angle), abs=1e-4)


def test_a_mute_expires() -> None:
    found = judgements(normal(0, expires_at=NOON + timedelta(days=1)))
    assert found.mute(at(0), NOON + timedelta(hours=23)) is not None
    assert found.mute(at(0), NOON + timedelta(hours=24)) is None
    assert found.in_force("alert", ONE, NOON + timedelta(hours=23)) is not None
    assert found.in_force("alert", ONE, NOON + timedelta(hours=24)) is None


def test_an_expired_real_judgement_protects_nothing() -> None:
    protects = judged(TWO, "real", at(0), expires_at=NOON + timedelta(days=1))
    found = judgements(normal(0), protects)
    assert found.mute(at(0), NOON + timedelta(hours=1)) is None
    assert found.mute(at(0), NOON + timedelta(days=2)) is not None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("verdict", ["real", "withdrawn"])
def test_a_later_judgement_of_the_target_replaces_it_in_any_order(order: tuple[int, int], verdict: str) -> None:
    later = judged(ONE, verdict, *([at(0)] if verdict == "real" else []), judged_at=NOON + timedelta(minutes=1))
    events = [normal(0), later]
    found = judgements(*(events[place] for place in order))
    assert len(found) == 1
    assert found.mute(at(0), LATER) is None
    assert found.mute(at(0), LATER) is None


def test_an_alert_and_a_group_of_one_id_are_two_targets() -> None:
    found = judgements(normal(0), judged(ONE, "withdrawn", camera=None, judged_at=LATER))
    assert found.mute(at(0), LATER) is not None


def test_judgements_of_another_version_or_length_do_nothing() -> None:
    other = judged(ONE, "normal", at(0), version="alike-courtyard/new")
    longer = judged(TWO, "normal", at(0, dimensions=3))
    found = judgements(other, longer)
    assert len(found) == 2
    assert found.mute(at(0), LATER) is None
    assert found.in_force("alert", ONE, LATER) is None
    assert found.mute(at(0, dimensions=3), LATER) is not None


def test_beyond_the_limit_the_idle_ones_go_first_then_the_oldest() -> None:
    days = [normal(0, UUID(int=10 + day), judged_at=NOON + timedelta(days=day)) for day in range(3)]
    expired = normal(0, UUID(int=20), judged_at=NOON + timedelta(days=5), expires_at=NOON + timedelta(days=6))
    now = NOON + timedelta(days=7)
    found = Judgements(VERSION, most=3)
    assert [found.add(event.data, now) for event in (*days[:2], expired)] == [[], [], []]
    assert found.add(days[2].data, now) == [expired.data]
    newest = normal(0, UUID(int=30), judged_at=now)
    assert found.add(newest.data, now) == [days[0].data]
    assert set(found) == {days[1].data, days[2].data, newest.data}


@given(
    st.lists(st.tuples(st.floats(0, 360), st.booleans()), min_size=1, max_size=12), st.floats(0, 360), st.floats(5, 60)
)
def test_the_rule_as_stated(exemplars: list[tuple[float, bool]], alert: float, least: float) -> None:
    """An independent implementation, by the angles; cases that rounding decides are left out."""
    events = [
        judged(UUID(int=number), "normal" if is_normal else "real", at(degrees), similarity=cosine(least))
        for number, (degrees, is_normal) in enumerate(exemplars)
    ]
    away = [abs((degrees - alert + 180) % 360 - 180) for degrees, _ in exemplars]
    nearest_normal = min((a for a, (_, is_normal) in zip(away, exemplars, strict=True) if is_normal), default=999.0)
    nearest_real = min((a for a, (_, is_normal) in zip(away, exemplars, strict=True) if not is_normal), default=999.0)
    if abs(cosine(nearest_normal) - cosine(least)) < 2e-3 or abs(cosine(nearest_normal) - cosine(nearest_real)) < 2e-3:
        return
    expected = nearest_normal <= least and nearest_normal < nearest_real
    assert (judgements(*events).mute(at(alert), LATER) is not None) == expected
