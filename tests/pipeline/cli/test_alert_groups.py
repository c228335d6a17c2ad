"""``mistwatch alerts groups``, ``similar`` and ``judge`` against a real broker, with hand-made alerts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from alike_alerts import VERSION, alike, at, begin, cosine, judged
from in_process import called
from kafka import KafkaProducer
from PIL import Image

from pipeline.alerts.event import AlertEvent
from pipeline.alerts.history import AlertHistory, HistoryLimits
from pipeline.alerts.judgement import JudgementEvent
from pipeline.alerts.reading import Event
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.topic_end import read_to_end

pytestmark = pytest.mark.realparts

#: Degrees within which the site's alerts are alike.
ALIKE = cosine(20)


class Topic:
    """A topic of its own."""

    def __init__(self, bootstrap: str) -> None:
        self.name = f"alerts-{uuid4().hex[:8]}"
        self.bootstrap = bootstrap
        Broker(bootstrap).ensure_topic(self.name, create=True)
        self._producer = KafkaProducer(bootstrap_servers=bootstrap)

    def publish(self, *events: Event) -> None:
        sent = [self._producer.send(self.name, key=one.subject.encode(), value=one.to_json()) for one in events]
        for each in sent:
            each.get(timeout=60)

    def events(self) -> list[Event]:
        return [one.event for one in read_to_end(Broker(self.bootstrap), self.name)]

    def judgements(self) -> list[JudgementEvent]:
        return [one for one in self.events() if isinstance(one, JudgementEvent)]

    def run(self, command: str, *words: object) -> tuple[object, list[str], list[str]]:
        """Return the status and the lines of standard output and standard error."""
        status, output, problems = called(
            "alerts", command, *words, "--bootstrap", self.bootstrap, "--topic", self.name
        )
        assert "Traceback" not in problems
        return status, output.splitlines(), problems.splitlines()

    def close(self) -> None:
        self._producer.close(timeout=10)


@pytest.fixture
def topic(broker: str) -> Iterator[Topic]:
    made = Topic(broker)
    yield made
    made.close()


def flags(count: int = 12, *, picture: Callable[[int], list[str]] = lambda _number: []) -> list[AlertEvent]:
    """Alerts of one group around 0°, one an hour."""
    founder = begin(0, camera="gate").data.alert_id
    return [
        alike(
            begin(60 * number, camera="gate", evidence=picture(number)),
            at(number % 5),
            group=founder,
            size=number + 1,
            similarity=ALIKE,
        )
        for number in range(count)
    ]


def incidents(count: int = 3) -> list[AlertEvent]:
    """Alerts far from one another, each of its own group."""
    return [
        alike(begin(7 + 60 * number, camera="yard"), at(90 + 60 * number), similarity=ALIKE) for number in range(count)
    ]


def short(event: AlertEvent) -> str:
    return str(event.data.alert_id)[:8]


class TestGroups:
    def test_one_line_for_each_group(self, topic: Topic) -> None:
        alerts = flags()
        founder = alerts[0].data.alert_id
        topic.publish(*alerts, *incidents(), begin(5000))
        expires = datetime.now(UTC) + timedelta(days=5)
        topic.publish(judged(founder, "normal", at(2), camera=None, note="the \x1b[31mflag", expires_at=expires))
        status, lines, problems = topic.run("groups")
        assert status == 0
        assert len(lines) == 4
        assert lines[0] == (
            f"{short(alerts[0])}  12 alerts  0 in the last 24 h  gate  2026-03-01 12:00Z to 2026-03-01 23:00Z  "
            rf"hours 12-23  judged normal until {expires:%Y-%m-%d} (the \x1b[31mflag)"
        )
        assert "1 alert  " in lines[1]
        assert problems == ["mistwatch: alerts without likeness are left out (1)"]

    def test_a_reader_that_goes_away(self, topic: Topic) -> None:
        topic.publish(*incidents())
        command = [str(Path(sys.executable).with_name("mistwatch")), "alerts", "groups"]
        process = subprocess.Popen(
            [*command, "--bootstrap", topic.bootstrap, "--topic", topic.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.close()
        _, problems = process.communicate(timeout=120)
        assert (process.returncode, problems) == (0, "")

    def test_json_and_camera(self, topic: Topic) -> None:
        topic.publish(*flags(), *incidents())
        status, lines, _ = topic.run("groups", "--json", "--camera", "yard")
        assert status == 0
        documents = [json.loads(line) for line in lines]
        assert {document["group"] for document in documents} == {str(one.data.alert_id) for one in incidents()}
        assert [document["cameras"] for document in documents] == [{"yard": 1}] * 3

    def test_a_page_with_the_pictures_of_the_folder(self, topic: Topic, tmp_path: Path) -> None:
        def picture(number: int) -> list[str]:
            file = tmp_path / "evidence" / "gate" / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((48, 64, 3), 10 * number, np.uint8)).save(file)
            return [file.as_uri()]

        topic.publish(*flags(14, picture=picture), *incidents())
        page = tmp_path / "page.html"
        status, lines, problems = topic.run("groups", "--html", page, "--evidence", tmp_path / "evidence")
        assert (status, lines, problems) == (0, [], [f"mistwatch: wrote {page}"])
        text = page.read_text()
        assert text.count("data:image/jpeg;base64,") == 12
        assert "17 alerts in 4 groups" in text
        (tmp_path / "elsewhere").mkdir()
        topic.run("groups", "--html", page, "--evidence", tmp_path / "elsewhere")
        assert "data:image/jpeg;base64," not in page.read_text()


class TestSimilar:
    def test_earlier_and_later_alerts_with_their_judgements(self, topic: Topic) -> None:
        alerts = flags(3)
        topic.publish(*alerts, *incidents())
        topic.publish(judged(alerts[0].data.alert_id, "normal", at(0), expires_at=None))
        status, lines, _ = topic.run("similar", short(alerts[1])[:6], "-n", 2)
        assert status == 0
        assert {line.split()[1] for line in lines} == {short(alerts[0]), short(alerts[2])}
        assert {line.split()[0] for line in lines} == {"1.000"}  # one degree away
        judged_line = next(line for line in lines if short(alerts[0]) in line)
        assert judged_line == f"1.000  {short(alerts[0])}  gate  2026-03-01 12:00:00Z  judged normal"

    def test_json(self, topic: Topic) -> None:
        topic.publish(alike(begin(0), at(0)), alike(begin(1, evidence=["file:///a.jpg"]), at(60)))
        _, [line], _ = topic.run("similar", begin(0).data.alert_id, "--json")
        document = json.loads(line)
        assert document["alert_id"] == str(begin(1).data.alert_id)
        assert document["similarity"] == pytest.approx(0.5, abs=1e-3)
        assert document["evidence"] == ["file:///a.jpg"]


class TestJudge:
    def test_an_alert_is_normal_for_90_days(self, topic: Topic) -> None:
        alerts = [*flags(), *incidents()]
        topic.publish(*alerts)
        before = datetime.now(UTC)
        status, lines, problems = topic.run("judge", short(alerts[2]), "--normal", "--note", "the flag")
        assert (status, problems) == (0, [])
        assert re.search(rf"gate  JUDGED  alert {short(alerts[2])}: normal  .*  the flag  \(12 of 15 alerts", lines[0])
        [event] = topic.judgements()
        assert event.subject == "gate"
        assert (event.data.target, event.data.verdict, event.data.note) == (
            alerts[2].data.alert_id,
            "normal",
            "the flag",
        )
        assert event.data.similarity == round(ALIKE, 4)
        assert event.data.expires_at is not None
        assert event.data.published_at is not None
        assert timedelta(0) <= event.data.expires_at - before - timedelta(days=90) < timedelta(minutes=5)

    def test_a_group_with_its_centre(self, topic: Topic) -> None:
        alerts = [*flags(20), *incidents()]
        topic.publish(*alerts)
        more = ("--similarity", 0.97, "--expires", "never", "--group")
        assert topic.run("judge", short(alerts[3]), "--normal", *more)[0] == 0
        [event] = topic.judgements()
        assert (event.data.about, event.subject, event.data.target) == ("group", "yard", alerts[0].data.alert_id)
        assert (event.data.expires_at, event.data.similarity, len(event.data.exemplars)) == (None, 0.97, 16)

    def test_a_judgement_is_replaced_and_withdrawn(self, topic: Topic) -> None:
        alerts = flags()
        topic.publish(*alerts, *incidents())
        ahead = datetime.now(UTC) + timedelta(hours=1)  # the clock of another machine
        topic.publish(judged(alerts[1].data.alert_id, "normal", at(0), judged_at=ahead))
        assert topic.run("judge", short(alerts[1]), "--real")[0] == 0
        assert topic.run("judge", short(alerts[1]), "--withdraw")[0] == 0
        first, second, third = (one.data for one in topic.judgements())
        assert second.replaces(first)
        assert third.replaces(second)
        assert (third.verdict, third.exemplars, third.camera) == ("withdrawn", (), "gate")
        status, _, problems = topic.run("judge", short(alerts[1]), "--withdraw")
        assert (status, problems) == (
            2,
            [f"mistwatch: judged alert {short(alerts[1])}: the topic has no judged alert of this id"],
        )

    def test_a_mute_that_would_silence_everything_needs_force(self, topic: Topic) -> None:
        alerts = flags()
        topic.publish(*alerts)
        status, lines, problems = topic.run("judge", short(alerts[0]), "--normal")
        assert (status, lines) == (2, [])
        assert problems == [
            f"mistwatch: alert {short(alerts[0])}: not judged, because it would mute all 12 alerts, at a similarity of "
            f"{ALIKE:.4f} or more; raise --similarity, judge single alerts, or use --force"
        ]
        assert topic.judgements() == []
        assert topic.run("judge", short(alerts[0]), "--normal", "--force")[0] == 0
        assert len(topic.judgements()) == 1

    def test_a_mute_of_an_alert_that_is_judged_real_needs_force(self, topic: Topic) -> None:
        alerts = flags()
        topic.publish(*alerts, *incidents())
        assert topic.run("judge", short(alerts[4]), "--real")[0] == 0
        status, _, problems = topic.run("judge", short(alerts[0]), "--normal")
        assert status == 2
        assert f"it covers alerts that are judged real (1: {short(alerts[4])})" in problems[0]


class TestAWorkerLearns:
    """What the commands publish, in the memory of a worker that reads the topic."""

    def test_a_judgement_mutes_the_next_alert_until_it_is_withdrawn(self, topic: Topic) -> None:
        alerts = [*flags(), *incidents()]
        topic.publish(*alerts)

        def next_alert(degrees: float) -> AlertEvent:
            history = AlertHistory(
                None,
                site="yard",
                embedding_version=VERSION,
                similarity=ALIKE,
                limits=HistoryLimits(max_age=None),
            )
            with closing(history):
                history.take_all(topic.events())
                data = begin(9000).data
                return begin(9000).enriched(*history.consider(data.alert_id, at(degrees), data.camera, data.started_at))

        assert next_alert(3).data.muted is False
        words = ("judge", short(alerts[0]), "--group", "--normal", "--note", "the flag")
        assert topic.run(*words)[0] == 0
        muted = next_alert(3).data
        assert muted.muted_because is not None
        assert muted.muted_because.note == "the flag"
        assert muted.likeness is not None
        assert (muted.likeness.group.id, muted.likeness.group.size) == (alerts[0].data.alert_id, 13)
        assert muted.likeness.group.judgement == "normal"
        assert next_alert(90).data.muted is False
        topic.publish(begin(9000).enriched(muted.likeness, muted.muted_because))
        assert "1 muted" in topic.run("groups")[1][0]
        assert topic.run("judge", short(alerts[0]), "--group", "--withdraw")[0] == 0
        assert next_alert(3).data.muted is False


class TestBadInput:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ((), "expected one of --normal, --real and --withdraw, got 0 of them"),
            (("--normal", "--real"), "got 2 of them"),
            (("--normal", "--similarity", 0), r"--similarity: must be 0.0001 to 1 \(got 0\)"),
            (("--normal", "--similarity", 0.00001), r"\(got 1e-05\)"),
            (("--normal", "--similarity", 1.1), r"\(got 1.1\)"),
            (("--normal", "--similarity", "nan"), r"\(got nan\)"),
            (("--real", "--similarity", 0.9), "--similarity: only a judgement --normal mutes"),
            (("--normal", "--expires", "2020-01-01"), r"--expires: must be in the future \(got 2020-01-01, now is"),
            (("--normal", "--expires", "0d"), "--expires: must be in the future"),
            (("--normal", "--expires", "-5m"), "--expires: expected a span like 30d, an ISO 8601 time or never"),
            (("--normal", "--expires", ""), "--expires: expected a span"),
            (("--normal", "--expires", "99999999999d"), "--expires: expected a span"),
            (("--withdraw", "--note", "x"), "--withdraw: takes neither --note nor --expires"),
            (("--normal", "--note", "x" * 501), r"--note: at most 500 characters \(got 501\)"),
        ],
    )
    def test_options_that_are_refused_before_the_topic_is_read(self, words: tuple[Any, ...], message: str) -> None:
        status, output, problems = called("alerts", "judge", "abcd", *words, "--bootstrap", "127.0.0.1:1")
        assert (status, output) == (2, "")
        [line] = problems.splitlines()
        assert re.search(message, line)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--evidence", "."), "--evidence: pictures are only on a page; give --html FILE, too"),
            (("--html", "p.html", "--evidence", "nowhere"), "--evidence: nowhere is not a folder"),
            (("--html", "p.html", "--json"), "--html and --json: two outputs; give one of them"),
            (("--since", "yesterday"), "--since: expected a span like 10m"),
        ],
    )
    def test_options_of_groups(self, words: tuple[Any, ...], message: str) -> None:
        status, _, problems = called("alerts", "groups", *words, "--bootstrap", "127.0.0.1:1")
        assert (status, len(problems.splitlines())) == (2, 1)
        assert message in problems

    def test_names_that_are_unknown_or_ambiguous(self, topic: Topic) -> None:
        one, other = (alike(begin(number), at(0)) for number in range(2))
        twin = UUID(str(one.data.alert_id)[:8] + str(other.data.alert_id)[8:])
        data = one.data.model_copy(update={"alert_id": twin})
        topic.publish(one, one.model_copy(update={"data": data, "id": f"{twin}/0"}), begin(9))
        for command in (("similar",), ("judge", "--normal")):
            run = lambda text, command=command: topic.run(command[0], text, *command[1:])  # noqa: E731
            prefix = short(one)[:5]
            assert run("ffff0000")[::2] == (
                2,
                [LEFT_OUT, "mistwatch: alert ffff0000: the topic has no alert of this id"],
            )
            assert f"alert {prefix}: 2 ids begin like this" in run(prefix)[2][1]
            assert "expected an id, or at least its first 4 characters" in run("xyz")[2][1]
            assert "has no likeness, so it cannot be compared" in run(str(begin(9).data.alert_id))[2][1]

    def test_topics_without_history(self, topic: Topic) -> None:
        place = f"{topic.name} at {topic.bootstrap}"
        for command, *words in (["groups"], ["similar", "abcd"], ["judge", "abcd", "--normal"]):
            assert topic.run(command, *words) == (1, [], [f"mistwatch: {place}: the topic has no alerts"])
        topic.publish(begin(0))
        status, _, [line] = topic.run("groups")
        assert status == 1
        assert line.startswith(f"mistwatch: {place}: site yard: no alert on the topic has a likeness (alerts: 1)")
        status, _, problems = called("alerts", "groups", "--bootstrap", topic.bootstrap, "--topic", "missing")
        assert (status, problems) == (1, f"mistwatch: Kafka {topic.bootstrap}: topic missing does not exist\n")

    def test_without_a_broker(self) -> None:
        status, _, problems = called("alerts", "groups", "--bootstrap", "127.0.0.1:1")
        assert (status, problems) == (
            1,
            "mistwatch: Kafka 127.0.0.1:1: Connection refused; is the broker running there?\n",
        )

    def test_a_camera_without_alerts_and_several_sites(self, topic: Topic) -> None:
        topic.publish(alike(begin(0), at(0)))
        status, _, problems = topic.run("groups", "--camera", "cellar")
        assert (status, problems) == (2, ["mistwatch: --camera: no alert with likeness is of cellar"])
        topic.publish(alike(begin(0, site="other"), at(0)))
        status, _, problems = topic.run("groups")
        assert status == 2
        assert "--site: the topic has several sites (got none); expected one of other, yard" in problems[0]
        assert len(topic.run("groups", "--site", "other")[1]) == 1

    def test_a_page_that_cannot_be_written(self, topic: Topic, tmp_path: Path) -> None:
        topic.publish(alike(begin(0), at(0)))
        status, _, [line] = topic.run("groups", "--html", tmp_path / "missing" / "page.html")
        assert status == 1
        assert "cannot write" in line


LEFT_OUT = "mistwatch: alerts without likeness are left out (1)"
