"""A whole topic in memory: sites, versions of embeddings, and names of alerts."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from alike_alerts import NOON, alike, at, begin, judged

from pipeline.alerts.judgement import JudgementEvent
from pipeline.alerts.reading import Event
from pipeline.alerts.topic_memory import SiteMemory, TopicMemory, one_of
from pipeline.errors import MistwatchError, UsageError


def memory(*events: Event, site: str | None = None) -> SiteMemory:
    made = TopicMemory()
    for event in events:
        made.take(event)
    return made.of_site(site)


def test_judgements_before_and_after_their_alerts() -> None:
    alert = alike(begin(0), at(0))
    first: JudgementEvent = judged(UUID(int=1), "normal", at(0))
    second = judged(alert.data.alert_id, "real", at(0))
    found = memory(first, alert, second)
    assert found.history.judgements() == [first.data, second.data]
    assert found.judgement(str(alert.data.alert_id), "alert") == second.data
    assert found.judgement(str(UUID(int=1)), "alert") == first.data  # its alert is gone
    with pytest.raises(UsageError, match="judged group 0000: the topic has no judged group of this id"):
        found.judgement("0000", "group")


def test_a_withdrawn_judgement_cannot_be_withdrawn() -> None:
    later = judged(UUID(int=1), "withdrawn", judged_at=NOON + timedelta(minutes=1))
    found = memory(alike(begin(0), at(0)), judged(UUID(int=1), "normal", at(0)), later)
    with pytest.raises(UsageError, match="has no judged alert of this id"):
        found.judgement("0000", "alert")


def test_a_judgement_is_found_by_its_own_id_and_that_of_a_group_by_its_alerts() -> None:
    founder, member = alike(begin(0), at(0)), begin(1)
    joined = alike(member, at(1), group=founder.data.alert_id, size=2)
    of_group = judged(founder.data.alert_id, "normal", at(0), camera=None)
    found = memory(founder, joined, of_group)
    assert found.judgement(str(of_group.data.judgement_id)[:8], "group") == of_group.data
    assert found.judgement(str(member.data.alert_id), "group") == of_group.data
    with pytest.raises(UsageError, match="has no judged group of this id"):
        found.judgement("beef", "group")


def test_the_newest_embedding_version_is_compared() -> None:
    old = [alike(begin(number), at(0), version="alike/old").published(NOON) for number in range(3)]
    new = alike(begin(9), at(0), version="alike/new").published(NOON + timedelta(hours=1))
    found = memory(new, *old, begin(20))
    assert found.history.embedding_version == "alike/new"
    assert [one.alert_id for one in found.history.alerts()] == [new.data.alert_id]
    assert found.left_out == [
        "alerts without likeness are left out (1)",
        "alerts with embeddings of another version are left out (3)",
    ]
    with pytest.raises(UsageError, match=r"its embedding is of another version \(got alike/old\); expected alike/new"):
        found.alert(str(old[0].data.alert_id))
    with pytest.raises(UsageError, match=r"has no likeness, so it cannot be compared"):
        found.alert(str(begin(20).data.alert_id))


def test_an_alert_whose_likeness_came_with_an_update() -> None:
    update = begin(0, sequence=1)
    found = memory(begin(0), alike(update, at(0)))
    assert found.left_out == []
    assert found.alert(str(update.data.alert_id)[:8]).sequence == 1


def test_several_sites() -> None:
    events = [alike(begin(0, site=site), at(0)) for site in ("north", "south")]
    assert memory(*events, site="south").history.site == "south"
    with pytest.raises(UsageError, match=r"--site: the topic has several sites .* expected one of north, south"):
        memory(*events)
    with pytest.raises(UsageError, match=r"no alerts of it \(got east\); expected north, south"):
        memory(*events, site="east")


def test_a_topic_without_alerts_or_without_likeness() -> None:
    with pytest.raises(MistwatchError, match="the topic has no alerts") as caught:
        memory(judged(UUID(int=1), "normal", at(0)))
    assert caught.value.exit_status == 1
    with pytest.raises(MistwatchError, match=r"no alert on the topic has a likeness \(alerts: 2\)"):
        memory(begin(0), begin(1))


def test_groups_are_named_by_their_id_or_by_an_alert() -> None:
    founder, member = alike(begin(0), at(0)), alike(begin(1), at(1), group=begin(0).data.alert_id)
    found = memory(founder, member)
    for text in (str(founder.data.alert_id), str(founder.data.alert_id)[:6], str(member.data.alert_id)[:6]):
        assert found.group(text) == founder.data.alert_id
    with pytest.raises(UsageError, match="the topic has no alert of this id"):
        found.group("ffffffff")


KNOWN = [UUID("abcd0000-0000-4000-8000-000000000001"), UUID("abcd1111-0000-4000-8000-000000000001")]


@pytest.mark.parametrize("text", ["abcd0", "ABCD0", str(KNOWN[0])])
def test_the_beginning_of_an_id(text: str) -> None:
    assert one_of(text, KNOWN, "alert") == KNOWN[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abcd", r"alert abcd: 2 ids begin like this \(abcd0000, abcd1111, …\); give more of it"),
        ("abce", "alert abce: the topic has no alert of this id"),
        ("abc", "alert abc: expected an id, or at least its first 4 characters"),
        ("", "expected an id"),
        ("../etc", "expected an id"),
    ],
)
def test_other_names_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        one_of(text, KNOWN, "alert")
