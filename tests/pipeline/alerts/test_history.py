"""The memory of alerts: hand-worked likeness, any order of events, restarts, limits, and files that cannot be used."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from alike_alerts import NOON, VERSION, alike, at, begin, cosine, judged
from hypothesis import given
from hypothesis import strategies as st

from operators.grouping import Embedding
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.history import AlertHistory, HistoryLimits
from pipeline.alerts.history_file import HistoryError
from pipeline.alerts.likeness import Likeness, embedding_text

SIMILARITY = cosine(20)
Made = Callable[..., AlertHistory]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """Makes histories of the site ``yard``, which are closed in the end."""
    histories: list[AlertHistory] = []

    def make(path: Path | None = None, **changes: Any) -> AlertHistory:
        settings: dict[str, Any] = {
            "site": "yard",
            "embedding_version": VERSION,
            "similarity": SIMILARITY,
            "mute_similarity": SIMILARITY,
            "clock": lambda: NOON + timedelta(hours=3),
        }
        histories.append(AlertHistory(path, **settings | changes))
        return histories[-1]

    yield make
    for history in histories:
        history.close()


def considered(history: AlertHistory, event: AlertEvent, embedding: Embedding) -> AlertEvent:
    """Return the event as the worker sends it."""
    data = event.data
    return event.enriched(*history.consider(data.alert_id, embedding, data.camera, data.started_at))


def likeness_of(event: AlertEvent) -> Likeness:
    assert event.data.likeness is not None
    return event.data.likeness


def state(history: AlertHistory) -> set[tuple[UUID, UUID, bytes]]:
    """Return the alerts with their groups and embeddings."""
    return {(one.alert_id, one.group, one.embedding.tobytes()) for one in history.alerts()}


class TestLikenessByHand:
    def test_groups_similar_alerts_and_the_last_day(self, made: Made) -> None:
        history = made()
        first = considered(history, begin(-1500), at(0))  # 25 hours before noon
        second = considered(history, begin(-600, camera="yard"), at(10))
        third = considered(history, begin(-60), at(90))
        fourth = considered(history, begin(0), at(12))
        assert likeness_of(first).group.model_dump(exclude={"first_at"}) == {
            "id": first.data.alert_id,
            "size": 1,
            "last_day": 0,
            "judgement": None,
            "similarity": SIMILARITY,
            "mute_similarity": SIMILARITY,
        }
        assert likeness_of(first).similar == ()
        assert likeness_of(third).group.id == third.data.alert_id
        found = likeness_of(fourth)
        assert found.embedding_version == VERSION
        assert (found.group.id, found.group.size) == (first.data.alert_id, 3)
        assert found.group.first_at == NOON - timedelta(minutes=1500)
        assert found.group.last_day == 1  # the second one; the first was 25 hours ago
        assert [(one.alert_id, one.camera, one.started_at) for one in found.similar] == [
            (event.data.alert_id, event.subject, event.data.started_at) for event in (second, first, third)
        ]
        assert [one.similarity for one in found.similar] == pytest.approx([cosine(2), cosine(12), cosine(78)], abs=1e-3)
        assert fourth.data.muted is False

    def test_at_most_five_and_none_that_points_elsewhere(self, made: Made) -> None:
        history = made()
        events = [considered(history, begin(number), at(10 * number)) for number in range(8)]
        opposite = considered(history, begin(20), at(180))
        last = considered(history, begin(30), at(0))
        assert [one.alert_id for one in likeness_of(last).similar] == [event.data.alert_id for event in events[:5]]
        assert likeness_of(opposite).similar == ()

    def test_alerts_that_began_later_are_not_named(self, made: Made) -> None:
        history = made()
        considered(history, begin(10), at(0))
        early = considered(history, begin(5, camera="yard"), at(0))
        assert likeness_of(early).similar == ()
        assert likeness_of(early).group.size == 2

    def test_unknown_times(self, made: Made) -> None:
        history = made()
        considered(history, begin(None), at(0))
        found = likeness_of(considered(history, begin(None, camera="yard"), at(0)))
        assert (found.group.first_at, found.group.last_day, len(found.similar)) == (None, None, 1)
        dated = likeness_of(considered(history, begin(7), at(0)))
        assert (dated.group.first_at, dated.group.last_day, len(dated.similar)) == (NOON + timedelta(minutes=7), 0, 2)

    def test_verdicts_are_shown_and_mute(self, made: Made) -> None:
        history = made()
        alert = considered(history, begin(0), at(0))
        history.take(judged(alert.data.alert_id, "normal", at(0), similarity=cosine(20), note="the flag"))
        other = considered(history, begin(1), at(10))
        assert other.data.muted is True
        assert other.data.muted_because is not None
        assert other.data.muted_because.note == "the flag"
        assert likeness_of(other).similar[0].judgement == "normal"
        assert likeness_of(other).group.judgement is None  # the alert was judged, not its group
        group = likeness_of(other).group.id
        history.take(judged(group, "real", at(8), camera=None))
        third = considered(history, begin(2), at(10))  # nearer to 8° than to 0°
        assert third.data.muted is False
        assert likeness_of(third).group.judgement == "real"
        assert [one.judgement for one in likeness_of(third).similar] == ["real", "normal"]  # own before the group's


class TestANewPeak:
    def test_the_alert_keeps_its_group_while_it_is_similar_enough(self, made: Made) -> None:
        history = made()
        considered(history, begin(0), at(0))
        considered(history, begin(1), at(2))
        alert = considered(history, begin(2), at(0))
        again = considered(history, begin(2), at(15))
        assert likeness_of(again).group.id == likeness_of(alert).group.id
        assert likeness_of(again).group.size == 3
        assert len(history) == 3
        assert history.alerts()[-1].embedding == pytest.approx(at(15), abs=1e-3)

    def test_it_leaves_for_another_group(self, made: Made) -> None:
        history = made()
        considered(history, begin(0), at(0))
        elsewhere = considered(history, begin(1), at(90))
        considered(history, begin(2), at(0))
        moved = considered(history, begin(2), at(85))
        assert likeness_of(moved).group.id == elsewhere.data.alert_id
        sizes = {group.id: group.size for group in history.groups()}
        assert sorted(sizes.values()) == [1, 2]

    def test_the_founder_stays(self, made: Made) -> None:
        history = made()
        founder = considered(history, begin(0), at(0))
        considered(history, begin(1), at(1))
        considered(history, begin(2), at(90))
        again = considered(history, begin(0), at(90))
        assert likeness_of(again).group.id == founder.data.alert_id
        assert likeness_of(again).group.size == 2


def story(history: AlertHistory, count: int = 40) -> list[AlertEvent]:
    """Return the events of alerts of four kinds, as a worker with this history sends them."""
    drawn = np.random.default_rng(3)
    return [
        considered(history, begin(number, camera=f"c{number % 3}"), at(90 * (number % 4) + drawn.uniform(-8, 8)))
        for number in range(count)
    ]


#: Begin and update of six alerts of one group.
TWICE_SIX = [
    alike(
        begin(number // 2, camera=f"c{number // 2}", sequence=number % 2),
        at(number),
        group=begin(0, camera="c0").data.alert_id,
    )
    for number in range(12)
]


class TestFromTheTopic:
    def test_a_rebuilt_memory_gives_the_same_likeness(self, made: Made) -> None:
        worker, other = made(), made()
        events = story(worker)
        other.take_all(events)
        assert state(other) == state(worker)
        for degrees in (0, 5, 45, 200, 270):
            identity = UUID(int=degrees)
            assert other.consider(identity, at(degrees), "gate", NOON) == worker.consider(
                identity, at(degrees), "gate", NOON
            )

    def test_own_events_come_back_and_change_nothing(self, made: Made) -> None:
        history = made()
        events = story(history)
        again = considered(history, begin(7, camera="c1"), at(88))  # a new peak, before the first event comes back
        before, sizes = state(history), {group.id: group.size for group in history.groups()}
        history.take_all(events)
        history.take_all([again, *events])
        assert state(history) == before
        assert {group.id: group.size for group in history.groups()} == sizes

    @given(st.permutations(range(12)), st.integers(0, 12))
    def test_any_order_and_repetition_gives_the_same_memory(self, order: list[int], repeated: int) -> None:
        events = TWICE_SIX

        def memory(given: list[AlertEvent]) -> set[tuple[UUID, UUID, bytes]]:
            history = AlertHistory(
                None, site="yard", embedding_version=VERSION, similarity=0.5, clock=lambda: NOON + timedelta(hours=3)
            )
            with closing(history):
                for event in given:
                    history.take(event)
                assert [found.size for found in history.groups()] == [6]
                return state(history)

        shuffled = [events[place] for place in order]
        assert memory(shuffled + shuffled[:repeated]) == memory(events)

    def test_the_size_that_an_event_states_holds(self, made: Made) -> None:
        history = made()
        first = alike(begin(0), at(0), size=40)
        history.take(first)
        assert likeness_of(considered(history, begin(1), at(0))).group.size == 41

    def test_another_group_in_a_later_event(self, made: Made) -> None:
        history = made()
        history.take(alike(begin(0), at(0)))
        history.take(alike(begin(1), at(90)))
        history.take(alike(begin(1, sequence=1), at(1), group=begin(0).data.alert_id, size=2))
        assert [(group.id, group.size) for group in history.groups()] == [(begin(0).data.alert_id, 2)]

    @pytest.mark.parametrize(
        "event",
        [
            begin(0),
            alike(begin(0), at(0), version="alike-courtyard/old"),
            alike(begin(0, site="other"), at(0)),
            alike(begin(0), at(0, dimensions=3)),
            judged(UUID(int=1), "normal", at(0), site="other"),
        ],
    )
    def test_events_that_are_not_compared(self, made: Made, event: AlertEvent) -> None:
        history = made()
        history.take(alike(begin(9), at(0)))
        history.take(event)
        assert len(history) == 1
        assert history.judgements() == []

    def test_a_judgement_of_an_unknown_alert_holds(self, made: Made) -> None:
        history = made()
        history.take(judged(UUID(int=1), "normal", at(0), similarity=cosine(20)))
        assert considered(history, begin(0), at(5)).data.muted is True


class TestTheFile:
    def test_a_restart_changes_nothing(self, made: Made, tmp_path: Path) -> None:
        history = made(tmp_path / "h")
        story(history)
        history.take(judged(UUID(int=1), "normal", at(0), similarity=cosine(20), note="the flag"))
        history.set_positions({0: 17, 2: 5})
        history.set_positions({2: 6})
        before, order = state(history), [one.alert_id for one in history.alerts()]
        judgements, sizes = history.judgements(), {group.id: group.size for group in history.groups()}
        expected = made()
        expected.take_all(story(made()))
        history.close()
        again = made(tmp_path / "h")
        assert state(again) == before
        assert [one.alert_id for one in again.alerts()] == order
        assert again.positions() == {0: 17, 2: 6}
        assert again.judgements() == judgements
        assert {group.id: group.size for group in again.groups()} == sizes
        assert again.consider(UUID(int=5), at(45), "gate", NOON) == expected.consider(UUID(int=5), at(45), "gate", NOON)
        assert considered(again, begin(99), at(3)).data.muted is True

    def test_it_is_empty_until_it_knows_anything(self, made: Made, tmp_path: Path) -> None:
        history = made(tmp_path / "state" / "h")
        assert history.is_empty
        history.set_positions({0: 0})
        assert not history.is_empty
        other = made()
        other.take(judged(UUID(int=1), "normal", at(0)))
        assert not other.is_empty

    def test_events_and_positions_are_one_commit(self, made: Made, tmp_path: Path) -> None:
        history = made(tmp_path / "h")
        history.take_all([alike(begin(0), at(0))], {0: 1})
        with pytest.raises(RuntimeError, match="in the middle"):
            history.take_all(failing_after(alike(begin(1), at(0))), {0: 2})
        history.close()
        again = made(tmp_path / "h")
        assert (len(again), again.positions()) == (1, {0: 1})

    def test_a_judgement_that_is_replaced_leaves_the_file(self, made: Made, tmp_path: Path) -> None:
        history = made(tmp_path / "h")
        later = judged(UUID(int=1), "withdrawn", judged_at=NOON + timedelta(seconds=1))
        history.take(judged(UUID(int=1), "normal", at(0)))
        history.take(later)
        history.take(judged(UUID(int=1), "normal", at(0)))
        history.close()
        assert made(tmp_path / "h").judgements() == [later.data]

    def test_another_embedding_version_drops_the_alerts_and_keeps_the_judgements(
        self, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        history = made(tmp_path / "h")
        history.take_all([alike(begin(0), at(0)), judged(UUID(int=1), "normal", at(0))], {0: 2})
        history.close()
        again = made(tmp_path / "h", embedding_version="alike-courtyard/new")
        assert (len(again), again.positions(), len(again.judgements())) == (0, {}, 1)
        assert considered(again, begin(3), at(0)).data.muted is False
        again.close()
        assert len(made(tmp_path / "h", embedding_version="alike-courtyard/new")) == 1
        said = capsys.readouterr()
        assert (said.out + said.err).count("alerts of another embedding version") == 1

    def test_alerts_go_on_while_the_disk_is_full(self, made: Made, tmp_path: Path) -> None:
        history = made(tmp_path / "h")
        connection = history._file._file._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        events = story(history, 400)
        assert len(history) == 400
        more = [alike(begin(1000 + number), at(0)) for number in range(400)]
        with pytest.raises(HistoryError, match="disk is full"):
            history.take_all(more)
        connection.execute("PRAGMA max_page_count = 100000")
        history.take_all(events)
        history.take_all(more)
        before = state(history)
        assert len(before) == 800
        history.close()
        assert state(made(tmp_path / "h")) == before


def failing_after(event: AlertEvent) -> Iterator[AlertEvent]:
    yield event
    raise RuntimeError("in the middle")


class TestLimits:
    def test_the_oldest_alerts_go_and_the_size_counts_on(self, made: Made, tmp_path: Path) -> None:
        limits = HistoryLimits(alerts=10, exemplars=4)
        history = made(tmp_path / "h", limits=limits)
        events = [considered(history, begin(number), at(0)) for number in range(50)]
        assert likeness_of(events[-1]).group.size == 50
        assert [one.alert_id for one in history.alerts()] == [event.data.alert_id for event in events[-10:]]
        history.close()
        again = made(tmp_path / "h", limits=limits)
        assert state(again) == state(history)
        assert likeness_of(considered(again, begin(50), at(0))).group.size == 51

    def test_exemplars_are_of_remembered_alerts(self, made: Made) -> None:
        history = made(limits=HistoryLimits(alerts=10, exemplars=4))
        for number in range(50):
            considered(history, begin(number), at(number / 5))
            [group] = history.groups()
            kept = sorted(group.alerts, key=lambda one: blake2b(str(one.alert_id).encode(), digest_size=8).digest())[:4]
            _, *exemplars = history.exemplars_of(group.id)
            assert [one.tobytes() for one in exemplars] == [one.embedding.tobytes() for one in kept]

    def test_old_alerts_go(self, made: Made) -> None:
        now = NOON
        history = made(limits=HistoryLimits(max_age=timedelta(days=1)), clock=lambda: now)
        considered(history, begin(0), at(0))
        now += timedelta(hours=20)
        considered(history, begin(1), at(90))
        now += timedelta(hours=5)
        considered(history, begin(2), at(180))
        assert [one.started_at for one in history.alerts()] == [NOON + timedelta(minutes=m) for m in (1, 2)]

    def test_an_event_has_the_age_of_its_publishing(self, made: Made) -> None:
        history = made(limits=HistoryLimits(max_age=timedelta(days=1)))
        published = alike(begin(0), at(0)).published(NOON - timedelta(days=3))
        history.take(published)
        assert len(history) == 0
        unset = alike(begin(1), at(0)).published(datetime.fromisoformat("1970-01-01T00:00:10+00:00"))
        history.take(unset)  # of a worker whose clock was not set yet
        assert len(history) == 1

    @pytest.mark.parametrize("limits", [{"alerts": 0}, {"judgements": 0}, {"max_age": timedelta(0)}])
    def test_other_limits_are_refused(self, limits: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="must be positive"):
            HistoryLimits(**limits)

    def test_a_forgotten_group(self, made: Made) -> None:
        history = made(limits=HistoryLimits(groups=2))
        events = [considered(history, begin(number), at(90 * number)) for number in range(3)]
        assert {group.size for group in history.groups()} == {1}
        again = considered(history, begin(9), at(0))
        assert likeness_of(again).group.id == again.data.alert_id  # its group was forgotten,
        assert likeness_of(again).similar[0].alert_id == events[0].data.alert_id  # the alert was not


class TestQuestions:
    def test_exemplars_of_a_group_begin_with_its_centre(self, made: Made) -> None:
        history = made()
        for number in range(40):
            considered(history, begin(number), at(-5 if number % 2 else 5))
        [group] = history.groups()
        centre, *rest = history.exemplars_of(group.id)
        assert centre == pytest.approx(at(0), abs=0.05)
        assert len(rest) == 15

    def test_similar_alerts_earlier_and_later(self, made: Made) -> None:
        history = made()
        events = [considered(history, begin(number), at(10 * number)) for number in range(4)]
        found = history.similar_to(events[1].data.alert_id, 3)
        assert {one.alert_id for one in found[:2]} == {events[0].data.alert_id, events[2].data.alert_id}
        assert found[2].alert_id == events[3].data.alert_id
        with pytest.raises(KeyError):
            history.similar_to(UUID(int=1), 3)


class TestOneClearLine:
    def check(self, made: Made, path: Path, expected: str, **changes: Any) -> None:
        with pytest.raises(HistoryError, match=expected) as caught:
            made(path, **changes)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_not_a_history(self, made: Made, tmp_path: Path) -> None:
        (tmp_path / "h").write_bytes(b"a text file, longer than a header. " * 100)
        self.check(made, tmp_path / "h", "is not an alert history file; move it away")

    def test_damaged(self, made: Made, tmp_path: Path) -> None:
        history = made(tmp_path / "h")
        story(history, 200)
        history.close()
        content = bytearray((tmp_path / "h").read_bytes())
        content[4096:] = bytes(len(content) - 4096)
        (tmp_path / "h").write_bytes(content)
        self.check(made, tmp_path / "h", r"is damaged; move it away .* \(it is read again from the topic\)")

    def test_of_another_site(self, made: Made, tmp_path: Path) -> None:
        made(tmp_path / "h").close()
        self.check(made, tmp_path / "h", r"belongs to the site yard \(expected other\)", site="other")

    def test_written_by_a_later_version(self, made: Made, tmp_path: Path) -> None:
        made(tmp_path / "h").close()
        with closing(sqlite3.connect(tmp_path / "h")) as file:
            file.execute("PRAGMA user_version = 99")
        self.check(made, tmp_path / "h", r"later version of mistwatch \(layout 99; expected at most 1\)")

    def test_held_by_another_process(self, made: Made, tmp_path: Path) -> None:
        code = (
            "import sys\nfrom pathlib import Path\nfrom pipeline.alerts.history import AlertHistory\n"
            f"h = AlertHistory(Path(sys.argv[1]), site='yard', embedding_version={VERSION!r}, similarity=0.9)\n"
            "print('held', flush=True)\nsys.stdin.read()"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "h")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            self.check(made, tmp_path / "h", "in use by another process")
        finally:
            holder.kill()
            holder.communicate()
        made(tmp_path / "h")

    def test_a_damaged_row_is_left_out(self, made: Made, tmp_path: Path) -> None:
        history = made(tmp_path / "h")
        story(history, 4)
        history.take(judged(UUID(int=1), "normal", at(0)))
        history.close()
        with closing(sqlite3.connect(tmp_path / "h")) as file, file:
            file.execute("UPDATE alerts SET embedding = 'x' WHERE ordinal = 1")
            file.execute("UPDATE judgements SET data = '{}'")
        again = made(tmp_path / "h")
        assert (len(again), again.judgements()) == (3, [])

    def test_not_an_embedding(self, made: Made) -> None:
        history = made()
        with pytest.raises(ValueError, match="length 1"):
            history.consider(UUID(int=1), np.zeros(2, np.float32), "gate", None)
        history.consider(UUID(int=1), at(0), "gate", None)
        with pytest.raises(ValueError, match="another length than 3"):
            history.consider(UUID(int=2), at(0, dimensions=3), "gate", None)
        assert len(history) == 1


def test_threads_consider_take_and_ask_at_once(made: Made, tmp_path: Path) -> None:
    history = made(tmp_path / "h", limits=HistoryLimits(alerts=150))
    problems: list[BaseException] = []

    def run(work: Callable[[int], object]) -> None:
        try:
            for number in range(100):
                work(number)
        except BaseException as problem:
            problems.append(problem)

    works: list[Callable[[int], object]] = [
        lambda number: considered(history, begin(number, camera="a"), at(number)),
        lambda number: considered(history, begin(number, camera="b"), at(number)),
        lambda number: history.take(alike(begin(number, camera="c"), at(3 * number))),
        lambda number: history.take(judged(UUID(int=number), "normal", at(number))),
        lambda _: (history.groups(), history.alerts(), history.judgements()),
    ]
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    assert len(history) == 150
    before = state(history)
    history.close()
    assert state(made(tmp_path / "h", limits=HistoryLimits(alerts=150))) == before


def remembered(number: int, embedding: Embedding, event: AlertEvent = TWICE_SIX[0]) -> AlertEvent:
    """Return an alert that founds its group; much faster than :func:`alike`."""
    likeness, identity = likeness_of(event), UUID(int=number)
    group = likeness.group.model_copy(update={"id": identity})
    likeness = likeness.model_copy(update={"group": group, "embedding": embedding_text(embedding)})
    data = event.data.model_copy(update={"alert_id": identity, "likeness": likeness})
    return event.model_copy(update={"data": data})


def test_an_alert_among_twenty_thousand_takes_less_than_20_ms_of_a_core(made: Made, tmp_path: Path) -> None:
    history = made(tmp_path / "h", limits=HistoryLimits(max_age=None))
    drawn = np.random.default_rng(0)
    points = np.eye(128)[drawn.integers(100, size=20_050)] + 0.03 * drawn.standard_normal((20_050, 128))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    embeddings = points.astype(np.float32)
    history.take_all(remembered(number, embeddings[number]) for number in range(20_000))
    times = []
    for number in range(20_000, 20_050):
        began = time.thread_time()
        history.consider(UUID(int=number), embeddings[number], "gate", NOON)
        times.append(time.thread_time() - began)
    assert len(history) == 20_000
    assert np.median(times) < 0.02


def test_positions_belong_to_one_topic(tmp_path: Path) -> None:
    def opened() -> AlertHistory:
        return AlertHistory(tmp_path / "h.sqlite", site="yard", embedding_version=VERSION, similarity=0.9)

    with closing(opened()) as history:
        assert history.positions_in("kafka:9092/alerts") == {}
        history.set_positions({0: 7})
        assert history.positions_in("kafka:9092/alerts") == {0: 7}
    with closing(opened()) as history:
        assert history.positions_in("kafka:9092/alerts") == {0: 7}
        assert history.positions_in("kafka:9092/other") == {}


def test_an_alert_in_hand_is_not_pruned_where_the_clock_is_set_meanwhile() -> None:
    times = [datetime(1970, 1, 1, 0, 5, tzinfo=UTC)]
    history = AlertHistory(None, site="yard", embedding_version=VERSION, similarity=0.9, clock=lambda: times[0])
    alert = begin(0).data.alert_id
    history.consider(alert, at(0), "gate", None)
    times[0] = NOON  # NTP has set the clock
    likeness, _ = history.consider(alert, at(1), "gate", NOON)
    assert likeness.group.id == alert
